#include "serve/api_response.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "base/json.h"
#include "serve/fake_backend_for_tests.h"

namespace farthing {
namespace {

TokenEvent token(std::string text, uint32_t sample = 0) {
  TokenEvent event{.sample = sample, .token = 65};
  event.text = std::move(text);
  return event;
}

RequestEnd request_end(int32_t completion_tokens) {
  RequestEnd end;
  end.usage = {.prompt_tokens = 3, .cached_tokens = 1, .completion_tokens = completion_tokens};
  end.timings = {.queue_seconds = 0.001, .prefill_seconds = 0.5, .decode_seconds = 0.25};
  return end;
}

class ApiResponseTest : public ::testing::Test {
 protected:
  static ApiCall call(ApiKind kind, bool stream, int n = 1) {
    ApiCall c{.kind = kind, .n = n, .stream = stream};
    c.requests.resize(1);
    c.requests[0].prompt = {1, 2, 3};
    c.requests[0].n = n;
    return c;
  }
  // The events through a response; gives the SSE bytes.
  std::string run(const ApiCall& c, const std::vector<Event>& events) {
    ApiResponse response(c, backend_, "id-1", 1700000000);
    std::string out;
    for (const Event& event : events) response.add(0, event, &out);
    EXPECT_TRUE(response.finished());
    if (!c.stream) {
      EXPECT_EQ(out, "");
      reply_ = response.reply();
    }
    return out;
  }
  // The JSON of each "data:" line; "[DONE]" becomes the string.
  static std::vector<Json> chunks(const std::string& sse) {
    std::vector<Json> out;
    for (size_t at = 0; at < sse.size();) {
      const size_t end = sse.find("\n\n", at);
      EXPECT_NE(end, std::string::npos);
      const std::string line = sse.substr(at, end - at);
      EXPECT_TRUE(line.starts_with("data: ")) << line;
      EXPECT_EQ(line.find('\n'), std::string::npos) << line;
      const std::string data = line.substr(6);
      out.push_back(data == "[DONE]" ? Json(data) : Json::parse(data));
      at = end + 2;
    }
    return out;
  }

  FakeBackend backend_;
  HttpReply reply_;
};

TEST_F(ApiResponseTest, ChatReplyHasTheDocumentedShape) {
  run(call(ApiKind::kChat, false),
      {token("Hé"),
       token("\"\\\n"),
       SampleEnd{.reason = FinishReason::kStop, .text = "!"},
       request_end(2)});
  EXPECT_EQ(reply_.status, 200);
  const Json j = Json::parse(reply_.body);
  EXPECT_EQ(j["id"], "id-1");
  EXPECT_EQ(j["object"], "chat.completion");
  EXPECT_EQ(j["created"], 1700000000);
  EXPECT_EQ(j["model"], "fake-model");
  EXPECT_EQ(j["system_fingerprint"], "fp_1");
  EXPECT_EQ(j["choices"],
            Json::parse(
                R"([{"index":0,"message":{"role":"assistant","content":"Hé\"\\\n!","refusal":null},
                             "logprobs":null,"finish_reason":"stop"}])"));
  EXPECT_EQ(j["usage"], Json::parse(R"({"prompt_tokens":3,"completion_tokens":2,"total_tokens":5,
                            "prompt_tokens_details":{"cached_tokens":1,"cache_miss_reason":"off"}})"));
  EXPECT_EQ(j["timings"]["cache_n"], 1);
  EXPECT_EQ(j["timings"]["prompt_n"], 2);
  EXPECT_EQ(j["timings"]["prompt_ms"], 500.0);
  EXPECT_EQ(j["timings"]["prompt_per_second"], 4.0);
  EXPECT_EQ(j["timings"]["predicted_n"], 2);
  EXPECT_EQ(j["timings"]["predicted_ms"], 250.0);
}

TEST_F(ApiResponseTest, StreamPutsTheRoleIntoTheFirstTokensChunk) {
  const auto c = chunks(run(call(ApiKind::kChat, true),
                            {token(""), token("Hi"), token(" you"), SampleEnd{}, request_end(3)}));
  ASSERT_EQ(c.size(), 4u);
  EXPECT_EQ(c[0]["object"], "chat.completion.chunk");
  EXPECT_EQ(c[0]["choices"][0],
            Json::parse(R"({"index":0,"delta":{"role":"assistant","content":"Hi"},"logprobs":null,
                            "finish_reason":null})"));
  EXPECT_EQ(c[1]["choices"][0]["delta"], Json::parse(R"({"content":" you"})"));
  EXPECT_EQ(c[2]["choices"][0]["delta"], Json::object());
  EXPECT_EQ(c[2]["choices"][0]["finish_reason"], "stop");
  EXPECT_TRUE(c[2].contains("timings"));
  EXPECT_EQ(c[3], "[DONE]");
  for (size_t i = 0; i < 2; ++i) EXPECT_FALSE(c[i].contains("usage"));
  EXPECT_EQ(c[2]["usage"]["total_tokens"], 6);  // nobody asked, but what it cost is always told
}

