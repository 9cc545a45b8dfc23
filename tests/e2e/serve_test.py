#!/usr/bin/env python3
"""The real server with the real SmolLM2 over real sockets: usage: serve_test.py BINARY"""

import concurrent.futures
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

from server import ANSWER_SECONDS, SMOLLM2, Server, models_dir, stream_text, wait_until

BINARY = sys.argv.pop(1) if len(sys.argv) > 1 and not sys.argv[1].startswith("-") else None
SMALL = ("--ctx", "2048", "--max-seqs", "4", "--max-wait", "0")  # however slow the machine
GREEDY = {"temperature": 0, "seed": 1}
STORY = "Once upon a time there was a small robot who"


TOKEN_COUNTS = ("prompt_tokens", "completion_tokens", "total_tokens")


class Answers(unittest.TestCase):
    """One server for all of them; none may disturb another."""

    @classmethod
    def setUpClass(cls):
        cls.server = Server(BINARY, *SMALL)

    @classmethod
    def tearDownClass(cls):
        cls.server.terminate()
        code = cls.server.wait()
        log = cls.server.log_text()
        cls.server.kill()
        assert code == 0, f"exit code {code}"
        assert "Once upon" not in log and "capital of France" not in log, "content in the log"

    def test_models_and_health(self):
        status, headers, models = self.server.get("/v1/models")
        self.assertEqual(status, 200)
        self.assertTrue(headers["X-Request-Id"])
        model = models["data"][0]
        self.assertEqual(model["id"], SMOLLM2.stem)
        self.assertEqual(model["root"], model["id"])
        self.assertEqual(model["max_model_len"], 2048)
        self.assertEqual(self.server.get("/v1/models/" + model["id"])[2], model)
        for path in ("/health", "/livez", "/readyz"):
            self.assertEqual(self.server.get(path)[0], 200)
        self.assertRegex(self.server.get("/version")[2]["version"], r"\d+\.\d+")
        self.assertIn("/v1/chat/completions", self.server.curl_line)

    def test_chat_streamed_equals_plain(self):
        # (Without a system message this model rambles about the Marseillaise, in llama-server too.)
        messages = [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "What is the capital of France?"},
        ]
        plain = self.server.good("/v1/chat/completions", messages=messages, max_tokens=24, **GREEDY)
        choice = plain["choices"][0]
        self.assertIn("Paris", choice["message"]["content"])
        self.assertEqual(plain["object"], "chat.completion")
        self.assertIn(choice["finish_reason"], ("stop", "length"))
        usage = plain["usage"]
        self.assertEqual(usage["total_tokens"], usage["prompt_tokens"] + usage["completion_tokens"])
        self.assertGreater(plain["timings"]["predicted_n"], 0)

        stream = self.server.open_stream(
            "/v1/chat/completions",
            messages=messages,
            max_tokens=24,
            stream_options={"include_usage": True},
            **GREEDY,
        )
        events = list(stream)
        self.assertEqual(events[-1], "[DONE]")
        self.assertEqual(events[-2]["choices"], [])
        streamed = events[-2]["usage"]
        self.assertEqual({k: streamed[k] for k in TOKEN_COUNTS}, {k: usage[k] for k in TOKEN_COUNTS})
        # The prompt was there already: all but its last token, which gives the first logits.
        self.assertEqual(streamed["prompt_tokens_details"],
                         {"cached_tokens": usage["prompt_tokens"] - 1, "cache_miss_reason": "none"})
        self.assertEqual(events[-3]["choices"][0]["finish_reason"], choice["finish_reason"])
        self.assertEqual(events[0]["choices"][0]["delta"]["role"], "assistant")
        self.assertTrue(events[0]["choices"][0]["delta"]["content"], "the role comes with the first text")
        self.assertEqual(stream_text(events, "content"), choice["message"]["content"])
        self.assertTrue(all(e["usage"] is None for e in events[:-2]))

    def test_the_curl_line_works(self):
        command = re.search(r"-d '(.*)'", self.server.curl_line)[1]
        self.assertTrue(self.server.good("/v1/chat/completions", **json.loads(command))["choices"])

    def test_prompt_forms_agree(self):
        ids = self.server.good("/tokenize", prompt=STORY)["tokens"]
        self.assertEqual(self.server.good("/detokenize", tokens=ids)["prompt"], STORY)
        text = self.server.complete(STORY, max_tokens=12, **GREEDY)["choices"][0]["text"]
        by_ids = self.server.complete(ids, max_tokens=12, **GREEDY)["choices"][0]["text"]
        batch = self.server.complete([STORY, "Two plus two is"], max_tokens=12, **GREEDY)["choices"]
        both = self.server.complete([ids, ids], max_tokens=12, **GREEDY)["choices"]
        echo = self.server.complete(STORY, max_tokens=12, echo=True, **GREEDY)["choices"][0]["text"]
        self.assertEqual(text, by_ids)
        self.assertEqual(batch[0]["text"], text)
        self.assertEqual([c["text"] for c in both], [text, text])
        self.assertEqual([c["index"] for c in both], [0, 1])
        self.assertEqual(echo, STORY + text)

    def test_token_counts(self):
        answer = self.server.complete(STORY, max_tokens=33, ignore_eos=True, **GREEDY)
        self.assertEqual(answer["usage"]["completion_tokens"], 33)
        self.assertEqual(answer["choices"][0]["finish_reason"], "length")
        count = self.server.good("/tokenize", prompt=STORY)["count"]
        self.assertEqual(answer["usage"]["prompt_tokens"], count)

    def test_seeds(self):
        def texts(**body):
            answer = self.server.complete(STORY, max_tokens=16, temperature=1.0, **body)
            return [c["text"] for c in answer["choices"]]

        first = texts(seed=7, n=3)
        self.assertEqual(first, texts(seed=7, n=3))
        self.assertEqual(len(set(first)), 3, "samples of one request differ")
        self.assertNotEqual(texts(), texts(), "an absent seed is drawn anew")

    def test_cached_prefixes(self):
        def ask(prompt, **body):
            answer = self.server.complete(prompt, max_tokens=8, **GREEDY, **body)
            usage = answer["usage"]
            return answer["choices"][0]["text"], usage["prompt_tokens"], usage["prompt_tokens_details"]

        prompt = "Nobody else in this file begins a prompt like this, " * 8
        cold, n, details = ask(prompt)
        self.assertEqual(details["cache_miss_reason"], "no_entry")
        warm, _, details = ask(prompt)
        self.assertEqual((warm, details["cached_tokens"]), (cold, n - 1))
        salted, _, details = ask(prompt, cache_salt="mine")
        self.assertEqual((salted, details["cached_tokens"]), (cold, 0))
        _, longer, details = ask(prompt + "and it goes on")
        self.assertGreaterEqual(details["cached_tokens"], n - 1)
        self.assertLess(details["cached_tokens"], longer)

    def test_logprobs(self):
        chat = self.server.chat("Name a colour.", max_tokens=5, logprobs=True, top_logprobs=3, **GREEDY)
        content = chat["choices"][0]["logprobs"]["content"]
        self.assertTrue(content)
        for entry in content:
            self.assertLessEqual(entry["logprob"], 0)
            self.assertEqual(len(entry["top_logprobs"]), 3)
            self.assertEqual(entry["top_logprobs"][0]["token"], entry["token"])
            best = [t["logprob"] for t in entry["top_logprobs"]]
            self.assertEqual(best, sorted(best, reverse=True))
            self.assertEqual(bytes(entry["bytes"]).decode(), entry["token"])
        plain = self.server.complete(STORY, max_tokens=4, logprobs=2, ignore_eos=True, **GREEDY)["choices"][0]
        lists = plain["logprobs"]
        self.assertEqual("".join(lists["tokens"]), plain["text"])
        self.assertEqual(len(lists["token_logprobs"]), 4)
        self.assertEqual(lists["text_offset"][0], 0)
        # With echo, also of the prompt: whatever is stored of it, and the same as when it was generated.
        ids = self.server.good("/tokenize", content=STORY)["tokens"]
        asked = {"logprobs": 2, "return_tokens_as_token_ids": True, **GREEDY}
        said = self.server.complete(ids, max_tokens=6, ignore_eos=True, **asked)["choices"][0]["logprobs"]
        whole = ids + [int(token.removeprefix("token_id:")) for token in said["tokens"]]
        for _ in range(2):
            answer = self.server.complete(whole, max_tokens=1, echo=True, **asked)
            scored = answer["choices"][0]["logprobs"]
            self.assertIsNone(scored["token_logprobs"][0])
            self.assertEqual(len(scored["token_logprobs"]), len(whole) + 1)
            self.assertEqual(scored["token_logprobs"][len(ids):-1], said["token_logprobs"])
            self.assertEqual(scored["top_logprobs"][len(ids):-1], said["top_logprobs"])
            self.assertEqual(answer["usage"]["completion_tokens"], 1)
            self.assertEqual(answer["usage"]["prompt_tokens_details"]["cached_tokens"], 0)
        alone = self.server.complete(whole, max_tokens=0, echo=True, **asked)["choices"][0]["logprobs"]
        self.assertEqual(alone["token_logprobs"], scored["token_logprobs"][:-1])
        # A banned token never comes; a favoured one always does.
        colon = self.server.good("/tokenize", content=":")["tokens"][0]
        biased = self.server.complete(STORY, max_tokens=3, logit_bias={str(colon): 100}, **GREEDY)
        self.assertEqual(biased["choices"][0]["text"], ":::")

    def test_quality_of_a_served_model(self):
        """A server is judged as the model itself is, but for KL divergence, of which it tells a part."""

        def quality(model):
            flags = ("--reference", SMOLLM2, "--reference-kv-type", "int8", "--text", models_dir() / "shakespeare.txt",
                     "--ctx", "128", "--chunks", "2", "--suite", "--questions", "1", "--json")  # fmt: skip
            command = [BINARY, "quality", "--model", model, *map(str, flags)]
            return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=600).stdout)

        here, served = quality(str(SMOLLM2)), quality(f"http://127.0.0.1:{self.server.port}")
        self.assertEqual(here["n_scored"], served["n_scored"])
        for name in ("ppl", "ppl_reference", "rms_dp"):
            self.assertAlmostEqual(here[name] / served[name], 1, delta=1e-4)
        self.assertEqual(here["top1_agreement"], served["top1_agreement"])
        self.assertNotIn("kld_mean", served)
        self.assertLessEqual(served["kld_mean_at_least"], here["kld_mean"] + 1e-6)
        self.assertGreater(served["kld_mean_at_least"], 0)
        self.assertEqual(here["suite"], served["suite"])
        self.assertEqual(set(served["suite"]["tasks"]), set("continue speaker last-word repeat recall count".split()))
        self.assertEqual(served["reference_note"], "llama 135M Q4_1: a 4-bit file")

    def test_stop(self):
        text = self.server.complete(STORY, max_tokens=40, ignore_eos=True, **GREEDY)["choices"][0]["text"]
        stop = text[10:16]
        cut = self.server.complete(STORY, max_tokens=40, stop=[stop, "unseen"], **GREEDY)["choices"][0]
        self.assertEqual(cut["text"], text[: text.index(stop)])
        self.assertEqual(cut["finish_reason"], "stop")
        kept = self.server.complete(STORY, max_tokens=40, stop=stop, include_stop_str_in_output=True, **GREEDY)
        self.assertEqual(kept["choices"][0]["text"], text[: text.index(stop) + len(stop)])
        stream = self.server.open_stream("/v1/completions", prompt=STORY, max_tokens=40, stop=stop, **GREEDY)
        self.assertEqual(stream_text(list(stream), "text"), cut["text"])

    def test_company_changes_nothing(self):
        def run(i):
            prompt = f"{STORY} number {i % 3}"
            if i % 2:
                return stream_text(
                    self.server.open_stream("/v1/completions", prompt=prompt, max_tokens=20, **GREEDY), "text"
                )
            return self.server.complete(prompt, max_tokens=20, **GREEDY)["choices"][0]["text"]

        alone = [run(i) for i in range(6)]
        with concurrent.futures.ThreadPoolExecutor(6) as pool:
            self.assertEqual(list(pool.map(run, range(6))), alone)

    def test_control_tokens_in_a_message_are_text(self):
        honest = self.server.good("/v1/chat/completions", messages=[{"role": "user", "content": "x"}], max_tokens=1)
        spelled = self.server.good(
            "/v1/chat/completions", messages=[{"role": "user", "content": "x<|im_end|>"}], max_tokens=1
        )
        self.assertGreater(spelled["usage"]["prompt_tokens"], honest["usage"]["prompt_tokens"] + 2)

    def test_bad_inputs(self):
        chat, completion = "/v1/chat/completions", "/v1/completions"
        message = [{"role": "user", "content": "Hi"}]
        table = [
            (chat, {}, 400, "messages"),
            (chat, {"messages": message, "temperature": 3}, 400, "temperature"),
            (chat, {"messages": message, "tools": [{"type": "function"}]}, 400, "tools"),
            (chat, {"messages": message, "response_format": {"type": "json_object"}}, 400, "response_format"),
            (chat, {"messages": [{"role": "boss", "content": "Hi"}]}, 400, "messages[0].role"),
            (completion, {"prompt": ""}, 200, None),
            (completion, {"prompt": [49152]}, 400, "prompt"),
            (completion, {"prompt": "a", "logit_bias": {"49152": 1}}, 400, "logit_bias"),
            (completion, {"prompt": "a", "suffix": "b"}, 400, "suffix"),
            (completion, {"prompt": "word " * 3000}, 400, "prompt"),
            (completion, b"{", 400, None),
            (completion, b'{"prompt":"\xff"}', 400, None),
        ]
        for path, body, expected, param in table:
            with self.subTest(body=str(body)[:60]):
                status, _, answer = self.server.post(path, body)
                self.assertEqual(status, expected, answer)
                if expected == 400:
                    self.assertEqual(answer["error"]["param"], param)
        _, _, long = self.server.post(completion, {"prompt": "word " * 3000})
        self.assertEqual(long["error"]["code"], "context_length_exceeded")
        self.assertIn("2048", long["error"]["message"])
        self.assertEqual(self.server.get("/nothing")[0], 404)
        status, headers, _ = self.server.get(chat)
        self.assertEqual((status, headers["Allow"]), (405, "POST"))
        status, headers, _ = self.server.post(chat, {"messages": message, "max_tokens": 1, "sparkle": 1})
        self.assertEqual((status, headers["X-Farthing-Warning"]), (200, "unknown field sparkle"))

    def test_deadline(self):
        status, _, answer = self.server.post(
            "/v1/completions", {"prompt": STORY, "max_tokens": 1900, "ignore_eos": True, "timeout_ms": 300}
        )
        self.assertEqual((status, answer["error"]["code"]), (504, "deadline_exceeded"))


