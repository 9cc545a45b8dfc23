// What a load test sends, and when: lengths, shared prefixes and arrival times, made from a seed or
// read from a trace. Pure: the same options give the same requests.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace farthing {

struct LoadRequest {
  double at = 0;                // seconds after the start before which it isn't sent
  std::vector<int32_t> tokens;  // of the prompt; or
  std::string text;             // the prompt, where the API takes no tokens
  int32_t n_output = 0;
};

struct WorkloadOptions {
  int32_t n_requests = 100;
  int32_t n_input = 128;   // tokens (words, as text), beyond the shared prefix
  int32_t n_output = 64;   // tokens
  double range_ratio = 0;  // lengths are uniform in [n * (1 - r), n * (1 + r)]
  int32_t n_prefix = 0;    // tokens that requests begin with alike
  int32_t n_prefixes = 1;  // so many different ones, in turn
  // Requests per second; gaps are gamma distributed with this shape (1: a Poisson process; less:
  // burstier), as in `vllm bench serve`.
  double rate = std::numeric_limits<double>::infinity();
  double burstiness = 1;
  int32_t vocab_size = 32000;
  bool as_text = false;
  uint64_t seed = 0;
};
// kUsage for figures that can't be.
Result<std::vector<LoadRequest>> make_workload(const WorkloadOptions& options);

// Lines of {"timestamp": ms, "input_length", "output_length", "hash_ids": [...]}; requests share
// the blocks of 512 tokens whose ids they share (Mooncake, FAST '25, the published traces). Lengths
// and shape of options are ignored.
Result<std::vector<LoadRequest>> mooncake_workload(std::string_view jsonl,
                                                   const WorkloadOptions& options);

// [{"conversations": [{"from": "human", "value"}, {"from": "gpt", "value"}, ...]}, ...]: the first
// two turns. Without the model's tokenizer the answer's length is its characters / 4.
Result<std::vector<LoadRequest>> sharegpt_workload(std::string_view json,
                                                   const WorkloadOptions& options);

}  // namespace farthing
