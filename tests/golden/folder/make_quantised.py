#!/usr/bin/env python3
"""Makes the goldens of quantised folders: a toy llama whose matrices are random integers (or e4m3 bytes) with random
scales and zero points, packed as GPTQ, AWQ, compressed-tensors and block-FP8 checkpoints store them; beside each
folder's files, expected.json has the CRC-32 of every matrix's float32 values, rows in GGUF's order. The values are
computed from the integers, never from what was packed.

  venv/bin/pip install numpy gguf && venv/bin/python make_quantised.py

Sources of the packings: AutoGPTQ (nn_modules/qlinear: pack), AutoAWQ (modules/linear/gemm.py: from_linear),
compressed-tensors (pack_to_int32), DeepSeek-V3's FP8 weights (weight_scale_inv of 128 x 128 blocks).
"""

import json
import pathlib
import shutil
import sys
import zlib

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[2] / "tools"))

import numpy as np  # noqa: E402

from toylib import cases, output, weights  # noqa: E402

CASE = cases.Case("quantised", cases.LLAMA, "", d_model=128, n_layers=1, n_heads=4, n_kv_heads=2, d_ff=256, tied=True)
PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def bf16_bits(x):
    return (x.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)


def bf16_values(bits):
    return (bits.astype(np.uint32) << 16).view(np.float32)


def e4m3_values(bits):
    exponent, fraction = (bits >> 3) & 15, bits & 7
    magnitude = np.where(exponent == 0, fraction * 2.0**-9, (8 + fraction) * 2.0 ** (exponent.astype(float) - 10))
    return np.where(bits & 128, -magnitude, magnitude).astype(np.float32)


def pack8(nibbles, axis):
    """Eight neighbours along the axis in one int32, the first in the lowest bits."""
    n = np.moveaxis(nibbles.astype(np.uint32), axis, -1)
    n = n.reshape(*n.shape[:-1], -1, 8)
    words = np.zeros(n.shape[:-1], dtype=np.uint32)
    for i in range(8):
        words |= n[..., i] << np.uint32(4 * i)
    return np.ascontiguousarray(np.moveaxis(words, -1, axis)).view(np.int32)


