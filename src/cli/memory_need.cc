#include "cli/memory_need.h"

#include <string>
#include <string_view>
#include <utility>
#include <vector>

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

}  // namespace

MemoryNeed memory_need(const ModelFile& file) {
  MemoryNeed need;
  for (const TensorView& tensor : file.tensors) {
    need.weights += static_cast<int64_t>(tensor.bytes.size());
    need.parameters += tensor.size();
  }
  const Keys keys(file);
  need.context_length = keys.one("context_length", kMaxContext);
  need.kv_per_token = kv_per_token(keys);
  if (need.kv_per_token && need.context_length) {
    int64_t total = 0;
    const bool fits = !__builtin_mul_overflow(*need.kv_per_token, *need.context_length, &total);
    if (fits) need.kv_full_context = total;
  }
  return need;
}

}  // namespace farthing
