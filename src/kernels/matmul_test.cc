// The matmul of every Isa and format against the reference, on buffers that end at guard pages.
#include <gtest/gtest.h>

#include <cmath>

#include "kernels/act.h"
#include "kernels/test_util.h"
#include "quant/tile.h"

namespace farthing {
namespace {

using test::Guarded;

// A weight matrix and activations, all ending at guard pages, and their product by any table.
class Problem {
 public:
  Problem(DType type, int64_t rows, int64_t cols, int32_t n_tokens, std::vector<float> x)
      : type_(type),
        rows_(rows),
        cols_(cols),
        n_tokens_(n_tokens),
        x_(std::move(x)),
        weights_(static_cast<size_t>(bytes_for(type, rows * cols))),
        tiles_(static_cast<size_t>(tiled_bytes(type, rows, cols))) {
    test::fill_weights(type, rows * cols, static_cast<uint32_t>(rows * 31 + cols), weights_.data());
    for (int64_t t = 0; t < n_tiles(); ++t) {
      pack_tile(type,
                weights_.data() + t * kTileRows * bytes_for(type, cols),
                std::min(kTileRows, rows - t * kTileRows),
                cols,
                tiles_.data() + t * tile_bytes(type, cols));
    }
  }
  int64_t n_tiles() const { return (rows_ + kTileRows - 1) / kTileRows; }

  // Tokens [first, first + count) and tiles [begin, end); what is not asked for stays as it was.
  void run(const KernelTable& table,
           int32_t first,
           int32_t count,
           int64_t begin,
           int64_t end,
           float* out,
           bool accumulate = false) const {
    const bool q8 = table.act_format[index()] == ActFormat::kQ8_32;
    Guarded act(static_cast<size_t>(q8 ? packed_bytes(count) : count * cols_ * 4));
    const std::byte* x = reinterpret_cast<const std::byte*>(x_.data() + first * cols_);
    if (q8) {
      pack(table, first, count, act.data());
    } else {
      std::memcpy(act.data(), x, static_cast<size_t>(count * cols_ * 4));
    }
    table.matmul[index()]({.tiles = tiles_.data(),
                           .rows = rows_,
                           .cols = cols_,
                           .act = act.data(),
                           .act_stride = cols_ * 4,
                           .n_tokens = count,
                           .out = out + first * rows_,
                           .out_stride = rows_,
                           .tile_begin = begin,
                           .tile_end = end,
                           .accumulate = accumulate,
                           .far = 16384});
  }
  std::vector<float> product(const KernelTable& table) const {
    Guarded out(static_cast<size_t>(rows_ * n_tokens_) * sizeof(float));
    run(table, 0, n_tokens_, 0, n_tiles(), out.as<float>());
    return {out.as<float>(), out.as<float>() + rows_ * n_tokens_};
  }

  // Sum of |weight| * bound[k] for each output.
  double weighted(int64_t row, const std::vector<float>& bound) const {
    std::vector<float> w(static_cast<size_t>(cols_));
    format_of(type_).decode(weights_.data() + row * bytes_for(type_, cols_), w.data(), cols_);
    double sum = 0;
    for (int64_t k = 0; k < cols_; ++k) sum += std::fabs(w[k]) * static_cast<double>(bound[k]);
    return sum;
  }
  // Up to the end of the last block, whose unused tokens hold what may lie in memory.
  int64_t packed_bytes(int32_t count) const {
    const int32_t last = (count - 1) / kActBlockTokens * kActBlockTokens;
    const ActBlock block = act_block(cols_, count, last);
    return block.offset + block.group_stride * act_groups(cols_);
  }
  void pack(const KernelTable& table, int32_t first, int32_t count, std::byte* out) const {
    for (int32_t t = 0; t < count; ++t) {
      const int32_t in_block = t % kActBlockTokens;
      const ActBlock block = act_block(cols_, count, t - in_block);
      table.pack_q8_32(x_.data() + (first + t) * cols_,
                       cols_,
                       out + block.offset + in_block * 64,
                       block.group_stride);
    }
  }
  size_t index() const { return static_cast<size_t>(type_); }
  const float* x(int32_t token) const { return x_.data() + token * cols_; }

