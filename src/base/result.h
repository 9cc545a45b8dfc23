// Result<T>: a value or an Error, with the member names of std::expected (g++ 12 has it only in
// C++23). Every fault of the world (a file, a request, the machine) comes back as one of these.
#pragma once

#include <fmt/format.h>

#include <string>
#include <utility>
#include <variant>

#include "base/check.h"

namespace farthing {

// The values are the exit codes of the command line.
enum class ErrorKind : int {
  kRuntime = 1,      // an operation failed while running (I/O, network)
  kUsage = 2,        // the caller asked for something that can't be
  kBadInput = 3,     // a file or an input is malformed; the message names the key or offset
  kNoResource = 4,   // not enough memory, CPU feature missing, port taken
  kUnreachable = 5,  // an aim or SLO can't be reached
  kInterrupted = 130,
};

struct Error {
  ErrorKind kind = ErrorKind::kRuntime;
  std::string message;  // one line: what, why, what to do

  // The same error, with where it happened put in front: "file.gguf: ...".
  Error in(std::string_view where) && {
    message = fmt::format("{}: {}", where, message);
    return std::move(*this);
  }
};

template <class... Args>
Error make_error(ErrorKind kind, fmt::format_string<Args...> format, Args&&... args) {
  return Error{kind, fmt::format(format, std::forward<Args>(args)...)};
}
template <class... Args>
Error bad_input(fmt::format_string<Args...> format, Args&&... args) {
  return Error{ErrorKind::kBadInput, fmt::format(format, std::forward<Args>(args)...)};
}
template <class... Args>
Error usage_error(fmt::format_string<Args...> format, Args&&... args) {
  return Error{ErrorKind::kUsage, fmt::format(format, std::forward<Args>(args)...)};
}
template <class... Args>
Error runtime_failure(fmt::format_string<Args...> format, Args&&... args) {
  return Error{ErrorKind::kRuntime, fmt::format(format, std::forward<Args>(args)...)};
}
template <class... Args>
Error no_resource(fmt::format_string<Args...> format, Args&&... args) {
  return Error{ErrorKind::kNoResource, fmt::format(format, std::forward<Args>(args)...)};
}

template <class T>
class [[nodiscard]] Result {
 public:
  using value_type = T;
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}

  bool has_value() const { return state_.index() == 0; }
  explicit operator bool() const { return has_value(); }
  T& value() & {
    CHECK(has_value());
    return std::get<0>(state_);
  }
  const T& value() const& {
    CHECK(has_value());
    return std::get<0>(state_);
  }
  T&& value() && {
    CHECK(has_value());
    return std::get<0>(std::move(state_));
  }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }
  Error& error() & {
    CHECK(!has_value());
    return std::get<1>(state_);
  }
  const Error& error() const& {
    CHECK(!has_value());
    return std::get<1>(state_);
  }
  Error&& error() && {
    CHECK(!has_value());
    return std::get<1>(std::move(state_));
  }

 private:
  std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : error_(std::move(error)), ok_(false) {}

  bool has_value() const { return ok_; }
  explicit operator bool() const { return ok_; }
  Error& error() & {
    CHECK(!ok_);
    return error_;
  }
  const Error& error() const& {
    CHECK(!ok_);
    return error_;
  }
  Error&& error() && {
    CHECK(!ok_);
    return std::move(error_);
  }

 private:
  Error error_;
  bool ok_ = true;
};

using Status = Result<void>;

}  // namespace farthing

#define FARTHING_CONCAT_(a, b) a##b
#define FARTHING_CONCAT(a, b) FARTHING_CONCAT_(a, b)

// FARTHING_TRY(auto x, expression): x = the value, or return the error to the caller.
#define FARTHING_TRY(declaration, expression) \
  FARTHING_TRY_(declaration, expression, FARTHING_CONCAT(farthing_result_, __COUNTER__))
#define FARTHING_TRY_(declaration, expression, name) \
  auto name = (expression);                          \
  if (!name) return std::move(name).error();         \
  declaration = *std::move(name)

// FARTHING_TRY_VOID(expression): return the error to the caller, if there is one.
#define FARTHING_TRY_VOID(expression)                                \
  do {                                                               \
    auto farthing_status = (expression);                             \
    if (!farthing_status) return std::move(farthing_status).error(); \
  } while (0)
