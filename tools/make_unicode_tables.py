#!/usr/bin/env python3
"""Writes rust/src/tokenizer/unicode_tables.rs and unicode_nfd.rs: the Unicode 15.1 facts that pre-tokenizers need.

Needs `unicodedata2==15.1.0` and `tokenizers` (for simple lower-casing) from PyPI; not part of ./check.
Source: Unicode Character Database 15.1, https://www.unicode.org/Public/15.1.0/ (UnicodeData.txt, PropList.txt).
"""
import pathlib

import unicodedata2 as ucd
from tokenizers import normalizers

assert ucd.unidata_version == "15.1.0", ucd.unidata_version
OUT = pathlib.Path(__file__).resolve().parent.parent / "rust/src/tokenizer"
CODE_POINTS = range(0x110000)
CLASS = {"N": 0x01, "L": 0x02, "M": 0x04, "P": 0x08, "S": 0x10, "C": 0x20, "Z": 0x40}
WHITE = {*range(0x9, 0xE), 0x20, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000}
HEAD = "//! Made by tools/make_unicode_tables.py from the Unicode Character Database 15.1; not edited by hand.\n\n"


def char_class(c):
    category = ucd.category(chr(c))
    bits = 0 if category == "Cn" else CLASS[category[0]]
    return bits | (0x80 if c in WHITE else 0)


def rows(items, per_line):
    lines = []
    for i in range(0, len(items), per_line):
        lines.append("    " + " ".join(x + "," for x in items[i : i + per_line]))
    return "\n".join(lines)


def classes():
    out, last = [], None
    for c in CODE_POINTS:
        k = char_class(c)
        if k != last:
            out.append(f"0x{c << 8 | k:X}")
            last = k
    return out


def simple_lower(c):
    if 0xD800 <= c < 0xE000 or ucd.category(chr(c)) == "Cn":
        return c
    low = ord(LOWER.normalize_str(chr(c))[0])
    return low if ucd.category(chr(low)) != "Cn" else c


def lower_runs():
    """(first, last, step, lower(first)): c, c + step, ... c' map to lower(first) + (c - first)."""
    pairs = [(c, simple_lower(c)) for c in CODE_POINTS]
    pairs = [p for p in pairs if p[0] != p[1]]
    out, i = [], 0
    while i < len(pairs):
        first, low = pairs[i]
        step = pairs[i + 1][0] - first if i + 1 < len(pairs) else 1
        step = step if step in (1, 2) else 1
        j = i
        while j + 1 < len(pairs) and pairs[j + 1] == (pairs[j][0] + step, pairs[j][1] + step):
            j += 1
        out.append(f"(0x{first:X}, 0x{pairs[j][0]:X}, {step}, 0x{low:X})")
        i = j + 1
    return out


def nfd_runs():
    """(first, last, base): every code point of the run decomposes to a sequence that starts with base."""
    out = []
    for c in CODE_POINTS:
        if 0xD800 <= c < 0xE000:
            continue
        base = ord(ucd.normalize("NFD", chr(c))[0])
        if base == c:
            continue
        if out and out[-1][1] == c - 1 and out[-1][2] == base:
            out[-1][1] = c
        else:
            out.append([c, c, base])
    return [f"(0x{a:X}, 0x{b:X}, 0x{n:X})" for a, b, n in out]


LOWER = normalizers.Lowercase()
(OUT / "unicode_tables.rs").write_text(
    HEAD
    + "/// `first << 8 | class bits` of each run of code points of one class, ascending; bits as in unicode.rs.\n"
    + "#[rustfmt::skip]\npub const CLASSES: &[u32] = &[\n" + rows(classes(), 9) + "\n];\n\n"
    + "/// (first, last, step, lower): first, first + step ... last lower-case to lower, lower + step ...\n"
    + "#[rustfmt::skip]\npub const LOWER: &[(u32, u32, u32, u32)] = &[\n" + rows(lower_runs(), 3) + "\n];\n"
)
(OUT / "unicode_nfd.rs").write_text(
    HEAD
    + "/// (first, last, base): the canonical decomposition of each of these starts with base.\n"
    + "#[rustfmt::skip]\npub const NFD_BASE: &[(u32, u32, u32)] = &[\n" + rows(nfd_runs(), 4) + "\n];\n"
)
