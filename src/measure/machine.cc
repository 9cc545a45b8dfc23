#include "measure/machine.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>

#include "base/buffer.h"
#include "base/checked.h"
#include "base/clock.h"
#include "base/cpu.h"
#include "base/thread_team.h"
#include "kernels/kernel_table.h"
#include "kernels/peak.h"

namespace farthing {
namespace {

constexpr double kSecondsPerFigure = 0.2;
constexpr double kSecondsAtAGlance = 0.01;
constexpr int64_t kMostAtAGlance = int64_t{128} << 20;  // bytes
constexpr int64_t kMiB = int64_t{1} << 20;

// Best rate of `work`, which returns how much it did, over about so many seconds; at least twice.
template <class Work>
double best_rate(double seconds_per_figure, Work work) {
  double best = 0, spent = 0;
  for (int i = 0; i < 2 || spent < seconds_per_figure; ++i) {
    const TimePoint start = Clock::now();
    const double amount = work();
    const double seconds = std::max(1e-9, seconds_between(start, Clock::now()));
    best = std::max(best, amount / seconds);
    spent += seconds;
  }
  return best;
}

// Every thread does the same number of rounds of a peak loop, in pieces.
double peak_rate(ThreadTeam& team, double seconds, int64_t (*loop)(int64_t)) {
  constexpr int64_t kPiecesPerThread = 32;
  return best_rate(seconds, [&] {
    std::atomic<int64_t> operations = 0;
    team.parallel_for(kPiecesPerThread * team.size(), 1, [&](int64_t begin, int64_t end) {
      operations += loop(end - begin);
    });
    return static_cast<double>(operations);
  });
}

double read_rate(ThreadTeam& team, double seconds, const PeakKernels& peak, const Buffer& memory) {
  double best = 0;
  // Which distance is best differs among machines; a plain loop alone would understate some.
  for (int64_t ahead : {0, 1024, 4096}) {
    const double rate = best_rate(seconds, [&] {
      std::atomic<uint64_t> checksum = 0;
      team.parallel_for(static_cast<int64_t>(memory.size()), kMiB, [&](int64_t begin, int64_t end) {
        checksum += peak.read(memory.data() + begin, end - begin, ahead);
      });
      return static_cast<double>(memory.size());
    });
    best = std::max(best, rate);
  }
  return best;
}

MachineSpeed::Rates measure_rates(const PeakKernels& peak, int32_t threads, const Buffer& memory) {
  ThreadTeam team(threads);
  MachineSpeed::Rates rates;
  rates.threads = threads;
  rates.read_gb_per_s = read_rate(team, kSecondsPerFigure, peak, memory) * 1e-9;
  rates.int8_gops = peak_rate(team, kSecondsPerFigure, peak.int8_dot) * 1e-9;
  rates.f32_gflops = peak_rate(team, kSecondsPerFigure, peak.f32_fma) * 1e-9;
  return rates;
}

// Twice the last-level cache, so that most reads come from memory; never more than a quarter of
// what is free.
int64_t bytes_to_read() {
  const int64_t cache = std::max<int64_t>(0, sysconf(_SC_LEVEL3_CACHE_SIZE));
  const int64_t wanted = std::clamp(2 * cache, 128 * kMiB, 1024 * kMiB);
  return std::max(kMiB, std::min(wanted, memory_budget().available / 4) / kMiB * kMiB);
}

// Pages that were never written may all be one page of zeroes.
Result<Buffer> written_memory(int64_t bytes) {
  FARTHING_TRY(Buffer memory, Buffer::allocate(static_cast<size_t>(bytes)));
  for (int64_t i = 0; i < bytes; i += 4096) memory.data()[i] = static_cast<std::byte>(i >> 12);
  return memory;
}

Json to_json(const MachineSpeed::Rates& rates) {
  return {{"threads", rates.threads},
          {"read_gb_per_s", rates.read_gb_per_s},
          {"int8_gops", rates.int8_gops},
          {"f32_gflops", rates.f32_gflops}};
}

Json names_of(const std::vector<Isa>& isas) {
  Json names = Json::array();
  for (Isa isa : isas) names.push_back(isa_name(isa));
  return names;
}

}  // namespace

Result<MachineSpeed> measure_machine(Isa isa, int32_t threads) {
  MachineSpeed speed;
  speed.read_bytes = bytes_to_read();
  FARTHING_TRY(const Buffer memory, written_memory(speed.read_bytes));
  const PeakKernels& peak = peak_kernels(isa);
  speed.one = measure_rates(peak, 1, memory);
  speed.all = threads == 1 ? speed.one : measure_rates(peak, threads, memory);
  return speed;
}

Result<MachineSpeed::Rates> glance_at_machine(Isa isa, int32_t threads) {
  FARTHING_TRY(const Buffer memory, written_memory(std::min(bytes_to_read(), kMostAtAGlance)));
  const PeakKernels& peak = peak_kernels(isa);
  ThreadTeam team(threads);
  return MachineSpeed::Rates{
      .threads = threads,
      .read_gb_per_s = read_rate(team, kSecondsAtAGlance, peak, memory) * 1e-9,
      .int8_gops = peak_rate(team, kSecondsAtAGlance, peak.int8_dot) * 1e-9};
}

Json speed_json(const MachineSpeed& speed) {
  return {{"read_test_bytes", speed.read_bytes},
          {"one_thread", to_json(speed.one)},
          {"all_threads", to_json(speed.all)}};
}

Json machine_report(Isa isa, const MachineSpeed& speed) {
  const CpuBudget cpu = cpu_budget();
  const MemoryBudget memory = memory_budget();
  Json machine = {{"cpu", cpu.model_name},
                  {"cpus", cpu.affinity},
                  {"physical_cores", cpu.physical_cores},
                  {"quota_cpus", cpu.quota},
                  {"threads", cpu.threads},
                  {"memory_bytes", memory.total},
                  {"cgroup_limit_bytes", memory.cgroup_limit},
                  {"available_bytes", memory.available}};
  machine.update(speed_json(speed));
  const KernelTable& table = kernel_table(isa);
  Json formats = Json::object();
  for (const Format& f : all_formats()) {
    const size_t i = static_cast<size_t>(f.type);
    const bool fast = table.matmul[i] != ref_kernels().matmul[i];
    formats[std::string(f.name)] = {
        {"isa", isa_name(fast ? isa : Isa::kRef)},
        {"activations", table.act_format[i] == ActFormat::kF32 ? "f32" : "int8 per 32"}};
  }
  Json kernels = {
      {"isa", isa_name(isa)}, {"supported", names_of(supported_isas())}, {"formats", formats}};
  return {{"machine", machine}, {"kernels", kernels}};
}

}  // namespace farthing