def random_int4(rng, shape, group, symmetric=False):
    """Codes [out][in], zero points and f16 scales [out][groups]."""
    rows, cols = shape
    q = rng.integers(0, 16, shape)
    zero = np.full((rows, cols // group), 8) if symmetric else rng.integers(1, 16, (rows, cols // group))
    scale = (rng.uniform(0.5, 1.5, (rows, cols // group)) * 0.02).astype(np.float16)
    return q, zero, scale


def int4_values(q, zero, scale, group_of):
    return scale.astype(np.float32)[:, group_of] * (q - zero[:, group_of]).astype(np.float32)


def gptq(rng, name, shape):
    group = {"q_proj": 128, "k_proj": 64, "v_proj": 32, "down_proj": 64}.get(name, 128)
    q, zero, scale = random_int4(rng, shape, group)
    columns = np.arange(shape[1])
    group_of = columns // group
    if name == "up_proj":  # groups in the order of activations
        group_of = rng.permutation(columns) // 32
        q, zero, scale = random_int4(rng, shape, 32)
    parts = {
        "qweight": pack8(q.T, 0), "qzeros": pack8((zero - 1).T, 1), "scales": np.ascontiguousarray(scale.T),
        "g_idx": group_of.astype(np.int32),
    }  # fmt: skip
    if name == "gate_proj":
        del parts["g_idx"]
    return parts, int4_values(q, zero, scale, group_of)


def awq(rng, name, shape):
    group = {"q_proj": 128, "k_proj": 64, "v_proj": 32}.get(name, 128)
    q, zero, scale = random_int4(rng, shape, group)
    order = [0, 2, 4, 6, 1, 3, 5, 7]

    def pack(x):  # [..][out]: nibble i of a word is output order[i] of its eight
        return pack8(x.reshape(x.shape[0], -1, 8)[:, :, order].reshape(x.shape), 1)

    parts = {"qweight": pack(q.T), "qzeros": pack(zero.T), "scales": np.ascontiguousarray(scale.T)}
    return parts, int4_values(q, zero, scale, np.arange(shape[1]) // group)


def compressed(rng, name, shape):
    rows, cols = shape
    if name in ("q_proj", "k_proj", "v_proj"):
        group = {"q_proj": 32, "k_proj": 128}.get(name, 64)
        q, zero, scale = random_int4(rng, shape, group, symmetric=name != "v_proj")
        parts = {"weight_packed": pack8(q, 1), "weight_scale": scale, "weight_shape": np.array(shape, dtype=np.int64)}
        if name == "v_proj":
            parts["weight_zero_point"] = pack8(zero, 0)
        if name == "k_proj":  # scales that no f16 holds
            bits = bf16_bits(scale.astype(np.float32) * np.float32(1e-4))
            parts["weight_scale"], scale = bits, bf16_values(bits)
        return parts, int4_values(q, zero, scale, np.arange(cols) // group)
    scale = bf16_bits(rng.uniform(0.5, 1.5, (rows, 1)) * 0.001)
    if name in ("o_proj", "gate_proj"):
        q = rng.integers(-128, 128, shape).astype(np.int8)
        return {"weight": q, "weight_scale": scale}, bf16_values(scale) * q.astype(np.float32)
    q = rng.integers(0, 127, shape).astype(np.uint8) | (rng.integers(0, 2, shape).astype(np.uint8) << 7)
    if name == "down_proj":
        scale = np.array([0.0123], dtype=np.float32)
        return {"weight": q, "weight_scale": scale, "input_scale": scale}, scale * e4m3_values(q)
    return {"weight": q, "weight_scale": scale}, bf16_values(scale) * e4m3_values(q)


def block_fp8(rng, name, shape):
    rows, cols = shape
    q = rng.integers(0, 127, shape).astype(np.uint8) | (rng.integers(0, 2, shape).astype(np.uint8) << 7)
    grid = ((rows + 127) // 128, (cols + 127) // 128)
    scale = (rng.uniform(0.5, 1.5, grid) * 0.001).astype(np.float32)
    each = scale[np.arange(rows) // 128][:, np.arange(cols) // 128]
    return {"weight": q, "weight_scale_inv": scale}, each * e4m3_values(q)


KINDS = {
    "gptq": (gptq, {"quant_method": "gptq", "bits": 4, "group_size": 128, "desc_act": True, "sym": False}),
    "awq": (awq, {"quant_method": "awq", "bits": 4, "group_size": 128, "zero_point": True, "version": "gemm"}),
    "compressed": (compressed, {"quant_method": "compressed-tensors", "format": "mixed-precision"}),
    "fp8": (block_fp8, {"quant_method": "fp8", "fmt": "e4m3", "weight_block_size": [128, 128]}),
}


def main():
    plain = weights.make_weights(CASE)
    for kind, (quantise, config) in KINDS.items():
        folder = HERE / f"quantised-{kind}"
        shutil.rmtree(folder, ignore_errors=True)
        output.write_documents(CASE, folder, {"quantization_config": config})
        arrays, expected = {}, {}
        for name, tensor in plain.items():
            module = name.removesuffix(".weight")
            projection = module.rsplit(".", 1)[-1]
            if projection not in PROJECTIONS:
                arrays[name] = output.as_stored(tensor)
                continue
            rng = np.random.Generator(np.random.PCG64(zlib.crc32(f"{kind}/{name}".encode())))
            parts, values = quantise(rng, projection, tensor.values.shape)
            arrays |= {f"{module}.{part}": array for part, array in parts.items()}
            if projection in ("q_proj", "k_proj"):
                values = output.interleave_rows(values, CASE.n_heads if projection == "q_proj" else CASE.n_kv_heads)
            assert values.dtype == np.float32
            expected[output.gguf_name(CASE, name)] = zlib.crc32(values.tobytes())
        output.write_safetensors(arrays, folder / "model.safetensors")
        (folder / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")
        print(kind, sum(f.stat().st_size for f in folder.iterdir()))


if __name__ == "__main__":
    main()
