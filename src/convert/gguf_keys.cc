#include "convert/gguf_keys.h"

#include <algorithm>
#include <string>
#include <utility>
#include <variant>

#include "load/gguf.h"
#include "load/limits.h"

namespace farthing {
namespace {

struct EncodeKey {
  const std::string& name;

  template <class T>
  GgufKey plain(MetaType type, T v) const {
    return {name, type, std::string(reinterpret_cast<const char*>(&v), sizeof v)};
  }
  GgufKey operator()(bool v) const { return plain(MetaType::kBool, static_cast<uint8_t>(v)); }
  GgufKey operator()(double v) const { return plain(MetaType::kFloat32, static_cast<float>(v)); }
  GgufKey operator()(int64_t v) const {
    if (std::in_range<int32_t>(v)) return plain(MetaType::kInt32, static_cast<int32_t>(v));
    return plain(MetaType::kInt64, v);
  }
  GgufKey operator()(uint64_t v) const {
    if (std::in_range<uint32_t>(v)) return plain(MetaType::kUint32, static_cast<uint32_t>(v));
    return plain(MetaType::kUint64, v);
  }
  GgufKey operator()(const std::string& v) const { return gguf_key(name, std::string_view(v)); }
  GgufKey operator()(const MetaArray& v) const {
    GgufKey key{name, MetaType::kArray, {}};
    key.value += plain(MetaType::kUint32, static_cast<uint32_t>(v.element)).value;
    key.value += plain(MetaType::kUint64, v.count).value;
    key.value.append(reinterpret_cast<const char*>(v.bytes.data()), v.bytes.size());
    return key;
  }
};

}  // namespace

Result<std::vector<GgufKey>> gguf_keys(const ModelFile& file) {
  std::vector<GgufKey> keys;
  if (!file.files.empty() && file.format.starts_with("GGUF")) {
    FARTHING_TRY(const std::vector<GgufEntry> entries, gguf_entries(file.files.front().bytes()));
    for (const GgufEntry& entry : entries) keys.push_back(gguf_key(entry));
    return keys;
  }
  for (const auto& [name, value] : file.metadata.values)
    keys.push_back(std::visit(EncodeKey{name}, value));
  return keys;
}

void set_gguf_key(std::vector<GgufKey>& keys, GgufKey key) {
  const auto at = std::ranges::find(keys, key.key, &GgufKey::key);
  if (at != keys.end())
    *at = std::move(key);
  else
    keys.push_back(std::move(key));
}

Result<uint64_t> gguf_alignment(const Metadata& metadata) {
  FARTHING_TRY(const auto value,
               metadata.integer("general.alignment",
                                static_cast<int64_t>(kMinAlignment),
                                static_cast<int64_t>(kMaxAlignment)));
  return static_cast<uint64_t>(value.value_or(static_cast<int64_t>(kDefaultAlignment)));
}

}  // namespace farthing
