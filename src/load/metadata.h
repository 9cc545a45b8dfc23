// Metadata of a model file: keys and typed values, looked up with checks.
// Scalars are owned; arrays stay in the file, and only the accessors below turn (short) ones into
// vectors. Does not know: which keys a model needs. Errors name the key, what it holds and what was
// expected.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/result.h"

namespace farthing {

// The value types of GGUF; the numbers are the format's.
enum class MetaType : uint32_t {
  kUint8 = 0,
  kInt8 = 1,
  kUint16 = 2,
  kInt16 = 3,
  kUint32 = 4,
  kInt32 = 5,
  kFloat32 = 6,
  kBool = 7,
  kString = 8,
  kArray = 9,
  kUint64 = 10,
  kInt64 = 11,
  kFloat64 = 12,
};

// An array as the file stores it: `count` elements, little-endian, strings as u64 length + bytes.
// Invariant (made by gguf.cc): `bytes` is exactly those elements.
struct MetaArray {
  MetaType element = MetaType::kUint8;
  uint64_t count = 0;
  std::span<const std::byte> bytes;
};

// Integers of any width are widened, float32 too.
using MetaValue = std::variant<bool, int64_t, uint64_t, double, std::string, MetaArray>;

std::string_view meta_type_name(MetaType type);      // "uint32"
std::string meta_type_name(const MetaValue& value);  // "array of 3 string"

// The first elements as scalars, at most `at_most` (fewer only if the file changed since it was
// parsed); strings are cut after `max_string_bytes`.
std::vector<MetaValue> first_elements(const MetaArray& array,
                                      uint64_t at_most,
                                      size_t max_string_bytes);

// An array that states hyper-parameters has at most one value per layer: longer ones are refused by
// the accessors.
inline constexpr uint64_t kMaxListLength = 4096;
inline constexpr size_t kMaxListBytes = size_t{1} << 20;

class Metadata {
 public:
  template <class T>
  using Found = Result<std::optional<T>>;

  // A missing key is nullopt; a key of another type is kBadInput that names key and types.
  // Integers: any integer type whose value fits [low, high], else kBadInput that names key, value
  // and range.
  Found<int64_t> integer(std::string_view key, int64_t low, int64_t high) const;
  Found<double> number(std::string_view key) const;  // float32/float64, finite
  Found<bool> boolean(std::string_view key) const;
  Found<std::string> string(std::string_view key) const;

  // Lists of at most kMaxListLength values; a scalar counts as a list of one.
  Found<std::vector<int64_t>> integers(std::string_view key, int64_t low, int64_t high) const;
  Found<std::vector<double>> numbers(std::string_view key) const;
  Found<std::vector<bool>> booleans(std::string_view key) const;
  Found<std::vector<std::string>> strings(std::string_view key) const;

  const MetaValue* find(std::string_view key) const;  // nullptr if absent

  std::map<std::string, MetaValue, std::less<>> values;
};

}  // namespace farthing
