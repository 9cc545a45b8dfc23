#include "model/attention_workspace.h"

#include <algorithm>

#include "base/checked.h"

namespace farthing {
namespace {

constexpr int32_t kTaskQueries = 64;
constexpr int64_t kMostPartsFloats = int64_t{4} << 20;  // 16 MiB
constexpr int64_t kPage = 4096 / sizeof(float);         // threads don't share pages
constexpr int32_t kSegmentBlocks = kAttentionSegment / kKVBlockTokens;

struct Sizes {
  int64_t scratch = 0, parts = 0;  // floats; scratch of each thread
};

Sizes sizes_of(const ModelSpec& spec, const AttentionLimits& limits) {
  Sizes sizes;
  const int64_t n_segments = ceil_div(limits.context, kAttentionSegment);
  for (int32_t i = 0; i < spec.n_layers(); ++i) {
    const AttentionSpec& a = spec.attention(i);
    const int32_t group = a.n_heads / a.n_kv_heads;
    const int64_t scratch =
        limits.mode == AttentionMode::kNaive
            ? naive_scratch_floats(limits.context, a.head_dim)
            : attention_scratch_floats(AttentionWorkspace::most_rows(a) * group, a.head_dim);
    sizes.scratch = std::max(sizes.scratch, round_up(scratch, kPage));
    const int64_t task = n_segments * group * attention_part_floats(a.head_dim);
    if (limits.n_threads > 1)
      sizes.parts = std::max(sizes.parts, kSharedTasksPerThread * limits.n_threads * task);
    if (limits.max_sequences > 1)
      sizes.parts = std::max(sizes.parts, limits.max_sequences * a.n_kv_heads * task);
  }
  if (limits.mode == AttentionMode::kNaive) sizes.parts = 0;
  sizes.parts = std::min(sizes.parts, kMostPartsFloats);
  return sizes;
}

// Segments, at most `most`, that both rows see whole and in the same blocks.
int32_t segments_alike(const TokenRow& a, const TokenRow& b, int32_t most) {
  most = std::min(most, b.position / kAttentionSegment);
  if (a.sequence == b.sequence) return most;
  const auto& x = a.sequence->blocks;
  const auto& y = b.sequence->blocks;
  const auto end = x.begin() + int64_t{most} * kSegmentBlocks;
  const auto alike = std::mismatch(x.begin(), end, y.begin()).first - x.begin();
  return static_cast<int32_t>(alike) / kSegmentBlocks;
}

}  // namespace

void AttentionWorkspace::find_commons(const ModelSpec& spec, std::span<const TokenRow> rows) {
  commons.clear();
  if (rows.size() < 2 || parts_floats_ == 0) return;
  int32_t most = 0;
  int64_t room = 0;  // for rows times segments
  for (int32_t i = 0; i < spec.n_layers(); ++i) {
    const AttentionSpec& a = spec.attention(i);
    if (a.window > 0) continue;
    const int64_t fit = parts_floats_ / (a.n_heads * attention_part_floats(a.head_dim));
    most = most == 0 ? most_rows(a) : std::min(most, most_rows(a));
    room = room == 0 ? fit : std::min(room, fit);
  }
  int64_t taken = 0;
  const auto n_rows = static_cast<int32_t>(rows.size());
  for (int32_t begin = 0, end = 0; begin < n_rows; begin = end) {
    const TokenRow& first = rows[static_cast<size_t>(begin)];
    int32_t n_segments = first.position / kAttentionSegment;
    bool several = false;
    for (end = begin + 1; n_segments > 0 && end < n_rows && end - begin < most; ++end) {
      const TokenRow& next = rows[static_cast<size_t>(end)];
      const int32_t alike = segments_alike(first, next, n_segments);
      if (alike == 0) break;
      n_segments = alike;
      several |= next.sequence != first.sequence;
    }
    const int32_t count = end - begin;
    n_segments = static_cast<int32_t>(std::min<int64_t>(n_segments, (room - taken) / count));
    if (!several || n_segments == 0) continue;
    commons.push_back({begin, count, n_segments, taken});
    taken += int64_t{count} * n_segments;
  }
}

int32_t AttentionWorkspace::most_rows(const AttentionSpec& a) {
  return std::max(1, kTaskQueries / (a.n_heads / a.n_kv_heads));
}

int64_t AttentionWorkspace::bytes_needed(const ModelSpec& spec, const AttentionLimits& limits) {
  const Sizes sizes = sizes_of(spec, limits);
  return (limits.n_threads * sizes.scratch + sizes.parts) * static_cast<int64_t>(sizeof(float));
}

Result<AttentionWorkspace> AttentionWorkspace::create(const ModelSpec& spec,
                                                      const AttentionLimits& limits) {
  const Sizes sizes = sizes_of(spec, limits);
  AttentionWorkspace w;
  FARTHING_TRY(w.buffer_, Buffer::allocate(static_cast<size_t>(bytes_needed(spec, limits))));
  w.scratch_floats_ = sizes.scratch;
  w.parts_floats_ = sizes.parts;
  w.scratch_ = w.buffer_.as<float>();
  w.parts_ = w.scratch_ + limits.n_threads * sizes.scratch;
  w.runs.reserve(static_cast<size_t>(limits.max_tokens));
  w.commons.reserve(static_cast<size_t>(limits.max_tokens / 2 + 1));
  w.shared.reserve(static_cast<size_t>(kSharedTasksPerThread * limits.n_threads));
  return w;
}

}  // namespace farthing
