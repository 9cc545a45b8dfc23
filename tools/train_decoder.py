#!/usr/bin/env python3
"""Trains a small decoder in place: float32 weights with something to lose, which no package ships.

  train_decoder.py [--folder FOLDER]

A Llama of 5.2 million parameters (6 layers, width 256, 4 query heads on 2 of keys and values, a
vocabulary of 2,048 of its own), on the Shakespeare text of tools/fetch_model.sh; a sixteenth of the
text is held out, a piece from every part. A quarter of an hour; stopped and begun again, it goes on
from the last hundred steps.

stdout: the paths of the GGUF file, the Hugging Face folder (both float32) and the held-out text,
one a line.
stderr: progress; at the end the perplexity of the held-out text beside what counting gives.

Made anew only if the recipe below changed. The same machine and packages make the same bytes;
others, nearly.
Needs the PyPI packages of tools/train_decoder.requirements.txt, in an environment of its own.
"""

import argparse
import dataclasses
import functools
import hashlib
import json
import math
import os
import pathlib
import subprocess
import sys
import time

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
import tokenizers  # noqa: E402
from toylib import cases, output, vocab, weights  # noqa: E402

NAME = "shakespeare-5m"

# All that decides the weights; another recipe is another model.
RECIPE = {
    "vocab_size": 2048,
    "d_model": 256,  # a multiple of 256, as the K-quants' rows must be
    "d_ff": 768,
    "n_layers": 6,
    "n_heads": 4,
    "n_kv_heads": 2,
    "context": 512,
    "batch": 4,  # windows of `context` tokens a step
    "steps": 1200,
    "warm_up": 60,
    "learning_rate": 4e-3,  # at its highest; then a half cosine down to a tenth
    "weight_decay": 0.1,
    "clip": 1.0,  # most length of the gradient
    "repeats": 0.15,  # share of windows that say a passage again, so that it learns to copy
    "parts": 64,  # of the text; the last `held_out` of each is held out
    "held_out": 1 / 16,
    "seed": 6,
}
CHECKPOINT_STEPS = 100
ATTENTION_ROWS = 128  # at once: what comes after the last of them isn't computed
PRE = "llama-bpe"
BOS, EOS = "<|begin_of_text|>", "<|end_of_text|>"


def say(text):
    print(f"train_decoder: {text}", file=sys.stderr, flush=True)


