#!/bin/sh
# run_fuzzer.sh FUZZER SEED_WRITER DIR: fuzzes for a minute (FARTHING_CHECK_LONG=yes: ten) from the seeds and from the
# corpus of earlier runs in DIR; a crash leaves its input in DIR and fails.
set -eu
fuzzer=$1 seed_writer=$2 dir=$3
seconds=60
[ "${FARTHING_CHECK_LONG:-no}" = yes ] && seconds=600
mkdir -p "$dir/corpus"
"$seed_writer" --seeds "$dir/seeds"
rm -f "$dir/seeds/recipes.txt"
exec "$fuzzer" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -max_len=262144 -print_final_stats=1 \
  -artifact_prefix="$dir/" "$dir/corpus" "$dir/seeds"
