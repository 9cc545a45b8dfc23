// What the server did: how many answers of each status, and how each of the last calls went.
// Does not know: content. Invariant: at most kKept calls. Any thread.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

namespace farthing {

class ServerLog {
 public:
  static constexpr size_t kKept = 1000;

  struct Call {
    uint64_t caller = 0;
    std::string id;           // in the answer: "chatcmpl-..."
    std::string request_id;   // X-Request-Id
    std::string explanation;  // JSON
  };

  void count_answer(int status);
  std::map<int, int64_t> answers() const;  // by status

  void add(Call call);
  // The latest call of this caller with that id, either of the two.
  std::optional<std::string> explanation(uint64_t caller, std::string_view id) const;

 private:
  mutable std::mutex mutex_;
  std::map<int, int64_t> answers_;
  std::deque<Call> calls_;  // the latest last
};

}  // namespace farthing
