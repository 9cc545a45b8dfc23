#include "load/model_file.h"

#include <algorithm>
#include <cctype>
#include <numeric>
#include <utility>

#include "base/utf8.h"
#include "load/gguf.h"
#include "load/hf_folder.h"
#include "load/limits.h"
#include "load/vocabulary.h"

namespace farthing {
namespace {

// The keys of a split model (llama.cpp's gguf-split): number of this shard from 0, number of
// shards, tensors in all.
constexpr std::string_view kSplitNo = "split.no";
constexpr std::string_view kSplitCount = "split.count";
constexpr std::string_view kSplitTensors = "split.tensors.count";

// name-00002-of-00003.gguf
struct ShardName {
  std::string prefix;  // "name"
  int64_t number = 0;  // from 1
  int64_t count = 0;

  std::string path(int64_t shard) const {
    return fmt::format("{}-{:05}-of-{:05}.gguf", prefix, shard, count);
  }
};

std::optional<int64_t> five_digits(std::string_view text) {
  int64_t value = 0;
  for (char c : text) {
    if (c < '0' || c > '9') return std::nullopt;
    value = value * 10 + (c - '0');
  }
  return value;
}

std::optional<ShardName> parse_shard_name(const std::string& path) {
  constexpr std::string_view kPattern = "-00000-of-00000.gguf";
  if (path.size() < kPattern.size()) return std::nullopt;
  const std::string_view tail = std::string_view(path).substr(path.size() - kPattern.size());
  const auto number = five_digits(tail.substr(1, 5));
  const auto count = five_digits(tail.substr(10, 5));
  if (!number || !count || tail.front() != '-' || tail.substr(6, 4) != "-of-" ||
      tail.substr(15) != ".gguf") {
    return std::nullopt;
  }
  return ShardName{path.substr(0, path.size() - kPattern.size()), *number, *count};
}

Result<std::string> read_architecture(const Metadata& metadata, bool required) {
  constexpr std::string_view kKey = "general.architecture";
  constexpr size_t kMaxBytes = 64;
  FARTHING_TRY(const std::optional<std::string> name, metadata.string(kKey));
  if (!name && required) return bad_input("key '{}' is missing", kKey);
  if (!name) return std::string();
  // It becomes the prefix of keys and a word in messages.
  const bool plain = std::all_of(name->begin(), name->end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '-' || c == '_' || c == '.';
  });
  if (name->empty() || name->size() > kMaxBytes || !plain) {
    return bad_input("key '{}': '{}' is no name of an architecture", kKey, printable(*name));
  }
  return *name;
}

// What follows once the tensors of every shard are in place.
Status finish(GgufImage first, Allowance& allowance, ModelFile& file) {
  file.format = fmt::format("GGUF v{}", first.version);
  file.metadata = std::move(first.metadata);
  FARTHING_TRY_VOID(file.index_names());
  FARTHING_TRY(file.architecture, read_architecture(file.metadata, !file.tensors.empty()));
  FARTHING_TRY(file.vocab, read_vocab(file.metadata, allowance, file.notes));
  if (file.tensors.empty() && !file.vocab) {
    return bad_input(
        "the file holds neither tensors nor a vocabulary (key 'tokenizer.ggml.tokens')");
  }
  return {};
}

// The number of shards that the file says its model has; 1 if it isn't split.
Result<int64_t> shard_count(const Metadata& metadata) {
  FARTHING_TRY(const std::optional<int64_t> count, metadata.integer(kSplitCount, 0, kMaxShards));
  return std::max<int64_t>(1, count.value_or(1));
}

Status check_shard(const Metadata& metadata, int64_t number, int64_t count) {
  FARTHING_TRY(const int64_t own_count, shard_count(metadata));
  if (own_count != count) {
    return bad_input("key '{}': {}, but the shards before say {}", kSplitCount, own_count, count);
  }
  FARTHING_TRY(const std::optional<int64_t> own_number, metadata.integer(kSplitNo, 0, kMaxShards));
  if (!own_number || *own_number != number) {
    return bad_input(
        "key '{}': {}, must be {} in this file", kSplitNo, own_number.value_or(-1), number);
  }
  return {};
}

Result<GgufImage> parse_file(const MappedFile& file, Allowance& allowance) {
  auto image = parse_gguf(file.bytes(), allowance);
  if (!image) return std::move(image).error().in(printable(file.path(), kMaxPathShown));
  return image;
}

void append_tensors(GgufImage& image, ModelFile& out) {
  out.tensors.insert(out.tensors.end(),
                     std::make_move_iterator(image.tensors.begin()),
                     std::make_move_iterator(image.tensors.end()));
  image.tensors = {};
}

Result<ModelFile> open_single(MappedFile mapped, GgufImage image, Allowance& allowance) {
  ModelFile out;
  const std::string path = mapped.path();
  out.files.push_back(std::move(mapped));
  out.tensors = std::move(image.tensors);
  if (auto done = finish(std::move(image), allowance, out); !done) {
    return std::move(done).error().in(printable(path, kMaxPathShown));
  }
  return out;
}

Result<ModelFile> open_split(const ShardName& name, Allowance& allowance) {
  ModelFile out;
  GgufImage first;
  for (int64_t i = 0; i < name.count; ++i) {
    FARTHING_TRY(MappedFile mapped, MappedFile::open(name.path(i + 1)));
    FARTHING_TRY(GgufImage image, parse_file(mapped, allowance));
    if (auto ok = check_shard(image.metadata, i, name.count); !ok) {
      return std::move(ok).error().in(printable(mapped.path(), kMaxPathShown));
    }
    append_tensors(image, out);
    out.files.push_back(std::move(mapped));
    if (i == 0) first = std::move(image);
  }
  const std::string where = printable(out.files.front().path(), kMaxPathShown);
  auto total = first.metadata.integer(kSplitTensors, 0, static_cast<int64_t>(kMaxTensors));
  if (!total) return std::move(total).error().in(where);
  if (total->has_value() && std::cmp_not_equal(**total, out.tensors.size())) {
    return bad_input("{}: key '{}': {}, but the {} shards hold {} tensors",
                     where,
                     kSplitTensors,
                     **total,
                     name.count,
                     out.tensors.size());
  }
  if (auto done = finish(std::move(first), allowance, out); !done)
    return std::move(done).error().in(where);
  return out;
}

}  // namespace

