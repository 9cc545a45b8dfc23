#!/bin/sh
# run_fuzzer.sh FUZZER DIR SECONDS MOST_BYTES [SEEDS...]: fuzzes that long (FARTHING_CHECK_LONG=yes: ten minutes) from the
# seeds (folders, programs that write one, or a dictionary: *.dict) and from the corpus of earlier runs in DIR; a crash
# leaves its input in DIR and fails.
set -eu
fuzzer=$1 dir=$2 seconds=$3 most_bytes=$4
shift 4
[ "${FARTHING_CHECK_LONG:-no}" = yes ] && seconds=600
mkdir -p "$dir/corpus"
from=$dir/corpus
for seed in "$@"; do
  case $seed in
    *.dict) seed=-dict=$seed ;;
    *)
      if [ ! -d "$seed" ]; then
        "$seed" --seeds "$dir/seeds"
        rm -f "$dir/seeds/recipes.txt"
        seed=$dir/seeds
      fi
      ;;
  esac
  from="$from $seed"
done
# shellcheck disable=SC2086  # none of these paths holds a space that Ninja and CMake would have survived
exec "$fuzzer" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -max_len="$most_bytes" -print_final_stats=1 \
  -artifact_prefix="$dir/" $from
