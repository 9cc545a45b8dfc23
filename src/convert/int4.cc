#include "convert/int4.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <numeric>

#include "base/check.h"
#include "base/half.h"
#include "quant/fit.h"

namespace farthing {
namespace {

constexpr float kTop = 15;

struct Grid {
  uint16_t scale = 0;  // f16, >= 0
  uint8_t zero = 0;

  float value(int q) const { return f16_to_f32(scale) * static_cast<float>(q - zero); }
  int nearest(float x) const {
    const float s = f16_to_f32(scale);
    if (!(s > 0) || std::isnan(x)) return zero;
    return static_cast<int>(
        std::clamp(std::nearbyint(x / s) + static_cast<float>(zero), 0.0f, kTop));
  }
};

// The smallest and the largest value (and 0) become 0 and 15.
Grid nearest_grid(std::span<const float> x) {
  const auto [low, high] = std::minmax_element(x.begin(), x.end());
  const float least = std::min(*low, 0.0f), most = std::max(*high, 0.0f);
  Grid grid{.scale = f32_to_f16((most - least) / kTop)};
  const float s = f16_to_f32(grid.scale);
  if (s > 0) grid.zero = static_cast<uint8_t>(std::clamp(std::nearbyint(-least / s), 0.0f, kTop));
  return grid;
}

// Where the best line says zero is, or beside it; and the best scale there.
template <int N>
Grid fitted_grid(const float* values, const float* weights) {
  fit::Block<N> block;
  block.fill(values, weights);
  const float* x = block.x.data();
  const float* w = block.w.data();
  const fit::Line line = fit::best_line<N>(x, w, kTop, std::numeric_limits<float>::infinity());
  const float at = line.scale > 0 ? std::nearbyint(-line.offset / line.scale) : 8.0f;
  Grid best;
  float least = std::numeric_limits<float>::infinity();
  const auto offer = [&](float zero) {
    const float scale = fit::best_scale<N>(x, w, {-zero, kTop - zero});
    // A scale below zero is the same grid read from its other end.
    if (scale < 0) zero = kTop - zero;
    const fit::Range range{-zero, kTop - zero};
    const auto error = [&](float s) { return fit::scale_error<N>(x, w, s, range); };
    const uint16_t half = fit::best_half(std::fabs(scale), error);
    const float e = error(f16_to_f32(half));
    if (!(e < least)) return;
    least = e;
    best = {half, static_cast<uint8_t>(zero)};
  };
  const float middle = std::clamp(at, 0.0f, kTop);
  for (float zero = std::max(middle - 1, 0.0f); zero <= std::min(middle + 1, kTop); ++zero)
    offer(zero);
  return best;
}

Grid grid_of(Int4Method method, std::span<const float> x, const float* weights) {
  if (method == Int4Method::kNearest) return nearest_grid(x);
  switch (x.size()) {
    case 32:
      return fitted_grid<32>(x.data(), weights);
    case 64:
      return fitted_grid<64>(x.data(), weights);
    default:
      return fitted_grid<128>(x.data(), weights);
  }
}

// How the error of a column is made up for by those after it: with H = products and a little of
// their mean on the diagonal, in the order of columns given, H^-1 = U^T U with U upper triangular;
// here every row of U is divided by its diagonal. What is returned is [n][n], zero below.
class Feedback {
 public:
  Feedback(Matrix<const float> products, ThreadTeam& team)
      : n_(products.rows), order_(static_cast<size_t>(n_)) {
    std::iota(order_.begin(), order_.end(), 0);
    std::ranges::stable_sort(
        order_, std::greater<>(), [&](int64_t c) { return products.row(c)[c]; });
    factor(products, team);
  }

  int64_t column(int64_t i) const { return order_[static_cast<size_t>(i)]; }
  const float* row(int64_t i) const { return upper_.data() + i * n_; }

 private:
  // Of the matrix read from its last row and column: A = L L^T, and U is L^-1 read so, too.
  void factor(Matrix<const float> products, ThreadTeam& team) {
    const auto n = static_cast<size_t>(n_);
    double mean = 0;
    for (int64_t i = 0; i < n_; ++i) mean += products.row(i)[i];
    mean /= static_cast<double>(n_);
    const double damp = mean > 0 ? kDamp * mean : 1;
    std::vector<double> lower(n * n);
    for (int64_t i = 0; i < n_; ++i) {
      for (int64_t j = 0; j <= i; ++j) {
        const int64_t a = column(n_ - 1 - i), b = column(n_ - 1 - j);
        lower[static_cast<size_t>(i * n_ + j)] = products.row(a)[b] + (i == j ? damp : 0);
      }
    }
    for (int64_t k = 0; k < n_; ++k) {
      double* const pivot = lower.data() + k * n_;
      double square = pivot[k];
      for (int64_t j = 0; j < k; ++j) square -= pivot[j] * pivot[j];
      // The damping keeps it above zero, but for what sums in float lose.
      pivot[k] = std::sqrt(std::max(square, damp * 1e-3));
      team.parallel_for(n_ - k - 1, 32, [&](int64_t begin, int64_t end) {
        for (int64_t i = k + 1 + begin; i < k + 1 + end; ++i) {
          double* const row = lower.data() + i * n_;
          row[k] = (row[k] - dot(row, pivot, k)) / pivot[k];
        }
      });
    }
    std::vector<double> inverse(n * n);
    team.parallel_for(n_, 64, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < n_; ++i) {
        double* const out = inverse.data() + i * n_;
        const double* const row = lower.data() + i * n_;
        for (int64_t k = begin; k < i; ++k) {
          const double* const above = inverse.data() + k * n_;
          const int64_t last = std::min(end, k + 1);
          for (int64_t j = begin; j < last; ++j) out[j] -= row[k] * above[j];
        }
        const double scale = 1 / row[i];
        for (int64_t j = begin; j < std::min(end, i); ++j) out[j] *= scale;
        if (i < end) out[i] = scale;
      }
    });
    upper_.assign(n * n, 0);
    for (int64_t i = 0; i < n_; ++i) {
      const double* const from = inverse.data() + (n_ - 1 - i) * n_;
      for (int64_t j = i; j < n_; ++j) {
        upper_[static_cast<size_t>(i * n_ + j)] =
            static_cast<float>(from[n_ - 1 - j] / from[n_ - 1 - i]);
      }
    }
  }

