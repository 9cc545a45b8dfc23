#include "serve/json_text.h"

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <vector>

#include "base/utf8.h"

namespace farthing {

namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD

// A dry run over the text that stops at the first limit or error.
class LimitCheck final : public nlohmann::json_sax<Json> {
 public:
  explicit LimitCheck(const JsonLimits& limits) : limits_(limits) {}

  const std::string& fault() const { return fault_; }

  bool null() override { return value(); }
  bool boolean(bool) override { return value(); }
  bool number_integer(number_integer_t) override { return value(); }
  bool number_unsigned(number_unsigned_t) override { return value(); }
  bool number_float(number_float_t, const string_t&) override { return value(); }
  bool string(string_t&) override { return value(); }
  bool binary(binary_t&) override { return value(); }
  bool start_object(size_t) override { return open(); }
  bool start_array(size_t) override { return open(); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }

  bool key(string_t&) override {
    if (++keys_ > limits_.keys) return refuse("more than {} object keys", limits_.keys);
    if (++open_keys_.back() > limits_.object_keys) {
      return refuse("an object with more than {} keys", limits_.object_keys);
    }
    return true;
  }

  bool parse_error(size_t,
                   const std::string&,
                   const nlohmann::json::exception& exception) override {
    std::string_view what =
        exception.what();  // "[json.exception.parse_error.101] parse error at..."
    if (const size_t end = what.find("] "); what.starts_with('[') && end != what.npos) {
      what.remove_prefix(end + 2);
    }
    fault_ = shortened(what, 300);
    return false;
  }

 private:
  template <class... Args>
  bool refuse(fmt::format_string<Args...> format, Args&&... args) {
    fault_ = fmt::format(format, std::forward<Args>(args)...);
    return false;
  }
  bool value() {
    return ++values_ <= limits_.values || refuse("more than {} values", limits_.values);
  }
  bool open() {
    open_keys_.push_back(0);
    if (static_cast<int>(open_keys_.size()) > limits_.depth) {
      return refuse("nested deeper than {} levels", limits_.depth);
    }
    return value();
  }
  bool close() {
    open_keys_.pop_back();
    return true;
  }

  JsonLimits limits_;
  int values_ = 0;
  int keys_ = 0;
  std::vector<int> open_keys_;  // keys seen in each open object or array
  std::string fault_;
};

}  // namespace

std::variant<Json, ApiError> parse_json(std::string_view text, const JsonLimits& limits) {
  LimitCheck check(limits);
  if (!Json::sax_parse(text, &check)) {
    return ApiError{.status = 400,
                    .message = fmt::format("the body can't be read as JSON: {}", check.fault()),
                    .code = "invalid_json"};
  }
  Json value = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (value.is_discarded()) {
    return ApiError{.status = 400, .message = "the body is not JSON", .code = "invalid_json"};
  }
  return value;
}

size_t count_characters(std::string_view text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

void append_json_string(std::string& out, std::string_view text) {
  out += '"';
  while (!text.empty()) {
    const char c = text[0];
    const size_t length = utf8_length(text);
    if (length == 0) {
      out += kReplacement;
    } else if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) {
      fmt::format_to(std::back_inserter(out), "\\u{:04x}", static_cast<int>(c));
    } else {
      out += text.substr(0, length);
    }
    text.remove_prefix(length == 0 ? 1 : length);
  }
  out += '"';
}

void append_json_string_or_null(std::string& out, std::string_view text) {
  if (text.empty()) {
    out += "null";
  } else {
    append_json_string(out, text);
  }
}

std::string shortened(std::string_view text, size_t limit) {
  if (text.size() <= limit) return std::string(text);
  size_t end = limit;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
  return std::string(text.substr(0, end)) + "...";
}

}  // namespace farthing
