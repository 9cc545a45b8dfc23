#include "cli/tokenizer_file.h"

#include <utility>

#include "cli/model_options.h"
#include "load/model_file.h"

namespace farthing {
Result<Vocab> open_vocab(const std::string& model) {
  FARTHING_TRY(const std::string path, resolve_model(model));
  FARTHING_TRY(ModelFile file, open_model_file(path));
  if (!file.vocab)
    return bad_input("{}: tokenizer.ggml.tokens is missing: the file has no vocabulary", path);
  return *std::move(file.vocab);
}

Result<Tokenizer> open_tokenizer(const std::string& model) {
  if (!model.ends_with(".json")) {
    FARTHING_TRY(const Vocab vocab, open_vocab(model));
    return Tokenizer::from_vocab(vocab);
  }
  return usage_error("{}: give a GGUF file: a tokenizer.json can't be read yet", model);
}

}  // namespace farthing
