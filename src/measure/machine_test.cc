#include "measure/machine.h"

#include <gtest/gtest.h>

#include <cstddef>
#include <vector>

#include "kernels/peak.h"
#include "quant/format.h"

namespace farthing {
namespace {

TEST(Peak, LoopsCountWhatTheyDoAndReadEveryByte) {
  alignas(64) std::byte data[1024] = {};
  for (size_t i = 0; i < sizeof data; i += 4) data[i] = std::byte{1};
  for (Isa isa : supported_isas()) {
    const PeakKernels& peak = peak_kernels(isa);
    EXPECT_GT(peak.int8_dot(1), 0);
    EXPECT_EQ(peak.int8_dot(3), 3 * peak.int8_dot(1));
    EXPECT_EQ(peak.f32_fma(3), 3 * peak.f32_fma(1));
    const uint64_t before = peak.read(data, sizeof data, 0);
    EXPECT_GT(before, 0u);
    for (size_t i = 0; i < sizeof data; i += 64) {
      data[i] = std::byte{2};
      EXPECT_NE(peak.read(data, sizeof data, 1024), before) << isa_name(isa) << " byte " << i;
      data[i] = std::byte{1};
    }
  }
}

TEST(Machine, AGlanceFindsTheRatesThatWordsNeed) {
  const std::vector<std::byte> memory(3 << 20, std::byte{1});
  const MachineSpeed::Rates rates = glance_at_machine(best_isa(), 2, memory);
  EXPECT_EQ(rates.threads, 2);
  EXPECT_GT(rates.read_gb_per_s, 0);
  EXPECT_GT(rates.int8_gops, 0);
}

TEST(Machine, AGaugeMeasuresAgainAndAgain) {
  auto gauge = MachineGauge::create(best_isa(), 2);
  ASSERT_TRUE(gauge);
  for (int i = 0; i < 2; ++i) {
    const MachineSpeed::Rates rates = gauge->measure();
    EXPECT_EQ(rates.threads, 2);
    EXPECT_GT(rates.read_gb_per_s, 0);
    EXPECT_GT(rates.int8_gops, 0);
    EXPECT_GT(rates.f32_gflops, 0);
  }
}

TEST(Machine, ReportHasPositiveRatesAndARowForEachFormat) {
  const auto speed = measure_machine(best_isa(), 2);
  ASSERT_TRUE(speed);
  const Json report = machine_report(best_isa(), *speed);
  for (const char* who : {"one_thread", "all_threads"}) {
    for (const char* rate : {"read_gb_per_s", "int8_gops", "f32_gflops"}) {
      EXPECT_GT(report["machine"][who][rate].get<double>(), 0) << who << " " << rate;
    }
  }
  EXPECT_EQ(report["machine"]["all_threads"]["threads"], 2);
  EXPECT_EQ(report["kernels"]["isa"], isa_name(best_isa()));
  EXPECT_EQ(report["kernels"]["formats"].size(), all_formats().size());
}

}  // namespace
}  // namespace farthing