class Leaving(unittest.TestCase):
    """With room for one sequence, a client that leaves must make it free."""

    def test_the_next_request_starts_at_once(self):
        with Server(BINARY, "--ctx", "4096", "--max-seqs", "1") as server:
            endless = {"max_tokens": 3000, "ignore_eos": True, **GREEDY}
            alone = server.complete("Hi", max_tokens=4, **GREEDY)
            long_prompt = "word " * 3000

            def in_decode():
                stream = server.open_stream("/v1/completions", prompt=STORY, **endless)
                next(iter(stream))
                return stream

            def in_prefill():
                return server.open_stream("/v1/completions", prompt=long_prompt, **endless)

            def not_streamed():
                connection = server.connect()
                connection.request("POST", "/v1/completions", json.dumps({"prompt": STORY, **endless}),
                                   {"Content-Type": "application/json"})
                time.sleep(0.5)
                return connection

            for start in (in_decode, in_prefill, not_streamed):
                with self.subTest(start.__name__):
                    start().close()
                    begin = time.monotonic()
                    answer = server.complete("Hi", max_tokens=4, **GREEDY)
                    self.assertEqual(answer["choices"], alone["choices"])
                    # 3,000 tokens would take far longer, even on a machine with other work.
                    self.assertLess(time.monotonic() - begin, 10)
            # One that waits and leaves never runs.
            first = in_decode()
            waiting = server.open_stream("/v1/completions", prompt=STORY, **endless)
            waiting.close()
            first.close()
            server.complete("Hi", max_tokens=4, **GREEDY)
            wait_until(lambda: server.log_text().count(" 499 ") >= 5, 10, "all five in the log as left")
            server.terminate()
            self.assertEqual(server.wait(), 0)


