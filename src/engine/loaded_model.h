// Everything of one model that a request needs: weights, tokenizer, template. Built once, then
// read-only.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "core/ids.h"
#include "model/model.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace farthing {

struct LoadOptions {
  WeightMode weights = WeightMode::kNative;
};

struct LoadedModel {
  std::string id;  // what /v1/models calls it
  std::string path;
  std::string description;  // "llama 135M Q4_1"
  Tokenizer tokenizer;
  std::optional<ChatTemplate> chat_template;
  std::string chat_template_error;             // why there is none, although the file carries one
  std::vector<std::string> control_spellings;  // of the tokens that only a template may write
  std::vector<TokenId> end_tokens;             // every token that ends a generation
  std::unique_ptr<Model> model;
  int64_t file_bytes = 0;
  int64_t n_parameters = 0;

  int32_t context_length() const;  // what the model was trained for
};

// The tokenizer of a model file: by its vocabulary, or in a folder by its tokenizer.json. kBadInput
// if it has neither.
Result<Tokenizer> make_tokenizer(const ModelFile& file);
int64_t tokenizer_memory_bound(const ModelFile& file);  // bytes, most that making it takes

// What a model at this path is called: a file's name without its ending, a folder's name.
std::string model_name(const std::string& path);

Result<std::unique_ptr<LoadedModel>> load_model(const std::string& path,
                                                const LoadOptions& options);

// The prompt tokens of a chat: the template rendered, control tokens of the template parsed, and
// text of the messages that spells a control token kept plain.
Result<std::vector<TokenId>> chat_prompt(const LoadedModel& model, ChatInput input);

}  // namespace farthing
