"""Servers that benchmarks start: each a fresh process, there when it answers, gone at the end."""

import contextlib
import pathlib
import re
import signal
import subprocess
import sys
import time

import programs

ROOT = pathlib.Path(__file__).resolve().parents[2]


@contextlib.contextmanager
def running(name, command, port):
    """The process of a server that listens on the port and is ready."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
                          env=programs.environment()) as server:
        try:
            deadline = time.monotonic() + 300
            while not healthy(port):
                if server.poll() is not None or time.monotonic() > deadline:
                    raise programs.Failure(f"{name} did not start")
                time.sleep(0.05)
            yield server
        finally:
            server.send_signal(signal.SIGTERM)
            try:
                server.wait(60)
            except subprocess.TimeoutExpired:
                server.kill()


def healthy(port):
    try:
        connection, response = programs.request(port, "GET", "/health")
        connection.close()
        return response.status == 200
    except OSError:
        return False


def peak_mib(server):
    status = pathlib.Path(f"/proc/{server.pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status).group(1)) / 1024


def installed_llama_server():
    done = subprocess.run([ROOT / "bench/peers/install"], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        sys.exit("bench/peers/install failed; its reason stands above")
    return str(pathlib.Path(done.stdout.splitlines()[0]).parent / "llama-server")
