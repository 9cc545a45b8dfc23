#include "measure/machine.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>

#include "base/checked.h"
#include "base/clock.h"
#include "base/cpu.h"
#include "kernels/kernel_table.h"

namespace farthing {
namespace {

constexpr double kSecondsPerFigure = 0.2;
constexpr double kSecondsBetweenTests = 0.05;
constexpr double kSecondsAtAGlance = 0.01;
constexpr size_t kMostAtAGlance = size_t{128} << 20;  // bytes
constexpr int64_t kMiB = int64_t{1} << 20;

struct Rate {
  double best = 0;
  double mean = 0;
};

// The rate of `work`, which returns how much it did, over about so many seconds; at least twice.
template <class Work>
Rate rate_of(double seconds_per_figure, Work work) {
  Rate rate;
  double done = 0, spent = 0;
  for (int i = 0; i < 2 || spent < seconds_per_figure; ++i) {
    const TimePoint start = Clock::now();
    const double amount = work();
    const double seconds = std::max(1e-9, seconds_between(start, Clock::now()));
    rate.best = std::max(rate.best, amount / seconds);
    done += amount;
    spent += seconds;
  }
  rate.mean = done / spent;
  return rate;
}

// Every thread does the same number of rounds of a peak loop, in pieces.
Rate peak_rate(ThreadTeam& team, double seconds, int64_t (*loop)(int64_t)) {
  constexpr int64_t kPiecesPerThread = 32;
  return rate_of(seconds, [&] {
    std::atomic<int64_t> operations = 0;
    team.parallel_for(kPiecesPerThread * team.size(), 1, [&](int64_t begin, int64_t end) {
      operations += loop(end - begin);
    });
    return static_cast<double>(operations);
  });
}

// The better figures of several loops: which distance is best differs among machines.
Rate read_rate(ThreadTeam& team,
               double seconds,
               const PeakKernels& peak,
               std::span<const std::byte> memory) {
  Rate better;
  for (int64_t ahead : {0, 1024, 4096}) {
    const Rate rate = rate_of(seconds, [&] {
      std::atomic<uint64_t> checksum = 0;
      team.parallel_for(static_cast<int64_t>(memory.size()), kMiB, [&](int64_t begin, int64_t end) {
        checksum += peak.read(memory.data() + begin, end - begin, ahead);
      });
      return static_cast<double>(memory.size());
    });
    better = {std::max(better.best, rate.best), std::max(better.mean, rate.mean)};
  }
  return better;
}

MachineSpeed::Rates measure_rates(const PeakKernels& peak,
                                  ThreadTeam& team,
                                  double seconds,
                                  const Buffer& memory,
                                  double Rate::* figure) {
  return {.threads = team.size(),
          .read_gb_per_s = read_rate(team, seconds, peak, memory.bytes()).*figure * 1e-9,
          .int8_gops = peak_rate(team, seconds, peak.int8_dot).*figure * 1e-9,
          .f32_gflops = peak_rate(team, seconds, peak.f32_fma).*figure * 1e-9};
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
  const auto rates = [&](int32_t n_threads) {
    ThreadTeam team(n_threads);
    return measure_rates(peak, team, kSecondsPerFigure, memory, &Rate::best);
  };
  speed.one = rates(1);
  speed.all = threads == 1 ? speed.one : rates(threads);
  return speed;
}

Result<MachineGauge> MachineGauge::create(Isa isa, int32_t threads) {
  MachineGauge gauge;
  gauge.peak_ = &peak_kernels(isa);
  FARTHING_TRY(gauge.memory_, written_memory(bytes_to_read()));
  gauge.team_ = std::make_unique<ThreadTeam>(threads);
  return gauge;
}

MachineSpeed::Rates MachineGauge::measure() {
  return measure_rates(*peak_, *team_, kSecondsBetweenTests, memory_, &Rate::mean);
}

MachineSpeed::Rates glance_at_machine(Isa isa, int32_t threads, std::span<const std::byte> memory) {
  memory = memory.first(std::min(memory.size(), kMostAtAGlance));
  const PeakKernels& peak = peak_kernels(isa);
  ThreadTeam team(threads);
  return {.threads = threads,
          .read_gb_per_s = read_rate(team, kSecondsAtAGlance, peak, memory).best * 1e-9,
          .int8_gops = peak_rate(team, kSecondsAtAGlance, peak.int8_dot).best * 1e-9};
}

double f32_gflops(Isa isa, int32_t threads) {
  ThreadTeam team(threads);
  return peak_rate(team, kSecondsBetweenTests, peak_kernels(isa).f32_fma).best * 1e-9;
}

Json speed_json(const MachineSpeed& speed) {
  return {{"read_test_bytes", speed.read_bytes},
          {"one_thread", to_json(speed.one)},
          {"all_threads", to_json(speed.all)}};
}

Json machine_report(Isa isa, const MachineSpeed& speed) {
  const CpuBudget cpu = cpu_budget();
  const MemoryBudget memory = memory_budget();
  Json machine = {
      {"cpu", cpu.model_name},
      {"cpus", cpu.affinity},
      {"physical_cores", cpu.physical_cores},
      {"quota_cpus", cpu.quota > 0 ? Json(cpu.quota) : Json()},
      {"threads", cpu.threads},
      {"memory_bytes", memory.total},
      {"cgroup_limit_bytes", memory.cgroup_limit > 0 ? Json(memory.cgroup_limit) : Json()},
      {"available_bytes", memory.available}};
  machine.update(speed_json(speed));
  const KernelTable& table = kernel_table(isa);
  Json formats = Json::object();
  for (const Format& f : all_formats()) {
    const size_t i = static_cast<size_t>(f.type);
    formats[std::string(f.name)] = {
        {"activations", table.act_format[i] == ActFormat::kF32 ? "f32" : "int8 per 32"}};
  }
  Json kernels = {
      {"isa", isa_name(isa)}, {"supported", names_of(supported_isas())}, {"formats", formats}};
  return {{"machine", machine}, {"kernels", kernels}};
}

}  // namespace farthing
