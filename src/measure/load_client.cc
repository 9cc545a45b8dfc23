#include "measure/load_client.h"

#include <sys/resource.h>

#include <algorithm>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/connect.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http.hpp>
#include <chrono>
#include <initializer_list>
#include <memory>
#include <string_view>
#include <utility>

#include "base/clock.h"
#include "base/json.h"
#include "measure/http_call.h"

namespace farthing {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using asio::ip::tcp;

constexpr size_t kMostErrorBytes = 512;
constexpr size_t kMostLineBytes = 1 << 20;

using HttpCall = http::request<http::string_body>;

HttpCall call_for(const LoadTarget& target, const Url& url, const char* path) {
  HttpCall call(http::verb::post, url.base + path, 11);
  call.set(http::field::host, url.host + ":" + url.port);
  call.set(http::field::content_type, "application/json");
  call.set(http::field::connection, "close");
  if (!target.api_key.empty()) call.set(http::field::authorization, "Bearer " + target.api_key);
  return call;
}

std::string body_of(const LoadTarget& target, const LoadRequest& request) {
  Json body = {{"model", target.model},
               {"max_tokens", request.n_output},
               {"temperature", target.temperature},
               {"stream", true},
               {"stream_options", {{"include_usage", true}}}};
  if (target.ignore_eos) body["ignore_eos"] = true;
  if (target.chat) {
    body["messages"] = Json::array({{{"role", "user"}, {"content", request.text}}});
  } else if (request.text.empty()) {
    body["prompt"] = request.tokens;
  } else {
    body["prompt"] = request.text;
  }
  return body.dump(-1, ' ', false, Json::error_handler_t::replace);
}

// Whether a chunk carries text. Looked for, not parsed: the client shares the server's cores.
bool has_text(std::string_view chunk) {
  for (const std::string_view key : {R"("text":)", R"("content":)"}) {
    size_t at = chunk.find(key);
    if (at == chunk.npos) continue;
    at += key.size();
    while (at < chunk.size() && chunk[at] == ' ') ++at;
    if (at + 1 < chunk.size() && chunk[at] == '"' && chunk[at + 1] != '"') return true;
  }
  return false;
}

// Whether a chunk has an object of that name (in quotes), blanks or not.
bool has_object(std::string_view chunk, std::string_view name) {
  for (size_t at = chunk.find(name); at != chunk.npos; at = chunk.find(name, at + 1)) {
    const size_t value = chunk.find_first_not_of(": \t", at + name.size());
    if (value != chunk.npos && chunk[value] == '{') return true;
  }
  return false;
}

// What one answer says, as it comes.
class AnswerReader {
 public:
  AnswerReader(LoadOutcome& outcome, bool keep_text, TimePoint began)
      : outcome_(outcome), keep_text_(keep_text), began_(began) {}

  // False if it can't be an answer.
  bool take(std::string_view bytes) {
    const TimePoint now = Clock::now();
    while (!bytes.empty()) {
      const size_t end = bytes.find('\n');
      line_.append(bytes.substr(0, end));
      if (line_.size() > kMostLineBytes) return false;
      if (end == bytes.npos) break;
      bytes.remove_prefix(end + 1);
      if (line_.starts_with("data:")) {
        on_event(std::string_view(line_).substr(5), now);
        line_.clear();
      } else if (line_.empty() || line_ == "\r" || line_.starts_with(':')) {
        line_.clear();
      }  // else: the body of an error
    }
    return true;
  }

  void finish(const boost::system::error_code& fault, int status) {
    outcome_.error = std::move(error_);
    outcome_.latency = seconds_between(began_, Clock::now());
    outcome_.status = status;
    if (fault) {
      outcome_.error = fault.message();
    } else if (status != 200) {
      outcome_.error = line_.substr(0, kMostErrorBytes);
      if (outcome_.error.empty()) outcome_.error = fmt::format("HTTP status {}", status);
    } else if (outcome_.error.empty() && !done_) {
      outcome_.error = "the stream ended without [DONE]";
    }
    if (last_text_ != TimePoint{}) outcome_.latency = seconds_between(began_, last_text_);
    if (outcome_.n_output == 0 && outcome_.ttft > 0)
      outcome_.n_output = static_cast<int32_t>(outcome_.gaps.size()) + 1;
  }

