#include "load/json_events.h"

#include <algorithm>
#include <utility>

#include "base/json.h"
#include "base/utf8.h"

namespace farthing {
namespace {

// nlohmann's events to ours, with the path.
class Events final : public nlohmann::json_sax<Json> {
 public:
  explicit Events(const JsonHandler& handler) : handler_(handler) {}

  bool null() override { return scalar(std::nullopt); }
  bool boolean(bool value) override { return scalar(MetaValue(value)); }
  bool number_integer(number_integer_t value) override {
    return scalar(MetaValue(static_cast<int64_t>(value)));
  }
  bool number_unsigned(number_unsigned_t value) override {
    return scalar(MetaValue(static_cast<uint64_t>(value)));
  }
  bool number_float(number_float_t value, const string_t&) override {
    return scalar(MetaValue(static_cast<double>(value)));
  }
  bool string(string_t& value) override { return scalar(MetaValue(std::move(value))); }
  bool binary(binary_t&) override { return scalar(std::nullopt); }  // JSON text has none

  bool start_object(size_t) override { return start(false); }
  bool start_array(size_t) override { return start(true); }
  bool end_object() override { return end(); }
  bool end_array() override { return end(); }
  bool key(string_t& value) override {
    path_.back().key = std::move(value);
    return true;
  }
  bool parse_error(size_t at, const std::string&, const nlohmann::detail::exception&) override {
    status_ = bad_input("offset {}: no JSON here", at);
    return false;
  }

  const Status& status() const { return status_; }

 private:
  bool scalar(std::optional<MetaValue> value) {
    if (path_.empty()) return fail(bad_input("offset 0: must be a JSON object"));
    const bool ok = take(handler_.scalar(path_, std::move(value)));
    next();
    return ok;
  }
  bool start(bool is_list) {
    if (path_.empty() && is_list) return fail(bad_input("offset 0: must be a JSON object"));
    if (path_.size() == kMaxJsonDepth) {
      return fail(bad_input("key '{}': nested deeper than {} levels",
                            printable(joined(path_)),
                            kMaxJsonDepth));
    }
    path_.push_back({});
    if (is_list) path_.back().index = 0;
    return true;
  }
  bool end() {
    path_.pop_back();
    if (path_.empty()) return true;
    const bool ok = !handler_.ended || take(handler_.ended(path_));
    next();
    return ok;
  }
  // An element of the innermost list is over.
  void next() {
    if (path_.back().index) ++*path_.back().index;
  }
  bool take(Status status) { return status ? true : fail(std::move(status).error()); }
  bool fail(Error error) {
    status_ = std::move(error);
    return false;
  }

  const JsonHandler& handler_;
  std::vector<JsonStep> path_;
  Status status_;
};

}  // namespace

Status read_json(std::span<const std::byte> text, const JsonHandler& handler) {
  Events events(handler);
  const auto* begin = reinterpret_cast<const char*>(text.data());
  Json::sax_parse(begin, begin + text.size(), &events);
  return events.status();
}

std::string joined(JsonPath path) {
  std::string out;
  for (const JsonStep& step : path) {
    if (!out.empty()) out += '.';
    out += step.index ? std::to_string(*step.index) : step.key;
  }
  return out;
}

Result<Metadata> flatten_json(std::span<const std::byte> text,
                              uint64_t max_bytes,
                              std::initializer_list<std::string_view> skip,
                              Allowance& allowance) {
  constexpr uint64_t kNodeBytes = sizeof(std::pair<const std::string, MetaValue>) + 48;
  if (text.size() > max_bytes) {
    return bad_input("offset 0: {} bytes, at most {} are allowed", text.size(), max_bytes);
  }
  Metadata out;
  const auto scalar = [&](JsonPath path, std::optional<MetaValue> value) -> Status {
    if (!value || std::ranges::find(skip, path.front().key) != skip.end()) return {};
    std::string key = joined(path);
    uint64_t cost = kNodeBytes + Allowance::string_cost(key.size());
    if (const auto* s = std::get_if<std::string>(&*value)) cost += Allowance::string_cost(s->size());
    if (auto taken = allowance.take(cost); !taken) {
      return std::move(taken).error().in(fmt::format("key '{}'", printable(key)));
    }
    out.values.insert_or_assign(std::move(key), *std::move(value));  // of a repeated key, the last
    return {};
  };
  FARTHING_TRY_VOID(read_json(text, {scalar, {}}));
  return out;
}

}  // namespace farthing
