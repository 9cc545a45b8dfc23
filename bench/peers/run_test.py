#!/usr/bin/env python3
"""bench/peers/run, serve, long_prompt and types with a made-up peer whose figures are known: usage: run_test.py FARTHING"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

import programs
import report

FARTHING = sys.argv.pop(1) if len(sys.argv) > 1 and not sys.argv[1].startswith("-") else None
HERE = pathlib.Path(__file__).resolve().parent
TOY = HERE.parents[1] / "tests/golden/model/llama-plain.gguf"

# Gives 100, 200, ... tokens/s in the order of the rows, and knows -d or only -gp.
FAKE_BENCH = """#!/usr/bin/env python3
import json, sys
args = sys.argv[1:]
if "--help" in args:
    print("HELP")
    sys.exit(0)
value = lambda flag: args[args.index(flag) + 1]
assert value("-fa") == "1" and value("-t") == "2" and value("-r") == "1" and value("-o") == "json", args
rows = []
if "-gp" in args:
    rows = [tuple(int(n) for n in args[i + 1].split(",")) + (0,) for i, a in enumerate(args) if a == "-gp"]
else:
    for depth in value("-d").split(",") if "-d" in args else ["0"]:
        rows += [(int(value("-p")), 0, int(depth))] if value("-p") != "0" else []
        rows += [(0, int(value("-n")), int(depth))] if value("-n") != "0" else []
print("loading ...")
print(json.dumps([{"n_prompt": p, "n_gen": n, "n_depth": d, "avg_ts": 100.0 * (i + 1)}
                  for i, (p, n, d) in enumerate(rows)]))
"""
FAKE_BATCHED = """#!/bin/sh
>leaves-a.log
echo '|    PP |     TG |    B |   N_KV |   T_PP s | S_PP t/s |   T_TG s | S_TG t/s |      T s |    S t/s |'
echo '|-------|--------|------|--------|----------|----------|----------|----------|----------|----------|'
echo '|     8 |      4 |    2 |     24 |    0.100 |   160.00 |    0.100 |    77.00 |    0.200 |   120.00 |' $TABLE_TO
"""


# Gives 50 tokens/s for everything and takes no time for it.
FAKE_FARTHING = """#!/usr/bin/env python3
import json, sys
sys.path.insert(0, "HERE")
import programs
if "--version" in sys.argv:
    print("farthing 0 (made up)")
    sys.exit(0)
args = dict(zip(sys.argv[2::2], sys.argv[3::2]))
prompt, gen, depths, batches = ([int(n) for n in args.get(flag, default).split(",")]
                                for flag, default in (("--prompt", "0"), ("--gen", "0"), ("--depth", "0"),
                                                      ("--batch", "1")))
names = [programs.test_name(*prompt, 0)] if prompt[0] else []
names += [programs.test_name(0, *gen, depth) for depth in depths]
names += [programs.test_name(0, *gen, *prompt, n) for n in batches]
rates = {"threads": 2, "read_gb_per_s": 20.0, "int8_gops": 1000.0, "f32_gflops": 250.0}
print(json.dumps({"schema": 1, "machine": {"cpu": "made up", "isa": "ref", "one_thread": rates, "all_threads": rates},
                  "results": [{"test": name, "avg_ts": 50.0, "read_fraction": 0.5, "int8_fraction": 0.1}
                              for name in names]}))