def split(text):
    """(to learn from, held out): whole lines."""
    lines = text.splitlines(keepends=True)
    learn, held = [], []
    for part in range(RECIPE["parts"]):
        begin, end = (len(lines) * i // RECIPE["parts"] for i in (part, part + 1))
        cut = end - round((end - begin) * RECIPE["held_out"])
        learn += lines[begin:cut]
        held += lines[cut:end]
    return "".join(learn), "".join(held)


def make_vocabulary(text):
    """Byte-level BPE trained on the text. Merges are kept in the order they were learned."""
    empty = {
        "version": "1.0",
        "pre_tokenizer": vocab.pre_tokenizer_json(PRE),
        "model": {"type": "BPE", "vocab": {}, "merges": []},
    }
    tokenizer = tokenizers.Tokenizer.from_str(json.dumps(empty))
    tokenizer.train_from_iterator(
        text.splitlines(keepends=True),
        tokenizers.trainers.BpeTrainer(
            vocab_size=RECIPE["vocab_size"] - 2,
            initial_alphabet=sorted(vocab.byte_alphabet().values()),
            show_progress=False,
        ),
    )
    learned = json.loads(tokenizer.to_str())["model"]
    tokens = sorted(learned["vocab"], key=learned["vocab"].get) + [BOS, EOS]
    types = [vocab.NORMAL] * (len(tokens) - 2) + [vocab.CONTROL] * 2
    special = {"bos": len(tokens) - 2, "eos": len(tokens) - 1}
    merges = [tuple(m) for m in learned["merges"]]
    return vocab.Vocabulary("gpt2", PRE, tokens, types, None, merges, special, True, None, "")


@dataclasses.dataclass(frozen=True)
class Trained(cases.Case):
    own_vocabulary: vocab.Vocabulary | None = None

    @property
    def vocabulary(self):
        return self.own_vocabulary

    @property
    def title(self):
        return "Shakespeare 5M"


def make_case(vocabulary):
    sizes = ("d_model", "d_ff", "n_layers", "n_heads", "n_kv_heads", "context")
    return Trained(
        NAME,
        cases.LLAMA,
        "weights with something to lose",
        dtype="F32",
        tied=True,
        own_vocabulary=vocabulary,
        **{key: RECIPE[key] for key in sizes},
    )


# Matrices are [in][out] here; files have them the other way round.


def first_weights(case):
    rng = np.random.Generator(np.random.PCG64(RECIPE["seed"]))
    d, size = case.d_model, case.head_size
    q, kv = case.n_heads * size, case.n_kv_heads * size
    into_stream = 1 / math.sqrt(2 * case.n_layers)  # a sum of so many keeps its size

    def matrix(n_in, n_out, gain=1.0):
        return rng.standard_normal((n_in, n_out), dtype=np.float32) * np.float32(gain / n_in**0.5)

    def layer():
        return {
            "attn_norm": np.ones(d, np.float32),
            "q": matrix(d, q),
            "k": matrix(d, kv),
            "v": matrix(d, kv),
            "o": matrix(q, d, into_stream),
            "ffn_norm": np.ones(d, np.float32),
            "gate": matrix(d, case.d_ff),
            "up": matrix(d, case.d_ff),
            "down": matrix(case.d_ff, d, into_stream),
        }

    embedding = rng.standard_normal((RECIPE["vocab_size"], d), dtype=np.float32)
    return {
        "embed": embedding * np.float32(0.02),
        "layers": [layer() for _ in range(case.n_layers)],
        "norm": np.ones(d, np.float32),
    }


def rms_norm(x, weight):
    return x * jax.lax.rsqrt(jnp.mean(x * x, axis=-1, keepdims=True) + 1e-5) * weight


def rotate(x, theta):
    """x[batch][position][head][i]: pairs are i and i + half, as Hugging Face's Llama has them."""
    half = x.shape[-1] // 2
    angle = np.outer(np.arange(x.shape[1]), theta ** (-np.arange(half) / half))
    cos, sin = (f(angle).astype(np.float32)[None, :, None, :] for f in (np.cos, np.sin))
    a, b = x[..., :half], x[..., half:]
    return jnp.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)


def attention(case, layer, x):
    n, length, _ = x.shape
    groups, size = case.n_heads // case.n_kv_heads, case.head_size
    q = rotate((x @ layer["q"]).reshape(n, length, -1, size), case.rope_theta)
    k = rotate((x @ layer["k"]).reshape(n, length, -1, size), case.rope_theta)
    v = (x @ layer["v"]).reshape(n, length, -1, size)
    q = q.reshape(n, length, case.n_kv_heads, groups, size)
    q = q / math.sqrt(size)
    mixed = []
    for begin in range(0, length, ATTENTION_ROWS):
        end = min(begin + ATTENTION_ROWS, length)
        past = np.arange(end)[None, :] <= np.arange(begin, end)[:, None]
        scores = jnp.einsum("bthgd,bshd->bhgts", q[:, begin:end], k[:, :end])
        shares = jax.nn.softmax(jnp.where(past, scores, -1e30), axis=-1)
        mixed.append(jnp.einsum("bhgts,bshd->bthgd", shares, v[:, :end]))
    return jnp.concatenate(mixed, axis=1).reshape(n, length, -1) @ layer["o"]


def losses(case, params, tokens):
    """-ln p of each token after the first: [batch][length - 1]."""
    x = params["embed"][tokens[:, :-1]]
    for layer in params["layers"]:
        x = x + attention(case, layer, rms_norm(x, layer["attn_norm"]))
        h = rms_norm(x, layer["ffn_norm"])
        x = x + (jax.nn.silu(h @ layer["gate"]) * (h @ layer["up"])) @ layer["down"]
    logits = rms_norm(x, params["norm"]) @ params["embed"].T
    own = jnp.take_along_axis(logits, tokens[:, 1:, None], axis=-1)[..., 0]
    return jax.nn.logsumexp(logits, axis=-1) - own


def learning_rate(step):
    r = RECIPE
    along = (step - r["warm_up"]) / (r["steps"] - r["warm_up"])
    falling = 0.1 + 0.45 * (1 + jnp.cos(math.pi * along))
    return r["learning_rate"] * jnp.where(step < r["warm_up"], (step + 1) / r["warm_up"], falling)