TEST_F(ApiResponseTest, UsageChunk) {
  ApiCall with_usage = call(ApiKind::kChat, true);
  with_usage.include_usage = true;
  auto c = chunks(run(with_usage, {token("Hi"), SampleEnd{}, request_end(1)}));
  ASSERT_EQ(c.size(), 4u);
  EXPECT_TRUE(c[0]["usage"].is_null() && c[1]["usage"].is_null());
  EXPECT_EQ(c[2]["choices"], Json::array());
  EXPECT_EQ(c[2]["usage"]["total_tokens"], 4);
  EXPECT_TRUE(c[2].contains("timings"));
  EXPECT_FALSE(c[1].contains("timings"));
  EXPECT_EQ(c[3], "[DONE]");

  with_usage.continuous_usage = true;
  c = chunks(run(with_usage, {token("a"), token("b"), SampleEnd{}, request_end(2)}));
  EXPECT_EQ(c[0]["usage"]["completion_tokens"], 1);
  EXPECT_EQ(c[1]["usage"]["completion_tokens"], 2);
  EXPECT_EQ(c[0]["usage"]["prompt_tokens"], 3);
  // What was cached isn't known before the end, and nothing is said of it.
  EXPECT_FALSE(c[0]["usage"].contains("prompt_tokens_details"));
  EXPECT_TRUE(c[3]["usage"].contains("prompt_tokens_details")) << c[3];
}

TEST_F(ApiResponseTest, AnAnswerWithoutTextStillHasARole) {
  const auto c = chunks(run(call(ApiKind::kChat, true), {token(""), SampleEnd{}, request_end(1)}));
  ASSERT_EQ(c.size(), 2u);
  EXPECT_EQ(c[0]["choices"][0]["delta"], Json::parse(R"({"role":"assistant","content":""})"));
  EXPECT_EQ(c[0]["choices"][0]["finish_reason"], "stop");
}

TEST_F(ApiResponseTest, HeldBackTextComesBeforeTheFinish) {
  const auto c = chunks(
      run(call(ApiKind::kCompletion, true),
          {token("a"), SampleEnd{.reason = FinishReason::kLength, .text = "bc"}, request_end(1)}));
  ASSERT_EQ(c.size(), 4u);
  EXPECT_EQ(c[0]["object"], "text_completion");
  EXPECT_EQ(c[1]["choices"][0]["text"], "bc");
  EXPECT_TRUE(c[1]["choices"][0]["finish_reason"].is_null());
  EXPECT_EQ(c[2]["choices"][0]["finish_reason"], "length");
}

TEST_F(ApiResponseTest, SamplesAndPromptsHaveTheirIndex) {
  ApiCall c = call(ApiKind::kCompletion, false, 2);
  c.requests.push_back(c.requests[0]);
  c.echo = {"p0:", "p1:"};
  ApiResponse response(c, backend_, "id", 1);
  for (size_t prompt : {1u, 0u}) {
    for (uint32_t sample : {1u, 0u}) {
      response.add(prompt, token(fmt::format("{}{}", prompt, sample), sample), nullptr);
      response.add(prompt, SampleEnd{.sample = sample}, nullptr);
    }
    EXPECT_FALSE(response.finished());
    response.add(prompt, request_end(2), nullptr);
  }
  EXPECT_TRUE(response.finished());
  const Json j = Json::parse(response.reply().body);
  ASSERT_EQ(j["choices"].size(), 4u);
  const char* texts[] = {"p0:00", "p0:01", "p1:10", "p1:11"};
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(j["choices"][i]["index"], i);
    EXPECT_EQ(j["choices"][i]["text"], texts[i]);
  }
  EXPECT_EQ(j["usage"]["prompt_tokens"], 6);
  EXPECT_EQ(j["usage"]["completion_tokens"], 4);
}