"""


def script(folder, name, text):
    path = pathlib.Path(folder) / name
    path.write_text(text)
    path.chmod(0o755)
    return path


class Run(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.fake = script(self.folder.name, "farthing", FAKE_FARTHING.replace("HERE", str(HERE)))
        self.fake_peer("-d, --n-depth <n>")

    def fake_peer(self, help_text):
        script(self.folder.name, "llama-bench", FAKE_BENCH.replace("HELP", help_text))
        script(self.folder.name, "llama-batched-bench", FAKE_BATCHED.replace("$TABLE_TO", ">&2"))

    def run_it(self, farthing, *more):
        raw = pathlib.Path(self.folder.name) / "raw.json"
        command = [sys.executable, str(HERE / "run"), os.path.relpath(TOY), "--no-llama-cpp",
                   "--peer", f"fake={self.folder.name}", "--farthing", farthing, "--most-busy", "1", "--reps", "1", "--prompt", "16", "--gen", "4",
                   "--depth", "32,64", "--batch", "2", "--batch-prompt", "8", "--batch-gen", "4", "--context", "512",
                   "--json", str(raw), *more]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
        return done, json.loads(raw.read_text()) if raw.exists() else None

    def test_every_test_has_both_figures(self):
        done, results = self.run_it(FARTHING, "--rounds", "1", "--jobs", "single,depth,batch")
        self.assertEqual(done.returncode, 0, done.stderr)
        tests = results["samples"][TOY.name]
        fake = {test: by_program["fake"] for test, by_program in tests.items()}
        self.assertEqual(fake, {"pp16": [100], "tg4": [200], "tg4 @ d32": [100], "tg4 @ d64": [200],
                                "2 x tg4 @ d8": [77]})
        for test, by_program in tests.items():
            self.assertGreater(by_program["farthing"][0], 0, test)
            self.assertGreater(results["reached"][TOY.name][test]["read_fraction"][0], 0)
            self.assertIn(f"| {TOY.name} | {test} |", done.stdout)
        self.assertNotIn(self.folder.name, done.stdout)
        self.assertEqual(len(results["machines"]), 3)
        self.assertFalse(list(pathlib.Path().glob("*.log")), "what a peer left where this runs")

    def test_rounds_take_turns_and_go_on_from_a_file(self):
        done, results = self.run_it(self.fake, "--rounds", "2", "--jobs", "single")
        self.assertEqual(done.returncode, 0, done.stderr)
        said = [line for line in done.stderr.splitlines() if "pp16" in line]
        self.assertEqual([("farthing: pp" in line) for line in said], [True, False, False, True])
        self.assertEqual(results["samples"][TOY.name]["pp16"], {"farthing": [50, 50], "fake": [100, 100]})
        self.assertIn("| 50.0 | 100.0 | 0.50 (0.50 to 0.50) | 50 % | 10 % |", done.stdout)
        raw = pathlib.Path(self.folder.name) / "raw.json"
        done, results = self.run_it(self.fake, "--rounds", "1", "--jobs", "single", "--from-json", str(raw))
        self.assertEqual(results["rounds_done"], 3)
        self.assertEqual(results["samples"][TOY.name]["tg4"], {"farthing": [50] * 3, "fake": [200] * 3})

    def test_a_peer_without_depth_is_asked_for_generation_after_a_prompt(self):
        self.fake_peer("-gp <pp,tg>")
        done, results = self.run_it(self.fake, "--rounds", "1", "--jobs", "depth")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(results["samples"][TOY.name], {"tg4 @ d32": {"farthing": [50], "fake": [100]},
                                                        "tg4 @ d64": {"farthing": [50], "fake": [200]}})

    def test_a_peer_that_fails_is_named_and_the_rest_goes_on(self):
        script(self.folder.name, "llama-batched-bench", "#!/bin/sh\necho broken >&2; exit 3\n")
        done, results = self.run_it(self.fake, "--rounds", "1", "--jobs", "batch,single")
        self.assertEqual(done.returncode, 1)
        self.assertEqual(results["failures"], [f"fake, batch of {TOY.name}"])
        self.assertEqual(results["samples"][TOY.name]["2 x tg4 @ d8"], {"farthing": [50], "fake": [None]})
        self.assertEqual(results["samples"][TOY.name]["pp16"]["fake"], [100])
        self.assertIn("exit 3: broken", done.stderr)

    def test_starts(self):
        done, results = self.run_it(FARTHING, "--rounds", "1", "--jobs", "start")
        self.assertEqual(done.returncode, 0, done.stderr)
        starts = results["starts"][TOY.name]
        for kind in ("server", "one answer"):
            self.assertEqual(list(starts[kind]), ["farthing"])
            self.assertGreater(starts[kind]["farthing"][0]["first_token_s"], 0)
            self.assertGreater(starts[kind]["farthing"][0]["peak_mib"], 1)

    def test_refuses(self):
        for args in (["--jobs", "none"], ["--rounds", "0"], ["--bench-flags", "other=-rtr 1"], ["--depth", "0"]):
            self.assertEqual(self.run_it(self.fake, *args)[0].returncode, 2, args)


# farthing itself, by llama-server's flags.
FAKE_SERVER = """#!/bin/sh
while [ $# -gt 0 ]; do
  case $1 in -m) model=$2 ;; -np) seqs=$2 ;; -c) context=$2 ;; --port) port=$2 ;; esac
  shift 2
