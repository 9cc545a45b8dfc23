#include "serve/api_request.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "serve/fake_backend_for_tests.h"

namespace farthing {
namespace {

constexpr std::string_view kMessages = R"("messages":[{"role":"user","content":"Hi"}])";

class ApiRequestTest : public ::testing::Test {
 protected:
  std::variant<ApiCall, ApiError> parse(ApiKind kind, std::string_view body) {
    return parse_call(kind, body, backend_, policy_, now_);
  }
  // A chat with further fields; a completion of "Hi" with further fields.
  std::variant<ApiCall, ApiError> chat(std::string_view fields) {
    return parse(ApiKind::kChat,
                 fmt::format("{{{}{}{}}}", kMessages, fields.empty() ? "" : ",", fields));
  }
  std::variant<ApiCall, ApiError> completion(std::string_view fields) {
    return parse(ApiKind::kCompletion,
                 fmt::format(R"({{"prompt":"Hi"{}{}}})", fields.empty() ? "" : ",", fields));
  }
  static ApiCall good(std::variant<ApiCall, ApiError> result) {
    if (const auto* error = std::get_if<ApiError>(&result)) {
      ADD_FAILURE() << error->param << ": " << error->message;
      return {.requests = std::vector<Request>(1)};
    }
    return std::get<ApiCall>(std::move(result));
  }
  static ApiError bad(std::variant<ApiCall, ApiError> result) {
    if (std::holds_alternative<ApiCall>(result)) {
      ADD_FAILURE() << "was accepted";
      return {};
    }
    return std::get<ApiError>(std::move(result));
  }

