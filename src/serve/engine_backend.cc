#include "serve/engine_backend.h"

#include <utility>

namespace farthing {

namespace {

// FNV-1a, 64 bits (http://www.isthe.com/chongo/tech/comp/fnv/): names a configuration, guards
// nothing.
std::string fingerprint_of(std::string_view text) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (const char c : text) {
    hash ^= static_cast<unsigned char>(c);
    hash *= 0x100000001b3u;
  }
  return fmt::format("fp_{:016x}", hash);
}

}  // namespace

EngineBackend::EngineBackend(const LoadedModel& model,
                             Engine& engine,
                             const std::string& served_name,
                             std::optional<MachinePrice> price)
    : model_(model), engine_(engine), price_(std::move(price)) {
  info_.id = served_name.empty() ? model.id : served_name;
  info_.description = model.description;
  // What answers depend on, and nothing else.
  const EngineOptions& options = engine.options();
  info_.fingerprint = fingerprint_of(fmt::format("{:x}|{}|{}|{}|{}",
                                                 model.content_hash,
                                                 static_cast<int>(model.model->weight_mode),
                                                 isa_name(engine.isa()),
                                                 kv_types_name(options.kv_type),
                                                 static_cast<int>(options.attention)));
  info_.context = engine.context();
  info_.vocab_size = model.tokenizer.vocab_size();
  info_.bos = model.tokenizer.bos();
  info_.n_parameters = model.n_parameters;
  info_.file_bytes = model.file_bytes;
  info_.has_chat_template = model.chat_template.has_value();
  info_.chat_template_error = model.chat_template_error;
}

Result<std::vector<TokenId>> EngineBackend::encode(std::string_view text,
                                                   bool add_special,
                                                   bool parse_special) const {
  return model_.tokenizer.encode(text,
                                 {.add_special = add_special, .parse_special = parse_special});
}

Result<std::string> EngineBackend::decode(std::span<const TokenId> ids, bool skip_special) const {
  return model_.tokenizer.decode(ids, skip_special);
}

std::string_view EngineBackend::piece(TokenId id) const {
  return model_.tokenizer.piece(id);
}

Result<std::string> EngineBackend::render_chat(ChatInput input) const {
  if (!model_.chat_template) return usage_error("the model has no chat template");
  return model_.chat_template->render(input);
}

Result<std::vector<TokenId>> EngineBackend::chat_prompt(ChatInput input) const {
  return farthing::chat_prompt(model_, std::move(input));
}

Result<RequestId> EngineBackend::submit(Request request, Sink sink) {
  return engine_.submit(std::move(request), std::move(sink));
}

void EngineBackend::cancel(RequestId id) {
  engine_.cancel(id);
}

Progress EngineBackend::progress() const {
  return engine_.progress();
}

EngineMetrics EngineBackend::metrics() const {
  return engine_.metrics();
}

}  // namespace farthing
