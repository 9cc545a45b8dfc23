#!/usr/bin/env python3
"""Abuse of every route of the real server with the real SmolLM2. After each request the server is well, a canary's
answer has the same bytes, and what the server holds is what it held before. usage: abuse_test.py BINARY"""

import json
import pathlib
import socket
import sys
import time
import unittest

from server import Server, wait_until

BINARY = sys.argv.pop(1) if len(sys.argv) > 1 and not sys.argv[1].startswith("-") else None
POSTS = ("/v1/completions", "/v1/chat/completions", "/tokenize", "/detokenize", "/apply-template")
GETS = ("/v1/models", "/v1/models/x", "/health", "/livez", "/readyz", "/version", "/metrics", "/v1/requests/x/explain")
CANARY = {"prompt": "The capital of France is", "max_tokens": 3, "temperature": 0, "ignore_eos": True}


def post(path, body, head=""):
    return (f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n{head}\r\n").encode() + body


def chunked(path, rest):
    return (f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            f"Transfer-Encoding: chunked\r\n\r\n").encode() + rest


BODIES = [
    b"", b" " * 1000, b"{", b"null", b"[]", b'"a"', b"1e999", b"{}{}", b"\x00", b'{"model":{}}',
    b'{"prompt":-1,"tokens":-1,"messages":-1}',
    b'{"prompt":[99999999],"tokens":[99999999],"messages":[{"role":"boss","content":"a"}]}',
    b'{"prompt":"\xff","tokens":[1.5],"messages":"\xff"}',
    b'{"prompt":"\\ud800","tokens":["a"],"messages":["\\ud800"]}',
    b'{"messages":' + b"[" * 100_000,
    b'{"a":' * 100_000,
    b'{"tokens":[' + b"0," * 1_100_000 + b"0]}",
]

# Of one generating route: what the model itself could choke on.
MODEL = [
    {"prompt": "a", "n": 9}, {"prompt": ["a"] * 33}, {"prompt": ["a"] * 9, "n": 8}, {"prompt": "a", "max_tokens": -1},
    {"prompt": "word " * 3000}, {"prompt": [49152]}, {"prompt": "a", "logit_bias": {"49152": 1}},
    {"prompt": "a", "logit_bias": {str(i): 1 for i in range(1025)}}, {"prompt": "a", "temperature": 1e9},
    {"prompt": "a", "stop": ["x"] * 17}, {"prompt": "a", "stop": ""}, {"prompt": "a", "logprobs": 1000},
    {"prompt": "a", "min_tokens": 10, "max_tokens": 5}, {"prompt": "a", "guided_regex": "(a*)*b"},
    {"prompt": "a", "timeout_ms": 0}, {"prompt": "a", "seed": "x"}, {"prompt": "a", "stop_token_ids": [-1]},
]

# (name, bytes, status or None: whatever it is, it is an answer or the end of the connection)
ROWS = [(f"{path} {body[:30]!r}", post(path, body), 400) for path in POSTS for body in BODIES]
ROWS += [(f"completion {str(body)[:40]}", post(POSTS[0], json.dumps(body).encode()), 400) for body in MODEL]
for path in POSTS:
    ROWS += [
        (f"{path} chunk size", chunked(path, b"xyz\r\n"), 400),
        (f"{path} smuggled", post(path, b"", "Transfer-Encoding: chunked\r\n") + b"0\r\n\r\nGET /x HTTP/1.1\r\n\r\n",
         400),
        (f"{path} two lengths", post(path, b"{}", "Content-Length: 3\r\n"), 400),
        (f"{path} too long", post(path, b"", "").replace(b"Content-Length: 0", b"Content-Length: 99999999"), 413),
        (f"{path} GET", f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode(), 405),
    ]
for path in GETS:
    ROWS += [
        (f"{path} POST", post(path, b"{}"), 405),
        (f"{path} long header", f"GET {path} HTTP/1.1\r\nHost: x\r\na: {'b' * 40000}\r\n\r\n".encode(), 431),
        (f"{path} no host", f"GET {path} HTTP/1.1\r\n\r\n".encode(), 400),
    ]
ROWS += [
    ("garbage", b"\x16\x03\x01\x02\x01 hello\r\n\r\n", 400),
    ("traversal", b"GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n", 404),
    ("cut off in the head", b"POST /v1/completions HTT", None),
    ("cut off in the body", post(POSTS[0], b'{"prompt":"a","max_tokens":500}')[:-5], None),
    ("leaves at once", post(POSTS[0], b'{"prompt":"a","max_tokens":500,"ignore_eos":true,"stream":true}'), None),
]


class Abuse(unittest.TestCase):
    def test_every_route(self):
        self.assertGreaterEqual(len(ROWS), 100)
        with Server(BINARY, "--ctx", "2048", "--max-seqs", "4", "--max-queue", "60") as server:
            golden = server.complete(**CANARY)["choices"]
            server.good("/tokenize", prompt="a")  # starts the threads that read bodies
            server.good("/tokenize", prompt="a")
            time.sleep(0.5)  # the last connection is gone
            baseline = self.held(server)
            for name, data, status in ROWS:
                with self.subTest(name):
                    self.send(server, data, status)
                    self.assertEqual(server.get("/health")[0], 200)
                    self.assertEqual(server.complete(**CANARY)["choices"], golden)
                    wait_until(lambda: self.held(server) == baseline, 60, f"back at {baseline}")
            server.terminate()
            self.assertEqual(server.wait(), 0)

    def held(self, server):
        process = pathlib.Path(f"/proc/{server.process.pid}")
        files, threads = (len(list((process / folder).iterdir())) for folder in ("fd", "task"))
        return files, threads, server.metrics()['farthing_kv_blocks{state="leased"}']

    def send(self, server, data, status):
        with socket.create_connection(("127.0.0.1", server.port), timeout=60) as client:
            try:
                client.sendall(data)
            except OSError:
                pass  # refused before all of it was read
            if status is None:
                return
            answer = b""
            while b"\r\n\r\n" not in answer:
                piece = client.recv(65536)
                self.assertTrue(piece, "no answer")
                answer += piece
            head, _, body = answer.partition(b"\r\n\r\n")
            self.assertEqual(int(head.split()[1]), status, answer[:500])
            length = int(next(line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length"))[15:])
            while len(body) < length:
                body += client.recv(65536)
            self.assertTrue(json.loads(body[:length])["error"]["message"])


if __name__ == "__main__":
    if BINARY is None:
        sys.exit(__doc__)
    unittest.main(verbosity=2)
