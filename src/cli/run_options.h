// What `run` was asked to do.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cli/model_options.h"
#include "cli/price_options.h"
#include "core/request.h"
#include "core/sampling_params.h"

namespace farthing {

struct RunOptions {
  ModelOptions model;
  PriceOptions price;
  std::optional<std::string> prompt;
  std::string file;  // prompt from there; "-": standard input
  std::string system;
  SamplingParams sampling;       // its seed is set when the options are complete
  std::optional<uint64_t> seed;  // none: random, and shown
  int32_t max_tokens = 0;        // 0: the room left in the context
  std::vector<std::string> stop;
  bool raw = false;  // plain completion, without the chat template
  bool json = false;
};

// `options` must outlive the verb.
void add_run_options(CLI::App& verb, RunOptions& options);

// What no single option can say; call before anything slow.
Status check_run_options(const RunOptions& options);

// The request for these prompt tokens in a context of so many.
Request make_request(const RunOptions& options, std::vector<TokenId> prompt, int32_t context);

}  // namespace farthing
