#include "base/cpu.h"

#include <sched.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fstream>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <sstream>
#include <string_view>
#include <vector>

namespace farthing {
namespace {

constexpr int64_t kUnlimited = std::numeric_limits<int64_t>::max();

// The files of /proc and /sys are short; at most this much of one is read.
std::string read_text(const std::string& path) {
  constexpr size_t kMax = 1 << 16;
  std::ifstream in(path, std::ios::binary);
  std::string text(kMax, '\0');
  in.read(text.data(), static_cast<std::streamsize>(kMax));
  text.resize(static_cast<size_t>(in.gcount()));
  return text;
}

std::optional<int64_t> parse_int(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end == text.data()) return std::nullopt;
  return value;
}

// What follows `key` at the start of a line, up to the end of that line.
std::optional<std::string> line_after(const std::string& text, std::string_view key) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with(key)) return line.substr(key.size());
  }
  return std::nullopt;
}

int64_t int_after(const std::string& text, std::string_view key, int64_t otherwise) {
  const auto rest = line_after(text, key);
  return rest ? parse_int(*rest).value_or(otherwise) : otherwise;
}

// The directory of this process' cgroup for a controller and all its parents, innermost first.
// `controller` is empty for the unified hierarchy (v2). /proc/self/cgroup has lines
// "id:controllers:path".
std::vector<std::string> cgroup_dirs(const std::string& root, std::string_view controller) {
  std::istringstream lines(read_text(root + "/proc/self/cgroup"));
  const std::string mount =
      root + "/sys/fs/cgroup" + (controller.empty() ? "" : "/" + std::string(controller));
  for (std::string line; std::getline(lines, line);) {
    const size_t first = line.find(':');
    const size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string names = "," + line.substr(first + 1, second - first - 1) + ",";
    if (names.find("," + std::string(controller) + ",") == std::string::npos) continue;
    std::vector<std::string> dirs;
    std::string path = line.substr(second + 1);
    while (!path.empty() && path != "/") {
      dirs.push_back(mount + path);
      path.resize(path.rfind('/') == std::string::npos ? 0 : path.rfind('/'));
    }
    dirs.push_back(mount);
    return dirs;
  }
  return {};
}

// CPUs per second by one directory of either version; infinity if it sets no limit.
double quota_of(const std::string& dir) {
  const std::string v2 = read_text(dir + "/cpu.max");  // "max 100000" or "150000 100000"
  const std::string quota_text = v2.empty() ? read_text(dir + "/cpu.cfs_quota_us") : v2;
  const std::string period_text = v2.empty() ? read_text(dir + "/cpu.cfs_period_us")
                                             : v2.substr(std::min(v2.size(), v2.find(' ')));
  const auto quota = parse_int(quota_text);
  const auto period = parse_int(period_text);
  if (!quota || !period || *quota <= 0 || *period <= 0) return INFINITY;  // v1 says -1 for none
  return static_cast<double>(*quota) / static_cast<double>(*period);
}

double cgroup_quota(const std::string& root) {
  double quota = INFINITY;
  for (std::string_view controller : {"", "cpu"}) {
    for (const std::string& dir : cgroup_dirs(root, controller))
      quota = std::min(quota, quota_of(dir));
  }
  return std::isinf(quota) ? 0 : quota;
}

struct CgroupMemory {
  int64_t limit = kUnlimited;
  int64_t left = kUnlimited;
};

void add_memory_limit(const std::string& dir, bool v2, CgroupMemory& memory) {
  const auto limit = parse_int(read_text(dir + (v2 ? "/memory.max" : "/memory.limit_in_bytes")));
  constexpr int64_t kNoLimit = int64_t{1}
                               << 60;  // v1 states "none" as the largest page-aligned number
  if (!limit || *limit >= kNoLimit) return;
  const auto used = parse_int(read_text(dir + (v2 ? "/memory.current" : "/memory.usage_in_bytes")));
  const std::string stat = read_text(dir + "/memory.stat");
  const int64_t cache = int_after(stat, v2 ? "inactive_file " : "total_inactive_file ", 0);
  memory.limit = std::min(memory.limit, *limit);
  memory.left = std::min(memory.left, std::max<int64_t>(0, *limit - used.value_or(0) + cache));
}

