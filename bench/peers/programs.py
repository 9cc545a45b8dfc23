"""How each program is asked for the same tests: farthing, and those that take llama-bench's flags.

A test is named as `farthing bench` names it: "pp512", "tg128", "tg128 @ d4096", "8 x tg64 @ d128".
"""

import http.client
import json
import os
import pathlib
import re
import shlex
import signal
import socket
import subprocess
import tempfile
import time

TIMEOUT = 3600  # seconds of one program
PROMPT = "The farthing was a quarter of an old penny, and"


class Failure(Exception):
    """A program that didn't give its figures: what was run, and the end of what it said."""


class Plan:
    """What is measured: the sizes that every program is given."""

    def __init__(self, threads=2, prompt=512, gen=128, depths=(4096,), batches=(8, 32),
                 batch_prompt=128, batch_gen=64, reps=2, context=2048):
        self.threads, self.prompt, self.gen = threads, prompt, gen
        self.depths, self.batches = list(depths), list(batches)
        self.batch_prompt, self.batch_gen = batch_prompt, batch_gen
        self.reps, self.context = reps, context

    def tests(self, job):
        """The names of a job's tests, in order."""
        if job == "single":
            return [test_name(self.prompt, 0), test_name(0, self.gen)]
        if job == "depth":
            return [test_name(0, self.gen, depth) for depth in self.depths]
        return [test_name(0, self.batch_gen, self.batch_prompt, n) for n in self.batches]


def test_name(n_prompt, n_gen, n_depth=0, n_sequences=1):
    name = f"{n_sequences} x " if n_sequences > 1 else ""
    name += f"pp{n_prompt}" if n_prompt else f"tg{n_gen}"
    return name + (f" @ d{n_depth}" if n_depth else "")


def listed(numbers):
    return ",".join(str(n) for n in numbers)


def environment():
    """Nobody's settings but those on the command line."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("FARTHING_", "LLAMA_ARG_"))}


def output_of(command, errors_too=False):
    # Into one pipe: llama.cpp puts some of a line on each, in an order that only holds there.
    errors = subprocess.STDOUT if errors_too else subprocess.PIPE
    try:
        with tempfile.TemporaryDirectory() as folder:  # some leave a log where they run
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=errors, text=True, timeout=TIMEOUT,
                                  errors="replace", env=environment(), stdin=subprocess.DEVNULL, cwd=folder,
                                  check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Failure(f"{shlex.join(command)}: {error}") from error
    if done.returncode != 0:
        said = ((done.stderr or "").strip() or done.stdout.strip()).splitlines()[-3:]
        raise Failure(f"{shlex.join(command)}: exit {done.returncode}: {' | '.join(said)}")
    return done.stdout


def json_of(command):
    """The one JSON value on standard output; some programs write other lines before it."""
    text = output_of(command)
    start = re.search(r"^[\[{]", text, re.MULTILINE)
    try:
        return json.loads(text[start.start():] if start else text)
    except ValueError as error:
        raise Failure(f"{shlex.join(command)}: no JSON: {error}") from error


def wanted(figures, plan, job):
    """Exactly the tests of this job, or a Failure that names what is missing."""
    missing = [test for test in plan.tests(job) if test not in figures]
    if missing:
        raise Failure(f"{job}: no figure for {', '.join(missing)} among {', '.join(figures) or 'none'}")
    return {test: figures[test] for test in plan.tests(job)}


class Farthing:
    name = "farthing"

    def __init__(self, binary, flags=()):
        self.binary, self.flags = str(pathlib.Path(binary).resolve()), list(flags)
        self.report = None  # JSON of the last job: the machine's limits and how much was reached

    def version(self):
        return output_of([self.binary, "--version"]).strip()

    def command(self, plan, job, model):
        tests = {
            "single": ["--prompt", str(plan.prompt), "--gen", str(plan.gen)],
            "depth": ["--prompt", "0", "--gen", str(plan.gen), "--depth", listed(plan.depths)],
            "batch": ["--prompt", str(plan.batch_prompt), "--gen", str(plan.batch_gen),
                      "--batch", listed(plan.batches)],
        }[job]
        return [self.binary, "bench", "--model", model, "--threads", str(plan.threads), *tests,
                "--reps", str(plan.reps), *self.flags, "--json"]

    def run(self, plan, job, model):
        self.report = json_of(self.command(plan, job, model))
        return wanted({row["test"]: row["avg_ts"] for row in self.report["results"]}, plan, job)

    def server(self, plan, model, port):
        return [self.binary, "serve", "--model", model, "--threads", str(plan.threads), "--ctx", str(plan.context),
                "--max-seqs", "1", "--port", str(port), *self.flags]

    def one_answer(self, plan, model):
        return [self.binary, "run", "--model", model, "--threads", str(plan.threads), "--ctx", str(plan.context),
                "--raw", "--temperature", "0", "--max-tokens", "8", *self.flags, PROMPT]


class Peer:
    """A folder with llama-bench, llama-batched-bench and perhaps llama-server."""

    def __init__(self, name, folder, bench_flags="", batched_flags=""):
        self.name, self.folder = name, pathlib.Path(folder).resolve()
        self.bench_flags, self.batched_flags = shlex.split(bench_flags), shlex.split(batched_flags)
        self._help = None

    def version(self):
        build = self.folder / "BUILD"
        source = re.search(r"^source: (\S+)", build.read_text(), re.MULTILINE) if build.exists() else None
        return f"{self.name} ({source.group(1)})" if source else self.name

    def has_depth(self):
        """Whether llama-bench knows -d; else -gp (prompt, then generation timed alone) does it."""
        if self._help is None:
            command = [str(self.folder / "llama-bench"), "--help"]
            try:
                done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
            except (OSError, subprocess.TimeoutExpired) as error:
                raise Failure(f"{shlex.join(command)}: {error}") from error
            self._help = done.stdout + done.stderr
        return "--n-depth" in self._help

    def command(self, plan, job, model):
        if job == "batch":
            context = max(plan.batches) * (plan.batch_prompt + plan.batch_gen)
            return [str(self.folder / "llama-batched-bench"), "-m", model, "-t", str(plan.threads),
                    "-c", str(context), "-npp", str(plan.batch_prompt), "-ntg", str(plan.batch_gen),
                    "-npl", listed(plan.batches), "-fa", "on", *self.batched_flags]
        if job == "single":
            tests = ["-p", str(plan.prompt), "-n", str(plan.gen)]
        elif self.has_depth():
            tests = ["-p", "0", "-n", str(plan.gen), "-d", listed(plan.depths)]
        else:
            tests = ["-p", "0", "-n", "0"]
            for depth in plan.depths:
                tests += ["-gp", f"{depth},{plan.gen}"]
        return [str(self.folder / "llama-bench"), "-m", model, "-t", str(plan.threads), *tests, "-fa", "1",
                "-r", str(plan.reps), "-o", "json", *self.bench_flags]

    def run(self, plan, job, model):
        command = self.command(plan, job, model)
        if job == "batch":
            return wanted(batched_figures(output_of(command, errors_too=True)), plan, job)
        figures = {}
        for row in json_of(command):
            n_prompt, n_gen, n_depth = row["n_prompt"], row["n_gen"], row.get("n_depth", 0)
            if n_prompt and n_gen:  # -gp
                n_prompt, n_depth = 0, n_prompt
            figures[test_name(n_prompt, n_gen, n_depth)] = row["avg_ts"]
        return wanted(figures, plan, job)

    def server(self, plan, model, port):
        if not (self.folder / "llama-server").exists():
            return None
        return [str(self.folder / "llama-server"), "-m", model, "-t", str(plan.threads), "-c", str(plan.context),
                "-np", "1", "-fa", "on", "--host", "127.0.0.1", "--port", str(port)]

    def one_answer(self, plan, model):  # pylint: disable=unused-argument
        return None


def batched_figures(text):
    """llama-batched-bench's table, on standard error with some: PP, TG, B, N_KV, T_PP, S_PP, T_TG, S_TG, T, S."""
    figures = {}
    for line in text.splitlines():
        cells = line.strip().strip("|").split("|")
        try:
            values = [float(cell) for cell in cells]
        except ValueError:
            continue
        if len(values) == 10:
            figures[test_name(0, int(values[1]), int(values[0]), int(values[2]))] = values[7]
    return figures


