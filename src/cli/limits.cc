#include "cli/limits.h"

#include <fmt/format.h>

namespace farthing {
namespace {

constexpr int32_t kFewestTokens = 8;
// A roof that is half used is what holds decoding up: the rest is barriers, norms and attention.
constexpr double kMostlyUsed = 0.5;

std::string_view limit_of(const DecodeUse& use) {
  if (use.read_fraction < kMostlyUsed && use.int8_fraction < kMostlyUsed) return "neither";
  return use.read_fraction >= use.int8_fraction ? "memory bandwidth" : "compute";
}

}  // namespace

std::optional<DecodeUse> decode_use(const ModelWork& model,
                                    const Answer& answer,
                                    const MachineSpeed::Rates& roofs) {
  // The first token came with the prompt.
  const int32_t n_decoded = answer.usage.completion_tokens - 1;
  const double seconds = answer.timings.decode_seconds;
  if (n_decoded < kFewestTokens || seconds <= 0) return std::nullopt;
  if (roofs.read_gb_per_s <= 0 || roofs.int8_gops <= 0) return std::nullopt;
  const Work work =
      work_of({.n_gen = n_decoded, .n_depth = answer.usage.prompt_tokens}, model, /*chunk=*/1);
  DecodeUse use{.gb_per_s = work.bytes / seconds * 1e-9, .read_roof = roofs.read_gb_per_s};
  use.read_fraction = use.gb_per_s / use.read_roof;
  use.gops = work.operations / seconds * 1e-9;
  use.int8_fraction = use.gops / roofs.int8_gops;
  return use;
}

std::string limit_words(const DecodeUse& use) {
  const std::string_view limit = limit_of(use);
  return fmt::format(
      "decode: {:.1f} GB/s read, {:.0f} % of what memory gives ({:.1f} GB/s); {:.0f} % of the int8 "
      "peak: {}\n",
      use.gb_per_s,
      100 * use.read_fraction,
      use.read_roof,
      100 * use.int8_fraction,
      limit == "neither" ? "limited by neither, but by small steps or a busy machine"
                         : fmt::format("limited by {}", limit));
}

Json limit_json(const DecodeUse& use) {
  return {{"decode_gb_per_s", use.gb_per_s},
          {"read_gb_per_s_roof", use.read_roof},
          {"read_fraction", use.read_fraction},
          {"decode_gops", use.gops},
          {"int8_fraction", use.int8_fraction},
          {"limited_by", limit_of(use)}};
}

}  // namespace farthing
