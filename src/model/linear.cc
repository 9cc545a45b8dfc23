#include "model/linear.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "base/check.h"
#include "base/checked.h"

namespace farthing {
namespace {

ActFormat format_for(const KernelTable& kernels, const WeightMatrix& w) {
  return kernels.act_format[static_cast<size_t>(w.type)];
}

// Tiles [begin, end) of one product to `out`, whose first column is the first of their rows.
void run_kernel(const KernelTable& kernels,
                const Activations& x,
                const WeightMatrix& weight,
                int64_t begin,
                int64_t end,
                Matrix<float> out,
                bool add) {
  const Matrix<const float> rows = x.rows();
  const bool plain = format_for(kernels, weight) == ActFormat::kF32;
  kernels.matmul[static_cast<size_t>(weight.type)]({
      .tiles = weight.tiles + begin * tile_bytes(weight.type, weight.cols),
      .rows = weight.rows - begin * kTileRows,
      .cols = weight.cols,
      .act = plain ? reinterpret_cast<const std::byte*>(rows.data) : x.packed(),
      .act_stride = rows.stride * static_cast<int64_t>(sizeof(float)),
      .n_tokens = static_cast<int32_t>(rows.rows),
      .out = out.data,
      .out_stride = out.stride,
      .tile_begin = 0,
      .tile_end = end - begin,
      .accumulate = add,
      .far = kernels.far,
  });
}

// The same, bias included.
void project_tiles(const KernelTable& kernels,
                   const Activations& x,
                   const Projection& p,
                   int64_t begin,
                   int64_t end) {
  const int64_t first = begin * kTileRows;
  const int64_t count = std::min(end * kTileRows, p.weight->rows) - first;
  const Matrix<float> out(p.out.data + first, x.rows().rows, count, p.out.stride);
  run_kernel(kernels, x, *p.weight, begin, end, out, p.add);
  if (p.bias.empty()) return;
  CHECK(!p.add);
  for (int64_t t = 0; t < out.rows; ++t) kernels.add(p.bias.data() + first, count, out.row(t));
}

void observe(const Exec& exec, const Activations& x, std::span<const Projection> projections) {
  if (exec.observer == nullptr) return;
  for (const Projection& p : projections) (*exec.observer)(*p.weight, x.rows());
}

}  // namespace

int64_t Activations::bytes_needed(int64_t max_tokens, int64_t max_cols) {
  return act_bytes(max_tokens, max_cols);
}

Result<Activations> Activations::create(int64_t max_tokens, int64_t max_cols) {
  Activations act;
  FARTHING_TRY(act.packed_,
               Buffer::allocate(static_cast<size_t>(bytes_needed(max_tokens, max_cols))));
  return act;
}

void Activations::start(const Exec& exec,
                        Matrix<const float> rows,
                        std::span<const Projection> projections) {
  rows_ = rows;
  pack_ = exec.kernels->pack_q8_32;
  wants_groups_ = false;
  for (const Projection& p : projections) {
    CHECK(p.weight->cols == rows.cols);
    wants_groups_ |= format_for(*exec.kernels, *p.weight) == ActFormat::kQ8_32;
  }
}

void Activations::put(int64_t token, int64_t begin, int64_t end) {
  if (!wants_groups_) return;
  const int32_t in_block = static_cast<int32_t>(token % kActBlockTokens);
  const ActBlock block = act_block(
      rows_.cols, static_cast<int32_t>(rows_.rows), static_cast<int32_t>(token) - in_block);
  std::byte* first =
      packed_.data() + block.offset + in_block * static_cast<int64_t>(sizeof(ActGroup));
  pack_(rows_.row(token) + begin,
        end - begin,
        first + begin / kActGroup * block.group_stride,
        block.group_stride);
  if (end < rows_.cols) return;
  for (int64_t g = rows_.cols / kActGroup; g < act_groups(rows_.cols); ++g)
    std::memset(first + g * block.group_stride, 0, sizeof(ActGroup));
}

void multiply_tiles(const Exec& exec,
                    const Activations& x,
                    const WeightMatrix& weight,
                    int64_t begin,
                    int64_t end,
                    Matrix<float> out) {
  run_kernel(*exec.kernels, x, weight, begin, end, out, false);
}

void multiply(const Exec& exec, const Activations& x, std::span<const Projection> projections) {
  observe(exec, x, projections);
  int64_t n_tiles = 0;
  for (const Projection& p : projections) n_tiles += p.weight->n_tiles();
  constexpr int64_t kGrain = 2;  // kernels for many tokens take tiles in pairs
  exec.team->parallel_for(n_tiles, kGrain, [&](int64_t begin, int64_t end) {
    int64_t first = 0;  // of the projection at hand
    for (const Projection& p : projections) {
      const int64_t from = std::max(begin, first) - first;
      const int64_t to = std::min(end, first + p.weight->n_tiles()) - first;
      first += p.weight->n_tiles();
      if (from < to) project_tiles(*exec.kernels, x, p, from, to);
    }
  });
}

void multiply_gated(const Exec& exec,
                    const Activations& x,
                    const Projection& gate,
                    const Projection& up,
                    DenseFfnSpec::Activation activation,
                    Activations& next) {
  observe(exec, x, {&gate, 1});
  observe(exec, x, {&up, 1});
  const KernelTable& kernels = *exec.kernels;
  const auto act =
      activation == DenseFfnSpec::Activation::kGelu ? kernels.gelu_mul : kernels.silu_mul;
  const int64_t n = gate.weight->rows;
  constexpr int64_t kStep = 32;  // an activation group of the next product
  exec.team->parallel_for(ceil_div(n, kStep), 1, [&](int64_t begin, int64_t end) {
    const int64_t first = begin * kStep, last = std::min(end * kStep, n);
    const int64_t tile_end = ceil_div(last, kTileRows);
    project_tiles(kernels, x, gate, first / kTileRows, tile_end);
    project_tiles(kernels, x, up, first / kTileRows, tile_end);
    for (int64_t t = 0; t < x.rows().rows; ++t) {
      float* g = gate.out.row(t) + first;
      act(g, up.out.row(t) + first, last - first, g);
      next.put(t, first, last);
    }
  });
}

}  // namespace farthing