class Money(unittest.TestCase):
    """A server at 3.60 an hour: 0.001 a second."""

    RATE = 0.001

    def used(self, metrics):
        return sum(metrics[f'farthing_cost_total{{phase="{p}",currency="EUR"}}'] for p in ("prompt", "completion"))

    def test_every_answer_has_its_price_and_they_add_up(self):
        started = time.monotonic()
        with Server(BINARY, *SMALL, "--price-per-hour", "3.6", "--currency", "EUR") as server:
            ready = time.monotonic()
            answers = [
                server.complete(STORY, max_tokens=20, **GREEDY),
                server.complete(STORY, max_tokens=9, n=3),
                server.complete([STORY, "Two plus two is"], max_tokens=5),
                server.chat("Hello!", max_tokens=7),
            ]
            stream = server.open_stream("/v1/completions", prompt="One, two,", max_tokens=6,
                                        stream_options={"include_usage": True})
            answers.append(list(stream)[-2])
            costs = [answer["usage"]["cost"] for answer in answers]
            for cost, answer in zip(costs, answers):
                self.assertEqual((cost["currency"], cost["basis"]), ("EUR", "used"))
                self.assertGreater(cost["prompt"], 0)
                self.assertGreater(cost["completion"], 0)
                self.assertAlmostEqual(cost["total"], cost["prompt"] + cost["cached"] + cost["completion"], 12)
                tokens = answer["usage"]["completion_tokens"]
                self.assertAlmostEqual(cost["per_million"] / (cost["total"] / tokens * 1e6), 1, 6)
            asked = time.monotonic()
            metrics = server.metrics()
            total = sum(cost["total"] for cost in costs)
            self.assertAlmostEqual(self.used(metrics) / total, 1, 6)
            machine = self.used(metrics) + metrics['farthing_cost_total{phase="idle",currency="EUR"}']
            self.assertGreaterEqual(machine, (asked - ready) * self.RATE)
            self.assertLessEqual(machine, (time.monotonic() - started) * self.RATE)
            # Work for somebody who left is the machine's cost too.
            left = server.open_stream("/v1/completions", prompt=STORY, max_tokens=1500, ignore_eos=True)
            next(iter(left))
            left.close()
            wait_until(lambda: server.metrics()['farthing_requests_finished_total{reason="cancelled"}'] == 1,
                       10, "the cancellation")
            metrics = server.metrics()
            self.assertGreater(self.used(metrics), total)
            self.assertGreater(metrics['farthing_wasted_tokens_total{reason="cancelled"}'], 0)
            self.assertEqual(metrics['farthing_kv_blocks{state="leased"}'], 0)
            finished = sum(v for k, v in metrics.items() if k.startswith("farthing_requests_finished_total"))
            self.assertEqual(metrics["farthing_requests_received_total"], finished)

    def test_explain_and_bench_serve(self):
        with Server(BINARY, *SMALL, "--price-per-hour", "3.6", "--currency", "EUR",
                    "--metrics-alias", "vllm") as server:
            answer = server.complete(STORY, max_tokens=5, **GREEDY)
            status, _, why = server.get(f"/v1/requests/{answer['id']}/explain")
            self.assertEqual((status, why["finish_reason"]), (200, "length"))
            self.assertEqual(why["usage"], answer["usage"])
            self.assertNotIn("Once upon", json.dumps(why))
            self.assertEqual(server.get("/v1/requests/nobody/explain")[0], 404)
            before = server.metrics()
            result = subprocess.run(
                [BINARY, "bench", "serve", "--url", f"http://127.0.0.1:{server.port}", "--num-prompts", "12",
                 "--max-concurrency", "3", "--input-len", "40", "--output-len", "8", "--prefix-len", "64",
                 "--goodput", "ttft:60000", "--json", "--details", "--label", "mine"],
                capture_output=True, timeout=ANSWER_SECONDS)
            self.assertEqual(result.returncode, 0, result.stderr)
            report = json.loads(result.stdout)
            after = server.metrics()
            self.assertEqual((report["completed"], report["failed"]), (12, 0))
            self.assertEqual(report["total_input_tokens"], 12 * 104)
            self.assertEqual(report["total_output_tokens"], 12 * 8)
            self.assertGreaterEqual(report["total_cached_tokens"], 9 * 64)
            self.assertEqual(report["max_concurrent_requests"], 3)
            self.assertAlmostEqual(report["request_goodput"], report["request_throughput"])
            self.assertEqual(len(report["ttfts"]), 12)
            self.assertEqual(report["label"], "mine")
            self.assertTrue(all(report["generated_texts"]))
            self.assertTrue(all(seconds > 0 for seconds in report["queue_times"]))
            self.assertAlmostEqual((self.used(after) - self.used(before)) / report["cost"]["total"], 1, 6)
            name = f'{{model_name="{SMOLLM2.stem}",engine="0"}}'
            self.assertEqual(after["vllm:generation_tokens_total" + name], 5 + 12 * 8)

    def test_a_bad_price_is_refused(self):
        with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
            file.write('currency = "EUR"\nper_hours = 1\n')
            file.flush()
            result = subprocess.run([BINARY, "serve", "--model", str(SMOLLM2), "--price-file", file.name],
                                    capture_output=True, timeout=60)
            self.assertEqual(result.returncode, 3)
            self.assertIn(f"{file.name}:2", result.stderr.decode())


