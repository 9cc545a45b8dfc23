// Kernels over one row of floats, in the cache: rms_norm, silu_mul, gelu_mul, add.
#include <fmt/format.h>

#include "kernels/kernel_table.h"
#include "micro/roofs.h"

namespace farthing::micro {
namespace {

constexpr int64_t kWidths[] = {576, 2048, 8192};

struct Row {
  explicit Row(int64_t width)
      : n(width),
        x(random_floats(static_cast<size_t>(width), 1)),
        y(random_floats(static_cast<size_t>(width), 2)),
        out(static_cast<size_t>(width)) {}
  int64_t n;
  std::vector<float> x, y, out;
};

// `floats` of a row's element are touched and `operations` done.
template <class Kernel>
void add_row(const char* name, Isa isa, double floats, double operations, Kernel kernel) {
  for (int64_t n : kWidths) {
    benchmark::RegisterBenchmark(
        fmt::format("{}/{}/{}", name, isa_name(isa), n).c_str(), [=](benchmark::State& state) {
          Row row(n);
          const auto elements = static_cast<double>(n);
          measure(state,
                  isa,
                  {.bytes = floats * 4 * elements, .operations = operations * elements},
                  Peak::kF32,
                  false,
                  [&] { kernel(kernel_table(isa), row); });
        });
  }
}

}  // namespace

void register_rows(Isa isa) {
  add_row("rms_norm", isa, 3, 4, [](const KernelTable& table, Row& row) {
    table.rms_norm(row.x.data(), row.y.data(), row.n, 1e-5f, row.out.data());
  });
  add_row("silu_mul", isa, 3, 5, [](const KernelTable& table, Row& row) {
    table.silu_mul(row.x.data(), row.y.data(), row.n, row.out.data());
  });
  add_row("gelu_mul", isa, 3, 9, [](const KernelTable& table, Row& row) {
    table.gelu_mul(row.x.data(), row.y.data(), row.n, row.out.data());
  });
  add_row("add", isa, 3, 1, [](const KernelTable& table, Row& row) {
    table.add(row.x.data(), row.n, row.out.data());
  });
}

}  // namespace farthing::micro