  FakeBackend backend_;
  ApiPolicy policy_;
  TimePoint now_ = Clock::now();
};

TEST_F(ApiRequestTest, DefaultsAreTheApis) {
  const ApiCall call = good(chat(""));
  const Request& request = call.requests.at(0);
  EXPECT_EQ(call.n, 1);
  EXPECT_FALSE(call.stream);
  EXPECT_FALSE(call.logprobs);
  EXPECT_EQ(request.sampling.temperature, 1.0f);
  EXPECT_EQ(request.sampling.top_p, 1.0f);
  EXPECT_EQ(request.sampling.logprobs, -1);
  EXPECT_EQ(request.max_tokens, 4096 - static_cast<int32_t>(request.prompt.size()));
  EXPECT_EQ(good(completion("")).requests.at(0).max_tokens, 16);
  EXPECT_NEAR(seconds_between(now_, *request.deadline), 600, 1e-6);
}

TEST_F(ApiRequestTest, SeedIsDrawnUnlessGiven) {
  const auto seed = [&](std::string_view fields) {
    return good(chat(fields)).requests.at(0).sampling.seed;
  };
  EXPECT_NE(seed(""), seed(""));
  EXPECT_EQ(seed(R"("seed":7)"), 7u);
  EXPECT_EQ(seed(R"("seed":-1)"), UINT64_MAX);
  EXPECT_EQ(seed(R"("seed":18446744073709551615)"), UINT64_MAX);
}

TEST_F(ApiRequestTest, EveryFieldArrives) {
  const ApiCall call = good(chat(
      R"("model":"x","max_tokens":9,"max_completion_tokens":5,"temperature":0.5,"top_p":0.9,"top_k":40,
         "min_p":0.1,"n":3,"stop":["a","bc"],"seed":1,"stream":true,
         "stream_options":{"include_usage":true,"continuous_usage_stats":true},"logprobs":true,
         "top_logprobs":4,"logit_bias":{"65":-100,"66":2.5},"frequency_penalty":-2,"presence_penalty":2,
         "repetition_penalty":1.1,"ignore_eos":true,"min_tokens":2,"stop_token_ids":[10,13],
         "skip_special_tokens":false,"include_stop_str_in_output":true,"timeout_ms":1500,"priority":-3,
         "user":"u","cache_salt":"s","parallel_tool_calls":false)"));
  const Request& r = call.requests.at(0);
  const SamplingParams& s = r.sampling;
  EXPECT_EQ(call.n, 3);
  EXPECT_EQ(r.n, 3);
  EXPECT_TRUE(call.stream && call.include_usage && call.continuous_usage && call.logprobs);
  EXPECT_EQ(r.max_tokens, 5);
  EXPECT_EQ(s.temperature, 0.5f);
  EXPECT_EQ(s.top_p, 0.9f);
  EXPECT_EQ(s.top_k, 40);
  EXPECT_EQ(s.min_p, 0.1f);
  EXPECT_EQ(r.stop, (std::vector<std::string>{"a", "bc"}));
  EXPECT_EQ(s.logprobs, 4);
  EXPECT_EQ(s.logit_bias, (std::vector<std::pair<TokenId, float>>{{65, -100.0f}, {66, 2.5f}}));
  EXPECT_EQ(s.frequency_penalty, -2);
  EXPECT_EQ(s.presence_penalty, 2);
  EXPECT_EQ(s.repetition_penalty, 1.1f);
  EXPECT_TRUE(r.ignore_eos && r.include_stop && !r.skip_special);
  EXPECT_EQ(r.min_tokens, 2);
  EXPECT_EQ(r.stop_tokens, (std::vector<TokenId>{10, 13}));
  EXPECT_NEAR(seconds_between(now_, *r.deadline), 1.5, 1e-6);
  EXPECT_TRUE(call.unknown_fields.empty());
}

TEST_F(ApiRequestTest, WhatHasNoEffectPasses) {
  for (
      const char* fields : {
          R"("tools":[],"tool_choice":"none")",
          R"("tools":null,"tool_choice":"auto","functions":[])",
          R"("response_format":{"type":"text"})",
          R"("logprobs":null,"top_logprobs":null,"stop":null,"seed":null,"n":null,"stream":null)",
          R"("temperature":null,"max_tokens":null,"logit_bias":null,"stream_options":null,"user":null)",
          R"("model":null,"response_format":null,"structured_outputs":null,"suffix":"","top_k":-1)",
          R"("logit_bias":{},"stop":[],"stop_token_ids":[],"chat_template_kwargs":{})",
          R"("logprobs":false,"stream":false,"reasoning_effort":"low")",
          R"("logprobs":false,"top_logprobs":0)",
          R"("max_tokens":2147483647)",
      }) {
    SCOPED_TRACE(fields);
    const ApiCall call = good(chat(fields));
    EXPECT_TRUE(call.unknown_fields.empty());
    EXPECT_EQ(call.requests.at(0).sampling.top_k, 0);
  }
}

TEST_F(ApiRequestTest, UnknownFieldsAreListed) {
  EXPECT_EQ(good(chat(R"("foo":1,"temperature":0,"bar\r\n":{})")).unknown_fields,
            (std::vector<std::string>{"foo", "bar\r\n"}));
  EXPECT_EQ(good(completion(R"("messages":[])")).unknown_fields,
            (std::vector<std::string>{"messages"}));
}

struct BadCase {
  const char* fields;
  const char* param;
};

TEST_F(ApiRequestTest, BadValuesNameTheirField) {
  const std::string long_stop = R"("stop":")" + std::string(257, 'x') + '"';
  const BadCase cases[] = {
      {R"("temperature":2.1)", "temperature"},
      {R"("temperature":-0.1)", "temperature"},
      {R"("temperature":"hot")", "temperature"},
      {R"("temperature":true)", "temperature"},
      {R"("temperature":[1])", "temperature"},
      {R"("top_p":0)", "top_p"},
      {R"("top_p":1.01)", "top_p"},
      {R"("top_k":-2)", "top_k"},
      {R"("top_k":1.5)", "top_k"},
      {R"("top_k":99999999999999999999)", "top_k"},
      {R"("top_k":18446744073709551615)", "top_k"},
      {R"("min_p":-1)", "min_p"},
      {R"("min_p":1.5)", "min_p"},
      {R"("repetition_penalty":0)", "repetition_penalty"},
      {R"("frequency_penalty":2.5)", "frequency_penalty"},
      {R"("presence_penalty":-2.5)", "presence_penalty"},
      {R"("n":0)", "n"},
      {R"("n":9)", "n"},
      {R"("n":1.0)", "n"},
      {R"("n":"1")", "n"},
      {R"("max_tokens":-1)", "max_tokens"},
      {R"("max_tokens":1e3)", "max_tokens"},
      {R"("max_tokens":2147483648)", "max_tokens"},
      {R"("max_completion_tokens":false)", "max_completion_tokens"},
      {R"("min_tokens":5,"max_tokens":4)", "min_tokens"},
      {R"("min_tokens":-1)", "min_tokens"},
      {R"("seed":1.5)", "seed"},
      {R"("seed":"7")", "seed"},
      {R"("stop":5)", "stop"},
      {R"("stop":"")", "stop"},
      {R"("stop":["a",1])", "stop"},
      {R"("stop":["1","2","3","4","5","6","7","8","9","a","b","c","d","e","f","g","h"])", "stop"},
      {long_stop.c_str(), "stop"},
      {R"("stop_token_ids":[258])", "stop_token_ids"},
      {R"("stop_token_ids":[-1])", "stop_token_ids"},
      {R"("stop_token_ids":"a")", "stop_token_ids"},
      {R"("stream":"yes")", "stream"},
      {R"("stream":1)", "stream"},
      {R"("stream_options":{"include_usage":true})", "stream_options"},
      {R"("stream":true,"stream_options":{"include_usage":1})", "stream_options.include_usage"},
      {R"("stream":true,"stream_options":[])", "stream_options"},
      {R"("logit_bias":[])", "logit_bias"},
      {R"("logit_bias":{"x":1})", "logit_bias"},
      {R"("logit_bias":{"258":1})", "logit_bias"},
      {R"("logit_bias":{"-1":1})", "logit_bias"},
      {R"("logit_bias":{"1 ":1})", "logit_bias"},
      {R"("logit_bias":{"1":101})", "logit_bias"},
      {R"("logit_bias":{"1":"a"})", "logit_bias"},
      {R"("tools":[{"type":"function"}])", "tools"},
      {R"("tools":{"a":1})", "tools"},
      {R"("tools":"x")", "tools"},
      {R"("functions":[{}])", "functions"},
      {R"("tool_choice":"required")", "tool_choice"},
      {R"("tool_choice":{"type":"function"})", "tool_choice"},
      {R"("response_format":{"type":"json_object"})", "response_format"},
      {R"("response_format":{"type":"json_schema","json_schema":{}})", "response_format"},
      {R"("response_format":{})", "response_format"},
      {R"("response_format":"text")", "response_format"},
      {R"("structured_outputs":{"json":{}})", "structured_outputs"},
      {R"("guided_regex":"a*")", "guided_regex"},
      {R"("suffix":"x")", "suffix"},
      {R"("parallel_tool_calls":1)", "parallel_tool_calls"},
      {R"("ignore_eos":"no")", "ignore_eos"},
      {R"("skip_special_tokens":0)", "skip_special_tokens"},
      {R"("user":5)", "user"},
      {R"("cache_salt":{})", "cache_salt"},
      {R"("priority":"high")", "priority"},
      {R"("timeout_ms":0)", "timeout_ms"},
      {R"("model":5)", "model"},
  };
  for (const BadCase& c : cases) {
    for (const bool is_chat : {true, false}) {
      SCOPED_TRACE(c.fields);
      const ApiError error = bad(is_chat ? chat(c.fields) : completion(c.fields));
      EXPECT_EQ(error.status, 400);
      EXPECT_EQ(error.param, c.param) << error.message;
      EXPECT_FALSE(error.message.empty());
    }
  }
}

TEST_F(ApiRequestTest, ChatOnlyFaults) {
  const BadCase cases[] = {
      {R"("logprobs":1)", "logprobs"},
      {R"("top_logprobs":2)", "top_logprobs"},
      {R"("logprobs":false,"top_logprobs":2)", "top_logprobs"},
      {R"("logprobs":true,"top_logprobs":21)", "top_logprobs"},
      {R"("max_tokens":0)", "max_tokens"},
      {R"("reasoning_effort":"huge")", "reasoning_effort"},
      {R"("chat_template_kwargs":[])", "chat_template_kwargs"},
      {R"("add_generation_prompt":"no")", "add_generation_prompt"},
  };
  for (const BadCase& c : cases) {
    SCOPED_TRACE(c.fields);
    EXPECT_EQ(bad(chat(c.fields)).param, c.param);
  }
}

TEST_F(ApiRequestTest, Messages) {
  const std::pair<const char*, const char*> faults[] = {
      {R"(null)", "messages"},
      {R"([])", "messages"},
      {R"("hi")", "messages"},
      {R"({"role":"user"})", "messages"},
      {R"(["hi"])", "messages[0]"},
      {R"([{"content":"a"}])", "messages[0].role"},
      {R"([{"role":"user"}])", "messages[0].content"},
      {R"([{"role":5,"content":"a"}])", "messages[0].role"},
      {R"([{"role":"root","content":"a"}])", "messages[0].role"},
      {R"([{"role":"user","content":"a"},{"role":"function","content":"a"}])", "messages[1].role"},
      {R"([{"role":"user","content":5}])", "messages[0].content"},
      {R"([{"role":"user","content":{"type":"text","text":"a"}}])", "messages[0].content"},
      {R"([{"role":"user","content":["a"]}])", "messages[0].content[0]"},
      {R"([{"role":"user","content":[{"type":"text"}]}])", "messages[0].content[0].text"},
      {R"([{"role":"user","content":[{"type":"image_url","image_url":{"url":"x"}}]}])",
       "messages[0].content[0].type"},
      {R"([{"role":"user","content":"a","name":5}])", "messages[0].name"},
      {R"([{"role":"assistant","tool_calls":5}])", "messages[0].tool_calls"},
      {R"([{"role":"assistant","tool_calls":[{}]}])", "messages[0].tool_calls[0].function"},
      {R"([{"role":"assistant","tool_calls":[{"function":{}}]}])",
       "messages[0].tool_calls[0].function.name"},
      {R"([{"role":"user","content":"raise"}])", "messages"},
  };
  for (const auto& [messages, param] : faults) {
    SCOPED_TRACE(messages);
    EXPECT_EQ(bad(parse(ApiKind::kChat, fmt::format(R"({{"messages":{}}})", messages))).param,
              param);
  }
  EXPECT_EQ(bad(parse(ApiKind::kChat, "{}")).param, "messages");

  const auto prompt = [&](const char* messages) {
    const ApiCall call = good(parse(ApiKind::kChat, fmt::format(R"({{"messages":{}}})", messages)));
    return *backend_.decode(call.requests.at(0).prompt, true);
  };
  EXPECT_EQ(prompt(R"([{"role":"developer","content":"be"},{"role":"user","content":null}])"),
            "system:be\nuser:\nassistant:");
  EXPECT_EQ(
      prompt(
          R"([{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}])"),
      "user:a\nb\nassistant:");
  EXPECT_EQ(
      prompt(R"([{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":"{}"}}]},
                       {"role":"tool","content":"4","tool_call_id":"x"}])"),
      "assistant:\ntool:4\nassistant:");
}

