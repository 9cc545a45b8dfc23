#include "base/energy_meter.h"

#include <filesystem>
#include <fstream>
#include <optional>
#include <system_error>

namespace farthing {
namespace {

std::optional<int64_t> read_number(const std::string& path) {
  std::ifstream in(path);
  int64_t value = 0;
  if (!(in >> value) || value < 0) return std::nullopt;
  return value;
}

// Packages hold their cores and graphics; memory counts apart, and "psys" would count all again.
bool counts(const std::string& folder) {
  std::ifstream in(folder + "/name");
  std::string name;
  return (in >> name) && (name.starts_with("package") || name == "dram");
}

}  // namespace

std::unique_ptr<EnergyMeter> EnergyMeter::open(const std::string& root) {
  auto meter = std::make_unique<EnergyMeter>();
  std::error_code ignored;
  for (const auto& entry :
       std::filesystem::directory_iterator(root + "/sys/class/powercap", ignored)) {
    const std::string folder = entry.path();
    if (!counts(folder)) continue;
    const auto now = read_number(folder + "/energy_uj");
    const auto range = read_number(folder + "/max_energy_range_uj");
    if (now && range) meter->zones_.push_back({folder, *range, *now});
  }
  if (meter->zones_.empty()) return nullptr;
  return meter;
}

double EnergyMeter::joules() {
  const std::lock_guard lock(mutex_);
  for (Zone& zone : zones_) {
    const auto now = read_number(zone.folder + "/energy_uj");
    if (!now) continue;
    const int64_t used = *now - zone.last + (*now < zone.last ? zone.range : 0);
    joules_ += static_cast<double>(used) * 1e-6;
    zone.last = *now;
  }
  return joules_;
}

}  // namespace farthing