 private:
  void on_event(std::string_view data, TimePoint now) {
    if (data.find("[DONE]") < 2) {
      done_ = true;
      return;
    }
    if (has_text(data)) {
      if (last_text_ == TimePoint{}) {
        outcome_.ttft = seconds_between(began_, now);
      } else {
        outcome_.gaps.push_back(seconds_between(last_text_, now));
      }
      last_text_ = now;
    }
    const bool has_usage = has_object(data, R"("usage")");
    const bool has_error = data.find(R"("error")") < 4;
    if (!has_usage && !has_error && !keep_text_) return;
    const Json json = Json::parse(data, nullptr, /*allow_exceptions=*/false);
    if (!json.is_object()) return;
    if (json.contains("error")) error_ = json["error"].dump().substr(0, kMostErrorBytes);
    if (json.contains("usage")) read_usage(json["usage"]);
    if (const auto* queued = find(json, {"timings", "queue_ms"}); queued && queued->is_number())
      outcome_.queued = queued->get<double>() * 1e-3;
    if (!keep_text_ || !json.contains("choices") || !json["choices"].is_array()) return;
    for (const Json& choice : json["choices"]) {
      const Json* text = find(choice, {"text"});
      if (!text) text = find(choice, {"delta", "content"});
      if (text && text->is_string()) outcome_.text += text->get<std::string>();
    }
  }

  static const Json* find(const Json& json, std::initializer_list<const char*> path) {
    const Json* at = &json;
    for (const char* name : path) {
      if (!at->is_object() || !at->contains(name)) return nullptr;
      at = &(*at)[name];
    }
    return at;
  }

  void read_usage(const Json& usage) {
    const auto whole = [](const Json& object, const char* key) {
      const auto at = object.find(key);
      return at != object.end() && at->is_number_integer() ? at->get<int32_t>() : 0;
    };
    outcome_.n_input = whole(usage, "prompt_tokens");
    outcome_.n_output = whole(usage, "completion_tokens");
    if (const auto details = usage.find("prompt_tokens_details");
        details != usage.end() && details->is_object()) {
      outcome_.n_cached = whole(*details, "cached_tokens");
    }
    const auto cost = usage.find("cost");
    if (cost == usage.end() || !cost->is_object()) return;
    if (const auto total = cost->find("total"); total != cost->end() && total->is_number())
      outcome_.cost = total->get<double>();
    if (const auto name = cost->find("currency"); name != cost->end() && name->is_string())
      outcome_.currency = name->get<std::string>();
  }

  LoadOutcome& outcome_;
  bool keep_text_;
  TimePoint began_;
  std::string line_;   // not yet complete; what an error says
  std::string error_;  // that came as an event
  TimePoint last_text_{};
  bool done_ = false;
};

double cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) * 1e-6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

// One run on its event loop.
class Client {
 public:
  Client(const LoadTarget& target,
         const Url& url,
         const std::vector<LoadRequest>& requests,
         const std::function<bool(int32_t n_ended)>& progress)
      : target_(target), url_(url), requests_(requests), progress_(progress), slot_(io_) {
    run_.outcomes.resize(requests.size());
    for (LoadOutcome& outcome : run_.outcomes) outcome.error = "not sent";
  }

  Result<LoadRun> run() {
    boost::system::error_code fault;
    addresses_ = tcp::resolver(io_).resolve(url_.host, url_.port, fault);
    if (fault) return no_resource("{}: {}", url_.host, fault.message());
    const double cpu_before = cpu_seconds();
    start_ = Clock::now();
    asio::co_spawn(io_, send_all(), asio::detached);
    asio::co_spawn(io_, watch(), asio::detached);
    io_.run();
    run_.seconds = seconds_between(start_, ended_ == TimePoint{} ? Clock::now() : ended_);
    run_.cpu_seconds = cpu_seconds() - cpu_before;
    return std::move(run_);
  }

 private:
  bool over() const { return n_ended_ == static_cast<int32_t>(requests_.size()); }

  asio::awaitable<void> send_all() {
    asio::steady_timer due(io_);
    for (size_t i = 0; i < requests_.size(); ++i) {
      due.expires_at(start_ + std::chrono::duration_cast<Clock::duration>(
                                  std::chrono::duration<double>(requests_[i].at)));
      co_await due.async_wait(asio::use_awaitable);
      while (target_.max_concurrency > 0 && n_open_ >= target_.max_concurrency) {
        slot_.expires_at(TimePoint::max());
        boost::system::error_code cancelled;
        co_await slot_.async_wait(asio::redirect_error(asio::use_awaitable, cancelled));
      }
      run_.most_at_once = std::max(run_.most_at_once, ++n_open_);
      asio::co_spawn(io_, send_one(i), asio::detached);
    }
  }

