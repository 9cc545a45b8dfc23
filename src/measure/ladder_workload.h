// What the ladder asks the engine: workloads as data, and the requests that a seed makes of them.
// Pure: the same workload, tokenizer and seed give the same requests. Does not know: the engine.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "core/ids.h"
#include "text/tokenizer.h"

namespace farthing {

// Lengths in tokens: lognormal, cut off at both ends.
struct LengthDistribution {
  double median = 1;
  double sigma = 0;  // of the logarithm
  int32_t least = 1;
  int32_t most = 1;
};

struct LadderWorkload {
  std::string_view id;  // "chat"
  std::string_view title;
  std::string_view source;  // where the lengths are from
  int32_t n_requests = 1;
  int32_t n_clients = 1;      // each sends its next request when it has its answer
  int32_t n_shared = 0;       // tokens that all prompts begin with
  LengthDistribution prompt;  // behind those
  LengthDistribution answer;
  float temperature = 0;
  // What a client waits at most, in seconds: for the first token, and for each token after it.
  double slo_ttft = 0;
  double slo_tpot = 0;
  // Of the whole service that this is a part of; 0: not said.
  double queries_per_day = 0;
  std::string_view opening;                   // text of the shared part, repeated as needed
  std::span<const std::string_view> phrases;  // that prompts are made of
};

std::span<const LadderWorkload> all_workloads();
const LadderWorkload* find_workload(std::string_view id);  // null if there is none

struct LadderRequest {
  std::vector<TokenId> prompt;
  int32_t n_shared = 0;  // of the prompt
  int32_t n_answer = 1;
  uint64_t seed = 0;  // of its sampling

  // With so much of the shared part, of the rest and of the answer: at least 1, 1 and 2 tokens
  // (those that it has). `lengths` in (0, 1].
  LadderRequest cut(double lengths) const;
};

// Lengths are made smaller by one factor if the longest request has more tokens than `context`
// holds; the factor is `shrunk` (1: they are as they should be). kUsage if not even 8 fit.
struct LadderRequests {
  std::vector<LadderRequest> requests;
  double shrunk = 1;
};
Result<LadderRequests> make_requests(const LadderWorkload& workload,
                                     const Tokenizer& tokenizer,
                                     int32_t context,
                                     uint64_t seed);

}  // namespace farthing
