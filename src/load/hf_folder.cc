#include "load/hf_folder.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string_view>
#include <utility>

#include "base/utf8.h"
#include "load/hf_config.h"
#include "load/hf_tensors.h"
#include "load/hf_tokenizer.h"
#include "load/json_events.h"
#include "load/limits.h"
#include "load/safetensors.h"
#include "load/vocabulary.h"

namespace farthing {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kIndex = "model.safetensors.index.json";
constexpr std::string_view kSingle = "model.safetensors";
constexpr uint64_t kMaxConfig = uint64_t{4} << 20;  // bytes
constexpr uint64_t kMaxIndex = uint64_t{64} << 20;

// A name that stays inside the folder.
bool is_plain_name(std::string_view name) {
  return name.size() > 0 && name.size() <= 255 && name[0] != '.' &&
         name.find('/') == name.npos && name.find('\0') == name.npos &&
         name.ends_with(".safetensors");
}

// Calls visit(tensor, shard) for every entry of the index.
Status read_index(std::span<const std::byte> index,
                  const std::function<Status(const std::string&, const std::string&)>& visit) {
  if (index.size() > kMaxIndex) {
    return bad_input("offset 0: {} bytes, at most {} are allowed", index.size(), kMaxIndex);
  }
  bool any = false;
  const auto scalar = [&](JsonPath path, const std::optional<MetaValue>& value) -> Status {
    if (path[0].key != "weight_map" || path[0].index) return {};
    const auto* shard = value ? std::get_if<std::string>(&*value) : nullptr;
    if (path.size() != 2 || path[1].index || shard == nullptr) {
      return bad_input("key 'weight_map': must give every tensor's file");
    }
    if (!is_plain_name(*shard)) {
      return bad_input("key 'weight_map': '{}' is no name of a safetensors file in this folder",
                       printable(*shard));
    }
    any = true;
    return visit(path[1].key, *shard);
  };
  FARTHING_TRY_VOID(read_json(index, {scalar, {}}));
  if (!any) return bad_input("key 'weight_map' is missing or empty");
  return {};
}

Result<Metadata> read_config(std::span<const std::byte> text,
                             std::string_view name,
                             Allowance& allowance) {
  if (text.empty()) return Metadata();
  auto flat = flatten_json(text, kMaxConfig, {}, allowance);
  if (!flat) return std::move(flat).error().in(name);
  return flat;
}

// The stored tensors of all shards, each where the index says it is.
Result<std::vector<StoredTensor>> read_shards(const HfFolder& folder, Allowance& allowance) {
  std::vector<StoredTensor> all;
  std::vector<size_t> ends;  // of each shard's tensors
  for (const HfFolder::Shard& shard : folder.shards) {
    auto tensors = parse_safetensors(shard.bytes, allowance);
    if (!tensors) return std::move(tensors).error().in(printable(shard.name));
    all.insert(all.end(),
               std::make_move_iterator(tensors->begin()),
               std::make_move_iterator(tensors->end()));
    ends.push_back(all.size());
    if (all.size() > kMaxTensors) {
      return bad_input("{}: offset 8: more than {} tensors", printable(shard.name), kMaxTensors);
    }
  }
  if (folder.index.empty()) return all;
  // Every tensor once, in the shard that the index names: else files of two models are mixed.
  std::vector<uint32_t> by_name(all.size());
  for (size_t i = 0; i < all.size(); ++i) by_name[i] = static_cast<uint32_t>(i);
  std::ranges::sort(by_name, {}, [&](uint32_t i) { return std::string_view(all[i].name); });
  size_t seen = 0;
  const auto visit = [&](const std::string& name, const std::string& shard) -> Status {
    const auto it = std::ranges::lower_bound(
        by_name, std::string_view(name), {}, [&](uint32_t i) { return std::string_view(all[i].name); });
    const bool there = it != by_name.end() && all[*it].name == name;
    const size_t at = there ? static_cast<size_t>(std::ranges::upper_bound(ends, *it) - ends.begin()) : 0;
    if (!there || folder.shards[at].name != shard) {
      return bad_input("tensor '{}': not in {}, where it should be", printable(name), printable(shard));
    }
    ++seen;
    return {};
  };
  if (auto ok = read_index(folder.index, visit); !ok) return std::move(ok).error().in(kIndex);
  if (seen != all.size()) {
    return bad_input("{}: key 'weight_map': {} tensors, the files hold {}", kIndex, seen, all.size());
  }
  return all;
}

void add_rope_factors(const std::vector<float>& factors, ModelFile& file) {
  if (factors.empty()) return;
  const auto bytes = std::as_bytes(std::span(factors));
  file.made.emplace_back(bytes.begin(), bytes.end());
  file.tensors.push_back({.name = "rope_freqs.weight",
                          .type = DType::kF32,
                          .dims = {static_cast<int64_t>(factors.size()), 1, 1, 1},
                          .n_dims = 1,
                          .bytes = file.made.back()});
}

Status read_model(const HfFolder& folder, Allowance& allowance, ModelFile& file) {
  FARTHING_TRY(const Metadata config, read_config(folder.config, "config.json", allowance));
  const auto of_config = [](Error error) { return std::move(error).in("config.json"); };
  auto family = find_family(config);
  if (!family) return of_config(std::move(family).error());
  if (auto ok = read_hf_config(**family, config, file.metadata); !ok) {
    return of_config(std::move(ok).error());
  }
  auto tied = is_tied(**family, config);
  if (!tied) return of_config(std::move(tied).error());
  auto factors = rope_factors(**family, config);
  if (!factors) return of_config(std::move(factors).error());
  file.architecture = (*family)->architecture;
  const std::string prefix = file.architecture + ".attention.head_count";
  const auto n_heads = file.metadata.integer(prefix, 1, INT32_MAX);
  const auto n_kv_heads = file.metadata.integer(prefix + "_kv", 1, INT32_MAX);
  const HfTensorRules rules{*family, **n_heads, **n_kv_heads, *tied};
  FARTHING_TRY(const std::vector<StoredTensor> stored, read_shards(folder, allowance));
  file.made.reserve(2 * stored.size() + 16);
  FARTHING_TRY_VOID(bind_hf_tensors(rules, stored, allowance, file.tensors, file.made));
  add_rope_factors(*factors, file);
  FARTHING_TRY_VOID(file.index_names());
  // A GGUF's output falls back to the embedding; here only a config may say so.
  if (!*tied && file.find("output.weight") == nullptr) {
    return bad_input("tensor 'lm_head.weight' is missing, and tie_word_embeddings is false");
  }
  return {};
}

Status read_tokenizer(const HfFolder& folder, Allowance& allowance, ModelFile& file) {
  FARTHING_TRY(const Metadata config, read_config(folder.config, "config.json", allowance));
  FARTHING_TRY(const Metadata generation,
               read_config(folder.generation_config, "generation_config.json", allowance));
  HfTokenizer files{.tokenizer_json = folder.tokenizer,
                    .tokenizer_config = folder.tokenizer_config,
                    .chat_template = folder.chat_template};
  constexpr int64_t kMostId = kMaxVocabulary - 1;
  auto ends = integers_at(generation, "eos_token_id", 0, kMostId);
  if (!ends) return std::move(ends).error().in("generation_config.json");
  if (ends->empty()) ends = integers_at(config, "eos_token_id", 0, kMostId);
  if (!ends) return std::move(ends).error().in("config.json");
  files.end_ids = *std::move(ends);
  auto bos = integers_at(config, "bos_token_id", 0, kMostId);
  if (!bos) return std::move(bos).error().in("config.json");
  if (!bos->empty()) files.bos_id = bos->front();
  const auto size = file.metadata.integer(file.architecture + ".vocab_size", 1, INT64_MAX);
  files.vocab_size = **size;
  FARTHING_TRY_VOID(read_hf_tokenizer(files, allowance, file.metadata, file.made, file.notes));
  FARTHING_TRY(file.vocab, read_vocab(file.metadata, allowance, file.notes));
  file.tokenizer_json = folder.tokenizer;
  return {};
}

// ---- files ----

// A file of the folder; an empty MappedFile if it isn't there.
Result<MappedFile> open_optional(const fs::path& path) {
  std::error_code error;
  if (!fs::exists(path, error)) return MappedFile();
  return MappedFile::open(path.string());
}

Result<MappedFile> open_required(const fs::path& path, const fs::path& folder) {
  std::error_code error;
  if (fs::exists(path, error)) return MappedFile::open(path.string());
  return bad_input("{}: {} is missing: a model's folder holds config.json, tokenizer.json and {}",
                   printable(folder.string(), kMaxPathShown),
                   path.filename().string(),
                   kSingle);
}

Result<std::vector<std::string>> names_of_shards(const fs::path& folder, const MappedFile& index) {
  if (!index.bytes().empty()) return shard_names(index.bytes());
  std::error_code error;
  if (!fs::exists(folder / kSingle, error) && fs::exists(folder / "pytorch_model.bin", error)) {
    return bad_input("{}: holds pytorch_model.bin, which is a program: farthing reads safetensors",
                     printable(folder.string(), kMaxPathShown));
  }
  return std::vector<std::string>{std::string(kSingle)};
}

}  // namespace

