"""Random weights of a toy model under their Hugging Face names, with a fixed seed per tensor. Values are rounded to the
GGUF type first, so that the GGUF and the Hugging Face folder hold exactly the same numbers."""

import dataclasses
import zlib

import gguf
import numpy as np

from toylib import cases, vocab

# Where a block keeps its half-precision scales (scale, min); any other bytes are a valid block. Source: the block
# structs of ggml's quantisation formats. The other types are quantised by the package gguf.
_RANDOM_BLOCKS = {
    "Q2_K": (80, 82), "Q3_K": (108, None), "Q4_K": (0, 2), "Q5_K": (0, 2), "Q6_K": (208, None),
    "IQ4_NL": (0, None), "IQ4_XS": (0, None),
}  # fmt: skip


@dataclasses.dataclass
class Tensor:
    values: np.ndarray  # float32, as decoded from raw
    qtype: gguf.GGMLQuantizationType
    raw: np.ndarray  # what the GGUF stores; rows as in values


def make_weights(case, dtype=None):
    """Hugging Face name -> Tensor. dtype overrides the GGUF type of every matrix (the values change with it)."""
    return {name: _make(case, name, shape, dtype) for name, shape in _shapes(case).items()}


def _shapes(case):
    d, q, kv, size = (
        case.d_model,
        case.n_heads * case.head_size,
        case.n_kv_heads * case.head_size,
        case.head_size,
    )
    shapes = {"model.embed_tokens.weight": (vocab.VOCAB_SIZE, d)}
    for i in range(case.n_layers):
        layer = {
            "self_attn.q_proj.weight": (q, d), "self_attn.k_proj.weight": (kv, d),
            "self_attn.v_proj.weight": (kv, d), "self_attn.o_proj.weight": (d, q),
            "mlp.gate_proj.weight": (case.d_ff, d), "mlp.up_proj.weight": (case.d_ff, d),
            "mlp.down_proj.weight": (d, case.d_ff),
            "input_layernorm.weight": (d,), "post_attention_layernorm.weight": (d,),
        }  # fmt: skip
        if case.family == cases.QWEN2 or case.extra.get("attention_bias"):
            layer |= {f"self_attn.{w}_proj.bias": (n,) for w, n in (("q", q), ("k", kv), ("v", kv))}
        if case.extra.get("attention_bias"):
            layer["self_attn.o_proj.bias"] = (d,)
        if case.family in (cases.QWEN3, cases.GEMMA3):
            layer |= {"self_attn.q_norm.weight": (size,), "self_attn.k_norm.weight": (size,)}
        if case.family in cases.GEMMAS:
            layer |= {
                "pre_feedforward_layernorm.weight": (d,),
                "post_feedforward_layernorm.weight": (d,),
            }
        shapes |= {f"model.layers.{i}.{name}": shape for name, shape in layer.items()}
    shapes["model.norm.weight"] = (d,)
    if not case.tied:
        shapes["lm_head.weight"] = (vocab.VOCAB_SIZE, d)
    return shapes


def _deviation(case, name, shape):
    """Standard deviations for which attention is neither flat nor one-hot and logits spread over several units."""
    d_in = shape[-1]
    if "embed_tokens" in name:
        if case.family in cases.GEMMAS:
            return 0.25  # multiplied by sqrt(d_model) on the way in
        return 0.35 if case.tied else 1.0
    gains = {
        "q_proj": case.qk_gain,
        "k_proj": case.qk_gain,
        "v_proj": 1.2,
        "o_proj": 1.2,
        "down_proj": 1.5,
        "lm_head": 2.5,
    }
    return next((gain for key, gain in gains.items() if key in name), 1.3) / np.sqrt(d_in)


def _make(case, name, shape, dtype):
    rng = np.random.Generator(np.random.PCG64(zlib.crc32(f"{case.name}/{name}".encode())))
    if len(shape) == 1:
        return _make_vector(case, name, rng.standard_normal(shape))
    deviation = _deviation(case, name, shape)
    wanted = dtype or next((t for key, t in case.dtypes.items() if key in name.replace("self_attn.", "").replace(
        "mlp.", "")), case.dtype)  # fmt: skip
    qtype = gguf.GGMLQuantizationType[wanted]
    if wanted in _RANDOM_BLOCKS:
        raw = _random_blocks(rng, shape, qtype, deviation, *_RANDOM_BLOCKS[wanted])
    else:
        raw = gguf.quants.quantize(
            (rng.standard_normal(shape) * deviation).astype(np.float32), qtype
        )
    return Tensor(_decode(raw, qtype), qtype, raw)


def _make_vector(case, name, normal):
    if name.endswith("bias"):
        values = 0.5 * normal
    elif case.family in cases.GEMMAS:
        values = 0.25 * normal  # Gemma's norms multiply by 1 + weight
    else:
        values = 1.0 + 0.25 * normal
    return f32_tensor(values.astype(np.float32))


def f32_tensor(values):
    return Tensor(values, gguf.GGMLQuantizationType.F32, values)


def _decode(raw, qtype):
    return np.ascontiguousarray(gguf.quants.dequantize(raw, qtype), dtype=np.float32)


def _random_blocks(rng, shape, qtype, deviation, scale_at, min_at):
    """Blocks of random bytes whose scales give values of mean 0 and the wanted deviation."""
    block_values, block_bytes = gguf.GGML_QUANT_SIZES[qtype]
    blocks = rng.integers(
        0, 256, size=(shape[0] * shape[1] // block_values, block_bytes), dtype=np.uint8
    )

    def with_scales(scale, minimum):
        out = blocks.copy()
        out[:, scale_at : scale_at + 2] = np.float16(scale).reshape(-1, 1).view(np.uint8)
        if min_at is not None:
            out[:, min_at : min_at + 2] = np.float16(minimum).reshape(-1, 1).view(np.uint8)
        return out

    ones, zeros = np.ones(len(blocks)), np.zeros(len(blocks))
    per_scale = _decode(with_scales(ones, zeros), qtype)
    min_per_scale = 0.0
    if min_at is not None:
        min_per_scale = -per_scale.mean() / _decode(with_scales(zeros, ones), qtype).mean()
    unit = _decode(with_scales(ones, ones * min_per_scale), qtype).std()
    scale = deviation / unit * rng.uniform(0.7, 1.3, size=len(blocks))
    return with_scales(scale, scale * min_per_scale).reshape(shape[0], -1)
