// Backend on the real thing: one LoadedModel and the Engine that runs it, both owned by the caller.
#pragma once

#include <optional>
#include <string>

#include "engine/engine.h"
#include "engine/loaded_model.h"
#include "serve/backend.h"

namespace farthing {

class EngineBackend final : public Backend {
 public:
  // served_name replaces the model's own id unless empty.
  EngineBackend(const LoadedModel& model,
                Engine& engine,
                const std::string& served_name,
                std::optional<MachinePrice> price);

  const ModelInfo& info() const override { return info_; }
  Result<std::vector<TokenId>> encode(std::string_view text,
                                      bool add_special,
                                      bool parse_special) const override;
  Result<std::string> decode(std::span<const TokenId> ids, bool skip_special) const override;
  std::string_view piece(TokenId id) const override;
  Result<std::string> render_chat(ChatInput input) const override;
  Result<std::vector<TokenId>> chat_prompt(ChatInput input) const override;
  Result<RequestId> submit(Request request, Sink sink) override;
  void cancel(RequestId id) override;
  Progress progress() const override;
  EngineMetrics metrics() const override;
  const std::optional<MachinePrice>& price() const override { return price_; }

 private:
  const LoadedModel& model_;
  Engine& engine_;
  ModelInfo info_;
  std::optional<MachinePrice> price_;
};

}  // namespace farthing
