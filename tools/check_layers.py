#!/usr/bin/env python3
"""Checks the picture of the source: who includes whom, and that docs/WALK.md names files that exist.

  check_layers.py           every #include "folder/..." under src/ points at its own folder or one of a lower level
  check_layers.py --walk    every file named in docs/WALK.md exists

Each violation is one line, file:line: what. Exit status 1 if there is any.
"""

import argparse
import pathlib
import re
import sys

LEVELS = {
    "base": 0,
    "econ": 1, "core": 1, "quant": 1,
    "text": 2, "load": 2, "kernels": 2, "cache": 2,
    "model": 3, "sample": 3, "sched": 3,
    "draft": 4, "convert": 4,
    "engine": 5,
    "serve": 6, "measure": 6,
    "cli": 7,
}  # fmt: skip

# The border of the Rust library; text/ alone speaks to it.
RUST_HEADERS = pathlib.Path("rust/include")
RUST_FOLDER = "text"
# Written by the build (cmake/), below every folder.
GENERATED_HEADERS = {"farthing_commit.h"}

INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"')
SOURCE_SUFFIXES = {".h", ".cc", ".inc"}
# A path as WALK.md writes it, in backticks: `sched/scheduler.h`, or a bare `sequence.h` beside the one before it.
NAMED_FILE = re.compile(r"\b([\w.-]+/)*[\w-]+\.(?:h|cc|rs|py|md|txt|html|js)\b")


def include_violation(folder, target):
    """Why a file of `folder` may not include `target`, or None."""
    parts = target.split("/")
    if len(parts) < 2:
        return f'"{target}" names no folder: write "{folder}/{target}"'
    if parts[0] not in LEVELS:
        return f'"{target}" is in no known folder'
    if parts[0] != folder and LEVELS[parts[0]] >= LEVELS[folder]:
        return f"{folder} (level {LEVELS[folder]}) includes {target} (level {LEVELS[parts[0]]})"
    return None


def check_includes(source_dir):
    problems = []
    n_files = 0
    for path in sorted(source_dir.rglob("*")):
        if path.suffix not in SOURCE_SUFFIXES:
            continue
        n_files += 1
        folder = path.relative_to(source_dir).parts[0]
        if folder not in LEVELS:
            problems.append(f"{path}:1: folder {folder} has no level in tools/check_layers.py")
            continue
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            match = INCLUDE.match(line)
            if not match:
                continue
            target = match.group(1)
            if (source_dir.parent / RUST_HEADERS / target).is_file():
                if folder != RUST_FOLDER:
                    problems.append(f"{path}:{number}: {target} is for {RUST_FOLDER}/ alone")
                continue
            if target in GENERATED_HEADERS:
                continue
            violation = include_violation(folder, target)
            if violation is None and not (source_dir / target).is_file():
                violation = f'"{target}" does not exist'
            if violation:
                problems.append(f"{path}:{number}: {violation}")
    if n_files == 0:
        problems.append(f"{source_dir}:1: no source files found")
    return problems, n_files


def check_walk(root):
    walk = root / "docs" / "WALK.md"
    if not walk.is_file():
        return [f"{walk}:1: missing"], 0
    problems = []
    n_named = 0
    for number, line in enumerate(walk.read_text().splitlines(), 1):
        folder = ""
        for quoted in re.findall(r"`([^`]*)`", line):
            for match in NAMED_FILE.finditer(quoted):
                name = match.group(0)
                n_named += 1
                if "/" in name:
                    folder = name.rsplit("/", 1)[0]
                elif folder:
                    name = f"{folder}/{name}"
                if not any((base / name).is_file() for base in (root / "src", root)):
                    problems.append(f"{walk}:{number}: {name} does not exist")
    if n_named == 0:
        problems.append(f"{walk}:1: names no file")
    return problems, n_named


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--root", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parent.parent
    )
    parser.add_argument(
        "--walk", action="store_true", help="check docs/WALK.md instead of the includes"
    )
    options = parser.parse_args()
    problems, n = check_walk(options.root) if options.walk else check_includes(options.root / "src")
    for problem in problems:
        print(problem)
    print(f"{n} {'files named' if options.walk else 'source files'}, {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
