// Why a slice holds less than what is left of its prompt.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace farthing {

enum class SliceCut : uint8_t {
  kNone,
  kItl,     // more would keep running sequences waiting for longer than the target
  kTime,    // the step would take too long: until a deadline, or for anybody who leaves
  kChunk,   // no step has more tokens
  kBudget,  // other prompts have the rest of the step's tokens
};
inline constexpr size_t kSliceCutCount = 5;

constexpr std::string_view slice_cut_name(SliceCut cut) {
  constexpr std::string_view kNames[] = {"none", "itl", "time", "chunk", "budget"};
  return kNames[static_cast<size_t>(cut)];
}

}  // namespace farthing
