#!/usr/bin/env python3
"""Makes the goldens of this folder: each toy model as NAME.gguf, its logits as NAME.logits.f32, tokens in cases.json.

The logits come from transformers (eager attention, float32) on the Hugging Face folder of the same weights: an
implementation that shares no code, no file format and no RoPE layout with what reads the GGUF. Needs the PyPI packages
numpy, gguf, torch and transformers. The files are committed; nothing here runs in the tests.

Every case also proves that what it is there to catch is seen: the logits must move when the feature is taken away.
"""

import argparse
import copy
import json
import os
import pathlib
import sys
import tempfile
import zlib

os.environ["HF_HUB_OFFLINE"] = "1"
HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[2] / "tools"))

import numpy as np  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402

from toylib import cases, output, vocab, weights  # noqa: E402

N_TOKENS = 64


def tokens_of(case):
    rng = np.random.Generator(np.random.PCG64(zlib.crc32(f"{case.name}/tokens".encode())))
    return rng.integers(0, vocab.VOCAB_SIZE, N_TOKENS).tolist()


def logits_of(folder, tokens, changes=None, dtype=torch.float32):
    """changes: keys of the loaded config to set, to see whether they matter."""
    config = transformers.AutoConfig.from_pretrained(folder)
    for key, value in (changes or {}).items():
        setattr(config, key, value)
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder, config=config, dtype=dtype, attn_implementation="eager"
    ).eval()
    with torch.no_grad():
        return model(torch.tensor([tokens])).logits[0].to(torch.float64).numpy()


def without_feature(folder, case):
    """Changes of the config that take away, one at a time, what the case is there to catch."""
    config = transformers.AutoConfig.from_pretrained(folder)
    plain_rope = {"rope_type": "default", "rope_theta": case.rope_theta}
    if case.family == cases.GEMMA3:
        rope = copy.deepcopy(config.rope_parameters)
        rope["sliding_attention"] = dict(rope["full_attention"])
        yield "second rope base", {"rope_parameters": rope}
        if case.rope_scaling:
            rope = copy.deepcopy(config.rope_parameters)
            rope["full_attention"] = plain_rope
            yield "rope scaling", {"rope_parameters": rope}
    elif case.rope_scaling:
        yield "rope scaling", {"rope_parameters": plain_rope}
        if case.rope_scaling["rope_type"] == "yarn":
            scaled = dict(config.rope_parameters) | {"attention_factor": 1.0}
            yield "YaRN's attention factor", {"rope_parameters": scaled}
    if case.family in cases.GEMMAS:
        yield "window", {"layer_types": ["full_attention"] * case.n_layers}
        yield "window of one more", {"sliding_window": config.sliding_window + 1}
        yield "full layers", {"layer_types": ["sliding_attention"] * case.n_layers}
    if case.family == cases.GEMMA2:
        yield "attention cap", {"attn_logit_softcapping": None}
        yield "final cap", {"final_logit_softcapping": None}


def check_tokenizer(folder, case):
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    text = "Shall I compare thee? Über 3 tokens: 光 \U0001f600"
    ids = tokenizer.encode(text, add_special_tokens=False)
    decoded = tokenizer.decode(ids)
    if decoded.strip() != text or max(ids) >= vocab.VOCAB_SIZE:
        raise SystemExit(f"{case.name}: tokenizer turns {text!r} into {decoded!r}")
    return len(ids), len(text.encode())


def make(case, out_dir):
    tokens = tokens_of(case)
    made = weights.make_weights(case)
    output.write_gguf(case, made, out_dir / f"{case.name}.gguf")
    with tempfile.TemporaryDirectory() as folder:
        output.write_folder(case, made, folder)
        exact = logits_of(folder, tokens, dtype=torch.float64)
        logits = logits_of(folder, tokens)
        value_range = logits.max() - logits.min()
        rounding = np.abs(logits - exact).max() / value_range
        moved = {}
        for feature, changes in without_feature(folder, case):
            moved[feature] = np.abs(logits_of(folder, tokens, changes) - logits).max() / value_range
        n_ids, n_bytes = check_tokenizer(folder, case)
    logits.astype("<f4").tofile(out_dir / f"{case.name}.logits.f32")
    shown = ", ".join(f"{k} {v:.3f}" for k, v in moved.items())
    print(
        f"{case.name:14} range {value_range:6.2f} std {logits.std():5.2f} float32 rounding {rounding:.1e} "
        f"tokenizer {n_bytes} bytes -> {n_ids} {'moves without: ' + shown if shown else ''}"
    )
    if any(v < 0.01 for v in moved.values()) or rounding > 2e-5:
        raise SystemExit(
            f"{case.name}: a feature does not show in the logits, or float32 is too coarse for it"
        )
    return {"name": case.name, "tokens": tokens, "vocab": vocab.VOCAB_SIZE, "why": case.why}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=pathlib.Path, default=HERE)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    rows = [make(case, options.out) for case in cases.CASES]
    lines = ",\n ".join(json.dumps(row) for row in rows)
    (options.out / "cases.json").write_text(f"[{lines}]\n")


if __name__ == "__main__":
    main()