def first_output(command):
    """Seconds from the start to the first byte on standard output, and the peak memory in MiB."""
    started = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
                          env=environment()) as process:
        byte = process.stdout.read(1)
        seconds = time.monotonic() - started
        process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0 or not byte:
        raise Failure(f"{shlex.join(command)}: exit {process.returncode}")
    return {"first_token_s": seconds, "peak_mib": usage.ru_maxrss / 1024}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def request(port, method, path, body=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
    connection.request(method, path, body=json.dumps(body) if body else None,
                       headers={"Content-Type": "application/json"})
    return connection, connection.getresponse()


def complete(port, prompt, n_tokens):
    """Streams a greedy completion; the time at which its first text came, or None."""
    body = {"model": "any", "prompt": prompt, "max_tokens": n_tokens, "temperature": 0, "stream": True}
    connection, response = request(port, "POST", "/v1/completions", body)
    if response.status != 200:
        raise Failure(f"/v1/completions: {response.status}: {response.read(300)!r}")
    first = None
    for line in response:
        if first is None and line.startswith(b"data: {") and json.loads(line[6:])["choices"][0].get("text"):
            first = time.monotonic()
    connection.close()
    return first


def server_start(command, port, context):
    """Seconds from the start of a server to the first token it streams, and its peak memory in MiB
    after a prompt of a fifth of the context and 64 tokens more."""
    started = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                               stdin=subprocess.DEVNULL, env=environment())
    try:
        while True:
            if process.poll() is not None or time.monotonic() - started > TIMEOUT:
                raise Failure(f"{shlex.join(command)}: ended before it was ready")
            try:
                connection, response = request(port, "GET", "/health")
                connection.close()
                if response.status == 200:
                    break
            except OSError:
                pass
            time.sleep(0.002)
        first = complete(port, PROMPT, 16)
        if first is None:
            raise Failure(f"{shlex.join(command)}: no token came")
        complete(port, PROMPT * (context // 64), 64)
        status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
        peak = re.search(r"VmHWM:\s+(\d+) kB", status)
        return {"first_token_s": first - started, "peak_mib": int(peak.group(1)) / 1024}
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise Failure(f"{shlex.join(command)}: {error!r}") from error
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