def orthogonal(x):
    """The nearest matrix whose singular values are all about 1 (Muon's five Newton-Schulz steps:
    Jordan et al. 2024)."""
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = x.shape[0] > x.shape[1]
    x = (x.T if tall else x) / (jnp.sqrt(jnp.sum(x * x)) + 1e-7)
    for _ in range(5):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if tall else x


def make_train_step(case):
    """Muon for the layers' matrices, scaled to move as far as AdamW does (Liu et al. 2025), AdamW
    (Loshchilov, Hutter 2019) for the rest; the gradient is clipped, vectors don't decay."""
    fast, slow = 0.9, 0.95

    @functools.partial(jax.jit, donate_argnums=(0, 1, 2))
    def train_step(params, mean, square, step, tokens):
        loss, grad = jax.value_and_grad(lambda p: jnp.mean(losses(case, p, tokens)))(params)
        length = jnp.sqrt(sum(jnp.sum(g * g) for g in jax.tree.leaves(grad)))
        scale = jnp.minimum(1.0, RECIPE["clip"] / (length + 1e-6))
        rate, t = learning_rate(step), step + 1

        def update(path, p, m, s, g):
            g = g * scale
            decay = RECIPE["weight_decay"] if p.ndim == 2 else 0.0
            if p.ndim == 2 and "layers" in jax.tree_util.keystr(path):
                m = slow * m + g
                move = 0.2 * max(p.shape) ** 0.5 * orthogonal(g + slow * m)
            else:
                m, s = fast * m + (1 - fast) * g, slow * s + (1 - slow) * g * g
                move = (m / (1 - fast**t)) / (jnp.sqrt(s / (1 - slow**t)) + 1e-8)
            return p - rate * (move + decay * p), m, s

        moved = jax.tree_util.tree_map_with_path(update, params, mean, square, grad)
        new = (jax.tree.map(lambda _, u, i=i: u[i], params, moved) for i in range(3))
        return *new, loss

    return train_step


