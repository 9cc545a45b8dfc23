#include "cli/tokenizer_file.h"

#include <utility>

#include "base/mapped_file.h"
#include "cli/model_options.h"
#include "engine/loaded_model.h"
#include "load/model_file.h"

namespace farthing {
namespace {

// The largest tokenizer.json in use have some 35 MB.
constexpr size_t kMostTokenizerBytes = size_t{256} << 20;

}  // namespace

Result<Vocab> open_vocab(const std::string& model) {
  FARTHING_TRY(const std::string path, resolve_model(model));
  FARTHING_TRY(ModelFile file, open_model_file(path));
  if (!file.vocab)
    return bad_input("{}: tokenizer.ggml.tokens is missing: the file has no vocabulary", path);
  return *std::move(file.vocab);
}

Result<Tokenizer> open_tokenizer(const std::string& model) {
  FARTHING_TRY(const std::string path, resolve_model(model));
  if (!path.ends_with(".json")) {
    FARTHING_TRY(const ModelFile file, open_model_file(path));
    auto tokenizer = make_tokenizer(file);
    if (!tokenizer) return std::move(tokenizer).error().in(path);
    return tokenizer;
  }
  FARTHING_TRY(const std::string json, read_file(path, kMostTokenizerBytes));
  auto tokenizer = Tokenizer::from_json(json);
  if (!tokenizer) return std::move(tokenizer).error().in(path);
  return tokenizer;
}

}  // namespace farthing