TEST_F(ApiResponseTest, Logprobs) {
  TokenEvent event = token("A");
  event.logprob = TokenLogprob{0xC3, -0.5f};  // half a character
  event.top = {{65, -0.25f}, {66, -INFINITY}};
  ApiCall c = call(ApiKind::kChat, false);
  c.logprobs = true;
  run(c, {event, SampleEnd{}, request_end(1)});
  EXPECT_EQ(Json::parse(reply_.body)["choices"][0]["logprobs"],
            Json::parse(R"({"content":[{"token":"�","logprob":-0.5,"bytes":[195],"top_logprobs":[
                              {"token":"A","logprob":-0.25,"bytes":[65]},
                              {"token":"B","logprob":-9999.0,"bytes":[66]}]}],"refusal":null})"));

  c = call(ApiKind::kCompletion, false);
  c.logprobs = true;
  TokenEvent second = token("B");
  second.logprob = TokenLogprob{66, -1.0f};
  second.top = {{66, -1.0f}};
  run(c, {event, second, SampleEnd{}, request_end(2)});
  EXPECT_EQ(Json::parse(reply_.body)["choices"][0]["logprobs"],
            Json::parse(R"({"tokens":["�","B"],"token_logprobs":[-0.5,-1.0],
                            "top_logprobs":[{"A":-0.25,"B":-9999.0,"�":-0.5},{"B":-1.0}],
                            "text_offset":[0,1]})"));
  c.tokens_as_ids = true;
  run(c, {second, SampleEnd{}, request_end(1)});
  EXPECT_EQ(Json::parse(reply_.body)["choices"][0]["logprobs"],
            Json::parse(R"({"tokens":["token_id:66"],"token_logprobs":[-1.0],
                            "top_logprobs":[{"token_id:66":-1.0}],"text_offset":[0]})"));
}

// With echo the prompt's tokens stand before the answer's; the first of them has no logprob, and is
// not in the text if it is one that isn't shown.
TEST_F(ApiResponseTest, LogprobsOfAnEchoedPrompt) {
  TokenEvent of_prompt{.token = 66, .of_prompt = true, .logprob = TokenLogprob{66, -2.0f}};
  of_prompt.top = {{67, -0.5f}};
  TokenEvent answer = token("D");
  answer.logprob = TokenLogprob{68, -1.0f};
  answer.top = {{68, -1.0f}};
  ApiCall c = call(ApiKind::kCompletion, false);
  c.logprobs = true;
  c.requests[0].prompt = {65, 66};
  c.echo = {"AB"};
  run(c, {of_prompt, answer, SampleEnd{}, request_end(1)});
  Json j = Json::parse(reply_.body);
  EXPECT_EQ(j["choices"][0]["text"], "ABD");
  EXPECT_EQ(j["choices"][0]["logprobs"],
            Json::parse(R"({"tokens":["A","B","D"],"token_logprobs":[null,-2.0,-1.0],
                            "top_logprobs":[null,{"C":-0.5,"B":-2.0},{"D":-1.0}],
                            "text_offset":[0,1,2]})"));
  EXPECT_EQ(j["usage"]["completion_tokens"], 1);
  c.echo = {"B"};
  run(c, {of_prompt, answer, SampleEnd{}, request_end(1)});
  j = Json::parse(reply_.body);
  EXPECT_EQ(j["choices"][0]["logprobs"]["text_offset"], Json::parse("[0,0,1]"));

  // Streamed: nothing is sent before the first token of the answer.
  c.stream = true;
  const auto out = chunks(run(c, {of_prompt, answer, SampleEnd{}, request_end(1)}));
  ASSERT_EQ(out.size(), 3u);
  EXPECT_EQ(out[0]["choices"][0]["text"], "BD");
  EXPECT_EQ(out[0]["choices"][0]["logprobs"]["tokens"].size(), 3u);
}

TEST_F(ApiResponseTest, StreamedLogprobsOfTextlessTokensAreNotLost) {
  ApiCall c = call(ApiKind::kChat, true);
  c.logprobs = true;
  std::vector<Event> events;
  for (const char* text : {"", "A", ""}) {
    TokenEvent event = token(text);
    event.logprob = TokenLogprob{65, -0.5f};
    events.emplace_back(event);
  }
  events.emplace_back(SampleEnd{});
  events.emplace_back(request_end(3));
  const auto out = chunks(run(c, events));
  ASSERT_EQ(out.size(), 3u);
  EXPECT_EQ(out[0]["choices"][0]["logprobs"]["content"].size(), 2u);
  EXPECT_EQ(out[1]["choices"][0]["logprobs"]["content"].size(), 1u);
}

TEST_F(ApiResponseTest, FailuresAreToldOnceAndWithoutDone) {
  RequestEnd broken;
  broken.error = runtime_failure("the disk is on fire");
  const auto c = chunks(run(call(ApiKind::kChat, true), {token("a"), broken, token("b")}));
  ASSERT_EQ(c.size(), 2u);
  EXPECT_EQ(c[1]["error"]["message"], "the disk is on fire");
  EXPECT_EQ(c[1]["error"]["type"], "server_error");

  run(call(ApiKind::kChat, false),
      {token("a"), SampleEnd{.reason = FinishReason::kDeadline}, request_end(1)});
  EXPECT_EQ(reply_.status, 504);
  run(call(ApiKind::kChat, false), {SampleEnd{.reason = FinishReason::kCancelled}, request_end(0)});
  EXPECT_EQ(reply_.status, 503);
  run(call(ApiKind::kChat, false), {request_end(0)});  // an engine that forgets a sample
  EXPECT_EQ(reply_.status, 500);
}

