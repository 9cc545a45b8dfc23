#include "engine/runner.h"

#include <algorithm>
#include <string>

#include "base/cpu.h"

namespace farthing {
namespace {

Result<Isa> choose_isa(std::optional<Isa> wanted) {
  if (!wanted) return best_isa();
  const auto supported = supported_isas();
  if (std::ranges::find(supported, *wanted) != supported.end()) return *wanted;
  std::string names;
  for (Isa isa : supported) names += fmt::format("{}{}", names.empty() ? "" : ", ", isa_name(isa));
  return usage_error("--isa {}: this CPU has {}", isa_name(*wanted), names);
}

double mib(int64_t bytes) {
  return static_cast<double>(bytes) / (1 << 20);
}

}  // namespace

int64_t memory_taken(const Model& model) {
  const EmbeddingTable& table = model.weights.embedding;
  const WeightMatrix& rows = table.matrix;
  return resident_bytes() +
         (table.file_rows != nullptr ? rows.rows * bytes_for(rows.type, rows.cols) : 0);
}

Result<std::unique_ptr<Runner>> Runner::create(const Model& model, const RunnerOptions& options) {
  FARTHING_TRY(const Isa isa, choose_isa(options.isa));
  const std::vector<KVShape> kv_shapes = model.kv_shapes(options.decoder.kv_type);
  const int64_t kv_bytes = KVStore::bytes_needed(kv_shapes, options.n_blocks);
  const int32_t n_threads = options.n_threads > 0 ? options.n_threads : cpu_budget().threads;
  const int64_t workspace_bytes = Decoder::workspace_bytes(model.spec, options.decoder, n_threads);
  const bool limited = options.memory_limit > 0;
  const int64_t limit = limited ? options.memory_limit : memory_budget().available;
  const int64_t taken = limited ? memory_taken(model) : 0;
  const int64_t all = taken + kv_bytes + workspace_bytes + options.beside;
  if (limit > 0 && all > limit) {
    std::string parts;
    if (limited) {
      const int64_t weights = model.weights.tiles_bytes;
      parts = fmt::format("weights {:.0f} MiB + program and tokenizer {:.0f} MiB + ",
                          mib(weights),
                          mib(std::max<int64_t>(taken - weights, 0)));
    }
    if (options.beside > 0) parts += fmt::format("drafter {:.0f} MiB + ", mib(options.beside));
    return no_resource(
        "{}KV cache {:.0f} MiB ({} tokens) + workspace {:.0f} MiB = {:.0f} MiB, but {:.0f} MiB are "
        "{}: use a smaller context or fewer sequences",
        parts,
        mib(kv_bytes),
        int64_t{options.n_blocks} * kKVBlockTokens,
        mib(workspace_bytes),
        mib(all),
        mib(limit),
        limited ? "allowed (--memory)" : "free");
  }

  std::unique_ptr<Runner> runner(new Runner());
  runner->isa_ = isa;
  runner->workspace_bytes_ = workspace_bytes;
  runner->team_ = std::make_unique<ThreadTeam>(n_threads);
  FARTHING_TRY(runner->store_, KVStore::create(kv_shapes, options.n_blocks));
  FARTHING_TRY(
      Decoder decoder,
      Decoder::create(
          model, Exec{&kernel_table(isa), runner->team_.get(), options.observer}, options.decoder));
  runner->decoder_.emplace(std::move(decoder));
  return runner;
}

}  // namespace farthing