 private:
  DType type_;
  int64_t rows_, cols_;
  int32_t n_tokens_;
  std::vector<float> x_;
  Guarded weights_, tiles_;
};

std::vector<Isa> fast_isas() {
  std::vector<Isa> isas = supported_isas();
  isas.erase(isas.begin());
  return isas;
}

std::vector<int64_t> widths(const Format& f) {
  if (f.qblock_values == 1) return {1, 7, 15, 16, 17, 33, 100, 576};
  if (f.qblock_values == 32) return {32, 96, 576};
  return {256, 768};
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

// Activations that int8 groups hold exactly: integers times a power of two, with 127 among each 32.
std::vector<float> exact_activations(size_t n, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<float> x(n);
  for (size_t i = 0; i < n; ++i) {
    const int q = i % 32 == 0 ? 127 : static_cast<int>(random() % 255) - 127;
    x[i] = static_cast<float>(q) * 0x1p-5f;
  }
  return x;
}

class MatmulOf : public testing::TestWithParam<Format> {};

TEST_P(MatmulOf, ExactActivationsGiveTheReferencesResult) {
  const Format& f = GetParam();
  for (int64_t cols : widths(f)) {
    for (int64_t rows : {1, 3, 8, 15, 16, 17, 40}) {
      const int32_t n_tokens = 3;
      const Problem problem(f.type, rows, cols, n_tokens, exact_activations(n_tokens * cols, 3));
      const std::vector<float> want = problem.product(ref_kernels());
      for (Isa isa : fast_isas()) {
        const std::vector<float> got = problem.product(kernel_table(isa));
        for (int64_t i = 0; i < rows * n_tokens; ++i) {
          // Only the rounding of f32 sums is left: some ulps of the largest partial sum.
          const std::vector<float> size(problem.x(i / rows), problem.x(i / rows) + cols);
          std::vector<float> magnitude = size;
          for (float& v : magnitude) v = std::fabs(v);
          ASSERT_NEAR(got[i], want[i], 2e-6 * problem.weighted(i % rows, magnitude))
              << f.name << " " << isa_name(isa) << " " << rows << "x" << cols << " output " << i;
        }
      }
    }
  }
}

TEST_P(MatmulOf, RealActivationsDifferByTheirRoundingOnly) {
  const Format& f = GetParam();
  const int64_t rows = 33,
                cols = f.qblock_values == 1 ? 512 : 2 * std::max<int64_t>(256, f.qblock_values);
  const Problem problem(f.type, rows, cols, 2, test::random_floats(2 * cols, 4));
  const std::vector<float> want = problem.product(ref_kernels());
  for (Isa isa : fast_isas()) {
    const KernelTable& table = kernel_table(isa);
    const std::vector<float> got = problem.product(table);
    for (int64_t i = 0; i < rows * 2; ++i) {
      const float* x = problem.x(static_cast<int32_t>(i / rows));
      std::vector<float> bound(cols);
      for (int64_t k = 0; k < cols; ++k) {
        // Half a step of the group's int8 scale, and a few ulps.
        float amax = 0;
        for (int64_t j = k / 32 * 32; j < k / 32 * 32 + 32; ++j)
          amax = std::max(amax, std::fabs(x[j]));
        const bool rounded = table.act_format[problem.index()] == ActFormat::kQ8_32;
        bound[k] = (rounded ? 0.501f * amax / 127 : 0.0f) + 2e-6f * std::fabs(x[k]);
      }
      ASSERT_NEAR(got[i], want[i], problem.weighted(i % rows, bound))
          << f.name << " " << isa_name(isa);
    }
  }
}

TEST_P(MatmulOf, ResultsDoNotDependOnTokensOrRowsBesideThem) {
  const Format& f = GetParam();
  const int64_t rows = 37, cols = std::max<int64_t>(2 * f.qblock_values,
                                                    70 / f.qblock_values * f.qblock_values);
  const int32_t n_tokens = 43;
  const Problem problem(f.type, rows, cols, n_tokens, test::random_floats(n_tokens * cols, 5));
  for (Isa isa : fast_isas()) {
    const KernelTable& table = kernel_table(isa);
    std::vector<float> alone(rows * n_tokens);
    for (int32_t t = 0; t < n_tokens; ++t)
      problem.run(table, t, 1, 0, problem.n_tiles(), alone.data());
    for (int32_t together : {2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 17, 18, 24, 25, 31, 33, 43}) {
      std::vector<float> out(rows * n_tokens);
      for (int32_t t = 0; t < n_tokens; t += together) {
        problem.run(table, t, std::min(together, n_tokens - t), 0, problem.n_tiles(), out.data());
      }
      ASSERT_TRUE(same_bits(out, alone))
          << f.name << " " << isa_name(isa) << " " << together << " tokens";
    }
    for (int64_t step : {1, 2}) {
      Guarded out(static_cast<size_t>(rows * n_tokens) * sizeof(float));
      for (int64_t t = 0; t < problem.n_tiles(); t += step) {
        problem.run(table, 0, n_tokens, t, std::min(t + step, problem.n_tiles()), out.as<float>());
      }
      const std::vector<float> got(out.as<float>(), out.as<float>() + rows * n_tokens);
      ASSERT_TRUE(same_bits(got, alone))
          << f.name << " " << isa_name(isa) << " " << step << " tiles";
    }
  }
}

// Many tokens go through other code than few, in spans of tokens and panels of k.
TEST_P(MatmulOf, ManyTokensGiveTheSameBitsAsOne) {
  const Format& f = GetParam();
  struct Shape {
    int64_t rows, cols;
    int32_t n_tokens;
  };
  for (const Shape& s :
       {Shape{33, 1280, 32}, Shape{48, 512, 47}, Shape{35, 768, 150}, Shape{33, 10240, 101}}) {
    const Problem problem(
        f.type, s.rows, s.cols, s.n_tokens, test::random_floats(s.n_tokens * s.cols, 15));
    for (Isa isa : fast_isas()) {
      std::vector<float> alone(static_cast<size_t>(s.rows * s.n_tokens));
      for (int32_t t = 0; t < s.n_tokens; ++t)
        problem.run(kernel_table(isa), t, 1, 0, problem.n_tiles(), alone.data());
      ASSERT_TRUE(same_bits(problem.product(kernel_table(isa)), alone))
          << f.name << " " << isa_name(isa) << " " << s.n_tokens << " tokens";
    }
  }
}

TEST_P(MatmulOf, WritesOnlyTheRowsAskedFor) {
  const Format& f = GetParam();
  const int64_t rows = 50, cols = 2 * std::max<int64_t>(f.qblock_values, 16);
  const Problem problem(f.type, rows, cols, 3, test::random_floats(3 * cols, 6));
  for (Isa isa : fast_isas()) {
    std::vector<float> out(rows * 3, -5.0f);
    problem.run(kernel_table(isa), 0, 3, 1, 3, out.data());
    for (int64_t i = 0; i < rows * 3; ++i) {
      const bool asked = i % rows >= 16 && i % rows < 48;
      ASSERT_EQ(out[i] != -5.0f, asked) << f.name << " " << isa_name(isa) << " row " << i % rows;
    }
  }
}

TEST_P(MatmulOf, AccumulatesOntoWhatOutHolds) {
  const Format& f = GetParam();
  const int64_t rows = 21;
  const struct {
    int32_t n_tokens;
    int64_t cols;
  } kShapes[] = {{3, 2 * std::max<int64_t>(f.qblock_values, 16)}, {70, 2304}};  // two chunks of k
  for (const auto& [n_tokens, cols] : kShapes) {
    const Problem problem(f.type, rows, cols, n_tokens, test::random_floats(n_tokens * cols, 12));
    for (Isa isa : supported_isas()) {
      const std::vector<float> product = problem.product(kernel_table(isa));
      std::vector<float> out = test::random_floats(rows * n_tokens, 13);
      const std::vector<float> before = out;
      problem.run(kernel_table(isa), 0, n_tokens, 0, 2, out.data(), /*accumulate=*/true);
      for (size_t i = 0; i < out.size(); ++i)
        ASSERT_EQ(out[i], before[i] + product[i]) << f.name << " " << isa_name(isa) << " " << i;
    }
  }
}

TEST_P(MatmulOf, IntegerFormatsAreEqualOnEveryIsa) {
  const Format& f = GetParam();
  const int64_t cols = 4 * f.qblock_values;
  const Problem problem(f.type, 20, cols, 6, test::random_floats(6 * cols, 7));
  const std::vector<Isa> isas = fast_isas();
  if (f.qblock_values == 1 || isas.empty()) return;
  const std::vector<float> first = problem.product(kernel_table(isas.front()));
  for (Isa isa : isas)
    EXPECT_TRUE(same_bits(problem.product(kernel_table(isa)), first)) << f.name << isa_name(isa);
}

TEST_P(MatmulOf, NansReachTheirOwnTokenOnlyAndZeroesGiveZero) {
  const Format& f = GetParam();
  const int64_t rows = 17, cols = 2 * std::max<int64_t>(f.qblock_values, 32);
  std::vector<float> x(3 * cols, 0.0f);
  x[cols + 3] = NAN;
  const Problem problem(f.type, rows, cols, 3, x);
  for (Isa isa : fast_isas()) {
    const std::vector<float> out = problem.product(kernel_table(isa));
    for (int64_t r = 0; r < rows; ++r) {
      EXPECT_EQ(out[r], 0.0f) << f.name << isa_name(isa);
      EXPECT_TRUE(std::isnan(out[rows + r])) << f.name << isa_name(isa);
      EXPECT_EQ(out[2 * rows + r], 0.0f) << f.name << isa_name(isa);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Formats,
                         MatmulOf,
                         testing::ValuesIn(all_formats().begin(), all_formats().end()),
                         [](const auto& row) { return std::string(row.param.name); });

TEST(PackAct, EveryIsaPacksTheReferencesBytes) {
  std::vector<float> x = test::random_floats(320, 8, 3.0f);
  std::fill_n(x.begin() + 32, 32, 0.0f);
  std::fill_n(x.begin() + 64, 32, 1e-38f);
  x[100] = 1e30f;
  x[130] = INFINITY;
  x[170] = NAN;
  for (int i = 192; i < 224; ++i) x[i] = static_cast<float>(i - 208) + 0.5f;  // ties
  std::vector<ActGroup> want(10), got(10);
  ref_kernels().pack_q8_32(x.data(), 320, reinterpret_cast<std::byte*>(want.data()), 64);
  for (Isa isa : fast_isas()) {
    kernel_table(isa).pack_q8_32(x.data(), 320, reinterpret_cast<std::byte*>(got.data()), 64);
    for (int g = 0; g < 10; ++g) {
      if (std::isnan(want[g].scale)) {
        EXPECT_TRUE(std::isnan(got[g].scale) && std::isnan(got[g].sum_low))
            << isa_name(isa) << " group " << g;
      } else {
        EXPECT_EQ(std::memcmp(&got[g], &want[g], sizeof(ActGroup)), 0)
            << isa_name(isa) << " group " << g;
      }
    }
  }
}

TEST(Rows, EveryIsaMatchesTheReferenceAndItsBounds) {
  for (Isa isa : fast_isas()) {
    const KernelTable& table = kernel_table(isa);
    for (int64_t n : {1, 7, 8, 9, 15, 16, 17, 33, 576}) {
      const size_t bytes = static_cast<size_t>(n) * sizeof(float);
      Guarded x(bytes), y(bytes), out(bytes);
      std::vector<float> a = test::random_floats(n, 9, 8.0f);
      if (n > 8) a[1] = -200, a[2] = 200, a[3] = 0, a[4] = -0.0f, a[5] = 1e-30f;
      std::memcpy(x.data(), a.data(), bytes);
      std::memcpy(y.data(), test::random_floats(n, 10).data(), bytes);
      std::vector<float> want(n);
      const auto compare = [&](const char* what, double relative) {
        for (int64_t i = 0; i < n; ++i) {
          ASSERT_NEAR(out.as<float>()[i], want[i], relative * std::fabs(want[i]) + 1e-30)
              << what << " " << isa_name(isa) << " n " << n << " at " << i << " x " << a[i];
        }
      };
      ref_kernels().rms_norm(x.as<float>(), y.as<float>(), n, 1e-6f, want.data());
      table.rms_norm(x.as<float>(), y.as<float>(), n, 1e-6f, out.as<float>());
      compare("rms_norm", 2e-6);
      ref_kernels().silu_mul(x.as<float>(), y.as<float>(), n, want.data());
      table.silu_mul(x.as<float>(), y.as<float>(), n, out.as<float>());
      compare("silu", 2e-6);
      // The reference's 1 + tanh cancels for negative x: compare with the exact value instead.
      for (int64_t i = 0; i < n; ++i) {
        const double v = a[i], inner = 0.7978845608028654 * (v + 0.044715 * v * v * v);
        want[i] = static_cast<float>(v / (1 + std::exp(-2 * inner)) * y.as<float>()[i]);
      }
      table.gelu_mul(x.as<float>(), y.as<float>(), n, out.as<float>());
      for (int64_t i = 0; i < n; ++i) {
        ASSERT_NEAR(out.as<float>()[i], want[i], 2e-5 * std::fabs(want[i]) + 1e-30)
            << "gelu x " << a[i];
      }
      want.assign(y.as<float>(), y.as<float>() + n);
      std::memcpy(out.data(), y.data(), bytes);
      ref_kernels().add(x.as<float>(), n, want.data());
      table.add(x.as<float>(), n, out.as<float>());
      compare("add", 0);
      want = a;
      std::memcpy(out.data(), a.data(), bytes);
      ref_kernels().soft_cap(30, n, want.data());
      table.soft_cap(30, n, out.as<float>());
      for (int64_t i = 0; i < n; ++i) {
        ASSERT_NEAR(out.as<float>()[i], want[i], 30 * 3e-7) << "soft_cap x " << a[i];
      }
    }
  }
}

}  // namespace
}  // namespace farthing