def batch_of(step, tokens, bos):
    """Windows at random places. Each begins with BOS, as text does that the model is given."""
    rng = np.random.Generator(np.random.PCG64([RECIPE["seed"], step]))
    length = RECIPE["context"]
    rows = []
    for _ in range(RECIPE["batch"]):
        at = int(rng.integers(0, len(tokens) - length))
        row = np.concatenate([[bos], tokens[at : at + length]])
        if rng.random() < RECIPE["repeats"]:
            n, begin = int(rng.integers(8, length // 2)), int(rng.integers(1, length // 2))
            passage = row[begin : begin + n]
            row[begin:] = np.resize(passage, len(row) - begin)
        rows.append(row)
    return np.stack(rows).astype(np.int32)


def save_checkpoint(path, step, state):
    leaves = {str(i): np.asarray(leaf) for i, leaf in enumerate(jax.tree.leaves(state))}
    with open(f"{path}.part", "wb") as f:
        np.savez(f, step=step, **leaves)
    os.replace(f"{path}.part", path)


def load_checkpoint(path, state):
    """(steps done, state); from the beginning if there is none."""
    if not path.exists():
        return 0, state
    with np.load(path) as file:
        leaves = [file[str(i)] for i in range(len(jax.tree.leaves(state)))]
        return int(file["step"]), jax.tree.unflatten(jax.tree.structure(state), leaves)


def train(case, tokens, checkpoint):
    params = first_weights(case)
    zeros = [jax.tree.map(np.zeros_like, params) for _ in range(2)]
    first, state = load_checkpoint(checkpoint, (params, *zeros))
    if first:
        say(f"going on from step {first}")
    train_step = make_train_step(case)
    began, mean_loss = time.monotonic(), None
    for step in range(first, RECIPE["steps"]):
        *state, loss = train_step(
            *state, step, batch_of(step, tokens, case.vocabulary.special["bos"])
        )
        mean_loss = float(loss) if mean_loss is None else 0.98 * mean_loss + 0.02 * float(loss)
        done = step + 1
        if done % CHECKPOINT_STEPS == 0:
            save_checkpoint(checkpoint, done, state)
        if done % 50 == 0 or done == first + 5:
            each = (time.monotonic() - began) / (done - first)
            left = each * (RECIPE["steps"] - done) / 60
            speed = RECIPE["batch"] * RECIPE["context"] / each
            say(
                f"step {done} of {RECIPE['steps']}: loss {mean_loss:.3f}, {speed:.0f} tokens/s, "
                f"about {left:.1f} min left"
            )
    return state[0]


def held_out_loss(case, params, tokens):
    """Mean -ln p of the second half of each window (what `farthing perplexity` scores)."""
    length = case.context
    count = len(tokens) // length
    windows = np.array(tokens[: count * length], np.int32).reshape(count, length)
    windows[:, 0] = case.vocabulary.special["bos"]
    score = jax.jit(lambda p, t: losses(case, p, t)[:, length // 2 :])
    return float(np.mean([np.mean(score(params, w[None])) for w in windows]))


def counted_losses(learn, held):
    """What counting gives: single tokens, and pairs mixed with them (the best mix there is)."""
    size = RECIPE["vocab_size"]
    single = (np.bincount(learn, minlength=size) + 0.5) / (len(learn) + size / 2)
    keys, counts = np.unique(learn[:-1].astype(np.int64) * size + learn[1:], return_counts=True)
    before, after = held[:-1].astype(np.int64), held[1:]
    found = np.minimum(np.searchsorted(keys, before * size + after), len(keys) - 1)
    seen = np.where(keys[found] == before * size + after, counts[found], 0)
    pair = seen / np.maximum(np.bincount(learn[:-1], minlength=size)[before], 1)
    mixes = [
        -np.mean(np.log(w * pair + (1 - w) * single[after])) for w in np.linspace(0.05, 0.95, 19)
    ]
    return -np.mean(np.log(single[after])), min(mixes)


def file_weights(case, params):
    """Hugging Face name -> tensor, as files have them."""
    names = {
        "q": "self_attn.q_proj", "k": "self_attn.k_proj", "v": "self_attn.v_proj",
        "o": "self_attn.o_proj", "gate": "mlp.gate_proj", "up": "mlp.up_proj",
        "down": "mlp.down_proj", "attn_norm": "input_layernorm",
        "ffn_norm": "post_attention_layernorm",
    }  # fmt: skip
    out = {"model.embed_tokens.weight": np.asarray(params["embed"])}
    for i, layer in enumerate(params["layers"]):
        for key, name in names.items():
            out[f"model.layers.{i}.{name}.weight"] = np.ascontiguousarray(np.asarray(layer[key]).T)
    out["model.norm.weight"] = np.asarray(params["norm"])
    return {name: weights.f32_tensor(values) for name, values in out.items()}


def default_folder():
    home = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(
        os.environ.get("FARTHING_MODELS_DIR") or pathlib.Path(home) / "farthing/models"
    )


def fetch_text():
    tool = pathlib.Path(__file__).parent / "fetch_model.sh"
    path = subprocess.run(
        [tool, "shakespeare"], check=True, stdout=subprocess.PIPE, text=True
    ).stdout.strip()
    return pathlib.Path(path).read_text(encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--folder", type=pathlib.Path, default=default_folder(), help="where the files go"
    )
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    made = [folder / f"{NAME}.F32.gguf", folder / f"{NAME}-hf", folder / f"{NAME}.held-out.txt"]
    stamp = folder / f"{NAME}.recipe"
    recipe = hashlib.sha256(json.dumps(RECIPE).encode()).hexdigest()
    if not (
        stamp.exists() and stamp.read_text().strip() == recipe and all(p.exists() for p in made)
    ):
        make(*made, folder / f"{NAME}.{recipe[:8]}.checkpoint")
        stamp.write_text(recipe + "\n")
    for path in made:
        print(path)


def make(gguf_path, hf_folder, held_path, checkpoint):
    learn_text, held_text = split(fetch_text())
    case = make_case(make_vocabulary(learn_text))
    tokenizer = tokenizers.Tokenizer.from_str(json.dumps(vocab.tokenizer_json(case.vocabulary)))
    learn, held = (
        np.array(tokenizer.encode(t, add_special_tokens=False).ids) for t in (learn_text, held_text)
    )
    say(f"{len(learn)} tokens to learn from, {len(held)} held out")
    params = train(case, learn, checkpoint)
    loss, (single, pair) = held_out_loss(case, params, held), counted_losses(learn, held)
    say(
        f"held-out perplexity {math.exp(loss):.2f} "
        f"(counting tokens {math.exp(single):.0f}, pairs {math.exp(pair):.1f})"
    )
    held_path.write_text(held_text, encoding="utf-8")
    tensors = file_weights(case, params)
    output.write_folder(case, tensors, hf_folder)
    output.write_gguf(case, tensors, gguf_path)
    checkpoint.unlink()


if __name__ == "__main__":
    main()
