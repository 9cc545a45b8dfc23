#include "serve/fields.h"

#include <algorithm>
#include <limits>

namespace farthing {

Fields::Fields(const Json& object, std::string path) : object_(object), path_(std::move(path)) {
  if (!object.is_object()) {
    std::string name = path_.empty() ? "the body" : path_.substr(0, path_.size() - 1);
    fail({.status = 400,
          .message = fmt::format("{} must be a JSON object, not {}", name, json_type(object)),
          .param = path_.empty() ? "" : name,
          .code = "invalid_type"});
  }
}

const Json* Fields::find(std::string_view name) {
  if (failed()) return nullptr;
  asked_.emplace_back(name);
  const auto at = object_.find(std::string(name));
  return at == object_.end() || at->is_null() ? nullptr : &*at;
}

std::optional<int64_t> Fields::integer(std::string_view name, int64_t low, int64_t high) {
  const Json* value = find(name);
  if (!value) return std::nullopt;
  if (!value->is_number_integer()) {
    fail(name, "{} must be an integer, not {}", path_ + std::string(name), json_type(*value));
    return std::nullopt;
  }
  const bool too_big = value->is_number_unsigned() &&
                       value->get<uint64_t>() > uint64_t{std::numeric_limits<int64_t>::max()};
  if (too_big || value->get<int64_t>() < low || value->get<int64_t>() > high) {
    fail_range(name, *value, low, high);
    return std::nullopt;
  }
  return value->get<int64_t>();
}

std::optional<double> Fields::number(std::string_view name, double low, double high) {
  const Json* value = find(name);
  if (!value) return std::nullopt;
  if (!value->is_number()) {
    fail(name, "{} must be a number, not {}", path_ + std::string(name), json_type(*value));
    return std::nullopt;
  }
  const double number = value->get<double>();
  if (!(number >= low && number <= high)) {
    fail_range(name, *value, low, high);
    return std::nullopt;
  }
  return number;
}

std::optional<bool> Fields::boolean(std::string_view name) {
  const Json* value = find(name);
  if (!value) return std::nullopt;
  if (!value->is_boolean()) {
    fail(name, "{} must be true or false, not {}", path_ + std::string(name), json_type(*value));
    return std::nullopt;
  }
  return value->get<bool>();
}

std::optional<std::string> Fields::string(std::string_view name) {
  const Json* value = find(name);
  if (!value) return std::nullopt;
  if (!value->is_string()) {
    fail(name, "{} must be a string, not {}", path_ + std::string(name), json_type(*value));
    return std::nullopt;
  }
  return value->get<std::string>();
}

const Json* Fields::array(std::string_view name, size_t max_size) {
  const Json* value = find(name);
  if (!value) return nullptr;
  if (!value->is_array()) {
    fail(name, "{} must be an array, not {}", path_ + std::string(name), json_type(*value));
    return nullptr;
  }
  if (value->size() > max_size) {
    fail(name,
         "{} has {} elements; at most {} are allowed",
         path_ + std::string(name),
         value->size(),
         max_size);
    return nullptr;
  }
  return value;
}

const Json* Fields::object(std::string_view name) {
  const Json* value = find(name);
  if (!value) return nullptr;
  if (!value->is_object()) {
    fail(name, "{} must be an object, not {}", path_ + std::string(name), json_type(*value));
    return nullptr;
  }
  return value;
}

void Fields::refuse(std::string_view name, std::string_view why) {
  const Json* value = find(name);
  if (!value || (value->is_structured() && value->empty())) return;
  fail({.status = 400,
        .message = fmt::format("{}{} is not supported: {}", path_, name, why),
        .param = path_ + std::string(name),
        .code = "unsupported_parameter"});
}

void Fields::fail(ApiError error) {
  if (!error_) error_ = std::move(error);
}

std::vector<std::string> Fields::unknown() const {
  std::vector<std::string> names;
  for (const auto& [name, value] : object_.items()) {
    if (std::find(asked_.begin(), asked_.end(), name) == asked_.end()) names.push_back(name);
  }
  return names;
}

std::string_view json_type(const Json& value) {
  switch (value.type()) {
    case Json::value_t::null:
      return "null";
    case Json::value_t::object:
      return "an object";
    case Json::value_t::array:
      return "an array";
    case Json::value_t::string:
      return "a string";
    case Json::value_t::boolean:
      return "a boolean";
    case Json::value_t::number_float:
      return "a fraction";
    default:
      return "a number";
  }
}

}  // namespace farthing
