#include "cli/memory_need.h"

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/cpu.h"
#include "engine/engine.h"
#include "engine/loaded_model.h"
#include "load/limits.h"
#include "model/model.h"
#include "model/registry.h"
#include "text/tokenizer.h"

namespace farthing {
namespace {

// No real model leaves these; they keep the products below far from overflow.
constexpr int64_t kMaxLayers = 4096;
constexpr int64_t kMaxSize = int64_t{1} << 24;
constexpr int64_t kMaxContext = int64_t{1} << 31;
constexpr int64_t kBytesOfF16 = 2;

// The hyper-parameters "<architecture>.*"; nothing where a key is missing or makes no sense
// (`check` says why).
class Keys {
 public:
  explicit Keys(const ModelFile& file) : file_(file) {}

  std::optional<int64_t> one(std::string_view suffix, int64_t high) const {
    auto value = file_.metadata.integer(name(suffix), 1, high);
    return value ? *value : std::nullopt;
  }
  // One value per layer; a single one stands for all.
  std::optional<std::vector<int64_t>> per_layer(std::string_view suffix, int64_t layers) const {
    auto list = file_.metadata.integers(name(suffix), 0, kMaxSize);
    if (!list || !list->has_value()) return std::nullopt;
    std::vector<int64_t> values = **std::move(list);
    if (values.size() == 1) values.assign(static_cast<size_t>(layers), values.front());
    if (std::cmp_not_equal(values.size(), layers)) return std::nullopt;
    return values;
  }

 private:
  std::string name(std::string_view suffix) const {
    return fmt::format("{}.{}", file_.architecture, suffix);
  }

  const ModelFile& file_;
};

std::optional<int64_t> kv_per_token(const Keys& keys) {
  const auto layers = keys.one("block_count", kMaxLayers);
  if (!layers) return std::nullopt;
  const auto heads = keys.per_layer("attention.head_count", *layers);
  auto kv_heads = keys.per_layer("attention.head_count_kv", *layers);
  if (!kv_heads) kv_heads = heads;
  if (!kv_heads) return std::nullopt;
  const auto width = keys.one("embedding_length", kMaxSize);
  std::optional<int64_t> head_size;
  if (heads && width && heads->front() > 0) head_size = *width / heads->front();
  auto key_size = keys.one("attention.key_length", kMaxSize);
  if (!key_size) key_size = head_size;
  auto value_size = keys.one("attention.value_length", kMaxSize);
  if (!value_size) value_size = head_size;
  if (!key_size || !value_size) return std::nullopt;
  int64_t values = 0;
  for (int64_t n : *kv_heads) values += n * (*key_size + *value_size);
  return values * kBytesOfF16;
}

int64_t tensor_bytes(const ModelFile& file) {
  int64_t bytes = 0;
  for (const TensorView& tensor : file.tensors) bytes += tensor.size_bytes();
  return bytes;
}

int64_t vocabulary_bytes(const ModelFile& file) {
  int64_t bytes = 0;
  if (file.tokenizer_json.empty()) {
    for (const MappedFile& part : file.files) bytes += static_cast<int64_t>(part.bytes().size());
    bytes -= tensor_bytes(file);
  }
  for (const auto& made : file.made) bytes += static_cast<int64_t>(made.size());
  for (const auto* texts : {&file.vocab->tokens, &file.vocab->merges}) {
    for (const std::string& text : *texts) {
      bytes += static_cast<int64_t>(Allowance::string_cost(text.size()));
    }
  }
  return bytes + static_cast<int64_t>(file.vocab->scores.size() * sizeof(float) +
                                      file.vocab->types.size() * sizeof(TokenType));
}

// Makes the tokenizer and looks what that took; or a bound, if it could take more than the model
// itself, whose memory is there.
Status weigh_tokenizer(const ModelFile& file, RunMemory& run) {
  run.tokenizer = tokenizer_memory_bound(file);
  if (run.tokenizer > tensor_bytes(file)) return {};
  const int64_t before = resident_bytes();
  FARTHING_TRY(const Tokenizer tokenizer, make_tokenizer(file));
  for (bool special : {false, true}) {  // tables for either are made when they are needed
    FARTHING_TRY_VOID(tokenizer.encode("a", {.parse_special = special}));
  }
  run.tokenizer = peak_resident_bytes() - before;
  run.tokenizer_measured = true;
  return {};
}

Result<RunMemory> run_memory(const ModelFile& file) {
  if (file.tensors.empty()) return bad_input("the file has no tensors");
  FARTHING_TRY(const ModelSpec spec, build_spec(file));
  FARTHING_TRY(const WeightsMemory weights, weights_memory(spec, file, WeightMode::kNative));
  if (!file.vocab) return bad_input("the file has no vocabulary");
  const EngineOptions engine;
  DecoderOptions decoder;
  decoder.context = std::min(spec.context_length, decoder.context);
  decoder.max_tokens = std::min(engine.chunk, decoder.context);
  RunMemory run{.context = decoder.context, .n_threads = cpu_budget().threads};
  run.weights = weights.tiles + weights.vectors + weights.file_rows;
  const auto kv_bytes = [&](int32_t blocks) {
    return KVStore::bytes_needed(kv_shapes(spec, engine.kv_type), blocks);
  };
  run.kv_per_token = kv_bytes(1) / kKVBlockTokens;
  run.kv = kv_bytes(engine.max_sequences * blocks_for(decoder.context));
  run.workspace = Decoder::workspace_bytes(spec, decoder, run.n_threads);
  run.vocabulary = vocabulary_bytes(file);
  run.program = program_bytes();
  FARTHING_TRY_VOID(weigh_tokenizer(file, run));
  return run;
}

}  // namespace

MemoryNeed memory_need(const ModelFile& file) {
  MemoryNeed need{.weights = tensor_bytes(file), .run = run_memory(file)};
  for (const TensorView& tensor : file.tensors) need.parameters += tensor.size();
  const Keys keys(file);
  need.context_length = keys.one("context_length", kMaxContext);
  need.kv_per_token = need.run ? std::optional(need.run->kv_per_token) : kv_per_token(keys);
  if (need.kv_per_token && need.context_length) {
    int64_t total = 0;
    const bool fits = !__builtin_mul_overflow(*need.kv_per_token, *need.context_length, &total);
    if (fits) need.kv_full_context = total;
  }
  return need;
}

}  // namespace farthing
