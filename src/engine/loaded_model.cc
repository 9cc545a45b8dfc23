#include "engine/loaded_model.h"

#include <xxhash.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <utility>

#include "base/utf8.h"
#include "text/chat_guard.h"

namespace farthing {
namespace {

// "llama 135M Q4_1": architecture, parameters, the type that holds most bytes.
std::string describe(const Model& model) {
  std::map<DType, int64_t> bytes;
  for (const TensorView& t : model.file.tensors) bytes[t.type] += t.size_bytes();
  auto most = std::ranges::max_element(bytes, {}, [](const auto& entry) { return entry.second; });
  const double n = static_cast<double>(model.n_parameters());
  const std::string size =
      n >= 1e9 ? fmt::format("{:.1f}B", n / 1e9) : fmt::format("{:.0f}M", n / 1e6);
  return fmt::format("{} {} {}",
                     model.spec.architecture,
                     size,
                     most == bytes.end() ? "" : format_of(most->first).name);
}

// Other weights of the same shapes differ in the first bytes of some tensor.
uint64_t content_hash(const ModelFile& file) {
  constexpr size_t kSample = 256;  // bytes of each tensor
  uint64_t hash = 0;
  for (const TensorView& t : file.tensors) {
    const std::string entry =
        fmt::format("{} {} {}", t.name, format_of(t.type).name, fmt::join(t.dims, "x"));
    hash = XXH3_64bits_withSeed(entry.data(), entry.size(), hash);
    hash = XXH3_64bits_withSeed(t.bytes.data(), std::min(t.bytes.size(), kSample), hash);
  }
  return hash;
}

std::string spelling_of(const Tokenizer& tokenizer, TokenId id) {
  return id < 0 ? std::string() : std::string(tokenizer.piece(id));
}

std::string_view text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

Result<Tokenizer> make_tokenizer(const ModelFile& file) {
  if (!file.vocab) return bad_input("tokenizer.ggml.tokens is missing: the file has no vocabulary");
  const Vocab& vocab = *file.vocab;
  if (file.tokenizer_json.empty()) return Tokenizer::from_vocab(vocab);
  NamedTokens named{.bos = vocab.bos, .eos = vocab.eos};
  for (const auto& end : {vocab.eos, vocab.eot, vocab.eom}) {
    if (end) named.ends.push_back(*end);
  }
  return Tokenizer::from_json(text_of(file.tokenizer_json), named);
}

int64_t tokenizer_memory_bound(const ModelFile& file) {
  if (file.tokenizer_json.empty()) return Tokenizer::memory_bound(*file.vocab);
  return Tokenizer::memory_bound_of_json(static_cast<int64_t>(file.tokenizer_json.size()));
}

std::string model_name(const std::string& path) {
  const auto whole = std::filesystem::absolute(path).lexically_normal();
  std::error_code error;
  if (!std::filesystem::is_directory(whole, error)) return whole.stem().string();
  return (whole.has_filename() ? whole : whole.parent_path()).filename().string();
}

Result<std::unique_ptr<LoadedModel>> load_model(const std::string& path,
                                                const LoadOptions& options) {
  FARTHING_TRY(ModelFile file, open_model_file(path));
  auto tokenizer = make_tokenizer(file);
  if (!tokenizer) return std::move(tokenizer).error().in(path);
  auto loaded = std::make_unique<LoadedModel>(LoadedModel{.tokenizer = *std::move(tokenizer)});
  loaded->id = model_name(path);
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
  loaded->content_hash = content_hash(file);
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
                     printable(*a),
                     printable(*b));
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
