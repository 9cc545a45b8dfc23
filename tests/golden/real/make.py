#!/usr/bin/env python3
"""Makes reference.json of this folder: what transformers (eager attention, float32) computes with the weights of the
two real models, decoded from their GGUF by the PyPI package gguf. Toys can't show a wrong default of a key that a real
file leaves out, or a slip that grows over thirty layers.

  make.py MODELS_FOLDER

tokens.json holds the ids of a text (the opening of Shakespeare's sonnets) for each model; Gemma's are more than its
window of 512. Kept for each of the last positions: the largest logits, and others picked evenly over the vocabulary.
Needs numpy, gguf, torch and transformers. Nothing here runs in the tests.
"""

import argparse
import json
import os
import pathlib
import sys

os.environ["HF_HUB_OFFLINE"] = "1"
HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[2] / "tools"))

import gguf
import numpy as np
import torch
import transformers

from toylib import cases, output

N_POSITIONS = 8
N_TOP = 16
N_SPREAD = 48


def config_of(meta):
    """The Hugging Face config that the file's metadata stand for."""
    arch = meta["general.architecture"]
    d_model, n_heads = meta[f"{arch}.embedding_length"], meta[f"{arch}.attention.head_count"]
    common = {
        "vocab_size": len(meta["tokenizer.ggml.tokens"]),
        "hidden_size": d_model,
        "intermediate_size": meta[f"{arch}.feed_forward_length"],
        "num_hidden_layers": meta[f"{arch}.block_count"],
        "num_attention_heads": n_heads,
        "num_key_value_heads": meta[f"{arch}.attention.head_count_kv"],
        "head_dim": meta.get(f"{arch}.attention.key_length", d_model // n_heads),
        "max_position_embeddings": meta[f"{arch}.context_length"],
        "rms_norm_eps": meta[f"{arch}.attention.layer_norm_rms_epsilon"],
        "tie_word_embeddings": True,
        "attn_implementation": "eager",
    }
    theta = meta[f"{arch}.rope.freq_base"]
    if arch == "llama":
        return transformers.LlamaConfig(**common, rope_theta=theta)
    if arch == "gemma3":  # what the file leaves unsaid is as in the released config.json
        return transformers.Gemma3TextConfig(
            **common,
            sliding_window=meta["gemma3.attention.sliding_window"],
            sliding_window_pattern=6,
            query_pre_attn_scalar=common["head_dim"],
            rope_theta=theta,
            rope_local_base_freq=10000.0,
        )
    raise SystemExit(f"no config for architecture {arch}")


def state_of(reader, meta, model):
    """Tensors of the file under Hugging Face names, as float32."""
    arch = meta["general.architecture"]
    family = cases.GEMMA3 if arch == "gemma3" else cases.LLAMA
    any_case = cases.Case("real", family, "")
    tensors = {t.name: t for t in reader.tensors}
    state = {}
    for name in model.state_dict():
        if name == "lm_head.weight":
            continue  # tied
        tensor = tensors.pop(output.gguf_name(any_case, name))
        values = np.array(gguf.quants.dequantize(tensor.data, tensor.tensor_type), dtype=np.float32)
        if family == cases.LLAMA and ("q_proj" in name or "k_proj" in name):
            n_heads = meta[f"llama.attention.head_count{'_kv' if 'k_proj' in name else ''}"]
            # The inverse of interleave_rows: pairs back to halves.
            pairs = values.reshape(n_heads, -1, 2, values.shape[-1])
            values = np.swapaxes(pairs, 1, 2).reshape(values.shape)
        if family == cases.GEMMA3 and name.endswith("norm.weight"):
            values = values - np.float32(1)
        state[name] = torch.from_numpy(np.ascontiguousarray(values))
    if tensors:
        raise SystemExit(f"tensors left over: {sorted(tensors)[:5]}")
    return state


def reference(path, tokens):
    reader = gguf.GGUFReader(path)
    meta = {key: field.contents() for key, field in reader.fields.items()}
    model = transformers.AutoModelForCausalLM.from_config(config_of(meta), dtype=torch.float32)
    missing = model.load_state_dict(state_of(reader, meta, model), strict=False).missing_keys
    if missing != ["lm_head.weight"]:
        raise SystemExit(f"missing: {missing}")
    model.tie_weights()
    with torch.no_grad():
        logits = model.eval()(torch.tensor([tokens]), logits_to_keep=N_POSITIONS).logits[0].numpy()
    spread = np.arange(N_SPREAD) * (logits.shape[1] // N_SPREAD)
    positions = []
    for i, row in enumerate(logits):
        ids = sorted({*np.argsort(-row)[:N_TOP].tolist(), *spread.tolist()})
        positions.append(
            {
                "position": len(tokens) - N_POSITIONS + i,
                "argmax": int(row.argmax()),
                "min": float(row.min()),
                "max": float(row.max()),
                "logits": {str(t): float(f"{row[t]:.7g}") for t in ids},
            }
        )
    return {"file": path.name, "tokens": tokens, "vocab": logits.shape[1], "positions": positions}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("models", type=pathlib.Path)
    options = parser.parse_args()
    tokens = json.loads((HERE / "tokens.json").read_text())
    rows = [reference(options.models / name, ids) for name, ids in tokens.items()]
    lines = ",\n ".join(json.dumps(row) for row in rows)
    (HERE / "reference.json").write_text(f"[{lines}]\n")


if __name__ == "__main__":
    main()
