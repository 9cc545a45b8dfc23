"""Writes a toy model as GGUF, with the keys and tensor names that llama.cpp's converter writes, or as a Hugging Face
folder (config.json, tokenizer.json, tokenizer_config.json, model.safetensors)."""

import collections
import json
import math
import pathlib

import gguf
import numpy as np

from toylib import cases, vocab

_ARCHITECTURE = {cases.MISTRAL: "llama", cases.GEMMA3: "gemma3"}  # others: as the family

_TOP_NAMES = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
_LAYER_NAMES = {
    "input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output", "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm", "post_attention_layernorm": "ffn_norm", "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
}  # fmt: skip
_GEMMA_LAYER_NAMES = _LAYER_NAMES | {
    "post_attention_layernorm": "post_attention_norm", "pre_feedforward_layernorm": "ffn_norm",
    "post_feedforward_layernorm": "post_ffw_norm",
}  # fmt: skip

# general.file_type, by the type of the most matrices; 1024 says "guessed" (LLAMA_FTYPE_GUESSED).
_FILE_TYPES = {
    "F32": 0,
    "F16": 1,
    "Q4_0": 2,
    "Q4_1": 3,
    "Q8_0": 7,
    "Q5_0": 8,
    "Q5_1": 9,
    "BF16": 32,
}


def gguf_name(case, name):
    module, kind = name.rsplit(".", 1)
    if module in _TOP_NAMES:
        return f"{_TOP_NAMES[module]}.{kind}"
    _, _, layer, rest = module.split(".", 3)
    names = _GEMMA_LAYER_NAMES if case.family in cases.GEMMAS else _LAYER_NAMES
    return f"blk.{layer}.{names[rest]}.{kind}"


def interleave_rows(raw, n_heads):
    """Llama's q and k: within a head, row i of the first half goes before row i of the second, so that RoPE turns
    neighbours (2i, 2i + 1) instead of (i, i + half)."""
    half = raw.shape[0] // n_heads // 2
    return np.ascontiguousarray(
        np.swapaxes(raw.reshape(n_heads, 2, half, *raw.shape[1:]), 1, 2).reshape(raw.shape)
    )


def rope_factors(case):
    """By what Llama 3 divides each frequency (rope_freqs.weight)."""
    s = case.rope_scaling
    size, context = case.head_size, s["original_max_position_embeddings"]
    frequencies = 1.0 / (
        np.float32(case.rope_theta) ** (np.arange(0, size, 2, dtype=np.float32) / size)
    )
    factors = []
    for frequency in frequencies:
        wavelength = 2 * math.pi / frequency
        if wavelength < context / s["high_freq_factor"]:
            factors.append(1.0)
        elif wavelength > context / s["low_freq_factor"]:
            factors.append(s["factor"])
        else:
            smooth = (context / wavelength - s["low_freq_factor"]) / (
                s["high_freq_factor"] - s["low_freq_factor"]
            )
            factors.append(1 / ((1 - smooth) / s["factor"] + smooth))
    return np.array(factors, dtype=np.float32)


def write_gguf(case, weights, path):
    writer = gguf.GGUFWriter(path, _ARCHITECTURE.get(case.family, case.family))
    _write_parameters(writer, case)
    types = collections.Counter(t.qtype.name for t in weights.values() if t.values.ndim == 2)
    writer.add_file_type(_FILE_TYPES.get(types.most_common(1)[0][0], 1024))
    _write_vocabulary(writer, case.vocabulary)
    if (case.rope_scaling or {}).get("rope_type") == "llama3":
        writer.add_tensor("rope_freqs.weight", rope_factors(case))
    for name, tensor in weights.items():
        raw = tensor.raw
        if case.family in (cases.LLAMA, cases.MISTRAL) and ("q_proj" in name or "k_proj" in name):
            raw = interleave_rows(raw, case.n_heads if "q_proj" in name else case.n_kv_heads)
        if case.family in cases.GEMMAS and name.endswith("norm.weight"):
            raw = raw + np.float32(1)
        writer.add_tensor(gguf_name(case, name), raw, raw_dtype=tensor.qtype)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _write_parameters(w, case):
    config = case.config()
    w.add_type("model")
    w.add_name(f"toy {case.name}")
    w.add_quantization_version(2)
    w.add_block_count(case.n_layers)
    w.add_context_length(case.context)
    w.add_embedding_length(case.d_model)
    w.add_feed_forward_length(case.d_ff)
    w.add_head_count(case.n_heads)
    w.add_head_count_kv(case.n_kv_heads)
    w.add_layer_norm_rms_eps(config["rms_norm_eps"])
    if case.head_dim:
        w.add_key_length(case.head_dim)
        w.add_value_length(case.head_dim)
    if case.family != cases.GEMMA2:  # whose converter leaves the default base unsaid
        w.add_rope_freq_base(case.rope_theta)
    if case.family in (cases.LLAMA, cases.MISTRAL):
        w.add_vocab_size(vocab.VOCAB_SIZE)
        w.add_rope_dimension_count(case.head_size)
    if case.family in cases.GEMMAS:
        w.add_sliding_window(config["sliding_window"])
    if case.family == cases.GEMMA2:
        w.add_attn_logit_softcapping(config["attn_logit_softcapping"])
        w.add_final_logit_softcapping(config["final_logit_softcapping"])
    if case.family == cases.GEMMA3:
        w.add_rope_freq_base_swa(config["rope_local_base_freq"])
    _write_rope_scaling(w, case.rope_scaling or {})