const TensorView* ModelFile::find(std::string_view name) const {
  const auto it =
      std::lower_bound(by_name.begin(), by_name.end(), name, [&](uint32_t i, std::string_view n) {
        return tensors[i].name < n;
      });
  return it != by_name.end() && tensors[*it].name == name ? &tensors[*it] : nullptr;
}

Status ModelFile::index_names() {
  by_name.resize(tensors.size());
  std::iota(by_name.begin(), by_name.end(), 0U);
  std::ranges::sort(by_name, {}, [&](uint32_t i) { return std::string_view(tensors[i].name); });
  for (size_t i = 1; i < by_name.size(); ++i) {
    const std::string& name = tensors[by_name[i]].name;
    if (name == tensors[by_name[i - 1]].name) {
      return bad_input("tensor '{}': occurs a second time", printable(name));
    }
  }
  return {};
}

Result<ModelFile> open_model_file(const std::string& path) {
  if (is_folder(path)) return open_hf_folder(path);
  FARTHING_TRY(MappedFile mapped, MappedFile::open(path));
  Allowance allowance;
  FARTHING_TRY(GgufImage image, parse_file(mapped, allowance));
  auto count = shard_count(image.metadata);
  if (!count) return std::move(count).error().in(printable(path, kMaxPathShown));
  if (*count == 1) return open_single(std::move(mapped), std::move(image), allowance);
  const std::optional<ShardName> name = parse_shard_name(path);
  if (!name || name->count != *count) {
    return bad_input(
        "{}: key '{}': one of {} shards, but its name doesn't end in -NNNNN-of-{:05}.gguf: rename "
        "it back",
        printable(path, kMaxPathShown),
        kSplitCount,
        *count,
        *count);
  }
  image = {};
  mapped = {};
  Allowance fresh;  // the shard just looked at is read again in its turn
  return open_split(*name, fresh);
}

Result<ModelFile> read_model_image(std::span<const std::byte> bytes) {
  Allowance allowance;
  FARTHING_TRY(GgufImage image, parse_gguf(bytes, allowance));
  FARTHING_TRY(const int64_t count, shard_count(image.metadata));
  if (count != 1)
    return bad_input("key '{}': one of {} shards can't be read alone", kSplitCount, count);
  ModelFile out;
  out.tensors = std::move(image.tensors);
  FARTHING_TRY_VOID(finish(std::move(image), allowance, out));
  return out;
}

}  // namespace farthing
