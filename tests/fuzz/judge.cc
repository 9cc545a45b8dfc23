#include <algorithm>
#include <string_view>
#include <vector>

#include "load/model_file.h"
#include "model/registry.h"
#include "model/weights.h"
#include "tests/fuzz/malformed.h"

namespace farthing::fuzz {
namespace {

// A refusal is one line of kBadInput that says where: a key, a tensor, or an offset.
std::string judge_refusal(const Error& error) {
  const std::string_view text = error.message;
  if (error.kind != ErrorKind::kBadInput)
    return fmt::format("kind {}: {}", static_cast<int>(error.kind), text);
  if (text.empty() || text.size() > 1000) return fmt::format("a message of {} bytes", text.size());
  const bool one_line =
      std::all_of(text.begin(), text.end(), [](unsigned char c) { return c >= 0x20 && c != 0x7F; });
  if (!one_line) return fmt::format("more than one clean line: {}", text);
  for (std::string_view place :
       {"key '", "tensor ", "offset ", "general.", "llama.", "qwen", "gemma", "tokenizer."}) {
    if (text.find(place) != std::string_view::npos) return "";
  }
  return fmt::format("names neither key nor tensor nor offset: {}", text);
}

bool lies_in(std::span<const std::byte> part, std::span<const std::byte> whole) {
  return part.data() >= whole.data() && part.data() + part.size() <= whole.data() + whole.size();
}

std::string judge_tensors(const ModelFile& file, std::span<const std::span<const std::byte>> images) {
  std::vector<std::span<const std::byte>> ranges;
  for (const TensorView& tensor : file.tensors) {
    const auto holds = [&](std::span<const std::byte> whole) { return lies_in(tensor.bytes, whole); };
    if (tensor.bytes.empty() ||
        (std::ranges::none_of(images, holds) && std::ranges::none_of(file.made, holds))) {
      return fmt::format("accepted, but tensor {} lies outside", tensor.name);
    }
    if (!tensor.make_rows && static_cast<int64_t>(tensor.bytes.size()) != tensor.size_bytes()) {
      return fmt::format("accepted, but the size of tensor {} is wrong", tensor.name);
    }
    if (tensor.make_rows) {  // the first and the last row, for AddressSanitizer to see what is read
      std::vector<std::byte> scratch;
      tensor.rows_at(0, 1, scratch);
      tensor.rows_at(tensor.rows() - 1, 1, scratch);
    }
    if (file.find(tensor.name) != &tensor)
      return fmt::format("accepted, but {} isn't found", tensor.name);
    ranges.push_back(tensor.bytes);
  }
  std::sort(ranges.begin(), ranges.end(), [](auto a, auto b) { return a.data() < b.data(); });
  for (size_t i = 1; i < ranges.size(); ++i) {
    if (ranges[i - 1].data() + ranges[i - 1].size() > ranges[i].data())
      return "accepted, but tensors overlap";
  }
  return "";
}

std::string judge_vocab(const Vocab& vocab) {
  const size_t n = vocab.tokens.size();
  if (n == 0) return "accepted an empty vocabulary";
  if (!vocab.scores.empty() && vocab.scores.size() != n) return "accepted another number of scores";
  if (!vocab.types.empty() && vocab.types.size() != n) return "accepted another number of types";
  std::vector<std::string> sorted = vocab.tokens;
  std::sort(sorted.begin(), sorted.end());
  if (std::adjacent_find(sorted.begin(), sorted.end()) != sorted.end())
    return "accepted one token twice";
  for (const auto& id : {vocab.bos,
                         vocab.eos,
                         vocab.eot,
                         vocab.eom,
                         vocab.unknown,
                         vocab.padding,
                         vocab.separator}) {
    if (id && (*id < 0 || static_cast<size_t>(*id) >= n))
      return fmt::format("accepted special id {}", *id);
  }
  return "";
}

}  // namespace

std::string judge(std::span<const std::byte> image, bool* refused) {
  return judge_model(read_model_image(image), {&image, 1}, refused);
}

std::string judge_folder(const HfFolder& folder, bool* refused) {
  std::vector<std::span<const std::byte>> images;
  for (const HfFolder::Shard& shard : folder.shards) images.push_back(shard.bytes);
  return judge_model(read_hf_folder(folder), images, refused);
}

std::string judge_model(const Result<ModelFile>& file,
                        std::span<const std::span<const std::byte>> images,
                        bool* refused) {
  bool ignored = false;
  bool& is_refused = refused != nullptr ? *refused : ignored;
  is_refused = !file.has_value();
  if (!file) return judge_refusal(file.error());
  std::string fault = judge_tensors(*file, images);
  if (fault.empty() && file->vocab) fault = judge_vocab(*file->vocab);
  if (!fault.empty() || file->tensors.empty()) return fault;
  const auto spec = build_spec(*file);
  is_refused = !spec.has_value();
  if (!spec) return judge_refusal(spec.error());
  const auto weights = weights_memory(*spec, *file, WeightMode::kNative);
  is_refused = !weights.has_value();
  return weights ? "" : judge_refusal(weights.error());
}

}  // namespace farthing::fuzz
