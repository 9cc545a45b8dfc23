#!/usr/bin/env python3
"""Mistakes of units must not compile (econ/units.h).  units_compile_test.py COMPILER SRC

Each case is what is right and what is wrong about it, as close together as can be: the first must compile and the
second must not, so that a case fails for its unit and for nothing else.
"""

import subprocess
import sys

PRELUDE = """#include "econ/units.h"
using namespace farthing;
void takes_price(TokenPrice);
void takes_seconds(Seconds);
void takes_money(Money);
"""

# what, right, wrong
CASES = [
    ("a price per thousand tokens as one per token",
     "takes_price(per_thousand_tokens(Money{0.002}));",
     "takes_price(Money{0.002});"),
    ("a price is made by dividing, never of a bare number",
     "TokenPrice p = Money{0.002} / Tokens{1000}; (void)p;",
     "TokenPrice p{0.002}; (void)p;"),
    ("nor of one in braces",
     "takes_price({});",
     "takes_price({0.002});"),
    ("nor of one after an equals sign",
     "TokenPrice p = 0.002_usd_per_ktok; (void)p;",
     "TokenPrice p = 0.002; (void)p;"),
    ("a rate is made by dividing",
     "MoneyRate r = per_hour(Money{1}); (void)r;",
     "MoneyRate r{1.0}; (void)r;"),
    ("no implicit number as money",
     "takes_money(Money{5});",
     "takes_money(5);"),
    ("nor in braces",
     "takes_money(Money{5});",
     "takes_money({5.0});"),
    ("no money as a number",
     "double d = Money{5} / Money{1}; (void)d;",
     "double d = Money{5}; (void)d;"),
    ("input and output tokens add up through a named function",
     "Tokens t = all_tokens(InputTokens{1}, CachedTokens{}, OutputTokens{2}); (void)t;",
     "auto t = InputTokens{1} + OutputTokens{2}; (void)t;"),
    ("nor does one stand for the other",
     "OutputTokens t = OutputTokens{1}; (void)t;",
     "OutputTokens t = InputTokens{1}; (void)t;"),
    ("cached input isn't input",
     "InputTokens t = InputTokens{2} - InputTokens{1}; (void)t;",
     "InputTokens t = InputTokens{2} - CachedTokens{1}; (void)t;"),
    ("tokens of a kind aren't tokens of all kinds",
     "Tokens t = all_tokens({}, {}, OutputTokens{1}); (void)t;",
     "Tokens t = OutputTokens{1}; (void)t;"),
    ("the output's price is not the input's",
     "Money m = per_million_input_tokens(Money{1}) * InputTokens{1}; (void)m;",
     "Money m = per_million_output_tokens(Money{1}) * InputTokens{1}; (void)m;"),
    ("a price by kind needs its kind",
     "InputPrice p = per_million_input_tokens(Money{1}); (void)p;",
     "InputPrice p = per_million_tokens(Money{1}); (void)p;"),
    ("the price of a query is not that of a token",
     "RequestPrice p = Money{1} / Requests{1}; (void)p;",
     "RequestPrice p = Money{1} / Tokens{1}; (void)p;"),
    ("money and money a second don't add up",
     "auto m = Money{1} + per_hour(Money{1}) * hours(1); (void)m;",
     "auto m = Money{1} + per_hour(Money{1}); (void)m;"),
    ("hours are no seconds",
     "takes_seconds(hours(1));",
     "takes_seconds(1);"),
    ("energy is no power",
     "Watts w = Joules{1} / Seconds{1}; (void)w;",
     "Watts w = Joules{1}; (void)w;"),
    ("prefill is of input tokens",
     "PrefillRate r = InputTokens{1} / Seconds{1}; (void)r;",
     "PrefillRate r = OutputTokens{1} / Seconds{1}; (void)r;"),
    ("amounts are compared with their like",
     "bool b = Money{1} < Money{2}; (void)b;",
     "bool b = Money{1} < Tokens{2}; (void)b;"),
    ("nor with numbers",
     "bool b = Money{1} < Money{2}; (void)b;",
     "bool b = Money{1} < 2; (void)b;"),
    ("a million of what",
     "Money m = per_million(0.002_usd_per_ktok); (void)m;",
     "Money m = per_million(Money{0.002}); (void)m;"),
]  # fmt: skip


def compiles(compiler, source_dir, statement):
    """Whether it does, and what the compiler said."""
    text = PRELUDE + "void f() { " + statement + " }\n"
    done = subprocess.run(
        [compiler, "-std=c++20", "-fsyntax-only", "-I", source_dir, "-x", "c++", "-"],
        input=text, capture_output=True, text=True, check=False)  # fmt: skip
    return done.returncode == 0, done.stderr


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    compiler, source_dir = sys.argv[1:]
    problems = 0
    for what, right, wrong in CASES:
        good, message = compiles(compiler, source_dir, right)
        if not good:
            problems += 1
            print(f"{what}: doesn't compile, but must: {right}\n{message}")
        if compiles(compiler, source_dir, wrong)[0]:
            problems += 1
            print(f"{what}: compiles, but must not: {wrong}")
    print(f"{len(CASES)} cases, {problems} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
