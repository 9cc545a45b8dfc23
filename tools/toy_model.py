#!/usr/bin/env python3
"""Makes toy models: random weights from a fixed seed, real tokenizers, every family that farthing runs.

  toy_model.py --list
  toy_model.py NAME --gguf FILE [--dtype F32]    keys and names as llama.cpp's converter writes them
  toy_model.py NAME --hf FOLDER                  config.json, tokenizer.json, model.safetensors
  toy_model.py --all FOLDER                      NAME.gguf of each

Needs the PyPI packages numpy and gguf.
"""

import argparse
import pathlib

from toylib import cases, output, weights


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", nargs="?")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--gguf", type=pathlib.Path)
    parser.add_argument("--hf", type=pathlib.Path)
    parser.add_argument("--all", type=pathlib.Path)
    parser.add_argument("--dtype", help="GGUF type of every matrix, instead of the model's own")
    options = parser.parse_args()
    if options.list:
        for case in cases.CASES:
            print(f"{case.name:14} {case.why}")
    elif options.all:
        options.all.mkdir(parents=True, exist_ok=True)
        for case in cases.CASES:
            output.write_gguf(
                case, weights.make_weights(case, options.dtype), options.all / f"{case.name}.gguf"
            )
    elif options.name and (options.gguf or options.hf):
        case = cases.find_case(options.name)
        made = weights.make_weights(case, options.dtype)
        if options.gguf:
            output.write_gguf(case, made, options.gguf)
        if options.hf:
            output.write_folder(case, made, options.hf)
    else:
        parser.error("say --list, --all FOLDER, or a NAME with --gguf or --hf")


if __name__ == "__main__":
    main()
