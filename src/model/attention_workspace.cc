#include "model/attention_workspace.h"

#include <algorithm>

#include "base/checked.h"

namespace farthing {
namespace {

constexpr int32_t kTaskQueries = 64;
constexpr int64_t kMostPartsFloats = int64_t{4} << 20;  // 16 MiB
constexpr int64_t kPage = 4096 / sizeof(float);         // threads don't share pages

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
    sizes.parts = std::max(sizes.parts, kSharedTasksPerThread * limits.n_threads * task);
  }
  if (limits.mode == AttentionMode::kNaive || limits.n_threads == 1) sizes.parts = 0;
  sizes.parts = std::min(sizes.parts, kMostPartsFloats);
  return sizes;
}

}  // namespace

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
  w.shared.reserve(static_cast<size_t>(kSharedTasksPerThread * limits.n_threads));
  return w;
}

}  // namespace farthing
