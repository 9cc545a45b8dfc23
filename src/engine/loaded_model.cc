#include "engine/loaded_model.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <utility>

#include "text/chat_guard.h"

namespace farthing {
namespace {

// "llama 135M Q4_1": architecture, parameters, the type that holds most bytes.
std::string describe(const Model& model) {
  std::map<DType, int64_t> bytes;
  for (const TensorView& t : model.file.tensors)
    bytes[t.type] += static_cast<int64_t>(t.bytes.size());
  auto most = std::ranges::max_element(bytes, {}, [](const auto& entry) { return entry.second; });
  const double n = static_cast<double>(model.n_parameters());
  const std::string size =
      n >= 1e9 ? fmt::format("{:.1f}B", n / 1e9) : fmt::format("{:.0f}M", n / 1e6);
  return fmt::format("{} {} {}",
                     model.spec.architecture,
                     size,
                     most == bytes.end() ? "" : format_of(most->first).name);
}

std::string spelling_of(const Tokenizer& tokenizer, TokenId id) {
  return id < 0 ? std::string() : std::string(tokenizer.piece(id));
}

}  // namespace

Result<std::unique_ptr<LoadedModel>> load_model(const std::string& path,
                                                const LoadOptions& options) {
  FARTHING_TRY(ModelFile file, open_model_file(path));
  if (!file.vocab)
    return bad_input("{}: tokenizer.ggml.tokens is missing: a model without a vocabulary can't run",
                     path);
  FARTHING_TRY(Tokenizer tokenizer, Tokenizer::from_vocab(*file.vocab));
  auto loaded = std::make_unique<LoadedModel>(LoadedModel{.tokenizer = std::move(tokenizer)});
  loaded->id = std::filesystem::path(path).stem().string();
  loaded->path = path;
  for (const MappedFile& part : file.files)
    loaded->file_bytes += static_cast<int64_t>(part.bytes().size());
  for (TokenId id = 0; id < loaded->tokenizer.vocab_size(); ++id) {
    if (loaded->tokenizer.is_end_of_generation(id)) loaded->end_tokens.push_back(id);
    if (loaded->tokenizer.is_control(id)) {
      loaded->control_spellings.emplace_back(loaded->tokenizer.piece(id));
    }
  }
  const std::string& source = file.vocab->chat_template;
  if (!source.empty()) {
    auto compiled = ChatTemplate::compile(source,
                                          spelling_of(loaded->tokenizer, loaded->tokenizer.bos()),
                                          spelling_of(loaded->tokenizer, loaded->tokenizer.eos()));
    if (compiled) {
      loaded->chat_template = *std::move(compiled);
    } else {
      loaded->chat_template_error = compiled.error().message;
    }
  }
  FARTHING_TRY(loaded->model, make_model(std::move(file), options.weights));
  loaded->n_parameters = loaded->model->n_parameters();
  loaded->description = describe(*loaded->model);
  return loaded;
}

Result<std::unique_ptr<Model>> load_draft_model(const std::string& path,
                                                const LoadOptions& options,
                                                const LoadedModel& target) {
  FARTHING_TRY(ModelFile file, open_model_file(path));
  const std::optional<Vocab>& own = file.vocab;
  const std::optional<Vocab>& wanted = target.model->file.vocab;
  if (!own || !wanted) return bad_input("{}: a draft model needs a vocabulary", path);
  if (own->tokens.size() != wanted->tokens.size()) {
    return bad_input("{}: a draft model needs the vocabulary of {}, but it has {} tokens, not {}",
                     path,
                     target.id,
                     own->tokens.size(),
                     wanted->tokens.size());
  }
  const auto [a, b] = std::ranges::mismatch(own->tokens, wanted->tokens);
  if (a != own->tokens.end()) {
    return bad_input("{}: a draft model needs the vocabulary of {}, but token {} is '{}', not '{}'",
                     path,
                     target.id,
                     a - own->tokens.begin(),
                     *a,
                     *b);
  }
  return make_model(std::move(file), options.weights);
}

int32_t LoadedModel::context_length() const {
  return model->spec.context_length;
}

Result<std::vector<TokenId>> chat_prompt(const LoadedModel& model, ChatInput input) {
  if (!model.chat_template) {
    return usage_error(
        "{}",
        model.chat_template_error.empty()
            ? "this model has no chat template: use a plain completion"
            : "this model's chat template doesn't compile: " + model.chat_template_error);
  }
  const std::vector<std::string_view> spellings(model.control_spellings.begin(),
                                                model.control_spellings.end());
  FARTHING_TRY(const Guarded guarded, guard_chat(std::move(input), spellings));
  FARTHING_TRY(const std::string text, model.chat_template->render(guarded.input));
  return model.tokenizer.encode(
      text, {.add_special = false, .parse_special = true, .guard = guarded.guard});
}

}  // namespace farthing