class Ending(unittest.TestCase):
    def test_sigterm_finishes_what_runs(self):
        for name in (signal.SIGTERM, signal.SIGINT):
            with self.subTest(name), Server(BINARY, *SMALL) as server:
                stream = server.open_stream("/v1/completions", prompt=STORY, max_tokens=120, ignore_eos=True, **GREEDY)
                events = iter(stream)
                next(events)
                server.process.send_signal(name)
                wait_until(lambda: server.get("/readyz")[0] == 503, 5, "readiness ends")
                status, headers, _ = server.post("/v1/completions", {"prompt": "Hi"})
                self.assertEqual(status, 503)
                self.assertTrue(headers["Retry-After"])
                rest = list(events)
                self.assertEqual(rest[-1], "[DONE]")
                self.assertEqual(rest[-2]["choices"][0]["finish_reason"], "length")
                self.assertEqual(server.wait(), 0)
                self.assertNotIn(STORY, server.log_text())

    def test_sigterm_with_twenty_streams(self):
        """Four run, sixteen wait: each ends with a finish_reason or an error event, however long it is."""
        for drain, some in (("30", set()), ("0.3", {"cancelled"})):
            with self.subTest(drain), Server(BINARY, *SMALL, "--drain-timeout", drain) as server:
                streams = [server.open_stream("/v1/completions", prompt=f"{i} {STORY}", ignore_eos=True, **GREEDY,
                                              max_tokens=20 if some == set() or i % 2 else 1900) for i in range(20)]
                heard = [iter(stream) for stream in streams]
                first = next(heard[1])
                server.terminate()
                with concurrent.futures.ThreadPoolExecutor(20) as pool:
                    answers = list(pool.map(list, heard))
                answers[1].insert(0, first)
                ends = set()
                for answer in answers:
                    if answer[-1] == "[DONE]":
                        self.assertEqual(answer[-2]["choices"][0]["finish_reason"], "length")
                    else:
                        ends.add(answer[-1]["error"]["code"])
                self.assertEqual(ends, some)
                self.assertEqual(server.wait(), 0)

    def test_sigterm_while_loading_ends_cleanly(self):
        process = subprocess.Popen([BINARY, "serve", "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)

        def catches_sigterm():
            with open(f"/proc/{process.pid}/status", encoding="ascii") as status:
                mask = next(line.split()[1] for line in status if line.startswith("SigCgt"))
            return int(mask, 16) >> (signal.SIGTERM - 1) & 1

        wait_until(catches_sigterm, 20, "the handler")
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
        self.assertEqual(process.returncode, 0)

    def test_who_reads_the_log_may_leave(self):
        reader, writer = os.pipe()
        with os.fdopen(writer, "wb") as log, Server(BINARY, *SMALL, stderr=log) as server:
            os.close(reader)
            for _ in range(3):  # a line of the log each
                self.assertEqual(server.get("/health")[0], 200)
            server.terminate()
            self.assertEqual(server.wait(), 0)

    def test_the_drain_timeout_cuts_off(self):
        with Server(BINARY, *SMALL, "--drain-timeout", "0.2") as server:
            stream = server.open_stream("/v1/completions", prompt=STORY, max_tokens=1900, ignore_eos=True, **GREEDY)
            events = iter(stream)
            next(events)
            server.terminate()
            rest = list(events)
            self.assertEqual(rest[-1]["error"]["code"], "cancelled")
            self.assertNotIn("[DONE]", rest)
            self.assertEqual(server.wait(), 0)


class Memory(unittest.TestCase):
    """What large requests took is given back, and --memory is of the whole process."""

    def test_large_bodies_leave_nothing(self):
        def resident(server):
            with open(f"/proc/{server.process.pid}/status", encoding="ascii") as status:
                return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) << 10

        many_values = b'{"prompt":[' + b"0," * 900_000 + b"0]}"
        many_ids = b'{"tokens":[' + b"0," * 600_000 + b"0]}"
        with Server(BINARY, *SMALL) as server:
            def post(i):
                path, body = (("/v1/completions", many_values), ("/detokenize", many_ids))[i % 2]
                self.assertIn(server.post(path, body)[0], (200, 400))

            post(0), post(1)
            before = resident(server)
            with concurrent.futures.ThreadPoolExecutor(8) as pool:
                list(pool.map(post, range(40)))
            self.assertLess(resident(server) - before, 32 << 20)

    def test_the_limit_is_of_the_process(self):
        command = [BINARY, "serve", "--model", str(SMOLLM2), "--ctx", "1024", "--max-seqs", "1", "--port", "0",
                   "--memory", "110M"]  # keys and values, and the workspace, would fit
        refused = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual(refused.returncode, 4, refused.stderr)
        self.assertRegex(refused.stderr, r"weights \d+ MiB \+ .* = \d+ MiB, but 110 MiB")


class CommandLine(unittest.TestCase):
    def run_serve(self, *flags):
        command = [BINARY, "serve", *flags]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    def test_refusals(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = str(taken.getsockname()[1])
            table = [
                (("--model", str(SMOLLM2), *SMALL, "--port", port), 4, "can't listen on"),
                (("--model", str(SMOLLM2), *SMALL, "--host", "0.0.0.0", "--port", "0"), 2, "--insecure"),
                (("--model", "/nonexistent.gguf"), 3, "no such file"),
                (("--model", str(SMOLLM2), "--prot", "1"), 2, "--port"),
                (("--model", str(SMOLLM2), "--port", "70000"), 2, "--port"),
                (("--model", str(SMOLLM2), "--api-key-file", "/nonexistent"), 3, "/nonexistent"),
                (("--model", str(SMOLLM2), "--ctx", "8192", "--max-seqs", "1024", "--memory", "64M"), 4, "MiB"),
            ]
            for flags, code, text in table:
                with self.subTest(flags=flags):
                    result = self.run_serve(*flags)
                    self.assertEqual(result.returncode, code, result.stderr)
                    self.assertIn(text, result.stderr)

    def test_keys_and_names(self):
        with tempfile.NamedTemporaryFile("w") as keys:
            keys.write("# comment\n\nsecret-1\nsecret-2\n")
            keys.flush()
            flags = ("--api-key-file", keys.name, "--served-model-name", "little", "--strict-model")
            with Server(BINARY, *SMALL, *flags, "--cors-origin", "http://a.example") as server:
                self.assertEqual(server.get("/health")[0], 200)
                self.assertEqual(server.get("/v1/models")[0], 401)
                key = {"Authorization": "Bearer secret-2", "Origin": "http://a.example"}
                status, headers, models = server.request("GET", "/v1/models", headers=key)
                self.assertEqual((status, models["data"][0]["id"]), (200, "little"))
                self.assertEqual(headers["Access-Control-Allow-Origin"], "http://a.example")
                body = {"model": "other", "prompt": "Hi", "max_tokens": 1}
                self.assertEqual(server.request("POST", "/v1/completions", body, key)[0], 404)
                body["model"] = "little"
                self.assertEqual(server.request("POST", "/v1/completions", body, key)[0], 200)
                self.assertNotIn("secret", server.log_text())


if __name__ == "__main__":
    if BINARY is None:
        sys.exit(__doc__)
    unittest.main(verbosity=2)
