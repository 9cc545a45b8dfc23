#!/usr/bin/env python3
"""The memory that `farthing inspect` claims, against what `farthing run` takes: usage: memory_test.py BINARY"""

import json
import os
import subprocess
import sys
import unittest

from server import SMOLLM2, models_dir

BINARY = sys.argv.pop(1) if len(sys.argv) > 1 and not sys.argv[1].startswith("-") else None
CONTEXT = 256
ENVIRONMENT = {k: v for k, v in os.environ.items() if not k.startswith("FARTHING_")}


def claim(model):
    out = subprocess.run([BINARY, "inspect", "--json", model], check=True, stdout=subprocess.PIPE, env=ENVIRONMENT)
    return json.loads(out.stdout)["memory"]


def peak_of_run(model):
    """Bytes of memory of a run that fills its context and looks at the machine."""
    flags = ["--json", "--raw", "--ctx", str(CONTEXT), "--temperature", "1", "--seed", "1"]
    command = [BINARY, "run", "--model", model, *flags, "Once upon a time there was a robot. " * 20]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT)
    with process.stdout, process.stderr:
        process.stdout.read()
        errors = process.stderr.read()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, errors
    return used.ru_maxrss << 10


class Memory(unittest.TestCase):
    def hold(self, model):
        memory = claim(model)
        run = memory["run"]
        self.assertEqual(run["tokenizer_is"], "measured")
        self.assertLess(run["weights_percent_over_tensors"], 5)
        # A context's keys and values that are never made take nothing: without that room a claim is hard to keep.
        self.assertEqual(run["kv_bytes"], memory["kv_bytes_per_token"] * run["context"])
        unused = memory["kv_bytes_per_token"] * (run["context"] - CONTEXT)
        peak = peak_of_run(model)
        print(f"{model.name}: {peak >> 20} MiB of {run['total_bytes'] - unused >> 20}", file=sys.stderr)
        self.assertLessEqual(peak, run["total_bytes"] - unused)
        # One copy of the weights: a second one, or the pages of the file beside them, would not fit.
        besides = sum(run[k + "_bytes"] for k in ("kv", "workspace", "vocabulary", "tokenizer", "program"))
        self.assertLessEqual(peak, 1.05 * memory["weights_bytes"] + besides - unused)

    def test_smollm2(self):
        self.hold(SMOLLM2)

    def test_gemma3(self):
        self.hold(models_dir() / "gemma-3-270m-q4_k_m.gguf")


if __name__ == "__main__":
    if BINARY is None:
        sys.exit(__doc__)
    unittest.main(verbosity=2)