// 3.60 an hour is 0.001 a second; 500 s of prompt, 250 s of two tokens.
TEST_F(ApiResponseTest, TheCostStandsInTheUsage) {
  backend_.mutable_price() = *rented("EUR", per_hour(Money{3.6}));
  RequestEnd end = request_end(2);
  end.timings.prompt_busy_seconds = 500;
  end.timings.completion_busy_seconds = 250;
  const std::vector<Event> events = {token("a"), token("b"), SampleEnd{}, end};
  const Json cost = Json::parse(R"({"prompt":0.5,"cached":0,"completion":0.25,"total":0.75,
                                    "currency":"EUR","per_million":375000,"basis":"used"})");
  run(call(ApiKind::kChat, false), events);
  EXPECT_EQ(Json::parse(reply_.body)["usage"]["cost"], cost);

  ApiCall streamed = call(ApiKind::kChat, true);
  streamed.include_usage = streamed.continuous_usage = true;
  const auto out = chunks(run(streamed, events));
  EXPECT_FALSE(out[0]["usage"].contains("cost"));  // not known before the end
  EXPECT_EQ(out.at(out.size() - 2)["usage"]["cost"], cost);

  end.usage.completion_tokens = 0;
  run(call(ApiKind::kCompletion, false), {SampleEnd{}, end});
  EXPECT_EQ(Json::parse(reply_.body)["usage"]["cost"]["per_million"], nullptr);
}

TEST_F(ApiResponseTest, ExplainsWhereTheTimeWent) {
  const ApiCall c = call(ApiKind::kChat, false);
  ApiResponse response(c, backend_, "id-1", 1);
  RequestEnd end = request_end(1);
  end.timeline.waited[static_cast<size_t>(WaitReason::kBlocks)] = 0.25;
  end.timeline.n_preempted = 2;
  end.timeline.n_prefill_steps = 3;
  end.timeline.cuts[static_cast<size_t>(SliceCut::kItl)] = 2;
  end.timeline.finish = FinishReason::kDeadline;
  response.add(0, token("secret"), nullptr);
  response.add(0, SampleEnd{.reason = FinishReason::kDeadline}, nullptr);
  EXPECT_FALSE(response.finished());  // the times come with the request's end
  response.add(0, end, nullptr);
  ASSERT_TRUE(response.finished());
  const std::string text = response.explanation("req-9", 504);
  EXPECT_EQ(text.find("secret"), std::string::npos);
  const Json json = Json::parse(text);
  EXPECT_EQ(json["id"], "id-1");
  EXPECT_EQ(json["request_id"], "req-9");
  EXPECT_EQ(json["status"], 504);
  EXPECT_EQ(json["finish_reason"], "deadline");
  EXPECT_EQ(json["queue"]["reasons_ms"]["kv_full"], 250.0);
  EXPECT_EQ(json["prefill"]["steps"], 3);
  EXPECT_EQ(json["prefill"]["cut_by"], Json::parse(R"({"itl":2,"time":0,"chunk":0,"budget":0})"));
  EXPECT_EQ(json["preemptions"], 2);
  EXPECT_EQ(json["usage"]["prompt_tokens"], 3);
}

TEST_F(ApiResponseTest, InvalidBytesNeverReachTheWire) {
  const std::string sse = run(call(ApiKind::kChat, true),
                              {token("a\xff\xed\xa0\x80z\x7f"), SampleEnd{}, request_end(1)});
  EXPECT_EQ(chunks(sse)[0]["choices"][0]["delta"]["content"], "a����z\x7f");
}

TEST(Timings, TellOfDrafts) {
  Timings timings{.decode_seconds = 1};
  EXPECT_FALSE(Json::parse(timings_json({}, timings)).contains("draft_n"));
  DraftTimings& d = timings.drafts;
  d = {.drafted_tokens = 9, .accepted_tokens = 5, .steps = 4, .tokens = 9};
  d.drafted_at = {4, 3, 2};
  d.accepted_at = {4, 1, 0};
  d.seconds = 2;
  d.plain_seconds = 3;
  const Json j = Json::parse(timings_json({}, timings));
  EXPECT_EQ(j["draft_n"], 9);
  EXPECT_EQ(j["draft_n_accepted"], 5);
  EXPECT_EQ(j["draft_n_by_place"], Json({4, 3, 2}));
  EXPECT_EQ(j["draft_n_accepted_by_place"], Json({4, 1, 0}));
  EXPECT_EQ(j["predicted_per_step"], 2.25);
  EXPECT_EQ(j["draft_speedup"], 1.5);
}

}  // namespace
}  // namespace farthing
