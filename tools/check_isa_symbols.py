#!/usr/bin/env python3
"""Fails if an object compiled for one instruction set defines a symbol that the linker could give to others.

    check_isa_symbols.py OBJECT...

An inline function or template of a header that is compiled into such an object is a weak symbol; the linker keeps
any one copy of those, and generic code would then run, say, AVX-512 on a CPU without it. So each object may define
strong data of our own (the constants full of function pointers), and nothing else that others can see.
"""

import subprocess
import sys


def offences(path):
    out = subprocess.run(["nm", "-C", "--defined-only", path], capture_output=True, text=True, check=True).stdout
    exported = 0
    for line in out.splitlines():
        kind, name = line[17:18], line[19:]
        if "sanitizer" in name or "__asan" in name or "__odr_asan" in name or "__ubsan" in name:
            continue
        if kind in "VWvwuiC" or (kind == "T" and not name.startswith("farthing::")):
            yield f"{path}: {kind} {name}"
        exported += kind in "DRBT"
    if not exported:
        yield f"{path}: exports nothing (is it still the right object?)"


def main():
    if len(sys.argv) < 2:
        sys.exit("usage: check_isa_symbols.py OBJECT...")
    found = [offence for path in sys.argv[1:] for offence in offences(path)]
    print("\n".join(found) if found else f"{len(sys.argv) - 1} objects, no weak symbols")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
