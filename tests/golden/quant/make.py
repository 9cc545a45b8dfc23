"""Makes the goldens of src/quant: what the PyPI package `gguf` decodes random quant blocks to.

    python make.py        (needs numpy and gguf==0.19.0; writes *.bin beside itself)

<TYPE>.bin:  u64 number of bytes n, n bytes of quant blocks, f32 values they decode to.
Q8_0.encode.bin:  u64 number of values n, n f32 values, the quant blocks they encode to.
"""

import pathlib
import struct

import gguf
import numpy as np
from gguf.quants import dequantize, quantize

HERE = pathlib.Path(__file__).parent
TYPES = "F32 F16 BF16 Q8_0 Q4_0 Q4_1 Q5_0 Q5_1 Q2_K Q3_K Q4_K Q5_K Q6_K IQ4_NL IQ4_XS MXFP4".split()
# Byte offset of each f16 factor in a quant block.
FACTORS = {
    "Q8_0": [0], "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q2_K": [80, 82], "Q3_K": [108],
    "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208], "IQ4_NL": [0], "IQ4_XS": [0],
}
# zero, -zero, smallest and largest subnormal, smallest normal, 1, -1, max, -max, infinities, NaNs
EXTREMES = [0, 0x8000, 1, 0x03FF, 0x0400, 0x3C00, 0xBC00, 0x7BFF, 0xFBFF, 0x7C00, 0xFC00, 0x7E00, 0x7D01]


def blocks_of(name, random):
    kind = gguf.GGMLQuantizationType[name]
    values, size = gguf.GGML_QUANT_SIZES[kind]
    count = max(4096 // values, 8)
    blocks = random.integers(0, 256, (count, size), dtype=np.uint8)
    for at in FACTORS.get(name, []):  # most factors as in real models, one block in four random bits
        small = random.normal(0, 0.02, count).astype(np.float16).view(np.uint8).reshape(count, 2)
        keep = random.random(count) < 0.25
        blocks[:, at:at + 2] = np.where(keep[:, None], blocks[:, at:at + 2], small)
    extreme = random.integers(0, 256, (len(EXTREMES), size), dtype=np.uint8)
    if name in FACTORS:
        for i, bits in enumerate(EXTREMES):
            for j, at in enumerate(FACTORS[name]):
                extreme[i, at:at + 2] = np.frombuffer(struct.pack("<H", EXTREMES[(i + 3 * j) % len(EXTREMES)]), np.uint8)
    elif name in ("F16", "BF16"):
        extreme = np.array(EXTREMES + [0x7F80, 0xFF80, 0x7FC0, 0x0001, 0x007F], dtype="<u2").view(np.uint8).reshape(-1, 2)
    elif name == "MXFP4":
        extreme[:8, 0] = [0, 1, 2, 3, 127, 253, 254, 255]
    uniform = np.stack([np.full(size, b, dtype=np.uint8) for b in (0x00, 0x11, 0x88, 0xFF)])
    return kind, np.concatenate([blocks, extreme, uniform])


# Types of Hugging Face folders, which the package doesn't know: layout as in src/quant/layout.h.
def e4m3(bits):
    """OCP E4M3; what that calls NaN continues the row of numbers (480), as src/base/half.h has it."""
    exponent, fraction = (bits >> 3) & 15, bits & 7
    magnitude = np.where(exponent == 0, fraction * 2.0**-9, (8 + fraction) * 2.0 ** (exponent.astype(float) - 10))
    return np.where(bits & 128, -magnitude, magnitude).astype(np.float32)


def own_types(random):
    """name -> blocks, values"""
    scales = random.normal(0, 0.02, 40).astype("<f4")
    q = random.integers(0, 256, (40, 128), dtype=np.uint8)
    q[0], q[1, :] = np.arange(128), np.arange(128, 256)
    with_scale = np.concatenate([scales.view(np.uint8).reshape(40, 4), q], axis=1)
    yield "FP8", with_scale, scales[:, None] * e4m3(q)
    yield "INT8", with_scale, scales[:, None] * q.view(np.int8).astype(np.float32)
    for groups in (1, 2, 4):
        d = random.normal(0, 0.02, 80).astype("<f2")
        zero = (np.arange(80) % 17).astype("<u2")
        qs = random.integers(0, 256, (80, groups, 16), dtype=np.uint8)
        blocks = np.concatenate([d.view(np.uint8).reshape(80, 2), zero.view(np.uint8).reshape(80, 2),
                                 qs.reshape(80, -1)], axis=1)
        nibbles = np.concatenate([qs & 15, qs >> 4], axis=2).reshape(80, -1).astype(np.int32)
        values = d.astype(np.float32)[:, None] * (nibbles - zero[:, None].astype(np.int32)).astype(np.float32)
        yield f"INT4_G{32 * groups}", blocks, values


def q8_0_inputs(random):
    x = random.normal(0, 1, (40, 32)).astype(np.float32) * np.float32(10.0) ** random.integers(-6, 5, (40, 1))
    x[0] = 0
    x[1, 1:] = 0                                                    # one value alone
    x[2] = np.linspace(-127, 127, 32).astype(np.float32)            # d == 1
    x[3] = np.array([127] + [i + 0.5 for i in range(-15, 16)])      # halves
    x[4] = 1e-30                                                    # scale below f16
    x[5] = np.where(np.arange(32) % 2, 3e38, -1e30)                 # scale above f16
    return x.astype(np.float32)


def main():
    np.seterr(all="ignore")
    for row, name in enumerate(TYPES):
        kind, blocks = blocks_of(name, np.random.default_rng(1000 + row))
        values = dequantize(blocks.reshape(1, -1) if name == "F32" else blocks, kind).astype("<f4")
        data = blocks.tobytes()
        (HERE / f"{name}.bin").write_bytes(struct.pack("<Q", len(data)) + data + values.tobytes())
    for name, blocks, values in own_types(np.random.default_rng(8)):
        data = blocks.tobytes()
        (HERE / f"{name}.bin").write_bytes(struct.pack("<Q", len(data)) + data + values.astype("<f4").tobytes())
    x = q8_0_inputs(np.random.default_rng(7))
    encoded = quantize(x, gguf.GGMLQuantizationType.Q8_0)
    (HERE / "Q8_0.encode.bin").write_bytes(struct.pack("<Q", x.size) + x.tobytes() + encoded.tobytes())


if __name__ == "__main__":
    main()
