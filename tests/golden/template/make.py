#!/usr/bin/env python3
"""Makes expected.json: what transformers' own chat template renderer (jinja2 below it) gives for every template of
this folder with every conversation, and for every line of snippets.txt.

    python3 -m venv venv && venv/bin/pip install transformers==5.23.0 jinja2==3.1.6
    venv/bin/python make.py

A null stands for a case where the renderer raises: farthing has to fail there as well.
"""

import datetime
import json
import pathlib

from transformers.utils import chat_template_utils

HERE = pathlib.Path(__file__).parent
NOW = datetime.datetime(2025, 1, 31, 13, 45, 7, 123456)
MARKS = {"⏎": "\n", "␍": "\r", "⇥": "\t"}


class FrozenDatetime(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return NOW


def load(name):
    return json.loads((HERE / name).read_text(encoding="utf-8"))


def render(source, conversation, tools):
    chosen = conversation.get("tools")
    kwargs = {"bos_token": "<s>", "eos_token": "</s>", **conversation.get("kwargs", {})}
    try:
        rendered, _ = chat_template_utils.render_jinja_template(
            [conversation["messages"]],
            tools=tools if chosen == "all" else chosen,
            chat_template=source,
            add_generation_prompt=conversation.get("add_generation_prompt", True),
            **kwargs,
        )
    except Exception:  # any error of any kind is one to us
        return None
    return rendered[0]


def snippets():
    for line in (HERE / "snippets.txt").read_text(encoding="utf-8").split("\n"):
        if line and not line.startswith("# "):
            for mark, character in MARKS.items():
                line = line.replace(mark, character)
            yield line


def main():
    chat_template_utils.datetime = FrozenDatetime
    tools = load("tools.json")
    conversations = load("conversations.json")
    chats = {}
    for path in sorted(HERE.glob("*.jinja")):
        source = path.read_bytes().decode("utf-8")
        chats[path.name] = {name: render(source, chat, tools) for name, chat in conversations.items()}
    plain = {"messages": [{"role": "user", "content": "hi"}], "kwargs": load("variables.json")}
    lines = [{"source": source, "text": render(source, plain, tools)} for source in snippets()]
    expected = {"now": NOW.isoformat(), "chats": chats, "snippets": lines}
    text = json.dumps(expected, ensure_ascii=False, indent=1)
    (HERE / "expected.json").write_text(text + "\n", encoding="utf-8")
    values = [text for chat in chats.values() for text in chat.values()] + [line["text"] for line in lines]
    print(f"{len(values)} cases, {values.count(None)} of them errors")


if __name__ == "__main__":
    main()