TEST_F(ApiRequestTest, ReasoningEffortReachesTheTemplate) {
  const ApiCall call = good(chat(R"("reasoning_effort":"high","chat_template_kwargs":{"a":1})"));
  EXPECT_EQ(*backend_.decode(call.requests.at(0).prompt, true),
            "user:Hi\n{\"a\":1,\"reasoning_effort\":\"high\"}\nassistant:");
}

TEST_F(ApiRequestTest, AModelWithoutTemplateSaysSo) {
  backend_.mutable_info().has_chat_template = false;
  const ApiError error = bad(chat(""));
  EXPECT_EQ(error.status, 400);
  EXPECT_NE(error.message.find("no chat template"), std::string::npos);
  good(completion(""));
}

TEST_F(ApiRequestTest, PromptShapes) {
  const auto prompts = [&](const char* prompt) {
    const ApiCall call =
        good(parse(ApiKind::kCompletion, fmt::format(R"({{"prompt":{},"n":2}})", prompt)));
    std::vector<std::vector<TokenId>> out;
    for (const Request& r : call.requests) out.push_back(r.prompt);
    EXPECT_EQ(call.n_choices(), 2 * static_cast<int>(out.size()));
    return out;
  };
  using Lists = std::vector<std::vector<TokenId>>;
  EXPECT_EQ(prompts(R"("AB")"), (Lists{{256, 65, 66}}));
  EXPECT_EQ(prompts(R"("")"), (Lists{{256}}));
  EXPECT_EQ(prompts(R"(["A","B"])"), (Lists{{256, 65}, {256, 66}}));
  EXPECT_EQ(prompts(R"([1,2])"), (Lists{{1, 2}}));
  EXPECT_EQ(prompts(R"([[1,2],[3]])"), (Lists{{1, 2}, {3}}));

  const std::pair<const char*, const char*> faults[] = {
      {R"(null)", "prompt"},
      {R"([])", "prompt"},
      {R"(5)", "prompt"},
      {R"({})", "prompt"},
      {R"([[]])", "prompt[0]"},
      {R"(["a",[1]])", "prompt[1]"},
      {R"(["a",1])", "prompt[1]"},
      {R"([[1],"a"])", "prompt[1]"},
      {R"([1,"a"])", "prompt"},
      {R"([258])", "prompt"},
      {R"([-1])", "prompt"},
      {R"([1.5])", "prompt"},
      {R"([18446744073709551615])", "prompt"},
      {R"([[1],[300]])", "prompt[1]"},
      {R"([null])", "prompt[0]"},
  };
  for (const auto& [prompt, param] : faults) {
    SCOPED_TRACE(prompt);
    const auto result = parse(ApiKind::kCompletion, fmt::format(R"({{"prompt":{}}})", prompt));
    EXPECT_EQ(bad(result).param, param);
  }
  std::string many = R"(["a")";
  for (int i = 0; i < 32; ++i) many += R"(,"a")";
  EXPECT_EQ(bad(parse(ApiKind::kCompletion, R"({"prompt":)" + many + "]}")).param, "prompt");
}

