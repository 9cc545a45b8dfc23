#include "measure/workload.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <random>
#include <utility>

#include "base/json.h"

namespace farthing {
namespace {

constexpr int32_t kMostTokens = 1 << 20;
constexpr int32_t kMooncakeBlock = 512;
constexpr int32_t kFirstToken = 300;  // lower ids are often control tokens and single bytes

int32_t random_below(std::mt19937_64& random, int32_t n) {
  return static_cast<int32_t>(random() % static_cast<uint64_t>(n));
}

// A seed for one part of a workload: other parts and other seeds have others (SplitMix64; Steele,
// Lea, Flood, 2014).
uint64_t mixed(uint64_t seed, uint64_t part) {
  uint64_t z = seed * 0x9e3779b97f4a7c15u + part + 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

std::vector<int32_t> random_tokens(uint64_t seed, int32_t n, const WorkloadOptions& options) {
  std::mt19937_64 random(seed);
  std::vector<int32_t> tokens;
  tokens.reserve(static_cast<size_t>(n));
  const int32_t first = options.vocab_size > 2 * kFirstToken ? kFirstToken : 0;
  for (int32_t i = 0; i < n; ++i)
    tokens.push_back(first + random_below(random, options.vocab_size - first));
  return tokens;
}

std::string as_words(const std::vector<int32_t>& tokens) {
  constexpr std::array<std::string_view, 16> kWords = {"time",
                                                       "year",
                                                       "way",
                                                       "day",
                                                       "thing",
                                                       "man",
                                                       "world",
                                                       "life",
                                                       "hand",
                                                       "part",
                                                       "child",
                                                       "eye",
                                                       "woman",
                                                       "place",
                                                       "work",
                                                       "week"};
  std::string text;
  for (const int32_t token : tokens) {
    if (!text.empty()) text += ' ';
    text += kWords[static_cast<size_t>(token) % kWords.size()];
  }
  return text;
}

void set_prompt(LoadRequest& request, std::vector<int32_t> tokens, const WorkloadOptions& options) {
  if (options.as_text) {
    request.text = as_words(tokens);
  } else {
    request.tokens = std::move(tokens);
  }
}

Status check(const WorkloadOptions& o) {
  if (o.n_requests < 1) return usage_error("at least one request must be sent");
  if (o.n_input < 1 || o.n_input > kMostTokens || o.n_output < 1 || o.n_output > kMostTokens)
    return usage_error("lengths must be between 1 and {} tokens", kMostTokens);
  if (!(o.range_ratio >= 0 && o.range_ratio < 1))
    return usage_error("the range ratio must be at least 0 and below 1");
  if (o.n_prefix < 0 || o.n_prefix > kMostTokens || o.n_prefixes < 1)
    return usage_error("the shared prefix must have 0 to {} tokens", kMostTokens);
  if (!(o.rate > 0)) return usage_error("the request rate must be above 0");
  if (!(o.burstiness > 0)) return usage_error("the burstiness must be above 0");
  return {};
}

}  // namespace

Result<std::vector<LoadRequest>> make_workload(const WorkloadOptions& options) {
  FARTHING_TRY_VOID(check(options));
  std::mt19937_64 random(options.seed);
  const auto around = [&](int32_t n) {
    const auto low = static_cast<int32_t>(std::floor(n * (1 - options.range_ratio)));
    const auto high = static_cast<int32_t>(std::ceil(n * (1 + options.range_ratio)));
    return std::max(1, low + random_below(random, high - low + 1));
  };
  std::gamma_distribution<double> gap(
      options.burstiness, std::isinf(options.rate) ? 1 : 1 / (options.rate * options.burstiness));
  std::vector<LoadRequest> requests(static_cast<size_t>(options.n_requests));
  double at = 0;
  for (size_t i = 0; i < requests.size(); ++i) {
    LoadRequest& request = requests[i];
    const uint64_t which = i % static_cast<uint64_t>(options.n_prefixes);
    std::vector<int32_t> tokens =
        random_tokens(mixed(options.seed, which), options.n_prefix, options);
    const std::vector<int32_t> own = random_tokens(random(), around(options.n_input), options);
    tokens.insert(tokens.end(), own.begin(), own.end());
    set_prompt(request, std::move(tokens), options);
    request.n_output = around(options.n_output);
    request.at = at;
    if (!std::isinf(options.rate)) at += gap(random);
  }
  return requests;
}

Result<std::vector<LoadRequest>> mooncake_workload(std::string_view jsonl,
                                                   const WorkloadOptions& options) {
  std::vector<LoadRequest> requests;
  int line_number = 0;
  while (!jsonl.empty() && static_cast<int32_t>(requests.size()) < options.n_requests) {
    const size_t end = std::min(jsonl.find('\n'), jsonl.size());
    const std::string_view line = jsonl.substr(0, end);
    jsonl.remove_prefix(std::min(end + 1, jsonl.size()));
    ++line_number;
    if (line.find_first_not_of(" \t\r") == line.npos) continue;
    const Json row = Json::parse(line, nullptr, /*allow_exceptions=*/false);
    const auto is_length = [&](const char* key) {
      return row.is_object() && row.contains(key) && row[key].is_number_integer() &&
             row[key] >= 1 && row[key] <= kMostTokens;
    };
    if (!is_length("input_length") || !is_length("output_length") || !row.contains("timestamp") ||
        !row["timestamp"].is_number()) {
      return bad_input(
          "line {} of the trace: needs timestamp (ms), input_length and output_length (1 to {})",
          line_number,
          kMostTokens);
    }
    const int32_t n_input = row["input_length"];
    std::vector<int32_t> tokens;
    const Json blocks = row.value("hash_ids", Json::array());
    for (const Json& block : blocks) {
      if (!block.is_number_integer())
        return bad_input("line {} of the trace: hash_ids must be whole numbers", line_number);
      const int32_t n = std::min(kMooncakeBlock, n_input - static_cast<int32_t>(tokens.size()));
      if (n <= 0) break;
      const auto own = random_tokens(mixed(options.seed, block.get<uint64_t>()), n, options);
      tokens.insert(tokens.end(), own.begin(), own.end());
    }
    const int32_t rest = n_input - static_cast<int32_t>(tokens.size());
    const auto own =
        random_tokens(mixed(options.seed, ~static_cast<uint64_t>(line_number)), rest, options);
    tokens.insert(tokens.end(), own.begin(), own.end());
    LoadRequest& request = requests.emplace_back();
    request.at = row["timestamp"].get<double>() / 1e3;
    request.n_output = row["output_length"];
    set_prompt(request, std::move(tokens), options);
  }
  if (requests.empty()) return bad_input("the trace has no request in it");
  std::ranges::stable_sort(requests, {}, &LoadRequest::at);
  for (const double first = requests.front().at; LoadRequest & request : requests)
    request.at -= first;
  return requests;
}

Result<std::vector<LoadRequest>> sharegpt_workload(std::string_view json,
                                                   const WorkloadOptions& options) {
  FARTHING_TRY_VOID(check(options));
  const Json rows = Json::parse(json, nullptr, /*allow_exceptions=*/false);
  if (!rows.is_array()) return bad_input("the file is no JSON list of conversations");
  const auto turn = [](const Json& row, size_t i) -> const std::string* {
    if (!row.is_object() || !row.contains("conversations")) return nullptr;
    const Json& turns = row["conversations"];
    if (!turns.is_array() || turns.size() <= i || !turns[i].is_object()) return nullptr;
    const auto value = turns[i].find("value");
    return value == turns[i].end() ? nullptr : value->get_ptr<const std::string*>();
  };
  std::vector<std::pair<const std::string*, const std::string*>> pairs;
  for (const Json& row : rows) {
    const std::string* question = turn(row, 0);
    const std::string* answer = turn(row, 1);
    if (question && answer && !question->empty() && !answer->empty())
      pairs.emplace_back(question, answer);
  }
  if (pairs.empty()) return bad_input("no conversation in the file has two turns");
  std::mt19937_64 random(options.seed);
  std::ranges::shuffle(pairs, random);
  WorkloadOptions arrivals = options;
  arrivals.n_requests = std::min(options.n_requests, static_cast<int32_t>(pairs.size()));
  FARTHING_TRY(std::vector<LoadRequest> requests, make_workload(arrivals));
  for (size_t i = 0; i < requests.size(); ++i) {
    requests[i].tokens.clear();
    requests[i].text = *pairs[i].first;
    requests[i].n_output = std::max<int32_t>(1, static_cast<int32_t>(pairs[i].second->size() / 4));
  }
  return requests;
}

}  // namespace farthing
