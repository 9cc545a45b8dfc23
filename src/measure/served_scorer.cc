#include "measure/served_scorer.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <utility>

#include "base/check.h"
#include "base/clock.h"
#include "base/json.h"
#include "measure/http_call.h"
#include "sample/log_softmax.h"

namespace farthing {
namespace {

constexpr int kTop = 20;  // what servers tell at most
constexpr size_t kMostAnswerBytes = size_t{256} << 20;
constexpr size_t kMostErrorBytes = 300;  // of an answer, in a message
constexpr std::string_view kIdPrefix = "token_id:";
// What rounding leaves of 1 - (the sum of what was told) where nothing else is left.
constexpr double kLeastRest = 1e-7;

const Json* list_of(const Json& object, const char* name, size_t least) {
  const auto it = object.find(name);
  return it != object.end() && it->is_array() && it->size() >= least ? &*it : nullptr;
}

TokenId likeliest(std::span<const TokenLogprob> tokens) {
  const auto better = [](const TokenLogprob& a, const TokenLogprob& b) {
    return a.logprob != b.logprob ? a.logprob > b.logprob : a.token < b.token;
  };
  return std::ranges::min_element(tokens, better)->token;
}

}  // namespace

ServedScorer::ServedScorer(LoadTarget target, const Tokenizer& tokenizer)
    : target_(std::move(target)), vocab_size_(tokenizer.vocab_size()) {
  // Of tokens that are spelled alike, the first: servers that know no ids can't tell them apart.
  for (TokenId id = 0; id < vocab_size_; ++id) by_piece_.emplace(tokenizer.piece(id), id);
}

Result<ServedScorer> ServedScorer::connect(const LoadTarget& target, const Tokenizer& tokenizer) {
  FARTHING_TRY(const ServedModel model, ask_model(target));
  if (model.vocab_size > 0 && model.vocab_size != tokenizer.vocab_size()) {
    return bad_input("{} serves a model of {} tokens, the reference has {}: they must be one",
                     target.url,
                     model.vocab_size,
                     tokenizer.vocab_size());
  }
  ServedScorer scorer(target, tokenizer);
  scorer.target_.model = model.id;
  return scorer;
}

Result<TokenId> ServedScorer::token_of(std::string_view name) const {
  if (name.starts_with(kIdPrefix)) {
    TokenId id = -1;
    const std::string_view number = name.substr(kIdPrefix.size());
    const auto [end, fault] = std::from_chars(number.begin(), number.end(), id);
    if (fault == std::errc() && end == number.end() && id >= 0 && id < vocab_size_) return id;
  } else if (const auto it = by_piece_.find(name); it != by_piece_.end()) {
    return it->second;
  }
  return bad_input("no token is called \"{}\"", name.substr(0, 64));
}

Result<std::span<const ServedRow>> ServedScorer::score(std::span<const TokenId> tokens,
                                                       int32_t first) {
  const size_t n = tokens.size();
  CHECK(first >= 1 && static_cast<size_t>(first) < n);
  const Json body = {{"model", target_.model},
                     {"prompt", std::vector<TokenId>(tokens.begin(), tokens.end())},
                     {"max_tokens", 1},
                     {"temperature", 0},
                     {"echo", true},
                     {"logprobs", kTop},
                     {"return_tokens_as_token_ids", true}};
  const TimePoint began = Clock::now();
  FARTHING_TRY(const Url url, parse_url(target_.url, "--model"));
  FARTHING_TRY(const HttpAnswer said,
               http_post({.url = url,
                          .path = "/v1/completions",
                          .api_key = target_.api_key,
                          .timeout_seconds = target_.timeout_seconds,
                          .most_bytes = kMostAnswerBytes},
                         body.dump()));
  if (said.status != 200)
    return runtime_failure("{}/v1/completions answers {}: {}",
                           target_.url,
                           said.status,
                           said.body.substr(0, kMostErrorBytes));
  seconds_ += seconds_between(began, Clock::now());
  n_tokens_ += static_cast<double>(n);
  const auto strange = [&](std::string_view what) {
    return runtime_failure(
        "{} {}: it must answer completions of token ids with echo and logprobs", target_.url, what);
  };
  const Json answer = Json::parse(said.body, nullptr, /*allow_exceptions=*/false);
  if (!answer.is_object()) return strange("answers no JSON object");
  const Json* choices = list_of(answer, "choices", 1);
  if (!choices || !(*choices)[0].is_object()) return strange("answers without choices");
  const auto lists = (*choices)[0].find("logprobs");
  if (lists == (*choices)[0].end() || !lists->is_object()) return strange("tells no logprobs");
  const Json* names = list_of(*lists, "tokens", n);
  const Json* logprobs = list_of(*lists, "token_logprobs", n);
  const Json* tops = list_of(*lists, "top_logprobs", n);
  if (!names || !logprobs || !tops) return strange("doesn't tell the prompt's logprobs");
  rows_.clear();
  for (size_t i = static_cast<size_t>(first); i < n; ++i) {
    const Json &name = (*names)[i], &logprob = (*logprobs)[i], &top = (*tops)[i];
    if (!name.is_string() || !logprob.is_number() || !top.is_object())
      return strange("tells logprobs of another shape");
    const std::string& spelled = name.get_ref<const std::string&>();
    const Result<TokenId> token = token_of(spelled);
    if (spelled.starts_with(kIdPrefix) && (!token || *token != tokens[i]))
      return strange("answers of other tokens than were sent");
    ServedRow row{.token = {tokens[i], logprob.get<float>()}};
    for (const auto& [key, value] : top.items()) {
      const Result<TokenId> id = token_of(key);
      if (id && value.is_number()) row.top.push_back({*id, value.get<float>()});
    }
    const auto is_same = [&](const TokenLogprob& t) { return t.token == tokens[i]; };
    if (std::ranges::none_of(row.top, is_same)) row.top.push_back(row.token);
    rows_.push_back(std::move(row));
  }
  return std::span<const ServedRow>(rows_);
}

RowComparison compare_served(std::span<const float> reference, const ServedRow& row) {
  const double sum = log_sum_exp(reference);
  const auto log_p = [&](TokenId token) { return reference[static_cast<size_t>(token)] - sum; };
  double kld = 0, p_told = 0, q_told = 0;
  for (const TokenLogprob& told : row.top) {
    const double p = std::exp(log_p(told.token));
    p_told += p;
    q_told += std::exp(told.logprob);
    if (p > 0) kld += p * (log_p(told.token) - told.logprob);
  }
  const double p_rest = std::max(1 - p_told, 0.0);
  if (p_rest > 0) kld += p_rest * std::log(p_rest / std::max(1 - q_told, kLeastRest));
  const auto best = std::ranges::max_element(reference);
  return {.nll_reference = -log_p(row.token.token),
          .nll = -row.token.logprob,
          .kld = std::max(kld, 0.0),
          .same_top = likeliest(row.top) == static_cast<TokenId>(best - reference.begin())};
}

CompareWindow compare_by(ServedScorer& scorer, const Windows& windows, int32_t vocab_size) {
  const auto vocab = static_cast<size_t>(vocab_size);
  return [&scorer, &windows, vocab](int32_t window,
                                    std::span<const float> reference,
                                    std::span<RowComparison> out) -> Status {
    CHECK(reference.size() == out.size() * vocab);
    FARTHING_TRY(const std::span<const ServedRow> rows,
                 scorer.score(windows.at(window), windows.first_scored() + 1));
    CHECK(rows.size() == out.size());
    for (size_t i = 0; i < rows.size(); ++i)
      out[i] = compare_served(reference.subspan(i * vocab, vocab), rows[i]);
    return {};
  };
}

ScoreTokens scores_by(ServedScorer& scorer) {
  return [&scorer, scores = std::vector<TokenScore>()](
             std::span<const TokenId> tokens,
             int32_t first) mutable -> Result<std::span<const TokenScore>> {
    FARTHING_TRY(const std::span<const ServedRow> rows, scorer.score(tokens, first));
    scores.clear();
    for (const ServedRow& row : rows)
      scores.push_back({.log_p = row.token.logprob, .top = likeliest(row.top)});
    return std::span<const TokenScore>(scores);
  };
}

}  // namespace farthing
