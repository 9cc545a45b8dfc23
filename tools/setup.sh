# Shared by ./quickstart and ./check (sourced, not run): finds or installs what a build needs.
# Every function says what it does, does nothing the second time, and fails with what to do.

if [ -t 2 ] && [ -z "${NO_COLOR:-}" ]; then bold=$'\e[1m' dim=$'\e[2m' red=$'\e[31m' off=$'\e[0m'
else bold='' dim='' red='' off=''; fi

current_step=start
step() { current_step=$1; printf '%s==> %s%s\n' "$bold" "$1" "$off" >&2; }
note() { printf '%s    %s%s\n' "$dim" "$1" "$off" >&2; }
fail() {
  printf '%serror in step "%s":%s %s\n' "$red" "$current_step" "$off" "$1" >&2
  shift
  for line in "$@"; do printf '  %s\n' "$line" >&2; done
  exit 1
}

# Ctrl-C is no failure of a step: what is done so far is kept, the next run goes on from there.
trap 'printf "\n%sinterrupted; run this again to go on%s\n" "$bold" "$off" >&2; exit 130' INT

# What the build needs (configuring finds GoogleTest even where only the program is built), then what only ./check
# needs: the compiler with the sanitizers and the fuzzer.
build_packages=(cmake ninja-build g++ pkgconf ccache mold libboost1.81-dev libssl-dev nlohmann-json3-dev libfmt-dev
  libspdlog-dev libcli11-dev libtomlplusplus-dev libedit-dev libxxhash-dev prometheus-cpp-dev libgtest-dev libgmock-dev librapidcheck-dev python3 python3-pip)
test_packages=(clang-19 libclang-rt-19-dev libfuzzer-19-dev)

has_package() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

# apt_get ARGS...: as root; waits for another apt (a fresh machine's own updates) instead of failing.
as_root=()
apt_get() { "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 "$@" </dev/null; }

# can_install NAME...: whether apt could be run for them; else fails and says what to run by hand.
can_install() {
  command -v apt-get >/dev/null || fail "apt-get is not here: this script knows Debian 12 only" \
    "Install by hand what stands for: $*"
  [ "$(id -u)" -ne 0 ] || return 0
  command -v sudo >/dev/null || fail "packages are missing; this is not root, and sudo is not installed" \
    "As root, then run this again:" "  apt-get update && apt-get install -y --no-install-recommends $*"
  as_root=(sudo)
}

# need_packages NAME...: installs those that are missing with apt.
need_packages() {
  local missing=() name log
  for name in "$@"; do has_package "$name" || missing+=("$name"); done
  [ ${#missing[@]} -eq 0 ] && return 0
  can_install "${missing[@]}" $(find_rust || echo "${rust_packages[@]}")  # both, so that an administrator is asked once
  note "installing with apt: ${missing[*]}"
  log=$(mktemp)
  if ! { apt_get update -qq && apt_get install -y --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
    # Its first errors tell the cause; a failed update is only a warning to apt.
    grep -m 6 -E '^(E|W|sudo|dpkg):' "$log" >&2 || tail -n 6 "$log" >&2
    fail "apt could not install the packages (log: $log)" \
      "Mend what apt names above (no network? package sources? disk full?), then run this again."
  fi
  rm -f "$log"
}

# cargo-web and rustc-web are the newer toolchain that Debian keeps for its browsers. They conflict with the packages
# rustc and cargo: an installed toolchain is never removed.
readonly rust_wanted=87
rust_packages=(rustc-web cargo-web)

# Puts a cargo >= 1.87 first on PATH; status 1 where there is none.
find_rust() {
  local cargo minor
  for cargo in "$(command -v cargo || true)" "${CARGO_HOME:-${HOME:-}/.cargo}/bin/cargo"; do
    [ -n "$cargo" ] && [ -x "$cargo" ] || continue
    minor=$("$cargo" --version 2>/dev/null | sed -n 's/^cargo 1\.\([0-9]*\).*/\1/p')
    if [ "${minor:-0}" -ge $rust_wanted ]; then
      export PATH="${cargo%/*}:$PATH"
      return 0
    fi
  done
  return 1
}

# Leaves a cargo >= 1.87 on PATH: one that is there, else Debian's packages for it.
need_rust() {
  local name candidate
  find_rust && return 0
  for name in rustc cargo rustup; do
    has_package "$name" && fail "the Debian package $name is installed but gives no cargo >= 1.$rust_wanted" \
      "Update it (rustup update stable), or remove it (apt-get remove rustc cargo) and run this again."
  done
  if ! has_package cargo-web; then
    can_install "${rust_packages[@]}"
    apt_get update -qq >/dev/null 2>&1 || true
    candidate=$(LC_ALL=C apt-cache policy cargo-web 2>/dev/null | sed -n 's/^  Candidate: 1\.\([0-9]*\).*/\1/p')
    [ "${candidate:-0}" -ge $rust_wanted ] ||
      fail "no Rust toolchain >= 1.$rust_wanted is here, and the package cargo-web is ${candidate:+1.}${candidate:-not available}" \
        "Install Rust with rustup, or add Debian's security updates (bookworm-security) to apt's sources," \
        "then run this again."
    need_packages "${rust_packages[@]}"
  fi
  find_rust || fail "no Rust toolchain >= 1.$rust_wanted is here" "Install Rust with rustup, or put a newer cargo on PATH."
}

# build PRESET TARGET...: configures if needed and builds, quietly unless it fails.
build() {
  local preset=$1 log
  shift
  log=build/$preset.log
  mkdir -p build
  if [ ! -f "build/$preset/build.ninja" ]; then
    note "configuring build/$preset"
    cmake --preset "$preset" >"$log" 2>&1 || { tail -n 20 "$log" >&2; fail "cmake failed (log: $log)" \
      "If build/$preset is from another compiler or place, delete it and run this again."; }
  fi
  local targets=()
  [ $# -gt 0 ] && targets=(--target "$@")
  if [ -t 2 ]; then
    NINJA_STATUS='    [%f/%t, %es] ' cmake --build "build/$preset" "${targets[@]}" >&2 ||
      fail "the build failed" "The compiler's message stands above."
  else
    note "progress: $log"
    cmake --build "build/$preset" "${targets[@]}" >"$log" 2>&1 || { tail -n 40 "$log" >&2
      fail "the build failed (log: $log)" "The compiler's message stands above."; }
  fi
}
