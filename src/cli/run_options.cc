#include "cli/run_options.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <limits>
#include <utility>

namespace farthing {
namespace {

constexpr size_t kMostStops = 16;
constexpr size_t kMostStopBytes = 256;
constexpr double kMostTemperature = 100;

// Unlike CLI::Range this refuses NaN, and says in words what is allowed.
CLI::Validator within(double low, double high, const std::string& words) {
  return CLI::Validator(
      [low, high, words](const std::string& text) {
        char* end = nullptr;
        const double value = std::strtod(text.c_str(), &end);
        const bool good = end != text.c_str() && *end == '\0' && value >= low && value <= high;
        return good ? std::string() : fmt::format("'{}' is not {}", text, words);
      },
      "");
}

std::string check_stop(const std::string& stop) {
  if (stop.empty()) return "a stop string can't be empty";
  return stop.size() > kMostStopBytes
             ? fmt::format("a stop string has at most {} bytes", kMostStopBytes)
             : "";
}

}  // namespace

void add_run_options(CLI::App& verb, RunOptions& o) {
  add_model_options(verb, o.model);
  add_price_options(verb, o.price);
  verb.add_option(
          "prompt", o.prompt, "What to answer (else --file, a pipe, or a chat on the terminal)")
      ->type_name("TEXT");
  verb.add_option("--file", o.file, "Read the prompt from a file; - is standard input")
      ->type_name("FILE");
  verb.add_option("--system", o.system, "System message of the chat")->type_name("TEXT");
  verb.add_option("--max-tokens",
                  o.max_tokens,
                  "Most tokens to generate (default: the room left in the context)")
      ->check(CLI::Range(1, std::numeric_limits<int32_t>::max()))
      ->type_name("N");
  verb.add_option("--temperature", o.sampling.temperature, "0 always takes the likeliest token")
      ->check(within(0, kMostTemperature, "between 0 and 100"))
      ->type_name("T")
      ->capture_default_str();
  constexpr double kAboveZero = std::numeric_limits<float>::min();
  verb.add_option(
          "--top-p", o.sampling.top_p, "Only the likeliest tokens that make up this probability")
      ->check(within(kAboveZero, 1, "above 0 and at most 1"))
      ->type_name("P")
      ->capture_default_str();
  verb.add_option("--top-k", o.sampling.top_k, "Only the K likeliest tokens; 0: all")
      ->check(CLI::Range(0, std::numeric_limits<int32_t>::max()))
      ->type_name("K")
      ->capture_default_str();
  verb.add_option("--min-p",
                  o.sampling.min_p,
                  "Only tokens at least this likely, relative to the likeliest")
      ->check(within(0, 1, "between 0 and 1"))
      ->type_name("P")
      ->capture_default_str();
  verb.add_option("--seed", o.seed, "Seed of the random numbers (default: random, and shown)")
      ->check(CLI::Validator(
          [](const std::string& text) {
            uint64_t seed = 0;
            const char* const end = text.data() + text.size();
            const auto [stop, error] = std::from_chars(text.data(), end, seed);
            const bool good = error == std::errc() && stop == end;
            return good ? std::string()
                        : fmt::format("'{}' is not a whole number from 0 to 2^64 - 1", text);
          },
          ""))
      ->type_name("N");
  verb.add_option("--stop", o.stop, "End the answer before this text; may be given several times")
      ->allow_extra_args(false)
      ->check(CLI::Validator(check_stop, ""))
      ->type_name("TEXT");
  verb.add_flag("--raw", o.raw, "Complete the prompt as it is, without the chat template");
  verb.add_flag(
      "--json", o.json, "Print one JSON object: text, finish_reason, usage, timings, limits");
}

Status check_run_options(const RunOptions& options) {
  if (options.stop.size() > kMostStops)
    return usage_error("--stop: at most {} stop strings", kMostStops);
  if (options.prompt && !options.file.empty()) {
    return usage_error("the prompt is given twice, as text and by --file: leave one out");
  }
  if (options.raw && !options.system.empty()) {
    return usage_error("--system needs the chat template that --raw leaves out");
  }
  return {};
}

Request make_request(const RunOptions& options, std::vector<TokenId> prompt, int32_t context) {
  Request request;
  const auto room = static_cast<int32_t>(std::max<int64_t>(
      1, context - static_cast<int64_t>(std::min<size_t>(prompt.size(), INT32_MAX))));
  request.max_tokens = options.max_tokens > 0 ? std::min(options.max_tokens, room) : room;
  request.prompt = std::move(prompt);
  request.sampling = options.sampling;
  request.stop = options.stop;
  return request;
}

}  // namespace farthing