TEST_F(ApiRequestTest, ControlTokensStayTextUnlessAskedFor) {
  EXPECT_EQ(good(parse(ApiKind::kCompletion, R"({"prompt":"</s>"})")).requests.at(0).prompt.size(),
            5u);
  EXPECT_EQ(good(parse(ApiKind::kCompletion, R"({"prompt":"</s>","parse_special":true})"))
                .requests.at(0)
                .prompt,
            (std::vector<TokenId>{256, 257}));
}

TEST_F(ApiRequestTest, CompletionFields) {
  EXPECT_EQ(good(completion(R"("echo":true)")).echo, (std::vector<std::string>{"Hi"}));
  EXPECT_EQ(good(parse(ApiKind::kCompletion, R"({"prompt":[72,105],"echo":true})")).echo,
            (std::vector<std::string>{"Hi"}));
  EXPECT_EQ(good(completion(R"("best_of":2,"n":2)")).n, 2);
  EXPECT_EQ(good(completion(R"("logprobs":0)")).requests.at(0).sampling.logprobs, 0);
  EXPECT_EQ(good(completion(R"("max_tokens":0)")).requests.at(0).max_tokens, 0);
  EXPECT_EQ(bad(completion(R"("best_of":3,"n":2)")).param, "best_of");
  EXPECT_EQ(bad(completion(R"("logprobs":21)")).param, "logprobs");
  EXPECT_EQ(bad(completion(R"("logprobs":true)")).param, "logprobs");
  EXPECT_EQ(bad(completion(R"("echo":1)")).param, "echo");
  EXPECT_TRUE(good(completion(R"("echo":true,"logprobs":1)")).requests.at(0).score_prompt);
  EXPECT_FALSE(good(completion(R"("logprobs":1)")).requests.at(0).score_prompt);
  EXPECT_FALSE(good(completion(R"("echo":true)")).requests.at(0).score_prompt);
  EXPECT_EQ(bad(completion(R"("echo":true,"logprobs":1,"n":2)")).param, "echo");
  EXPECT_TRUE(good(completion(R"("return_tokens_as_token_ids":true)")).tokens_as_ids);
  EXPECT_EQ(bad(completion(R"("return_tokens_as_token_ids":1)")).param,
            "return_tokens_as_token_ids");
}

