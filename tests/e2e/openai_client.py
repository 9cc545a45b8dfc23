#!/usr/bin/env python3
"""The official openai client against a running server: usage: openai_client.py http://127.0.0.1:8080

Needs PyPI openai, so it is no part of ./check. Exits 0 when every answer parses and says what it should.
"""

import sys

import openai


def main():
    client = openai.OpenAI(base_url=sys.argv[1].rstrip("/") + "/v1", api_key="none", max_retries=0, timeout=300)
    model = client.models.list().data[0].id
    assert client.models.retrieve(model).id == model
    question = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is the capital of France?"}]
    common = {"model": model, "messages": question, "temperature": 0, "max_tokens": 24, "seed": 1}

    plain = client.chat.completions.create(**common, logprobs=True, top_logprobs=2)
    text = plain.choices[0].message.content
    assert "Paris" in text, text
    assert plain.usage.total_tokens == plain.usage.prompt_tokens + plain.usage.completion_tokens
    assert plain.usage.prompt_tokens_details.cached_tokens is not None
    assert plain.choices[0].logprobs.content[0].top_logprobs[0].logprob <= 0
    print("chat:", repr(text))

    pieces, usage, reasons = [], None, []
    for chunk in client.chat.completions.create(**common, stream=True, stream_options={"include_usage": True}):
        usage = chunk.usage or usage
        for choice in chunk.choices:
            pieces.append(choice.delta.content or "")
            reasons += [choice.finish_reason] if choice.finish_reason else []
    assert "".join(pieces) == text, pieces
    assert reasons == [plain.choices[0].finish_reason]
    assert usage.total_tokens == plain.usage.total_tokens, (usage, plain.usage)
    assert usage.prompt_tokens_details.cached_tokens > 0, usage  # the same prompt as before
    print("streamed chat: equal, in", len(pieces), "chunks")

    warm = {**common, "temperature": 1, "max_tokens": 12}
    three = client.chat.completions.create(**warm, n=3)
    assert [choice.index for choice in three.choices] == [0, 1, 2]
    texts = [choice.message.content for choice in three.choices]
    assert len(set(texts)) > 1, texts
    assert three.usage.completion_tokens <= 36
    again = client.chat.completions.create(**warm, n=3)
    assert [choice.message.content for choice in again.choices] == texts  # the same seed
    other = client.chat.completions.create(**{**warm, "seed": 2}, n=3)
    assert [choice.message.content for choice in other.choices] != texts
    streamed = [""] * 3
    for chunk in client.chat.completions.create(**warm, n=3, stream=True):
        for choice in chunk.choices:
            streamed[choice.index] += choice.delta.content or ""
    assert streamed == texts, streamed
    print("n and seed:", texts)

    word = text.split()[-1]
    for stop in (word, ["nowhere in it", word]):
        stopped = client.chat.completions.create(**common, stop=stop)
        assert stopped.choices[0].finish_reason == "stop"
        assert stopped.choices[0].message.content == text[: text.index(word)], stopped
    print("stop at", repr(word))

    raw = client.chat.completions.with_raw_response.create(**common, extra_headers={"X-Request-Id": "my-1"})
    assert raw.headers["x-request-id"] == "my-1"

    completion = client.completions.create(model=model, prompt="Once upon a time", max_tokens=8, temperature=0, logprobs=1)
    assert completion.choices[0].text and len(completion.choices[0].logprobs.tokens) == 8
    stream = client.completions.create(model=model, prompt="Once upon a time", max_tokens=8, temperature=0, stream=True)
    assert "".join(c.choices[0].text for c in stream) == completion.choices[0].text
    print("completion:", repr(completion.choices[0].text))

    try:
        client.chat.completions.create(**{**common, "temperature": 5})
        raise AssertionError("a temperature of 5 was taken")
    except openai.BadRequestError as error:
        assert error.param == "temperature" and error.code, error
    try:
        client.completions.create(model=model, prompt="word " * 50000)
        raise AssertionError("a prompt beyond the context was taken")
    except openai.BadRequestError as error:
        assert error.code == "context_length_exceeded", error
    print("errors: typed")


if __name__ == "__main__":
    main()
