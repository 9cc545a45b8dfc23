#!/usr/bin/env python3
"""Makes the tokenizer goldens: toy vocabularies, and the ids that the reference readers give for them.

  make.py PATH_TO_REFERENCE

Needs `tokenizers==0.23.*` and `gguf` from PyPI, and reference.cc built against llama.cpp (the one in the sdist of
llama-cpp-python 0.3.36). Not part of ./check. Writes next to itself:
  vocab/*.json        toy vocabularies in Vocab's terms (src/core/vocab.h), trained here on corpus.py (but see
                      wordpiece())
  texts.json          the texts
  expected/*.json     per vocabulary and tokenizer.ggml.pre: ids of every text, with and without special tokens
  json/*.json         tokenizer.json files and their ids by Hugging Face tokenizers
"""
import json
import pathlib
import struct
import subprocess
import sys
import tempfile

import gguf
from tokenizers import (AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers)

import corpus

HERE = pathlib.Path(__file__).resolve().parent
CONTROL, USER, UNKNOWN, NORMAL, BYTE = 3, 4, 2, 1, 6
TEXTS = corpus.texts()
SWEEPS = range(corpus.SWEEP_END // corpus.SWEEP_BLOCK)
# Names that share a meaning stand together; every one is run, and has to give the same ids.
PRE = [
    ["default"],
    ["gpt-2", "phi-2", "jina-es", "jina-de", "gigachat", "a.x-4.0", "mellum", "modern-bert", "exaone4", "jina-v1-en",
     "roberta-bpe", "mpt", "olmo", "jais", "trillion", "granite-docling"],
    ["jina-v2-es", "jina-v2-de", "jina-v2-code"],
    ["starcoder", "refact", "command-r", "smollm", "codeshell", "exaone", "minerva-7b", "mellum2"],
    ["falcon"],
    ["llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2", "jina-v5-nano"],
    ["dbrx", "smaug-bpe", "chatglm-bpe"],
    ["glm4", "glm5"],
    ["qwen2", "deepseek-r1-qwen", "kormo", "f2llmv2", "megrez", "stablelm2", "hunyuan", "solar-open", "grok-2"],
    ["qwen35"],
    ["deepseek-llm"],
    ["deepseek-coder"],
    ["deepseek-v3", "hunyuan-dense", "joyai-llm", "hy_v4"],
    ["gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2"],
    ["tekken"],
    ["laguna"],
]
SWEPT = {"default", "gpt-2", "starcoder", "llama-bpe", "qwen2", "qwen35", "deepseek-llm", "deepseek-coder",
         "deepseek-v3", "gpt-4o", "tekken"}
SPECIALS = [("<s>", CONTROL), ("</s>", CONTROL), ("<|start|>", CONTROL), ("<|end_turn|>", CONTROL), ("<|user_tag|>", USER),
            ("[A]", USER), ("[AB]", CONTROL), ("[ABC]", USER), ("<mask>", CONTROL), ("[MASK]", CONTROL)]


def chunks():
    """Short lines, so that merges cross every kind of boundary but stay small."""
    text = "".join(TEXTS[:40]) + corpus.mixed() * 2
    return [text[i : i + 37] for i in range(0, len(text), 37)] * 2


def train_bpe(pre_tokenizer, alphabet, size):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizer
    trainer = trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, max_token_length=12, show_progress=False)
    tokenizer.train_from_iterator(chunks(), trainer)
    model = json.loads(tokenizer.to_str())["model"]
    tokens = [t for t, _ in sorted(model["vocab"].items(), key=lambda item: item[1])]
    return tokens, [" ".join(m) for m in model["merges"]]


def with_specials(tokens, types):
    return tokens + [t for t, _ in SPECIALS], types + [k for _, k in SPECIALS]


def byte_level():
    tokens, merges = train_bpe(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
                               sorted(pre_tokenizers.ByteLevel.alphabet()), 2400)
    tokens, types = with_specials(tokens, [NORMAL] * len(tokens))
    at = tokens.index
    return {"model": "gpt2", "tokens": tokens, "types": types, "merges": merges, "bos": at("<s>"), "eos": at("</s>")}


def spaced_tokens():
    pre = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(" "), "merged_with_next"),
                                   pre_tokenizers.Metaspace(prepend_scheme="never", split=False)])
    tokens, merges = train_bpe(pre, [], 1800)
    tokens = [t for t in tokens if not (len(t) == 1 and ord(t) > 0x2FF0)]  # some characters are left to the bytes
    kept = set(tokens)
    merges = [m for m in merges if all(part in kept for part in m.split(" ", 1)) and m.replace(" ", "", 1) in kept]
    return tokens, merges


