#include "serve/server_log.h"

#include <ranges>
#include <utility>

namespace farthing {

void ServerLog::count_answer(int status) {
  const std::lock_guard lock(mutex_);
  ++answers_[status];
}

std::map<int, int64_t> ServerLog::answers() const {
  const std::lock_guard lock(mutex_);
  return answers_;
}

void ServerLog::add(Call call) {
  const std::lock_guard lock(mutex_);
  if (calls_.size() == kKept) calls_.pop_front();
  calls_.push_back(std::move(call));
}

std::optional<std::string> ServerLog::explanation(uint64_t caller, std::string_view id) const {
  const std::lock_guard lock(mutex_);
  for (const Call& call : std::views::reverse(calls_)) {
    if (call.caller == caller && (call.id == id || call.request_id == id)) return call.explanation;
  }
  return std::nullopt;
}

}  // namespace farthing
