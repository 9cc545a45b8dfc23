// Matrix products of every weight type, for 1 to 512 tokens. Weights
// come from memory, as they do in a model, whose layers follow each other: iterations walk over
// copies that no cache holds.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <optional>

#include "base/buffer.h"
#include "base/check.h"
#include "kernels/act.h"
#include "kernels/kernel_table.h"
#include "kernels/test_util.h"
#include "micro/roofs.h"
#include "quant/tile.h"

namespace farthing::micro {
namespace {

struct Shape {
  int64_t rows, cols;
  bool operator==(const Shape&) const = default;
};
// Of SmolLM2's and a 1B llama's layers; columns are whole blocks of 256 for the K types.
constexpr Shape kShapes[] = {{1536, 768}, {2048, 2048}, {2048, 8192}};
constexpr int32_t kTokens[] = {1, 2, 4, 8, 16, 32, 128, 512};

Buffer allocate(int64_t bytes) {
  auto buffer = Buffer::allocate(static_cast<size_t>(bytes));
  CHECK(buffer);
  return *std::move(buffer);
}

int64_t n_tiles(const Shape& shape) {
  return (shape.rows + kTileRows - 1) / kTileRows;
}

// Copies of one matrix.
class Weights {
 public:
  Weights(DType type, const Shape& shape)
      : type_(type), shape_(shape), bytes_(tiled_bytes(type, shape.rows, shape.cols)) {
    n_copies_ = std::max<int64_t>(1, kBeyondCaches / bytes_);
    memory_ = allocate(bytes_ * n_copies_);
    Buffer rows = allocate(bytes_for(type, shape.rows * shape.cols));
    test::fill_weights(type, shape.rows * shape.cols, 1, rows.data());
    for (int64_t t = 0; t < n_tiles(shape); ++t) {
      pack_tile(type,
                rows.data() + t * kTileRows * bytes_for(type, shape.cols),
                std::min(kTileRows, shape.rows - t * kTileRows),
                shape.cols,
                memory_.data() + t * tile_bytes(type, shape.cols));
    }
    for (int64_t i = 1; i < n_copies_; ++i) {
      std::memcpy(memory_.data() + i * bytes_, memory_.data(), static_cast<size_t>(bytes_));
    }
  }
  bool is(DType type, const Shape& shape) const { return type == type_ && shape == shape_; }
  const std::byte* copy(int64_t i) const { return memory_.data() + i % n_copies_ * bytes_; }

 private:
  DType type_;
  Shape shape_;
  int64_t bytes_;
  int64_t n_copies_ = 0;
  Buffer memory_;
};

// The last ones are kept: google-benchmark calls a function several times.
const Weights& weights_of(DType type, const Shape& shape) {
  static std::optional<Weights> last;
  if (!last || !last->is(type, shape)) {
    last.reset();
    last.emplace(type, shape);
  }
  return *last;
}

void pack_tokens(
    const KernelTable& table, const float* x, int64_t cols, int32_t n, std::byte* out) {
  for (int32_t t = 0; t < n; ++t) {
    const int32_t in_block = t % kActBlockTokens;
    const ActBlock block = act_block(cols, n, t - in_block);
    table.pack_q8_32(x + t * cols,
                     cols,
                     out + block.offset + in_block * static_cast<int64_t>(sizeof(ActGroup)),
                     block.group_stride);
  }
}

void run_matmul(
    benchmark::State& state, Isa isa, DType type, const Shape& shape, int32_t n_tokens) {
  const KernelTable& table = kernel_table(isa);
  const Weights& weights = weights_of(type, shape);
  const bool int8 = table.act_format[static_cast<size_t>(type)] == ActFormat::kQ8_32;
  const std::vector<float> x = random_floats(static_cast<size_t>(n_tokens * shape.cols), 2);
  const Buffer packed = allocate(act_bytes(n_tokens, shape.cols));
  if (int8) pack_tokens(table, x.data(), shape.cols, n_tokens, packed.data());
  std::vector<float> out(static_cast<size_t>(n_tokens * shape.rows));
  MatmulTask task{.tiles = nullptr,
                  .rows = shape.rows,
                  .cols = shape.cols,
                  .act = int8 ? packed.data() : reinterpret_cast<const std::byte*>(x.data()),
                  .act_stride = shape.cols * static_cast<int64_t>(sizeof(float)),
                  .n_tokens = n_tokens,
                  .out = out.data(),
                  .out_stride = shape.rows,
                  .tile_begin = 0,
                  .tile_end = n_tiles(shape),
                  .accumulate = false,
                  .far = table.far};
  int64_t i = 0;
  const auto values = static_cast<double>(shape.rows * shape.cols);
  measure(state,
          isa,
          {.bytes = static_cast<double>(bytes_for(type, shape.rows * shape.cols)),
           .operations = 2 * values * n_tokens},
          int8 ? Peak::kInt8 : Peak::kF32,
          true,
          [&] {
            task.tiles = weights.copy(i++);
            table.matmul[static_cast<size_t>(type)](task);
          });
}

void run_pack(benchmark::State& state, Isa isa, int64_t cols) {
  constexpr int32_t kRows = 16;
  const std::vector<float> x = random_floats(static_cast<size_t>(kRows * cols), 2);
  const Buffer packed = allocate(act_bytes(kRows, cols));
  // Per value: absolute value and maximum, multiplication, rounding, sum.
  const double values = static_cast<double>(kRows * cols);
  measure(
      state, isa, {.bytes = values * (4 + 2), .operations = 5 * values}, Peak::kF32, false, [&] {
        pack_tokens(kernel_table(isa), x.data(), cols, kRows, packed.data());
      });
}

}  // namespace

void register_matmul(Isa isa) {
  for (int64_t cols : {576, 2048, 8192}) {
    benchmark::RegisterBenchmark(fmt::format("pack_q8_32/{}/16x{}", isa_name(isa), cols).c_str(),
                                 [=](benchmark::State& state) { run_pack(state, isa, cols); });
  }
  for (const Format& format : all_formats()) {
    const DType type = format.type;
    for (const Shape& shape : kShapes) {
      for (int32_t n_tokens : kTokens) {
        benchmark::RegisterBenchmark(
            fmt::format("matmul/{}/{}/{}x{}/tokens:{}",
                        isa_name(isa),
                        format.name,
                        shape.rows,
                        shape.cols,
                        n_tokens)
                .c_str(),
            [=](benchmark::State& state) { run_matmul(state, isa, type, shape, n_tokens); });
      }
    }
  }
}

}  // namespace farthing::micro