TEST_F(ApiRequestTest, TooLongPromptIsNeverCut) {
  const std::string text(4095, 'a');  // and BOS
  const ApiError error =
      bad(parse(ApiKind::kCompletion, fmt::format(R"({{"prompt":"{}"}})", text)));
  EXPECT_EQ(error.status, 400);
  EXPECT_EQ(error.code, "context_length_exceeded");
  EXPECT_EQ(error.param, "prompt");
  EXPECT_NE(error.message.find("4096 tokens"), std::string::npos);
  EXPECT_NE(error.message.find("4095"), std::string::npos);
  const ApiCall fits =
      good(parse(ApiKind::kCompletion, fmt::format(R"({{"prompt":"{}"}})", text.substr(1))));
  EXPECT_EQ(fits.requests.at(0).max_tokens, 1);
}

TEST_F(ApiRequestTest, StrictModel) {
  EXPECT_TRUE(std::holds_alternative<ApiCall>(chat(R"("model":"other")")));
  policy_.strict_model = true;
  EXPECT_EQ(bad(chat(R"("model":"other")")).status, 404);
  EXPECT_EQ(bad(chat(R"("model":"other")")).code, "model_not_found");
  good(chat(R"("model":"fake-model")"));
  good(chat(""));
}

TEST_F(ApiRequestTest, BodiesThatAreNoJsonObject) {
  for (const char* body : {"",
                           " ",
                           "{",
                           "[]",
                           "5",
                           "\"x\"",
                           "null",
                           "{\"a\":1}}",
                           "{'a':1}",
                           "{\"a\":01}",
                           "{\"a\":\"\xff\"}",
                           "{\"a\":\"\\ud800\"}",
                           "{\"a\":\"\xed\xa0\x80\"}",
                           "{\"a\":\"\xc0\xaf\"}",
                           "{\"a\":NaN}",
                           "{\"a\":1e999}",
                           "{\"a\":\"\x01\"}"}) {
    SCOPED_TRACE(body);
    EXPECT_EQ(bad(parse(ApiKind::kChat, body)).status, 400);
  }
}

}  // namespace
}  // namespace farthing
