"""Starts `farthing serve` on a free port and talks to it; standard library only."""

import http.client
import json
import os
import pathlib
import re
import select
import signal
import subprocess
import tempfile
import time


def models_dir():
    if os.environ.get("FARTHING_MODELS_DIR"):
        return pathlib.Path(os.environ["FARTHING_MODELS_DIR"])
    cache = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(cache) / "farthing" / "models"


SMOLLM2 = models_dir() / "SmolLM2-135M-Instruct.Q4_1.gguf"
START_SECONDS = 120
ANSWER_SECONDS = 300


class Server:
    """A running server; use as a context manager."""

    def __init__(self, binary, *flags, model=SMOLLM2, stderr=None):
        self.log = tempfile.TemporaryFile()
        command = [binary, "serve", "--model", str(model), "--port", "0", *flags]
        environment = {k: v for k, v in os.environ.items() if not k.startswith("FARTHING_")}
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr or self.log,
                                        env=environment)
        ready, _, _ = select.select([self.process.stdout], [], [], START_SECONDS)
        line = self.process.stdout.readline().decode() if ready else ""
        found = re.search(r"http://127\.0\.0\.1:(\d+)", line)
        if not found:
            log = self.log_text()
            self.kill()
            raise RuntimeError(f"the server did not start: {line!r}\n{log}")
        self.port = int(found[1])
        self.curl_line = self.process.stdout.readline().decode()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()

    def log_text(self):
        return os.pread(self.log.fileno(), 1 << 24, 0).decode(errors="replace")

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.log.close()

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)

    def wait(self, seconds=60):
        return self.process.wait(seconds)

    def connect(self):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=ANSWER_SECONDS)

    def request(self, method, path, body=None, headers=None):
        """(status, headers, parsed JSON)"""
        connection = self.connect()
        try:
            data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
            connection.request(method, path, data, {"Content-Type": "application/json", **(headers or {})})
            response = connection.getresponse()
            return response.status, response.headers, json.loads(response.read())
        finally:
            connection.close()

    def get(self, path):
        return self.request("GET", path)

    def metrics(self):
        """{"name{labels}": value}"""
        connection = self.connect()
        try:
            connection.request("GET", "/metrics")
            response = connection.getresponse()
            assert response.status == 200 and response.headers["Content-Type"].startswith("text/plain")
            lines = response.read().decode().splitlines()
        finally:
            connection.close()
        samples = (line.rsplit(" ", 1) for line in lines if line and not line.startswith("#"))
        return {name: float(value) for name, value in samples}

    def post(self, path, body):
        return self.request("POST", path, body)

    def good(self, path, **body):
        status, _, answer = self.post(path, body)
        assert status == 200, answer
        return answer

    def complete(self, prompt, **body):
        return self.good("/v1/completions", prompt=prompt, **body)

    def chat(self, text, **body):
        return self.good("/v1/chat/completions", messages=[{"role": "user", "content": text}], **body)

    def open_stream(self, path, **body):
        return Stream(self.connect(), path, {**body, "stream": True})


class Stream:
    """The events of one streamed answer, each with the time it came."""

    def __init__(self, connection, path, body):
        self.connection = connection
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        self.response = connection.getresponse()
        assert self.response.status == 200, self.response.read()

    def __iter__(self):
        """The data of each event: parsed JSON, or the string [DONE]."""
        for raw in self.response:
            line = raw.decode().rstrip("\n")
            if line.startswith("data: "):
                data = line[6:]
                yield data if data == "[DONE]" else json.loads(data)
            else:
                assert line == "" or line.startswith(":"), line
        self.close()

    def close(self):
        self.response.close()
        self.connection.close()


def stream_text(events, key):
    """Text of all choices' deltas (key: content) or texts (key: text), in the order they came."""
    text = ""
    for event in events:
        for choice in event["choices"] if event != "[DONE]" else []:
            text += (choice["delta"] if key == "content" else choice).get(key) or ""
    return text


def wait_until(condition, seconds, what):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"{what} did not happen within {seconds} s")
        time.sleep(0.05)
