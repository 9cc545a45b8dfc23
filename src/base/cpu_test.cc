#include "base/cpu.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <memory>

namespace farthing {
namespace {

// A small copy of /proc and /sys.
class Tree {
 public:
  explicit Tree(const std::string& name)
      : root_(std::filesystem::temp_directory_path() /
              ("farthing_cpu_test_" + name + std::to_string(getpid()))) {}
  ~Tree() { std::filesystem::remove_all(root_); }
  Tree& file(const std::string& path, const std::string& text) {
    std::filesystem::create_directories((root_ / path).parent_path());
    std::ofstream(root_ / path) << text;
    return *this;
  }
  std::string root() const { return root_.string(); }

 private:
  std::filesystem::path root_;
};

TEST(Cpu, ThisMachineHasCoresAndMemory) {
  const CpuBudget cpu = cpu_budget();
  EXPECT_GE(cpu.affinity, 1);
  EXPECT_GE(cpu.physical_cores, 1);
  EXPECT_LE(cpu.physical_cores, cpu.affinity);
  EXPECT_GE(cpu.threads, 1);
  EXPECT_LE(cpu.threads, cpu.physical_cores);
  EXPECT_FALSE(cpu.model_name.empty());
  const MemoryBudget memory = memory_budget();
  EXPECT_GT(memory.available, 1 << 20);
  EXPECT_GE(memory.total, memory.available);
}

TEST(Cpu, ResidentMemoryFollowsWhatIsTouched) {
  const int64_t before = resident_bytes();
  constexpr size_t kBytes = 64 << 20;
  auto block = std::make_unique<char[]>(kBytes);
  // Volatile: a compiler may drop writes that nobody reads.
  for (size_t i = 0; i < kBytes; i += 4096) static_cast<volatile char*>(block.get())[i] = 1;
  const int64_t after = resident_bytes();
  // The program's own files aren't data.
  EXPECT_GT(program_bytes(), 1 << 20);
  EXPECT_LT(program_bytes(), 256 << 20);
  EXPECT_GE(after, before + static_cast<int64_t>(kBytes) / 2);
  EXPECT_GE(peak_resident_bytes(), before + static_cast<int64_t>(kBytes) / 2);
}

TEST(Cpu, ThreadsHaveCpusOfTheirOwnOrShareThem) {
  struct Case {
    int32_t affinity;
    double quota;
    int32_t n_threads;
    bool want;
  };
  for (const Case& c : {Case{2, 0, 2, true},
                        Case{2, 0, 3, false},
                        Case{8, 2, 2, true},
                        Case{8, 1.5, 2, false},
                        Case{8, 0.5, 1, false},
                        Case{1, 0, 1, true}}) {
    const CpuBudget cpu{.affinity = c.affinity, .quota = c.quota};
    EXPECT_EQ(has_cpus_for(cpu, c.n_threads), c.want) << c.affinity << ' ' << c.quota;
  }
}

TEST(Cpu, NothingReadableMeansNotLimited) {
  const std::string nowhere = "/nonexistent-farthing";
  EXPECT_EQ(cpu_budget(nowhere).quota, 0);
  EXPECT_GE(cpu_budget(nowhere).threads, 1);
  EXPECT_EQ(memory_budget(nowhere).cgroup_limit, 0);
}

TEST(Cpu, QuotaIsTheTightestOfTheUnifiedHierarchy) {
  Tree tree("v2");
  tree.file("proc/self/cgroup", "0::/a/b\n")
      .file("sys/fs/cgroup/a/b/cpu.max", "max 100000\n")
      .file("sys/fs/cgroup/a/cpu.max", "150000 100000\n");
  EXPECT_DOUBLE_EQ(cpu_budget(tree.root()).quota, 1.5);
  EXPECT_EQ(cpu_budget(tree.root()).threads, 1);
}

TEST(Cpu, ASmallQuotaStillGivesOneThread) {
  Tree tree("small");
  tree.file("proc/self/cgroup", "0::/\n").file("sys/fs/cgroup/cpu.max", "20000 100000\n");
  EXPECT_DOUBLE_EQ(cpu_budget(tree.root()).quota, 0.2);
  EXPECT_EQ(cpu_budget(tree.root()).threads, 1);
}

TEST(Cpu, QuotaOfVersionOne) {
  Tree tree("v1");
  tree.file("proc/self/cgroup", "4:cpu,cpuacct:/box\n3:memory:/box\n")
      .file("sys/fs/cgroup/cpu/box/cpu.cfs_quota_us", "50000\n")
      .file("sys/fs/cgroup/cpu/box/cpu.cfs_period_us", "100000\n")
      .file("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n")
      .file("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
  EXPECT_DOUBLE_EQ(cpu_budget(tree.root()).quota, 0.5);
}

TEST(Cpu, SiblingsOfOneCoreCountOnce) {
  Tree tree("siblings");
  const CpuBudget here = cpu_budget();
  for (int cpu = 0; cpu < 4096; ++cpu) {
    const std::string dir = "/sys/devices/system/cpu/cpu" + std::to_string(cpu);
    if (!std::filesystem::exists(dir)) continue;
    tree.file(dir.substr(1) + "/topology/core_id", "0\n");
    tree.file(dir.substr(1) + "/topology/physical_package_id", "0\n");
  }
  const CpuBudget cpu = cpu_budget(tree.root());
  EXPECT_EQ(cpu.affinity, here.affinity);
  EXPECT_EQ(cpu.physical_cores, 1);
  EXPECT_EQ(cpu.threads, 1);
}

TEST(Cpu, MemoryLimitsLessWhatIsUsedPlusFileCache) {
  Tree tree("memory");
  tree.file("proc/meminfo",
            "MemTotal:       1000000 kB\nMemFree: 1 kB\nMemAvailable:    900000 kB\n")
      .file("proc/self/cgroup", "0::/x\n")
      .file("sys/fs/cgroup/x/memory.max", "500000000\n")
      .file("sys/fs/cgroup/x/memory.current", "300000000\n")
      .file("sys/fs/cgroup/x/memory.stat", "anon 1\ninactive_file 50000000\n");
  const MemoryBudget memory = memory_budget(tree.root());
  EXPECT_EQ(memory.total, 1024000000);
  EXPECT_EQ(memory.cgroup_limit, 500000000);
  EXPECT_EQ(memory.available, 250000000);
}

TEST(Cpu, VersionOneStatesNoLimitAsAHugeNumber) {
  Tree tree("huge");
  tree.file("proc/meminfo", "MemTotal: 1000 kB\nMemAvailable: 900 kB\n")
      .file("proc/self/cgroup", "3:memory:/\n")
      .file("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  EXPECT_EQ(memory_budget(tree.root()).cgroup_limit, 0);
  EXPECT_EQ(memory_budget(tree.root()).available, 921600);
}

}  // namespace
}  // namespace farthing