  static double dot(const double* a, const double* b, int64_t n) {
    double sums[4] = {};
    int64_t j = 0;
    for (; j + 4 <= n; j += 4) {
      for (int64_t lane = 0; lane < 4; ++lane) sums[lane] += a[j + lane] * b[j + lane];
    }
    for (; j < n; ++j) sums[0] += a[j] * b[j];
    return (sums[0] + sums[1]) + (sums[2] + sums[3]);
  }

  static constexpr double kDamp = 0.01;

  int64_t n_;
  std::vector<int64_t> order_;
  std::vector<float> upper_;
};

// Rows side by side, so that a row of U is read once for all of them.
constexpr int64_t kTile = 16;

void round_with_feedback(
    Matrix<const float> w, const Feedback& feedback, int64_t first, int64_t n, Int4Matrix& out) {
  const int64_t cols = out.cols;
  std::vector<float> left(static_cast<size_t>(cols * kTile));  // [place in the order][row]
  for (int64_t i = 0; i < cols; ++i) {
    for (int64_t r = 0; r < n; ++r) left[i * kTile + r] = w.row(first + r)[feedback.column(i)];
  }
  for (int64_t i = 0; i < cols; ++i) {
    const int64_t c = feedback.column(i);
    alignas(16) std::array<float, kTile> error{};
    for (int64_t r = 0; r < n; ++r) {
      const auto place = static_cast<size_t>((first + r) * out.groups() + c / out.group);
      const Grid grid{out.scale[place], out.zero[place]};
      const float x = left[i * kTile + r];
      const int q = grid.nearest(x);
      out.q[static_cast<size_t>((first + r) * cols + c)] = static_cast<uint8_t>(q);
      error[static_cast<size_t>(r)] = x - grid.value(q);
    }
    const float* const share = feedback.row(i);
    for (int64_t j = i + 1; j < cols; ++j) {
      float* const to = left.data() + j * kTile;
      for (int64_t r = 0; r < kTile; r += 4) {
        const fit::Lanes v = fit::load(to + r) - fit::all(share[j]) * fit::load(error.data() + r);
        std::memcpy(to + r, &v, sizeof v);
      }
    }
  }
}

}  // namespace

float Int4Matrix::value(int64_t r, int64_t c) const {
  const auto place = static_cast<size_t>(r * groups() + c / group);
  return Grid{scale[place], zero[place]}.value(q[static_cast<size_t>(r * cols + c)]);
}

Result<Int4Matrix> quantize_int4(Matrix<const float> w,
                                 int64_t group,
                                 Int4Method method,
                                 const Int4Inputs& inputs,
                                 ThreadTeam& team) {
  CHECK((group == 32 || group == 64 || group == 128) && w.cols % group == 0);
  const bool feeds_back = method == Int4Method::kFeedback;
  CHECK(!feeds_back || (inputs.products.rows == w.cols && inputs.products.cols == w.cols));
  std::vector<float> weights(inputs.weights.begin(), inputs.weights.end());
  if (feeds_back) {
    weights.resize(static_cast<size_t>(w.cols));
    for (int64_t c = 0; c < w.cols; ++c)
      weights[static_cast<size_t>(c)] = inputs.products.row(c)[c];
  }
  CHECK(weights.empty() || static_cast<int64_t>(weights.size()) == w.cols);
  Int4Matrix out{.rows = w.rows, .cols = w.cols, .group = group};
  const auto size = static_cast<size_t>(w.rows * w.cols);
  out.q.resize(size);
  out.scale.resize(size / static_cast<size_t>(group));
  out.zero.resize(size / static_cast<size_t>(group));
  std::atomic<int64_t> bad{w.rows};  // the first row that can't be written
  team.parallel_for(w.rows, 4, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const std::span<const float> row = w[r];
      const bool fits = std::ranges::all_of(row, [](float v) { return std::fabs(v) <= 65504.0f; });
      if (!fits) {
        int64_t first = bad;
        while (r < first && !bad.compare_exchange_weak(first, r)) {
        }
        continue;
      }
      for (int64_t c = 0; c < w.cols; c += group) {
        const auto at = static_cast<size_t>(c);
        const std::span<const float> x = row.subspan(at, static_cast<size_t>(group));
        const Grid grid = grid_of(method, x, weights.empty() ? nullptr : weights.data() + c);
        const auto place = static_cast<size_t>(r * out.groups() + c / group);
        out.scale[place] = grid.scale;
        out.zero[place] = grid.zero;
        if (feeds_back) continue;
        for (size_t i = 0; i < x.size(); ++i)
          out.q[static_cast<size_t>(r * w.cols) + at + i] =
              static_cast<uint8_t>(grid.nearest(x[i]));
      }
    }
  });
  if (bad < w.rows)
    return bad_input("row {} holds values that are no numbers, or larger than 65504", bad.load());
  if (feeds_back) {
    const Feedback feedback(inputs.products, team);
    team.parallel_for((w.rows + kTile - 1) / kTile, 1, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t)
        round_with_feedback(w, feedback, t * kTile, std::min(kTile, w.rows - t * kTile), out);
    });
  }
  return out;
}

}  // namespace farthing