done
exec FARTHING serve --model $model --max-seqs $seqs --ctx $((context / seqs)) --port $port
"""


class Serve(unittest.TestCase):
    def test_every_cell_has_both_servers(self):
        with tempfile.TemporaryDirectory() as folder:
            peer = script(folder, "llama-server", FAKE_SERVER.replace("FARTHING", os.path.abspath(FARTHING)))
            raw = pathlib.Path(folder) / "raw.json"
            command = [sys.executable, str(HERE / "serve"), "--cell", f"{TOY}:2:8:4", "--cell", f"{TOY}:3:8:4:64",
                       "--farthing", FARTHING, "--llama-server", str(peer), "--rounds", "2", "--requests", "6",
                       "--json", str(raw)]
            done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
            self.assertEqual(done.returncode, 0, done.stderr)
            samples = json.loads(raw.read_text())
            self.assertEqual(list(samples), [f"{TOY.name}, 2 clients, 8 in, 4 out",
                                             f"{TOY.name}, 3 clients, 64 shared + 8 in, 4 out"])
            for rounds in samples.values():
                self.assertEqual([list(r) for r in rounds], [["farthing", "llama-server"], ["llama-server", "farthing"]])
                for figures in (figures for r in rounds for figures in r.values()):
                    self.assertEqual((figures["completed"], figures["total_output_tokens"]), (6, 24))
                    self.assertGreater(figures["peak_mib"], 1)
            self.assertEqual(done.stdout.count("| **ratio** |"), 2)
            self.assertNotIn(folder, done.stdout)

    def test_refuses(self):
        for cell in (f"{TOY}:0:8:4", f"{TOY}:1:8", "no such file:1:8:4", f"{TOY}:1:8:4:5:6"):
            done = subprocess.run([sys.executable, str(HERE / "serve"), "--cell", cell], capture_output=True, check=False)
            self.assertEqual(done.returncode, 2, cell)


class LongPrompt(unittest.TestCase):
    def test_gaps_before_and_meanwhile(self):
        with tempfile.TemporaryDirectory() as folder:
            peer = script(folder, "llama-server", FAKE_SERVER.replace("FARTHING", os.path.abspath(FARTHING)))
            command = [sys.executable, str(HERE / "long_prompt"), str(TOY), "--farthing", FARTHING, "--llama-server",
                       str(peer), "--streams", "2", "--stream-prompt", "4", "--prompt", "100", "--context", "1024",
                       "--quiet", "0.1", "--json"]
            done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
            self.assertEqual(done.returncode, 0, done.stderr)
            rounds = json.loads(done.stdout)
            self.assertEqual([list(r) for r in rounds], [["farthing", "llama-server"], ["llama-server", "farthing"]])
            for figures in (figures for r in rounds for figures in r.values()):
                self.assertGreater(figures["before_p50"], 0)
                self.assertLessEqual(figures["meanwhile_p50"], figures["meanwhile_p99"])
                self.assertLessEqual(figures["meanwhile_p99"], figures["meanwhile_most"])
                self.assertGreater(figures["ttft"], 0)

    def test_says_what_failed(self):
        command = [sys.executable, str(HERE / "long_prompt"), str(TOY), "--farthing", FARTHING, "--llama-server",
                   "none", "--prompt", "9000", "--context", "64", "--streams", "1", "--stream-prompt", "4"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("a stream brought no answer", done.stderr)
        self.assertNotIn("Traceback", done.stderr)


# Loses nothing, and finds every file as likely.
FAKE_QUANTIZE = """#!/bin/sh
[ "$1" != --imatrix ] || { [ -s "$2" ] && shift 2; }
cp "$1" "$2"
"""
FAKE_PERPLEXITY = """#!/bin/sh
echo "Final estimate: PPL = 12.5000 +/- 0.1" >&2
"""


class Types(unittest.TestCase):
    def test_every_type_has_a_row_with_and_without_a_matrix(self):
        with tempfile.TemporaryDirectory() as folder:
            script(folder, "llama-quantize", FAKE_QUANTIZE)
            script(folder, "llama-perplexity", FAKE_PERPLEXITY)
            text = pathlib.Path(folder) / "text"
            text.write_text(" ".join(f"word{i * 7919 % 1000}" for i in range(600)))
            command = [sys.executable, str(HERE / "types"), str(TOY), str(text), "--calibrate", str(text),
                       "--types", "Q8_0,Q4_0", "--chunks", "1", "--calibrate-chunks", "1",
                       "--farthing", FARTHING, "--peer", folder]
            done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
            self.assertEqual(done.returncode, 0, done.stderr)
            rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in done.stdout.splitlines()[2:]]
            self.assertEqual([row[0] for row in rows], ["Q8_0", "Q8_0, weighted", "Q4_0", "Q4_0, weighted"])
            for row in rows:
                ours, theirs = (float(cell.split()[0]) for cell in row[2:4])
                self.assertGreater(ours, 1e-4)
                self.assertLess(theirs, 1e-6)
                self.assertEqual(row[6].split(", ")[1], "12.500")
            self.assertGreater(float(rows[2][2].split()[0]), 10 * float(rows[0][2].split()[0]))

    def test_says_what_failed(self):
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, str(HERE / "types"), str(TOY), "no such text", "--farthing", FARTHING,
                       "--peer", folder]
            done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
            self.assertEqual(done.returncode, 1)
            self.assertIn("llama-quantize", done.stderr)
            self.assertNotIn("Traceback", done.stderr)


class Report(unittest.TestCase):
    def test_ratios_are_within_a_round_and_skip_failures(self):
        self.assertEqual(report.ratios([2, 9, None, 8], [1, 3, 4, None]), [2, 3])
        middle, text = report.row_of_ratio({"farthing": [2, 30, 4], "slow": [1, 1, 1], "fast": [2, 10, 2]})
        self.assertEqual((middle, text), (2, "2.00 (1.00 to 3.00)"))
        self.assertEqual(report.row_of_ratio({"farthing": [2]}), (None, "-"))
        self.assertEqual(report.row_of_ratio({"farthing": [2], "none": [None]}), (None, "-"))

    def test_best_peer_may_be_the_lowest(self):
        times = {"farthing": [1], "a": [4, 2, 3], "b": [5, 5, 1]}
        self.assertEqual(report.best_peer(times), "b")
        self.assertEqual(report.best_peer(times, lower_is_better=True), "a")

    def test_sections_are_replaced_in_place(self):
        page = "# Title\n\nkeep \\1\n"
        once = report.replace_section(page, "native", "first\n")
        other = report.replace_section(once, "avx2", "other\n")
        twice = report.replace_section(other, "native", "second \\1\n")
        self.assertTrue(twice.startswith(page.rstrip("\n")))
        self.assertNotIn("first", twice)
        self.assertEqual(twice.count("second \\1\n<!--"), 1)
        self.assertLess(twice.index("second"), twice.index("other"))

    def test_batched_figures(self):
        text = FAKE_BATCHED + "| 128 | 64 | 32 | 6144 | 1.0 | 2.0 | 3.0 | 682.5 | 5.0 | 6.0 |\nmain: | 1 | 2 |\n"
        text = text.replace("echo '", "").replace("|' $TABLE_TO", "|").replace("|'", "|")
        self.assertEqual(programs.batched_figures(text), {"2 x tg4 @ d8": 77.0, "32 x tg64 @ d128": 682.5})


if __name__ == "__main__":
    unittest.main()
