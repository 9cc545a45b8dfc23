#include "base/energy_meter.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace farthing {
namespace {

namespace fs = std::filesystem;

class EnergyMeterTest : public ::testing::Test {
 protected:
  ~EnergyMeterTest() override { fs::remove_all(root_); }
  void zone(const std::string& folder, const std::string& name, int64_t microjoules) {
    const fs::path path = root_ / "sys/class/powercap" / folder;
    fs::create_directories(path);
    std::ofstream(path / "name") << name << "\n";
    std::ofstream(path / "max_energy_range_uj") << 1'000'000'000 << "\n";
    std::ofstream(path / "energy_uj") << microjoules << "\n";
  }
  const fs::path root_ = fs::temp_directory_path() / ("energy" + std::to_string(getpid()));
};

TEST_F(EnergyMeterTest, AddsPackagesAndMemoryAndBeginsAgain) {
  zone("intel-rapl:0", "package-0", 999'000'000);
  zone("intel-rapl:0:0", "core", 5'000'000);
  zone("intel-rapl:0:1", "dram", 1'000'000);
  zone("intel-rapl:1", "psys", 7'000'000);
  const auto meter = EnergyMeter::open(root_);
  ASSERT_TRUE(meter);
  EXPECT_EQ(meter->joules(), 0);
  zone("intel-rapl:0", "package-0", 2'000'000);  // over the range: 3 J
  zone("intel-rapl:0:0", "core", 900'000'000);
  zone("intel-rapl:0:1", "dram", 1'500'000);
  zone("intel-rapl:1", "psys", 900'000'000);
  EXPECT_NEAR(meter->joules(), 3.5, 1e-9);
  EXPECT_NEAR(meter->joules(), 3.5, 1e-9);
}

TEST_F(EnergyMeterTest, NothingToRead) {
  EXPECT_FALSE(EnergyMeter::open(root_));
  zone("dtpm", "dtpm", 1);
  EXPECT_FALSE(EnergyMeter::open(root_));
}

}  // namespace
}  // namespace farthing
