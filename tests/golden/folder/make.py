#!/usr/bin/env python3
"""Makes the goldens of this folder: toy models of tests/golden/model as Hugging Face folders, in the types that those
have as GGUF, so that both must give the same logits to the last bit (and those of transformers, which are there, too).

  venv/bin/pip install numpy gguf && venv/bin/python make.py

The weights come from the same seeds as the GGUF files; that they are the same is checked here. Nothing here runs in the
tests.
"""

import pathlib
import shutil
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[2] / "tools"))

import gguf  # noqa: E402
import numpy as np  # noqa: E402

from toylib import cases, output, weights  # noqa: E402

PLAIN = ("F32", "F16", "BF16")
SHARDS = {"llama-gqa": 3, "gemma3": 2}  # others are one file


def check_same_weights(case, made):
    """The GGUF of tests/golden/model was made on another machine: its values are these."""
    reader = gguf.GGUFReader(HERE.parent / "model" / f"{case.name}.gguf")
    theirs = {t.name: t for t in reader.tensors}
    name = "model.layers.0.mlp.up_proj.weight"
    tensor = theirs[output.gguf_name(case, name)]
    values = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
    if not np.array_equal(values, made[name].values):
        raise SystemExit(f"{case.name}: the weights are not those of the GGUF")


def main():
    for case in cases.CASES:
        if case.dtypes or case.dtype not in PLAIN:
            continue
        made = weights.make_weights(case)
        check_same_weights(case, made)
        folder = HERE / case.name
        shutil.rmtree(folder, ignore_errors=True)
        output.write_folder(case, made, folder, output.as_stored, SHARDS.get(case.name, 1))
        print(case.name, sum(f.stat().st_size for f in folder.iterdir()))


if __name__ == "__main__":
    main()
