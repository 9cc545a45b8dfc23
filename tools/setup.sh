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

# What the build needs (configuring finds GoogleTest even where only the program is built), then what only ./check
# needs: the compiler with the sanitizers and the fuzzer.
build_packages=(cmake ninja-build g++ pkgconf ccache mold libboost1.81-dev nlohmann-json3-dev libfmt-dev
  libspdlog-dev libcli11-dev libtomlplusplus-dev libedit-dev libgtest-dev libgmock-dev python3 python3-pip)
test_packages=(clang-19 libclang-rt-19-dev libfuzzer-19-dev)

has_package() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

# need_packages NAME...: installs those that are missing with apt.
need_packages() {
  local missing=() name log
  for name in "$@"; do has_package "$name" || missing+=("$name"); done
  [ ${#missing[@]} -eq 0 ] && return 0
  command -v apt-get >/dev/null || fail "apt-get is not here: this script knows Debian 12 only" \
    "Install by hand what stands for: ${missing[*]}"
  local root=()
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || fail "not root, and sudo is not installed" \
      "As root: apt-get install ${missing[*]}"
    root=(sudo)
  fi
  note "installing with apt: ${missing[*]}"
  log=$(mktemp)
  if ! { "${root[@]}" apt-get update -qq &&
         "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}"; } \
         >"$log" 2>&1 </dev/null; then
    tail -n 5 "$log" >&2
    fail "apt could not install the packages (log: $log)" "Check the network and the package sources, then run this again."
  fi
  rm -f "$log"
}

rust_minor() { # of the cargo given, e.g. 87
  "$1" --version 2>/dev/null | sed -n 's/^cargo 1\.\([0-9]*\).*/\1/p'
}

# Leaves a cargo >= 1.87 on PATH: one that is there, else Debian's packages for it.
readonly rust_wanted=87
need_rust() {
  local cargo minor name candidate
  for cargo in "$(command -v cargo || true)" "${CARGO_HOME:-$HOME/.cargo}/bin/cargo"; do
    [ -n "$cargo" ] && [ -x "$cargo" ] || continue
    minor=$(rust_minor "$cargo")
    if [ "${minor:-0}" -ge $rust_wanted ]; then
      PATH=$(dirname "$cargo"):$PATH
      export PATH
      return 0
    fi
  done
  # cargo-web and rustc-web are the newer toolchain that Debian keeps for its browsers. They conflict with rustc
  # and cargo packages: an installed toolchain is never removed.
  for name in rustc cargo rustup; do
    has_package "$name" && fail "the Debian package $name is installed but gives no cargo >= 1.$rust_wanted" \
      "Update it (rustup update stable), or remove it and run this again."
  done
  if ! has_package cargo-web; then
    local root=(); [ "$(id -u)" -eq 0 ] || root=(sudo)
    "${root[@]}" apt-get update -qq >/dev/null 2>&1 || true
    candidate=$(apt-cache policy cargo-web 2>/dev/null | sed -n 's/^  Candidate: //p' | sed -n 's/^1\.\([0-9]*\).*/\1/p')
    [ "${candidate:-0}" -ge $rust_wanted ] ||
      fail "no Rust toolchain >= 1.$rust_wanted found, and the package cargo-web is ${candidate:+1.}${candidate:-not available}" \
        "Install Rust with rustup, or enable Debian's security updates, then run this again."
    need_packages rustc-web cargo-web
  fi
  minor=$(rust_minor "$(command -v cargo)")
  [ "${minor:-0}" -ge $rust_wanted ] || fail "cargo is still older than 1.$rust_wanted" "Put a newer cargo first on PATH."
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
    cmake --build "build/$preset" "${targets[@]}" >"$log" 2>&1 || { tail -n 40 "$log" >&2
      fail "the build failed (log: $log)" "The compiler's message stands above."; }
  fi
}