Result<std::vector<std::string>> shard_names(std::span<const std::byte> index) {
  std::set<std::string> names;
  const auto visit = [&](const std::string&, const std::string& shard) -> Status {
    names.insert(shard);
    if (std::cmp_greater(names.size(), kMaxShards)) {
      return bad_input("key 'weight_map': more than {} files", kMaxShards);
    }
    return {};
  };
  if (auto ok = read_index(index, visit); !ok) return std::move(ok).error().in(kIndex);
  return std::vector<std::string>(names.begin(), names.end());
}

Result<ModelFile> read_hf_folder(const HfFolder& folder) {
  Allowance allowance;
  ModelFile file;
  file.format = folder.shards.size() > 1
                    ? fmt::format("Hugging Face folder of {} shards", folder.shards.size())
                    : "Hugging Face folder";
  file.metadata.values.insert_or_assign("general.type", std::string("model"));
  file.metadata.values.insert_or_assign("general.quantization_version", uint64_t{2});
  FARTHING_TRY_VOID(read_model(folder, allowance, file));
  FARTHING_TRY_VOID(read_tokenizer(folder, allowance, file));
  return file;
}

bool is_folder(const std::string& path) {
  std::error_code error;
  return fs::is_directory(path, error);
}

Result<ModelFile> open_hf_folder(const std::string& path) {
  const fs::path folder(path);
  FARTHING_TRY(MappedFile config, open_required(folder / "config.json", folder));
  FARTHING_TRY(MappedFile tokenizer, open_required(folder / "tokenizer.json", folder));
  FARTHING_TRY(const MappedFile generation, open_optional(folder / "generation_config.json"));
  FARTHING_TRY(const MappedFile tokenizer_config, open_optional(folder / "tokenizer_config.json"));
  FARTHING_TRY(const MappedFile chat_template, open_optional(folder / "chat_template.jinja"));
  FARTHING_TRY(const MappedFile index, open_optional(folder / kIndex));
  HfFolder view{.config = config.bytes(),
                .generation_config = generation.bytes(),
                .tokenizer = tokenizer.bytes(),
                .tokenizer_config = tokenizer_config.bytes(),
                .chat_template = chat_template.bytes(),
                .index = index.bytes()};
  auto names = names_of_shards(folder, index);
  if (!names) return std::move(names).error().in(printable(path, kMaxPathShown));
  std::vector<MappedFile> shards;
  for (const std::string& name : *names) {
    FARTHING_TRY(MappedFile shard, open_required(folder / name, folder));
    view.shards.push_back({name, shard.bytes()});
    shards.push_back(std::move(shard));
  }
  auto file = read_hf_folder(view);
  if (!file) return std::move(file).error().in(printable(path, kMaxPathShown));
  const fs::path whole = fs::absolute(folder / "").lexically_normal().parent_path();
  file->metadata.values.insert_or_assign("general.name", whole.filename().string());
  file->files = std::move(shards);
  file->tokenizer_file = std::move(tokenizer);
  return file;
}

}  // namespace farthing
