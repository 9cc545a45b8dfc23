// Owns: one loaded model, its engine, and Ctrl-C, for as long as `run` works with them.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/json.h"
#include "base/result.h"
#include "cli/generation.h"
#include "cli/interrupts.h"
#include "cli/limits.h"
#include "cli/run_options.h"
#include "engine/engine.h"
#include "engine/loaded_model.h"

namespace farthing {

class Session {
 public:
  // Loads the model and starts its engine; says on stderr what the user should know of them.
  // `options` outlives this.
  static Result<Session> start(const RunOptions& options);

  // Whether prompts go through the chat template (not with --raw or a model without one).
  bool uses_template() const { return !options_->raw && model_->chat_template.has_value(); }

  // A chat's messages, or one plain text, as tokens.
  Result<std::vector<TokenId>> chat_tokens(const Json& messages) const;
  Result<std::vector<TokenId>> plain_tokens(const std::string& text) const;

  Result<Answer> answer(std::vector<TokenId> prompt,
                        const std::function<Status(std::string_view)>& show);

  Interrupts& interrupts() { return interrupts_; }
  const LoadedModel& model() const { return *model_; }
  const std::optional<MachinePrice>& price() const { return price_; }

  // Lines for stderr: tokens, speed, time to the first token, memory, ISA, threads, seed, cost.
  std::string statistics(const Answer& answer) const;
  // What limited decoding; measures the machine for a tenth of a second. None if there is nothing
  // to say.
  std::optional<DecodeUse> limits(const Answer& answer) const;
  // As statistics, in one short line.
  std::string short_statistics(const Answer& answer) const;

 private:
  Session(const RunOptions& options,
          std::unique_ptr<LoadedModel> model,
          Interrupts interrupts,
          std::optional<MachinePrice> price)
      : options_(&options),
        price_(std::move(price)),
        model_(std::move(model)),
        interrupts_(std::move(interrupts)) {}

  const RunOptions* options_;
  std::optional<MachinePrice> price_;
  std::unique_ptr<LoadedModel> model_;  // the engine uses it: it goes last
  std::unique_ptr<Model> draft_model_;  // it too
  Interrupts interrupts_;
  std::unique_ptr<Engine> engine_;
};

}  // namespace farthing
