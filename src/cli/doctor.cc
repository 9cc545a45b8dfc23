#include "cli/doctor.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>

#include "base/cpu.h"
#include "cli/output.h"
#include "cli/verb.h"
#include "cli/verbs.h"
#include "measure/machine.h"

namespace farthing {
namespace {

Result<Isa> chosen_isa(const std::string& name) {
  if (name.empty()) return best_isa();
  const auto isa = isa_from_name(name);
  if (!isa) return usage_error("--isa: '{}' is none of ref|avx2|avxvnni|avx512|avx512vnni", name);
  const std::vector<Isa> supported = supported_isas();
  if (std::find(supported.begin(), supported.end(), *isa) == supported.end()) {
    return no_resource(
        "--isa {}: this CPU lacks it; the best it has is {}", name, isa_name(best_isa()));
  }
  return *isa;
}

std::string gib(const Json& bytes) {
  return fmt::format("{:.1f} GiB", static_cast<double>(bytes.get<int64_t>()) / (1 << 30));
}

std::string text_of(const Json& report) {
  const Json& m = report["machine"];
  const Json& one = m["one_thread"];
  const Json& all = m["all_threads"];
  std::string text = fmt::format("cpu        {}\n", m["cpu"].get<std::string>());
  text += fmt::format(
      "cores      {} of {} CPUs, ", m["physical_cores"].get<int>(), m["cpus"].get<int>());
  const Json& quota = m["quota_cpus"];
  text += quota.is_null() ? std::string("no quota, ")
                          : fmt::format("quota {:.2f} CPUs, ", quota.get<double>());
  text += fmt::format("threads {}\n", m["threads"].get<int>());
  text +=
      fmt::format("memory     {}, {} available", gib(m["memory_bytes"]), gib(m["available_bytes"]));
  if (!m["cgroup_limit_bytes"].is_null())
    text += fmt::format(", limit {}", gib(m["cgroup_limit_bytes"]));
  text += fmt::format("\n\n{:<22}{:>10}{:>10} threads\n", "at most", 1, all["threads"].get<int>());
  const auto line = [&](const char* what, const char* key) {
    text += fmt::format(
        "{:<22}{:>10.1f}{:>10.1f}\n", what, one[key].get<double>(), all[key].get<double>());
  };
  line("memory read, GB/s", "read_gb_per_s");
  line("int8 dot, Gop/s", "int8_gops");
  line("f32 fma, Gflop/s", "f32_gflops");
  const Json& kernels = report["kernels"];
  text += fmt::format("\nkernels    {} (of", kernels["isa"].get<std::string>());
  for (const Json& name : kernels["supported"]) text += " " + name.get<std::string>();
  text += ")\n";
  for (const auto& [name, row] : kernels["formats"].items()) {
    text += fmt::format("  {:<8} activations {}\n", name, row["activations"].get<std::string>());
  }
  return text;
}

}  // namespace

Status examine_machine(const DoctorOptions& options, std::FILE* out) {
  FARTHING_TRY(const Isa isa, chosen_isa(options.isa));
  const int32_t threads = options.threads > 0 ? options.threads : cpu_budget().threads;
  FARTHING_TRY(const MachineSpeed speed, measure_machine(isa, threads));
  const Json report = machine_report(isa, speed);
  write(out, options.json ? to_text(report, 2) + "\n" : text_of(report));
  return {};
}

void add_doctor(CLI::App& app, int& exit_code) {
  const auto options = std::make_shared<DoctorOptions>();
  CLI::App* verb =
      add_verb(app,
               "doctor",
               "Show what this machine has and can do at most, and which kernels run on it",
               exit_code,
               [options] { return examine_machine(*options, stdout); });
  verb->add_option(
      "--isa", options->isa, "ref|avx2|avxvnni|avx512|avx512vnni (default: the best one)");
  verb->add_option("--threads", options->threads, "Default: as many as this process may use")
      ->check(CLI::Range(1, 1024));
  verb->add_flag("--json", options->json, "One JSON object");
}

}  // namespace farthing
