// A hostile JSON document as its scalars, each with its path: the keys (and list indices) that lead
// to it. Nothing is kept: what a document can make us store is the caller's own doing.
// Does not know: what keys mean. Takes memory for one string of the document and a path of at most
// kMaxJsonDepth keys.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "load/limits.h"
#include "load/metadata.h"

namespace farthing {

inline constexpr size_t kMaxJsonDepth = 16;

// An element of a list has its index for a key.
struct JsonStep {
  std::string key;
  std::optional<uint64_t> index;  // in a list
};
using JsonPath = std::span<const JsonStep>;

struct JsonHandler {
  // A scalar: bool, int64, uint64, double or string; nullopt is null. A failure ends the reading and
  // comes back.
  std::function<Status(JsonPath, std::optional<MetaValue>)> scalar;
  // An object or list (not the document itself) has ended; the function may be empty.
  std::function<Status(JsonPath)> ended;
};

// kBadInput names the offset of what is no JSON. The document itself must be an object.
Status read_json(std::span<const std::byte> text, const JsonHandler& handler);

// "rope_scaling.factor", "eos_token_id.0".
std::string joined(JsonPath path);

// A small document as Metadata whose keys are joined paths; null and empty are absent. At most
// `max_bytes` of text, whose scalars are taken from the allowance. `skip`: top-level keys that are
// left out.
Result<Metadata> flatten_json(std::span<const std::byte> text,
                              uint64_t max_bytes,
                              std::initializer_list<std::string_view> skip,
                              Allowance& allowance);

}  // namespace farthing
