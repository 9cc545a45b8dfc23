// libFuzzer target: stop strings and a text, cut anywhere. The outcome is that of the slow twin
// whatever the cuts, and nothing of a stop string is given out before it is known not to be one.
#include <fuzzer/FuzzedDataProvider.h>

#include <string>
#include <vector>

#include "sample/stop_matcher.h"
#include "sample/stop_matcher_for_tests.h"
#include "tests/fuzz/require.h"

namespace farthing::fuzz {
namespace {

// Few letters: stop strings should overlap each other, themselves and the text.
std::string fold(std::string text, uint8_t letters) {
  for (char& c : text) c = static_cast<char>('a' + static_cast<uint8_t>(c) % letters);
  return text;
}

void fuzz_stop(FuzzedDataProvider& in) {
  const bool include_stop = in.ConsumeBool();
  const auto letters = in.ConsumeIntegralInRange<uint8_t>(1, 4);
  const bool raw = in.ConsumeBool();
  std::vector<std::string> stops(in.ConsumeIntegralInRange<size_t>(0, 5));
  for (std::string& stop : stops) {
    stop = in.ConsumeRandomLengthString(12);
    if (!raw) stop = fold(std::move(stop), letters);
  }
  const std::string cuts = in.ConsumeRandomLengthString(64);
  std::string text = in.ConsumeRemainingBytesAsString();
  if (text.size() > 4096) text.resize(4096);
  if (!raw) text = fold(std::move(text), letters);

  const StopOutcome wanted = stop_outcome(text, stops, include_stop);
  StopMatcher matcher(stops, include_stop);
  std::string got;
  bool stopped = false;
  size_t at = 0;
  for (size_t cut = 0; at < text.size() && !stopped; ++cut) {
    // The lengths given, over and over; none: all at once.
    const size_t length =
        cuts.empty() ? text.size() : static_cast<uint8_t>(cuts[cut % cuts.size()]) % 9;
    const std::string_view piece =
        std::string_view(text).substr(at, length == 0 && cut % 8 == 7 ? 1 : length);
    at += piece.size();
    const StopMatcher::Step step = matcher.push(piece);
    got += step.text;
    stopped = step.stopped;
    require(wanted.text.starts_with(got),
            "leaked '{}' of '{}'",
            printable(got),
            printable(wanted.text));
  }
  require(stopped == wanted.stopped, "stopped: {}", stopped);
  if (stopped) {
    require(matcher.push("more").text.empty() && matcher.push("more").stopped,
            "went on after a stop");
  }
  got += matcher.finish();
  require(got == wanted.text, "'{}' instead of '{}'", printable(got), printable(wanted.text));
}

}  // namespace
}  // namespace farthing::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  FuzzedDataProvider in(data, size);
  farthing::fuzz::fuzz_stop(in);
  return 0;
}