def sentencepiece():
    tokens, _ = spaced_tokens()
    head = ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)]
    kinds = {**dict(SPECIALS), "<|endoftext|>": CONTROL}  # the readers expect a phi-3 to have it
    extra = [t for t in kinds if t not in head]
    scores = [0.0] * len(head) + [float(-(i // 3)) for i in range(len(tokens))] + [0.0] * len(extra)
    types = [UNKNOWN, CONTROL, CONTROL] + [BYTE] * 256 + [NORMAL] * len(tokens) + [kinds[t] for t in extra]
    return {"model": "llama", "tokens": head + tokens + extra, "scores": scores, "types": types, "bos": 1, "eos": 2,
            "unknown": 0}


def gemma4():
    tokens, merges = spaced_tokens()
    head = ["<pad>", "<eos>", "<bos>", "<unk>"] + [f"<0x{b:02X}>" for b in range(256)] + ["\n" * n for n in range(1, 8)]
    tokens = [t for t in tokens if t not in head]
    kinds = [CONTROL, CONTROL, CONTROL, UNKNOWN] + [BYTE] * 256 + [NORMAL] * (7 + len(tokens))
    tokens, types = with_specials(head + tokens, kinds)
    return {"model": "gemma4", "tokens": tokens, "types": types, "merges": merges, "bos": 2, "eos": 1, "unknown": 3}


def wordpiece():
    """The trainer of WordPiece breaks ties at random: what it once gave is read again, if it is there."""
    kept = HERE / "vocab" / "wordpiece.json"
    return json.loads(kept.read_text()) if kept.exists() else train_wordpiece()


def train_wordpiece():
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer.train_from_iterator(chunks(), trainers.WordPieceTrainer(vocab_size=1200, special_tokens=specials,
                                                                      show_progress=False))
    names = [t for t, _ in sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])]
    tokens = [t if t in specials else t[2:] if t.startswith("##") else "\u2581" + t for t in names]
    types = [UNKNOWN if t == "[UNK]" else CONTROL if t in specials else NORMAL for t in tokens]
    at = tokens.index
    return {"model": "bert", "tokens": tokens, "types": types, "bos": at("[CLS]"), "unknown": at("[UNK]"),
            "separator": at("[SEP]"), "eos": at("[SEP]")}


def write_gguf(path, vocab, pre=None, name="toy", flags=()):
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name(name)
    writer.add_tokenizer_model(vocab["model"])
    if pre is not None:
        writer.add_tokenizer_pre(pre)
    writer.add_token_list(vocab["tokens"])
    writer.add_token_types(vocab["types"])
    if "scores" in vocab:
        writer.add_token_scores(vocab["scores"])
    if "merges" in vocab:
        writer.add_token_merges(vocab["merges"])
    for key, add in (("bos", writer.add_bos_token_id), ("eos", writer.add_eos_token_id),
                     ("unknown", writer.add_unk_token_id), ("separator", writer.add_sep_token_id)):
        if key in vocab:
            add(vocab[key])
    for key, value in flags:
        writer.add_bool(f"tokenizer.ggml.{key}", value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()


class Reference:
    def __init__(self, program, folder):
        self.program, self.folder = program, pathlib.Path(folder)

    def ids(self, model, texts, special):
        flags = bytes([3 if special else 0])
        requests = b"".join(struct.pack("<I", len(b)) + flags + b for b in (t.encode() for t in texts))
        answers = subprocess.run([self.program, model], input=requests, capture_output=True, check=True).stdout
        out, at = [], 0
        while at < len(answers):
            (count,) = struct.unpack_from("<i", answers, at)
            out.append(list(struct.unpack_from(f"<{count}i", answers, at + 4)))
            at += 4 + 4 * count
        assert len(out) == len(texts)
        return out

    def golden(self, vocab_name, vocab, names, swept=False, **options):
        model, result = self.folder / "model.gguf", None
        for pre in names:
            write_gguf(model, vocab, pre, **options)
            now = {"plain": self.ids(model, TEXTS, False), "special": self.ids(model, TEXTS, True)}
            assert result is None or now == result, f"{pre} is not {names[0]}"
            result = now
        if swept:
            result["sweep"] = [fnv(ids) for ids in self.ids(model, [corpus.sweep(b) for b in SWEEPS], False)]
        flags = dict(options.get("flags", ()))
        title = "-".join([vocab_name, names[0] or "none"] + [f"{k}_{int(v)}" for k, v in flags.items()]
                         + ([options["name"]] if "name" in options else []))
        out = {"vocab": vocab_name, "pre": names, "flags": flags, "name": options.get("name", "toy"), **result}
        dump(HERE / "expected" / f"{title}.json", out)
        print(title, flush=True)


def fnv(ids):
    """FNV-1a over the ids as 32-bit words, as a string (JSON has no 64-bit integers)."""
    value = 0xCBF29CE484222325
    for i in ids:
        value = (value ^ i) * 0x100000001B3 % 2**64
    return f"{value:016x}"


def dump(path, value):
    path.parent.mkdir(exist_ok=True)
    lines = ",\n".join(f"{json.dumps(k)}: {json.dumps(v, ensure_ascii=False, separators=(',', ':'))}"
                       for k, v in value.items())
    path.write_text("{\n" + lines + "\n}\n")


def added(content, special):
    return AddedToken(content, special=special, normalized=False)


def json_llama3(byte_vocab):
    vocab = {t: i for i, t in enumerate(byte_vocab["tokens"][: -len(SPECIALS)])}
    tokenizer = Tokenizer(models.BPE(vocab, [tuple(m.split(" ", 1)) for m in byte_vocab["merges"]], ignore_merges=True))
    split = Regex(r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
                  r"|\s*[\r\n]+|\s+(?!\S)|\s+")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(split, "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([added(t, True) for t, k in SPECIALS if k == CONTROL])
    tokenizer.add_tokens([added(t, False) for t, k in SPECIALS if k == USER])
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A", None, [("<s>", tokenizer.token_to_id("<s>"))])
    return tokenizer


def json_llama2():
    tokens, merges = spaced_tokens()
    head = ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)]
    vocab = {t: i for i, t in enumerate(head + tokens)}
    tokenizer = Tokenizer(models.BPE(vocab, [tuple(m.split(" ", 1)) for m in merges], unk_token="<unk>", fuse_unk=True,
                                     byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(),
                                           decoders.Strip(" ", 1, 0)])
    tokenizer.add_special_tokens([added(t, True) for t in head[:3]])
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A </s>", None, [("<s>", 1), ("</s>", 2)])
    return tokenizer


def json_bert(word_vocab):
    vocab = {}
    for i, t in enumerate(word_vocab["tokens"]):
        vocab[t[1:] if t.startswith("\u2581") else t if t.startswith("[") and len(t) > 1 else "##" + t] = i
    tokenizer = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens([added(t, True) for t in ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")])
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", vocab["[SEP]"]), ("[CLS]", vocab["[CLS]"]))
    return tokenizer


def json_golden(name, tokenizer):
    source = tokenizer.to_str(pretty=False)
    special = [tokenizer.encode(t, add_special_tokens=True).ids for t in TEXTS]
    tokenizer.encode_special_tokens = True
    plain = [tokenizer.encode(t, add_special_tokens=False).ids for t in TEXTS]
    (HERE / "json").mkdir(exist_ok=True)
    (HERE / "json" / f"{name}.tokenizer.json").write_text(source + "\n")
    dump(HERE / "json" / f"{name}.expected.json", {"plain": plain, "special": special})
    print(name, flush=True)


def main():
    vocabs = {"bytes": byte_level(), "spm": sentencepiece(), "gemma4": gemma4(), "wordpiece": wordpiece()}
    for name, vocab in vocabs.items():
        dump(HERE / "vocab" / f"{name}.json", vocab)
    (HERE / "texts.json").write_text(json.dumps(TEXTS, ensure_ascii=False, indent=0) + "\n")
    json_golden("llama3", json_llama3(vocabs["bytes"]))
    json_golden("llama2", json_llama2())
    json_golden("bert", json_bert(vocabs["wordpiece"]))
    with tempfile.TemporaryDirectory() as folder:
        reference = Reference(sys.argv[1], folder)
        reference.golden("bytes", vocabs["bytes"], [None])
        for names in PRE:
            reference.golden("bytes", vocabs["bytes"], names, swept=names[0] in SWEPT)
        reference.golden("bytes", vocabs["bytes"], ["qwen2"], flags=[("add_bos_token", True), ("add_eos_token", True)])
        reference.golden("gemma4", vocabs["gemma4"], [None])
        reference.golden("spm", vocabs["spm"], [None])
        reference.golden("spm", vocabs["spm"], [None], name="Phi-3 toy")
        reference.golden("spm", vocabs["spm"], [None], flags=[("add_space_prefix", False), ("add_bos_token", False),
                                                             ("add_eos_token", True)])
        reference.golden("wordpiece", vocabs["wordpiece"], [None], swept=True)
        reference.golden("wordpiece", vocabs["wordpiece"], [None], flags=[("normalizer.lowercase", False)])


if __name__ == "__main__":
    main()
