"""Two small vocabularies trained on corpus.txt: byte-level BPE (as GPT-2, Llama 3, Qwen) and SentencePiece BPE with
byte fallback (as Llama 2, Mistral, Gemma). Gives what a GGUF states and what a Hugging Face tokenizer.json states."""

import collections
import dataclasses
import itertools
import pathlib
import re

VOCAB_SIZE = 384
SPACE = "\u2581"  # how SentencePiece writes a space

# tokenizer.ggml.token_type
NORMAL, UNKNOWN, CONTROL, BYTE = 1, 2, 3, 6

# Which runs of text are merged on their own. Sources: the tokenizer.json files of Llama 3 and Qwen2.
_PRE_REGEX = {
    "llama-bpe": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+",
    "qwen2": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+",
}


@dataclasses.dataclass
class Vocabulary:
    model: str  # tokenizer.ggml.model
    pre: str  # tokenizer.ggml.pre
    tokens: list  # text of each id
    types: list
    scores: list | None
    merges: list  # (left, right), best first
    special: dict  # role -> id: bos, eos, unk, pad
    add_bos: bool
    add_space_prefix: bool | None  # None: the model's default, not stated
    chat_template: str


def byte_alphabet():
    """The printable character that stands for each byte in byte-level BPE (GPT-2)."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in printable]
    return {b: chr(b) for b in printable} | {b: chr(256 + i) for i, b in enumerate(others)}


def train_merges(words, n_merges):
    """Plain BPE: joins the most frequent neighbours, ties in order of text. words: symbol tuple -> count."""
    merges = []
    words = dict(words)
    while len(merges) < n_merges:
        pairs = collections.Counter()
        for symbols, count in words.items():
            for pair in itertools.pairwise(symbols):
                pairs[pair] += count
        known = {a + b for a, b in merges}
        candidates = [(-count, pair) for pair, count in pairs.items() if "".join(pair) not in known]
        if not candidates:
            raise ValueError(f"corpus.txt is too short for {n_merges} merges")
        best = min(candidates)[1]
        merges.append(best)
        words = {tuple(_join(symbols, best)): count for symbols, count in words.items()}
    return merges


def _join(symbols, pair):
    i = 0
    while i < len(symbols):
        if symbols[i : i + 2] == pair:
            yield pair[0] + pair[1]
            i += 2
        else:
            yield symbols[i]
            i += 1


def _corpus_words():
    text = (pathlib.Path(__file__).parent / "corpus.txt").read_text(encoding="utf-8")
    return collections.Counter(re.findall(r" ?[^\W\d]+| ?\d{1,3}| ?[^\s\w]+|\s+", text))


def byte_level(pre, specials, roles, add_bos, chat_template):
    """specials: control tokens, after the merges as in Llama 3 and Qwen; roles: role -> token text."""
    alphabet = byte_alphabet()
    words = {tuple(alphabet[b] for b in w.encode()): n for w, n in _corpus_words().items()}
    merges = train_merges(words, VOCAB_SIZE - 256 - len(specials))
    tokens = [alphabet[b] for b in sorted(alphabet, key=lambda b: alphabet[b])]
    tokens += [a + b for a, b in merges] + specials
    types = [NORMAL] * (VOCAB_SIZE - len(specials)) + [CONTROL] * len(specials)
    special = {role: tokens.index(text) for role, text in roles.items()}
    return Vocabulary(
        "gpt2", pre, tokens, types, None, merges, special, add_bos, None, chat_template
    )


def sentencepiece(specials, roles, add_space_prefix, chat_template):
    """specials first, then the 256 byte tokens, merged pieces (score -rank) and single characters."""
    words = collections.Counter()
    for word, count in _corpus_words().items():
        if "\n" not in word:
            words[tuple(word.replace(" ", SPACE))] += count
    frequency = collections.Counter()
    for symbols, count in words.items():
        for symbol in symbols:
            frequency[symbol] += count
    characters = sorted(
        (c for c in frequency if c == SPACE or ord(c) < 0x250), key=lambda c: (-frequency[c], c)
    )
    n_merges = VOCAB_SIZE - len(specials) - 256 - len(characters)
    kept = {s: n for s, n in words.items() if all(c in characters for c in s)}
    pieces = [a + b for a, b in train_merges(kept, n_merges)]
    tokens = specials + [f"<0x{b:02X}>" for b in range(256)] + pieces + characters
    types = [UNKNOWN if t == "<unk>" else CONTROL for t in specials] + [BYTE] * 256
    types += [NORMAL] * (VOCAB_SIZE - len(types))
    n_plain = len(specials) + 256
    scores = [0.0] * n_plain + [-float(i) for i in range(VOCAB_SIZE - n_plain)]
    # SentencePiece joins any neighbours that spell a piece, best score first; tokenizer.json wants them listed.
    rank = {t: i for i, t in enumerate(tokens[n_plain:])}
    merges = [
        (p[:i], p[i:]) for p in pieces for i in range(1, len(p)) if p[:i] in rank and p[i:] in rank
    ]
    special = {role: tokens.index(text) for role, text in roles.items()}
    return Vocabulary(
        "llama",
        "default",
        tokens,
        types,
        scores,
        merges,
        special,
        True,
        add_space_prefix,
        chat_template,
    )


_BYTE_LEVEL = {
    "type": "ByteLevel",
    "add_prefix_space": False,
    "trim_offsets": False,
    "use_regex": False,
}


def pre_tokenizer_json(pre):
    if pre == "smollm":  # digits one by one, then the words of GPT-2
        digits = {"type": "Digits", "individual_digits": True}
        words = _BYTE_LEVEL | {"trim_offsets": True, "use_regex": True}
        return {"type": "Sequence", "pretokenizers": [digits, words]}
    split = {
        "type": "Split",
        "pattern": {"Regex": _PRE_REGEX[pre]},
        "behavior": "Isolated",
        "invert": False,
    }
    return {"type": "Sequence", "pretokenizers": [split, _BYTE_LEVEL]}


def tokenizer_json(vocab):
    """The Hugging Face tokenizer of the same vocabulary."""
    control = [i for i, t in enumerate(vocab.types) if t in (CONTROL, UNKNOWN)]
    model = {
        "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
        "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
        "vocab": {text: i for i, text in enumerate(vocab.tokens)}, "merges": [list(m) for m in vocab.merges],
    }  # fmt: skip
    out = {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [
            {"id": i, "content": vocab.tokens[i], "single_word": False, "lstrip": False, "rstrip": False,
             "normalized": False, "special": True} for i in control
        ],
    }  # fmt: skip
    if vocab.model == "gpt2":
        model["ignore_merges"] = vocab.pre == "llama-bpe"
        for i in control:
            del model["vocab"][vocab.tokens[i]]
        out["normalizer"] = {"type": "NFC"} if vocab.pre == "qwen2" else None
        out["pre_tokenizer"] = pre_tokenizer_json(vocab.pre)
        out["decoder"] = _BYTE_LEVEL
    else:
        model.update(unk_token="<unk>", fuse_unk=True, byte_fallback=True)
        replace = {"type": "Replace", "pattern": {"String": " "}, "content": SPACE}
        prefix = vocab.add_space_prefix is not False
        out["normalizer"] = (
            {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": SPACE}, replace]}
            if prefix
            else replace
        )
        out["pre_tokenizer"] = None
        steps = [
            {"type": "Replace", "pattern": {"String": SPACE}, "content": " "}, {"type": "ByteFallback"},
            {"type": "Fuse"},
        ]  # fmt: skip
        strip = {"type": "Strip", "content": " ", "start": 1, "stop": 0}
        out["decoder"] = {"type": "Sequence", "decoders": steps + ([strip] if prefix else [])}
    out["post_processor"] = _bos_first(vocab) if vocab.add_bos else None
    out["model"] = model
    return out


def _bos_first(vocab):
    bos = vocab.special["bos"]
    text = vocab.tokens[bos]
    begin, a = {"SpecialToken": {"id": text, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}
    return {
        "type": "TemplateProcessing", "single": [begin, a],
        "pair": [begin, a, {"SpecialToken": {"id": text, "type_id": 1}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {text: {"id": text, "ids": [bos], "tokens": [text]}},
    }  # fmt: skip


def tokenizer_config_json(vocab):
    out = {f"{role}_token": vocab.tokens[i] for role, i in vocab.special.items()}
    out["tokenizer_class"] = "PreTrainedTokenizerFast"
    out["add_bos_token"] = vocab.add_bos
    if vocab.chat_template:
        out["chat_template"] = vocab.chat_template
    return out
