// Sends requests to an OpenAI-compatible server and times what streams back. One thread, as many
// connections as requests run. Does not know: what the figures mean (measure/load_report.h).
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "measure/workload.h"

namespace farthing {

struct LoadTarget {
  std::string url;  // "http://127.0.0.1:8080"
  std::string model;
  std::string api_key;
  bool chat = false;  // /v1/chat/completions instead of /v1/completions
  double temperature = 0;
  bool ignore_eos = true;
  bool keep_text = false;        // of the answers; takes the client more time
  int32_t max_concurrency = 0;   // requests at once; 0: any number
  double timeout_seconds = 600;  // of one request
};

struct LoadOutcome {
  double sent = 0;           // seconds after the start
  double ttft = 0;           // seconds from sending to the first text; 0: none came
  double latency = 0;        // to the end of the answer
  std::vector<double> gaps;  // seconds between pieces of text
  int32_t n_input = 0;       // tokens, by the server's usage
  int32_t n_output = 0;
  int32_t n_cached = 0;
  std::optional<double> cost;  // of the server's usage, in its currency
  std::string currency;
  double queued = 0;  // seconds that it waited in the server, by the server's timings
  std::string text;   // if it is kept
  int status = 0;     // HTTP; 0: no answer
  std::string error;  // empty: it went well
};

struct LoadRun {
  std::vector<LoadOutcome> outcomes;  // as the requests
  double seconds = 0;                 // from the first request sent to the last answer's end
  double cpu_seconds = 0;             // of this client
  int32_t most_at_once = 0;
};

// What /v1/models says of the (first) model. kNoResource if nobody answers.
struct ServedModel {
  std::string id;
  int32_t vocab_size = 0;  // 0: it doesn't say
};
Result<ServedModel> ask_model(const LoadTarget& target);

// The body of the answer to one call; kNoResource if nobody answers, kRuntime if the answer isn't
// 200 or is longer than that.
Result<std::string> post(const LoadTarget& target,
                         const char* path,
                         std::string body,
                         size_t most_bytes);

// Sends all of them; failures of single requests stand in their outcomes. `progress` hears several
// times a second how many have ended, and ends the run early by returning false.
Result<LoadRun> run_load(const LoadTarget& target,
                         const std::vector<LoadRequest>& requests,
                         const std::function<bool(int32_t n_ended)>& progress);

}  // namespace farthing