def _write_rope_scaling(w, scaling):
    kind = scaling.get("rope_type")
    if kind in ("linear", "yarn"):
        w.add_rope_scaling_type(gguf.RopeScalingType(kind))
        w.add_rope_scaling_factor(scaling["factor"])
    if kind == "yarn":
        w.add_rope_scaling_orig_ctx_len(scaling["original_max_position_embeddings"])


def _write_vocabulary(w, v):
    w.add_tokenizer_model(v.model)
    w.add_tokenizer_pre(v.pre)
    w.add_token_list(v.tokens)
    if v.scores is not None:
        w.add_token_scores(v.scores)
    w.add_token_types(v.types)
    if v.model == "gpt2":
        w.add_token_merges([f"{a} {b}" for a, b in v.merges])
    add_id = {"bos": w.add_bos_token_id, "eos": w.add_eos_token_id, "unk": w.add_unk_token_id,
              "pad": w.add_pad_token_id}  # fmt: skip
    for role, i in v.special.items():
        add_id[role](i)
    w.add_add_bos_token(v.add_bos)
    if v.add_space_prefix is not None:
        w.add_add_space_prefix(v.add_space_prefix)
    w.add_chat_template(v.chat_template)


_STORED = {"float32": "F32", "float16": "F16", "int32": "I32", "int64": "I64", "int8": "I8", "uint8": "F8_E4M3",
           "uint16": "BF16"}  # fmt: skip


def write_safetensors(arrays, path):
    """A header of JSON (its length first, 8 bytes), then the bytes. Source: the safetensors format description.
    numpy has neither BF16 nor FP8: arrays of uint16 and uint8 are taken for their bit patterns."""
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name, array in arrays.items():
        header[name] = {
            "dtype": _STORED[array.dtype.name],
            "shape": list(array.shape),
            "data_offsets": [offset, offset + array.nbytes],
        }
        offset += array.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(len(text).to_bytes(8, "little") + text)
        for array in arrays.values():
            f.write(array.tobytes())


def as_stored(tensor):
    """The tensor in its GGUF type where safetensors have it, else in float32."""
    if tensor.qtype.name == "F16":
        return tensor.values.astype(np.float16)
    if tensor.qtype.name == "BF16":
        return (tensor.values.view(np.uint32) >> 16).astype(np.uint16)
    return tensor.values


def write_shards(arrays, folder, n_shards):
    """model.safetensors, or n_shards files of about as many tensors and their index."""
    if n_shards == 1:
        write_safetensors(arrays, folder / "model.safetensors")
        return
    names, places = list(arrays), {}
    for i in range(n_shards):
        part = names[len(names) * i // n_shards : len(names) * (i + 1) // n_shards]
        file = f"model-{i + 1:05}-of-{n_shards:05}.safetensors"
        write_safetensors({name: arrays[name] for name in part}, folder / file)
        places |= dict.fromkeys(part, file)
    size = sum(array.nbytes for array in arrays.values())
    index = {"metadata": {"total_size": size}, "weight_map": dict(sorted(places.items()))}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=1) + "\n")


def write_documents(case, folder, changes=None):
    """Everything but the weights. changes: more keys of config.json."""
    folder.mkdir(parents=True, exist_ok=True)
    v = case.vocabulary
    documents = {"config.json": case.config() | (changes or {}), "tokenizer.json": vocab.tokenizer_json(v),
                 "tokenizer_config.json": vocab.tokenizer_config_json(v)}  # fmt: skip
    for name, document in documents.items():
        indent = None if name == "tokenizer.json" else 1
        (folder / name).write_text(
            json.dumps(document, indent=indent, ensure_ascii=False) + "\n", encoding="utf-8"
        )


def write_folder(case, weights, folder, stored=lambda tensor: tensor.values, n_shards=1):
    folder = pathlib.Path(folder)
    write_documents(case, folder)
    write_shards({name: stored(t) for name, t in weights.items()}, folder, n_shards)