  asio::awaitable<void> send_one(size_t index) {
    LoadOutcome& outcome = run_.outcomes[index];
    outcome.error = "not ended";
    HttpCall call =
        call_for(target_, url_, target_.chat ? "/v1/chat/completions" : "/v1/completions");
    call.body() = body_of(target_, requests_[index]);
    call.prepare_payload();
    const TimePoint began = Clock::now();
    outcome.sent = seconds_between(start_, began);
    AnswerReader reader(outcome, target_.keep_text, began);
    boost::system::error_code fault;
    const int status = co_await exchange(call, reader, fault);
    reader.finish(fault, status);
    --n_open_;
    ++n_ended_;
    ended_ = Clock::now();
    slot_.cancel();
  }

  // The status of the answer, whose body goes to the reader.
  asio::awaitable<int> exchange(const HttpCall& call,
                                AnswerReader& reader,
                                boost::system::error_code& fault) {
    const auto told = [&] { return asio::redirect_error(asio::use_awaitable, fault); };
    beast::tcp_stream stream(io_);
    stream.expires_after(
        std::chrono::milliseconds(static_cast<int64_t>(target_.timeout_seconds * 1e3)));
    co_await stream.async_connect(addresses_, told());
    if (fault) co_return 0;
    stream.socket().set_option(tcp::no_delay(true), fault);
    co_await http::async_write(stream, call, told());
    if (fault) co_return 0;
    beast::flat_buffer buffer;
    http::response_parser<http::buffer_body> parser;
    parser.body_limit(boost::none);
    co_await http::async_read_header(stream, buffer, parser, told());
    if (fault) co_return 0;
    const int status = parser.get().result_int();
    char bytes[16384];
    while (!parser.is_done()) {
      parser.get().body().data = bytes;
      parser.get().body().size = sizeof(bytes);
      co_await http::async_read_some(stream, buffer, parser, told());
      if (fault == http::error::need_buffer) fault = {};
      if (fault) break;
      if (!reader.take({bytes, sizeof(bytes) - parser.get().body().size})) {
        fault = http::error::body_limit;
        break;
      }
    }
    co_return status;
  }

  asio::awaitable<void> watch() {
    asio::steady_timer timer(io_);
    while (!over()) {
      if (!progress_(n_ended_)) {
        io_.stop();
        co_return;
      }
      timer.expires_after(std::chrono::milliseconds(50));
      co_await timer.async_wait(asio::use_awaitable);
    }
    progress_(n_ended_);
  }

  asio::io_context io_;
  const LoadTarget& target_;
  const Url& url_;
  const std::vector<LoadRequest>& requests_;
  const std::function<bool(int32_t n_ended)>& progress_;
  asio::steady_timer slot_;  // waits for an answer's end
  tcp::resolver::results_type addresses_;
  TimePoint start_{}, ended_{};
  LoadRun run_;
  int32_t n_open_ = 0;
  int32_t n_ended_ = 0;
};

}  // namespace

Result<ServedModel> ask_model(const LoadTarget& target) {
  FARTHING_TRY(const Url url, parse_url(target.url, "--url"));
  const Result<HttpAnswer> answer = http_get({.url = url,
                                              .path = "/v1/models",
                                              .api_key = target.api_key,
                                              .timeout_seconds = target.timeout_seconds});
  if (!answer) {
    return no_resource(
        "no server answers at {} ({}): start one with `farthing serve`, or give "
        "another address",
        target.url,
        answer.error().message);
  }
  const std::string& body = answer->body;
  if (answer->status != 200) {
    return runtime_failure(
        "{}/v1/models answers {}: {}", target.url, answer->status, body.substr(0, kMostErrorBytes));
  }
  const Json json = Json::parse(body, nullptr, /*allow_exceptions=*/false);
  const bool good = json.is_object() && json.contains("data") && json["data"].is_array() &&
                    !json["data"].empty() && json["data"][0].is_object() &&
                    json["data"][0].contains("id") && json["data"][0]["id"].is_string();
  if (!good) return runtime_failure("{} doesn't answer as the OpenAI API does", target.url);
  ServedModel model{.id = json["data"][0]["id"]};
  const Json meta = json["data"][0].value("meta", Json());
  for (const char* key : {"vocab_size", "n_vocab"}) {
    if (meta.is_object() && meta.contains(key) && meta[key].is_number_integer())
      model.vocab_size = meta[key];
  }
  return model;
}

Result<LoadRun> run_load(const LoadTarget& target,
                         const std::vector<LoadRequest>& requests,
                         const std::function<bool(int32_t n_ended)>& progress) {
  FARTHING_TRY(const Url url, parse_url(target.url, "--url"));
  return Client(target, url, requests, progress).run();
}

}  // namespace farthing
