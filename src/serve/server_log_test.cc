#include "serve/server_log.h"

#include <gtest/gtest.h>

namespace farthing {
namespace {

TEST(ServerLog, CallersSeeTheirOwnCallsOnly) {
  ServerLog log;
  log.add({.caller = 1, .id = "a", .request_id = "r", .explanation = "one"});
  log.add({.caller = 2, .id = "b", .request_id = "r", .explanation = "two"});
  EXPECT_EQ(log.explanation(1, "a"), "one");
  EXPECT_EQ(log.explanation(1, "r"), "one");
  EXPECT_EQ(log.explanation(2, "r"), "two");
  EXPECT_EQ(log.explanation(2, "a"), std::nullopt);
  EXPECT_EQ(log.explanation(0, "a"), std::nullopt);
}

TEST(ServerLog, TheLatestOfAnIdCountsAndOldOnesGo) {
  ServerLog log;
  log.add({.id = "first", .request_id = "x", .explanation = "old"});
  log.add({.id = "second", .request_id = "x", .explanation = "new"});
  EXPECT_EQ(log.explanation(0, "x"), "new");
  for (size_t i = 0; i + 1 < ServerLog::kKept; ++i)
    log.add({.id = std::to_string(i), .request_id = "", .explanation = "more"});
  EXPECT_EQ(log.explanation(0, "first"), std::nullopt);
  EXPECT_EQ(log.explanation(0, "second"), "new");
}

TEST(ServerLog, CountsAnswersByStatus) {
  ServerLog log;
  for (int status : {200, 503, 200}) log.count_answer(status);
  EXPECT_EQ(log.answers(), (std::map<int, int64_t>{{200, 2}, {503, 1}}));
}

}  // namespace
}  // namespace farthing
