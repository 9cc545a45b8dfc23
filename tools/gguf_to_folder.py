#!/usr/bin/env python3
"""Writes a GGUF of the families llama (byte-level BPE of SmolLM2) and gemma3 as a Hugging Face folder in float32.

  gguf_to_folder.py MODEL.gguf FOLDER

What the GGUF lost by quantising stays lost. It is for judging `farthing quantize --type int4-g128`
on real weights that no package ships as folders: `farthing quality --reference MODEL.gguf`.
Needs the PyPI packages of tools/train_decoder.requirements.txt, in an environment of its own.
"""

import argparse
import dataclasses
import pathlib

import gguf
import numpy as np
from toylib import cases, output, vocab


@dataclasses.dataclass(frozen=True)
class Stored(cases.Case):
    own_vocabulary: vocab.Vocabulary | None = None

    @property
    def vocabulary(self):
        return self.own_vocabulary


def read_vocabulary(field, pre):
    tokens, types = field("tokenizer.ggml.tokens"), field("tokenizer.ggml.token_type")
    model, scores, merges = field("tokenizer.ggml.model"), field("tokenizer.ggml.scores"), []
    if model == "gpt2":
        merges = [tuple(m.split(" ")) for m in field("tokenizer.ggml.merges")]
    else:  # pieces are joined best score first: every way to make each of them, in that order
        known = {t for t, kind in zip(tokens, types) if kind == vocab.NORMAL}
        order = sorted((i for i, t in enumerate(tokens) if t in known), key=lambda i: -scores[i])
        for i in order:
            t = tokens[i]
            merges += [(t[:k], t[k:]) for k in range(1, len(t)) if t[:k] in known and t[k:] in known]
    roles = {"bos": "bos", "eos": "eos", "unk": "unknown", "pad": "padding"}
    special = {role: field(f"tokenizer.ggml.{name}_token_id") for role, name in roles.items()}
    return vocab.Vocabulary(
        model, pre, tokens, types, scores, merges, {r: i for r, i in special.items() if i is not None},
        bool(field("tokenizer.ggml.add_bos_token")), field("tokenizer.ggml.add_space_prefix"),
        field("tokenizer.chat_template") or "",
    )  # fmt: skip


def read_case(field):
    family = {"llama": cases.LLAMA, "gemma3": cases.GEMMA3}[field("general.architecture")]
    arch = field("general.architecture")

    def number(key):
        return field(f"{arch}.{key}")

    extra = {"rms_norm_eps": number("attention.layer_norm_rms_epsilon")}
    if family == cases.GEMMA3:
        extra |= {"sliding_window": number("attention.sliding_window"), "sliding_window_pattern": 6,
                  "rope_local_base_freq": 10000.0, "query_pre_attn_scalar": number("attention.key_length")}  # fmt: skip
    return Stored(
        "stored", family, "", d_model=number("embedding_length"), n_layers=number("block_count"),
        n_heads=number("attention.head_count"), n_kv_heads=number("attention.head_count_kv"),
        head_dim=number("attention.key_length"), d_ff=number("feed_forward_length"), tied=True,
        context=number("context_length"), rope_theta=number("rope.freq_base"), extra=extra,
        own_vocabulary=read_vocabulary(field, field("tokenizer.ggml.pre")),
    )  # fmt: skip


def separate_rows(values, n_heads):
    """The inverse of output.interleave_rows."""
    half = values.shape[0] // n_heads // 2
    return np.swapaxes(values.reshape(n_heads, half, 2, -1), 1, 2).reshape(values.shape)


def hf_names(case):
    names = {"model.embed_tokens.weight", "model.norm.weight"}
    layer = output._GEMMA_LAYER_NAMES if case.family in cases.GEMMAS else output._LAYER_NAMES
    names |= {f"model.layers.{i}.{name}.weight" for i in range(case.n_layers) for name in layer}
    return {output.gguf_name(case, name): name for name in names}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("folder", type=pathlib.Path)
    args = parser.parse_args()
    reader = gguf.GGUFReader(args.model)

    def field(key):
        found = reader.get_field(key)
        return found.contents() if found else None

    case = read_case(field)
    names, arrays = hf_names(case), {}
    for tensor in reader.tensors:
        values = np.ascontiguousarray(gguf.quants.dequantize(tensor.data, tensor.tensor_type), np.float32)
        name = names[tensor.name]
        if case.family == cases.LLAMA and ("q_proj" in name or "k_proj" in name):
            values = separate_rows(values, case.n_heads if "q_proj" in name else case.n_kv_heads)
        if case.family in cases.GEMMAS and name.endswith("norm.weight"):
            values = values - np.float32(1)
        arrays[name] = np.ascontiguousarray(values)
    output.write_documents(case, args.folder)
    output.write_safetensors(arrays, args.folder / "model.safetensors")


if __name__ == "__main__":
    main()
