// Reads the fields of one JSON object, each with its type and range, and remembers the first fault
// and which fields were asked for. A null counts as absent. After a fault every further read gives
// nothing.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "serve/api_error.h"

namespace farthing {

class Fields {
 public:
  // The object must outlive this. `path`, empty or ending in a dot, is put in front of the names in
  // errors: "messages[2].".
  explicit Fields(const Json& object, std::string path = "");

  const Json* find(std::string_view name);  // nullptr if absent, null, or after a fault
  std::optional<int64_t> integer(std::string_view name, int64_t low, int64_t high);
  std::optional<double> number(std::string_view name, double low, double high);
  std::optional<bool> boolean(std::string_view name);
  std::optional<std::string> string(std::string_view name);
  const Json* array(std::string_view name, size_t max_size);
  const Json* object(std::string_view name);

  // Known fields whose value has no effect here, or must not have one.
  void accept(std::string_view name) { find(name); }
  void refuse(std::string_view name,
              std::string_view why);  // a fault unless absent, null, [] or {}

  void fail(ApiError error);
  template <class... Args>
  void fail(std::string_view name, fmt::format_string<Args...> format, Args&&... args) {
    fail(bad_field(path_ + std::string(name), format, std::forward<Args>(args)...));
  }
  bool failed() const { return error_.has_value(); }
  const std::optional<ApiError>& error() const { return error_; }

  std::vector<std::string> unknown() const;  // names in the object that nobody asked for

 private:
  template <class T>
  void fail_range(std::string_view name, const Json& value, T low, T high) {
    fail(name,
         "{} is {}, but must lie in [{}, {}]",
         path_ + std::string(name),
         value.dump(),
         low,
         high);
  }

  const Json& object_;
  std::string path_;
  std::vector<std::string> asked_;
  std::optional<ApiError> error_;
};

std::string_view json_type(const Json& value);  // "a string", "an array"...

}  // namespace farthing
