#!/usr/bin/env python3
"""Writes data/prices.toml: what APIs ask per million tokens, as facts from the price table inside the wheel
litellm (PyPI, MIT), pinned by version and hash. Fetches the wheel with pip into a temporary folder.

  fetch_prices.py [WHEEL]    WHEEL: already downloaded
"""

import datetime
import hashlib
import json
import pathlib
import subprocess
import sys
import tempfile
import zipfile

VERSION = "1.110.2"
SHA256 = "9d94d1c7d524b6fd10c14f9c8c6c4f0ac31705f9964ac59dcfd8337c046d8917"
TABLE = "litellm/model_prices_and_context_window_backup.json"
OUT = pathlib.Path(__file__).resolve().parent.parent / "data" / "prices.toml"

# Widely used, and of every size; a name is the table's own.
MODELS = [
    "gpt-5.1", "gpt-5", "gpt-5-mini", "gpt-5-nano", "gpt-4.1", "gpt-4.1-mini", "gpt-4o", "gpt-4o-mini",
    "claude-opus-4-8", "claude-sonnet-4-6", "claude-haiku-4-5",
    "gemini/gemini-2.5-pro", "gemini/gemini-2.5-flash", "gemini/gemini-2.5-flash-lite",
    "deepseek/deepseek-chat", "mistral/mistral-large-latest", "mistral/mistral-small-latest",
    "dashscope/qwen-max", "amazon.nova-pro-v1:0", "amazon.nova-lite-v1:0", "amazon.nova-micro-v1:0",
    "groq/openai/gpt-oss-120b", "groq/openai/gpt-oss-20b",
    "fireworks_ai/accounts/fireworks/models/llama-v3p1-8b-instruct",
    "deepinfra/meta-llama/Meta-Llama-3.1-8B-Instruct",
]  # fmt: skip


def download(folder):
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, f"litellm=={VERSION}"],
        check=True)  # fmt: skip
    return next(pathlib.Path(folder).glob("litellm-*.whl"))


def price_table(wheel):
    found = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if found != SHA256:
        sys.exit(f"{wheel.name}: sha256 is {found}, not {SHA256}: not the wheel that was looked at")
    with zipfile.ZipFile(wheel) as archive:
        return json.loads(archive.read(TABLE))


def per_million(entry, key):
    return f"{entry[key] * 1e6:.6g}"


def rows(table):
    for name in MODELS:
        entry = table.get(name)
        if entry is None or "input_cost_per_token" not in entry:
            sys.exit(f"{name}: not in the table; take it out of MODELS or name its successor")
        yield "\n[[model]]"
        yield f'name = "{name}"'
        yield f'provider = "{entry["litellm_provider"]}"'
        yield f'input = "{per_million(entry, "input_cost_per_token")} USD/input_Mtok"'
        # Who asks nothing else for cached tokens gets no line: they cost as input does.
        if "cache_read_input_token_cost" in entry:
            yield f'cached = "{per_million(entry, "cache_read_input_token_cost")} USD/cached_Mtok"'
        yield f'output = "{per_million(entry, "output_cost_per_token")} USD/output_Mtok"'


def main():
    if len(sys.argv) > 2 or sys.argv[1:] in (["-h"], ["--help"]):
        sys.exit(__doc__)
    with tempfile.TemporaryDirectory() as folder:
        wheel = pathlib.Path(sys.argv[1]) if len(sys.argv) == 2 else download(folder)
        table = price_table(wheel)
    today = datetime.date.today().isoformat()
    head = f"""# Written by tools/fetch_prices.py: list prices, without batches, tiers and long contexts.
source = "{TABLE.rpartition('/')[2]} in the PyPI wheel litellm {VERSION} (MIT)"
date = "{today}"  # when the wheel was read
currency = "USD"
"""
    OUT.write_text(head + "\n".join(rows(table)) + "\n")
    print(f"{OUT.name}: {len(MODELS)} models from litellm {VERSION}")


if __name__ == "__main__":
    main()
