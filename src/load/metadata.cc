#include "load/metadata.h"

#include <cmath>
#include <concepts>
#include <type_traits>
#include <utility>

#include "base/utf8.h"
#include "load/byte_reader.h"

namespace farthing {
namespace {

template <class T>
using Found = Metadata::Found<T>;

Error wrong_type(std::string_view key, const MetaValue& value, std::string_view expected) {
  return bad_input(
      "key '{}': holds {}, must be {}", printable(key), meta_type_name(value), expected);
}

// The integer if the value is one and lies in [low, high].
Result<int64_t> integer_in(std::string_view key,
                           const MetaValue& value,
                           int64_t low,
                           int64_t high) {
  const auto refuse = [&](auto n) {
    return bad_input("key '{}': {} is outside [{}, {}]", printable(key), n, low, high);
  };
  if (const auto* n = std::get_if<int64_t>(&value)) {
    if (*n < low || *n > high) return refuse(*n);
    return *n;
  }
  if (const auto* n = std::get_if<uint64_t>(&value)) {
    if (std::cmp_less(*n, low) || std::cmp_greater(*n, high)) return refuse(*n);
    return static_cast<int64_t>(*n);
  }
  return wrong_type(key, value, "an integer");
}

Result<double> finite_number(std::string_view key, const MetaValue& value) {
  const auto* n = std::get_if<double>(&value);
  if (n == nullptr) return wrong_type(key, value, "a float");
  if (!std::isfinite(*n))
    return bad_input("key '{}': {} is not a finite number", printable(key), *n);
  return *n;
}

Result<bool> truth(std::string_view key, const MetaValue& value) {
  const auto* b = std::get_if<bool>(&value);
  if (b == nullptr) return wrong_type(key, value, "a boolean");
  return *b;
}

Result<std::string> text(std::string_view key, const MetaValue& value) {
  const auto* s = std::get_if<std::string>(&value);
  if (s == nullptr) return wrong_type(key, value, "a string");
  return *s;
}

template <class Stored, class Wide>
bool read_element(ByteReader& in, MetaValue& out) {
  Stored value{};
  if (!in.try_read(value)) return false;
  out = static_cast<Wide>(value);
  return true;
}

// One element as a scalar value. False only if the file changed under us since it was parsed.
bool read_element(ByteReader& in, MetaType type, size_t max_string_bytes, MetaValue& out) {
  std::string_view string;
  switch (type) {
    case MetaType::kUint8:
      return read_element<uint8_t, uint64_t>(in, out);
    case MetaType::kInt8:
      return read_element<int8_t, int64_t>(in, out);
    case MetaType::kUint16:
      return read_element<uint16_t, uint64_t>(in, out);
    case MetaType::kInt16:
      return read_element<int16_t, int64_t>(in, out);
    case MetaType::kUint32:
      return read_element<uint32_t, uint64_t>(in, out);
    case MetaType::kInt32:
      return read_element<int32_t, int64_t>(in, out);
    case MetaType::kFloat32:
      return read_element<float, double>(in, out);
    case MetaType::kBool:
      return read_element<uint8_t, bool>(in, out);
    case MetaType::kUint64:
      return read_element<uint64_t, uint64_t>(in, out);
    case MetaType::kInt64:
      return read_element<int64_t, int64_t>(in, out);
    case MetaType::kFloat64:
      return read_element<double, double>(in, out);
    case MetaType::kString:
      if (!in.try_read_string(string)) return false;
      out = std::string(string.substr(0, max_string_bytes));
      return true;
    case MetaType::kArray:
      break;
  }
  return false;
}

// The value of `key` as a list, each element checked by `convert(key, element)`.
template <class T, class Convert>
Found<std::vector<T>> list(const Metadata& metadata, std::string_view key, Convert&& convert) {
  const MetaValue* value = metadata.find(key);
  if (value == nullptr) return std::optional<std::vector<T>>();
  std::vector<T> out;
  const auto* array = std::get_if<MetaArray>(value);
  if (array == nullptr) {
    FARTHING_TRY(T element, convert(key, *value));
    out.push_back(std::move(element));
    return std::optional(std::move(out));
  }
  if (array->count > kMaxListLength || array->bytes.size() > kMaxListBytes) {
    return bad_input("key '{}': a list of {} values ({} bytes) is too long",
                     printable(key),
                     array->count,
                     array->bytes.size());
  }
  for (const MetaValue& scalar : first_elements(*array, array->count, kMaxListBytes)) {
    FARTHING_TRY(T element, convert(key, scalar));
    out.push_back(std::move(element));
  }
  if (out.size() != array->count)
    return bad_input("key '{}': the file changed while it was read", printable(key));
  return std::optional(std::move(out));
}

template <class T, class Convert>
Found<T> scalar(const Metadata& metadata, std::string_view key, Convert&& convert) {
  const MetaValue* value = metadata.find(key);
  if (value == nullptr) return std::optional<T>();
  FARTHING_TRY(T out, convert(key, *value));
  return std::optional<T>(std::move(out));
}

}  // namespace

std::vector<MetaValue> first_elements(const MetaArray& array,
                                      uint64_t at_most,
                                      size_t max_string_bytes) {
  std::vector<MetaValue> out;
  ByteReader in(array.bytes);
  MetaValue element;
  for (uint64_t i = 0; i < array.count && i < at_most; ++i) {
    if (!read_element(in, array.element, max_string_bytes, element)) break;
    out.push_back(std::move(element));
  }
  return out;
}

std::string_view meta_type_name(MetaType type) {
  switch (type) {
    case MetaType::kUint8:
      return "uint8";
    case MetaType::kInt8:
      return "int8";
    case MetaType::kUint16:
      return "uint16";
    case MetaType::kInt16:
      return "int16";
    case MetaType::kUint32:
      return "uint32";
    case MetaType::kInt32:
      return "int32";
    case MetaType::kFloat32:
      return "float32";
    case MetaType::kBool:
      return "bool";
    case MetaType::kString:
      return "string";
    case MetaType::kArray:
      return "array";
    case MetaType::kUint64:
      return "uint64";
    case MetaType::kInt64:
      return "int64";
    case MetaType::kFloat64:
      return "float64";
  }
  return "unknown";
}

std::string meta_type_name(const MetaValue& value) {
  struct Name {
    std::string operator()(bool) const { return "a boolean"; }
    std::string operator()(int64_t) const { return "an integer"; }
    std::string operator()(uint64_t) const { return "an integer"; }
    std::string operator()(double) const { return "a float"; }
    std::string operator()(const std::string&) const { return "a string"; }
    std::string operator()(const MetaArray& a) const {
      return fmt::format("an array of {} {}", a.count, meta_type_name(a.element));
    }
  };
  return std::visit(Name{}, value);
}

const MetaValue* Metadata::find(std::string_view key) const {
  const auto it = values.find(key);
  return it == values.end() ? nullptr : &it->second;
}

Found<int64_t> Metadata::integer(std::string_view key, int64_t low, int64_t high) const {
  return scalar<int64_t>(*this, key, [&](std::string_view k, const MetaValue& v) {
    return integer_in(k, v, low, high);
  });
}

Found<double> Metadata::number(std::string_view key) const {
  return scalar<double>(*this, key, finite_number);
}

Found<bool> Metadata::boolean(std::string_view key) const {
  return scalar<bool>(*this, key, truth);
}

Found<std::string> Metadata::string(std::string_view key) const {
  return scalar<std::string>(*this, key, text);
}

Found<std::vector<int64_t>> Metadata::integers(std::string_view key,
                                               int64_t low,
                                               int64_t high) const {
  return list<int64_t>(*this, key, [&](std::string_view k, const MetaValue& v) {
    return integer_in(k, v, low, high);
  });
}

Found<std::vector<double>> Metadata::numbers(std::string_view key) const {
  return list<double>(*this, key, finite_number);
}

Found<std::vector<bool>> Metadata::booleans(std::string_view key) const {
  return list<bool>(*this, key, truth);
}

Found<std::vector<std::string>> Metadata::strings(std::string_view key) const {
  return list<std::string>(*this, key, text);
}

}  // namespace farthing
