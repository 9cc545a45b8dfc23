#include "engine/runner.h"

#include <algorithm>
#include <string>

#include "base/cpu.h"

namespace farthing {
namespace {

Result<KVType> kv_type_of(DType type) {
  switch (type) {
    case DType::kF32:
      return KVType::kF32;
    case DType::kF16:
      return KVType::kF16;
    case DType::kBF16:
      return KVType::kBF16;
    default:
      return usage_error("--kv-type {}: the KV cache can be f16, bf16 or f32",
                         format_of(type).name);
  }
}

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

Result<std::unique_ptr<Runner>> Runner::create(const Model& model, const RunnerOptions& options) {
  FARTHING_TRY(const KVType kv_type, kv_type_of(options.kv_type));
  FARTHING_TRY(const Isa isa, choose_isa(options.isa));
  DecoderOptions decoder_options = options.decoder;
  decoder_options.kv_type = kv_type;

  const int64_t element_bytes = format_of(options.kv_type).qblock_bytes;
  const int64_t kv_bytes =
      KVStore::bytes_needed(model.kv_shapes(), element_bytes, options.n_blocks);
  const int32_t n_threads = options.n_threads > 0 ? options.n_threads : cpu_budget().threads;
  const int64_t workspace_bytes = Decoder::workspace_bytes(model.spec, decoder_options, n_threads);
  const int64_t limit = options.memory_limit > 0 ? options.memory_limit : memory_budget().available;
  if (limit > 0 && kv_bytes + workspace_bytes > limit) {
    return no_resource(
        "KV cache {:.0f} MiB ({} tokens) + workspace {:.0f} MiB = {:.0f} MiB, but {:.0f} MiB are "
        "free: use a "
        "smaller context or fewer sequences",
        mib(kv_bytes),
        int64_t{options.n_blocks} * kKVBlockTokens,
        mib(workspace_bytes),
        mib(kv_bytes + workspace_bytes),
        mib(limit));
  }

  std::unique_ptr<Runner> runner(new Runner());
  runner->isa_ = isa;
  runner->workspace_bytes_ = workspace_bytes;
  runner->team_ = std::make_unique<ThreadTeam>(n_threads);
  FARTHING_TRY(runner->store_, KVStore::create(model.kv_shapes(), element_bytes, options.n_blocks));
  FARTHING_TRY(
      Decoder decoder,
      Decoder::create(model, Exec{&kernel_table(isa), runner->team_.get()}, decoder_options));
  runner->decoder_.emplace(std::move(decoder));
  return runner;
}

}  // namespace farthing
