#include "cli/session.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <utility>

#include "base/cpu.h"
#include "econ/ledger.h"
#include "kernels/isa.h"

namespace farthing {
namespace {

double per_second(int32_t count, double seconds) {
  return seconds > 0 ? count / seconds : 0;
}

double decode_rate(const Answer& answer) {
  // The first token belongs to the prompt's computation.
  return per_second(std::max(answer.usage.completion_tokens - 1, 0), answer.timings.decode_seconds);
}

double prefill_rate(const Answer& answer) {
  return per_second(answer.usage.prompt_tokens - answer.usage.cached_tokens,
                    answer.timings.prefill_seconds);
}

double first_token_seconds(const Answer& answer) {
  return answer.timings.queue_seconds + answer.timings.prefill_seconds;
}

std::string cost_words(const MachinePrice& price, const Answer& answer) {
  const RequestCost cost = cost_of(price,
                                   {.prompt = Seconds{answer.timings.prompt_busy_seconds},
                                    .completion = Seconds{answer.timings.completion_busy_seconds}});
  std::string words = fmt::format("{:.3g} {}", cost.total().value, price.currency);
  if (const int32_t n = answer.usage.completion_tokens; n > 0) {
    words += fmt::format(", {:.3g} per million output tokens while busy (basis: used)",
                         per_million(cost.total() / Tokens{static_cast<double>(n)}).value);
  }
  return words;
}

}  // namespace

Result<Session> Session::start(const RunOptions& options) {
  FARTHING_TRY(std::optional<MachinePrice> price, read_price(options.price));
  FARTHING_TRY(const std::string path, resolve_model(options.model.model));
  FARTHING_TRY(auto model, load_model(path, options.model.load));
  for (const std::string& warning : model->tokenizer.warnings()) {
    fmt::print(stderr, "note: {}\n", warning);
  }
  if (!options.raw && !model->chat_template) {
    fmt::print(stderr,
               "note: {}; the text is completed plainly{}\n",
               model->chat_template_error.empty() ? "this model has no chat template"
                                                  : model->chat_template_error,
               options.system.empty() ? "" : ", without --system");
  }
  // Before the engine's threads, which inherit the blocked signal; after the load, which Ctrl-C may
  // just kill.
  FARTHING_TRY(Interrupts interrupts, Interrupts::create());
  Session session(options, std::move(model), std::move(interrupts), std::move(price));
  ModelOptions model_options = options.model;
  FARTHING_TRY(session.draft_model_, load_draft_model(model_options, *session.model_));
  FARTHING_TRY(session.engine_, Engine::start(*session.model_, model_options.engine));
  return session;
}

Result<std::vector<TokenId>> Session::chat_tokens(const Json& messages) const {
  return chat_prompt(*model_, ChatInput{.messages = messages});
}

Result<std::vector<TokenId>> Session::plain_tokens(const std::string& text) const {
  return model_->tokenizer.encode(text, {.add_special = true});
}

Result<Answer> Session::answer(std::vector<TokenId> prompt,
                               const std::function<Status(std::string_view)>& show) {
  Request request = make_request(*options_, std::move(prompt), engine_->context());
  return generate(*engine_, std::move(request), interrupts_, show);
}

std::string Session::statistics(const Answer& answer) const {
  const auto plural = [](int64_t n) { return n == 1 ? "" : "s"; };
  const int32_t n = answer.usage.completion_tokens;
  return fmt::format(
      "prompt: {} token{}, {:.1f} tokens/s, first token after {:.3f} s\n"
      "answer: {} token{}{}, ended by {}\n"
      "memory: {:.0f} MiB at most; {}, {} thread{}; seed {}\n"
      "cost: {}\n",
      answer.usage.prompt_tokens,
      plural(answer.usage.prompt_tokens),
      prefill_rate(answer),
      first_token_seconds(answer),
      n,
      plural(n),
      n > 1 ? fmt::format(", {:.1f} tokens/s", decode_rate(answer)) : "",
      finish_reason_name(answer.reason),
      static_cast<double>(peak_resident_bytes()) / (1 << 20),
      isa_name(engine_->isa()),
      engine_->n_threads(),
      plural(engine_->n_threads()),
      options_->sampling.seed,
      price_ ? cost_words(*price_, answer)
             : "unknown: --price-per-hour X says what the machine costs");
}

std::optional<DecodeUse> Session::limits(const Answer& answer) const {
  const MachineSpeed::Rates roofs =
      glance_at_machine(engine_->isa(), engine_->n_threads(), model_->model->weights.tiles.bytes());
  const ModelWork work(*model_->model, options_->model.engine.kv_type);
  return decode_use(work, answer, roofs);
}

std::string Session::short_statistics(const Answer& answer) const {
  return fmt::format("[{} + {} tokens, first after {:.2f} s, then {:.1f} tokens/s, {}]",
                     answer.usage.prompt_tokens,
                     answer.usage.completion_tokens,
                     first_token_seconds(answer),
                     decode_rate(answer),
                     finish_reason_name(answer.reason));
}

}  // namespace farthing