std::vector<int> allowed_cpus() {
  for (int n = 1024; n <= (1 << 20);
       n *= 2) {  // EINVAL: the kernel knows more CPUs than the set holds
    cpu_set_t* set = CPU_ALLOC(n);
    if (set == nullptr) break;
    const size_t size = CPU_ALLOC_SIZE(n);
    std::vector<int> cpus;
    const bool ok = sched_getaffinity(0, size, set) == 0;
    for (int i = 0; ok && i < n; ++i) {
      if (CPU_ISSET_S(i, size, set)) cpus.push_back(i);
    }
    CPU_FREE(set);
    if (ok) return cpus;
  }
  return {0};
}

// Distinct (package, core) pairs; CPUs whose topology can't be read count as cores of their own.
int32_t count_cores(const std::string& root, const std::vector<int>& cpus) {
  std::set<std::string> cores;
  for (int cpu : cpus) {
    const std::string dir =
        root + "/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/";
    const std::string core = read_text(dir + "core_id");
    cores.insert(core.empty() ? "cpu" + std::to_string(cpu)
                              : read_text(dir + "physical_package_id") + core);
  }
  return static_cast<int32_t>(cores.size());
}

std::string model_name(const std::string& root) {
  const auto rest = line_after(read_text(root + "/proc/cpuinfo"), "model name");
  const size_t start = rest ? rest->find_first_not_of(" \t:") : std::string::npos;
  return start == std::string::npos ? "unknown" : rest->substr(start);
}

int64_t status_bytes(std::string_view key) {
  return int_after(read_text("/proc/self/status"), key, 0) * 1024;  // stated in kB
}

}  // namespace

bool has_cpus_for(const CpuBudget& cpu, int32_t n_threads) {
  return n_threads <= cpu.affinity && (cpu.quota == 0 || n_threads <= cpu.quota);
}

CpuBudget cpu_budget(const std::string& root) {
  const std::vector<int> cpus = allowed_cpus();
  CpuBudget budget;
  budget.affinity = static_cast<int32_t>(cpus.size());
  budget.physical_cores = count_cores(root, cpus);
  budget.quota = cgroup_quota(root);
  budget.threads = std::min(budget.affinity, budget.physical_cores);
  if (budget.quota > 0 && budget.quota < budget.threads)
    budget.threads = static_cast<int32_t>(budget.quota);
  budget.threads = std::max(1, budget.threads);
  budget.model_name = model_name(root);
  return budget;
}

MemoryBudget memory_budget(const std::string& root) {
  const std::string meminfo = read_text(root + "/proc/meminfo");
  CgroupMemory cgroup;
  for (const std::string& dir : cgroup_dirs(root, "")) add_memory_limit(dir, true, cgroup);
  for (const std::string& dir : cgroup_dirs(root, "memory")) add_memory_limit(dir, false, cgroup);
  MemoryBudget budget;
  budget.total = int_after(meminfo, "MemTotal:", 0) * 1024;
  budget.cgroup_limit = cgroup.limit == kUnlimited ? 0 : cgroup.limit;
  budget.available = std::min(int_after(meminfo, "MemAvailable:", 0) * 1024, cgroup.left);
  return budget;
}

int64_t program_bytes() {
  struct Mapped {
    int64_t bytes = 0;
    bool code = false;
  };
  std::map<std::string, Mapped> files;
  std::istringstream lines(read_text("/proc/self/maps"));
  for (std::string line; std::getline(lines, line);) {
    // "begin-end access offset device inode path"; what isn't a file has no path, or [a name].
    const size_t slash = line.find('/');
    const size_t dash = line.find('-');
    const size_t space = line.find(' ');
    if (slash == std::string::npos || dash > space) continue;
    Mapped& file = files[line.substr(slash)];
    file.bytes += std::stoll(line.substr(dash + 1, space - dash - 1), nullptr, 16) -
                  std::stoll(line.substr(0, dash), nullptr, 16);
    file.code |= line.substr(space, 5).find('x') != std::string::npos;
  }
  int64_t bytes = 0;
  for (const auto& [path, file] : files) bytes += file.code ? file.bytes : 0;
  return bytes;
}

int64_t resident_bytes() {
  return status_bytes("VmRSS:");
}
int64_t peak_resident_bytes() {
  return status_bytes("VmHWM:");
}

}  // namespace farthing
