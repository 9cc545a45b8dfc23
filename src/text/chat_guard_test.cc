#include "text/chat_guard.h"

#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <vector>

namespace farthing {
namespace {

const std::string kGuard = "\xEF\xB7\x90";  // U+FDD0

constexpr std::string_view kSpellings[] = {
    "<|im_start|>", "<|im_end|>", "<|", "<s>", "</s>", "[INST]", "▁<x>"};

Guarded guard(ChatInput input) {
  auto guarded = guard_chat(std::move(input), kSpellings);
  EXPECT_TRUE(guarded);
  return *std::move(guarded);
}

ChatInput saying(std::string content) {
  ChatInput input;
  input.messages = Json::array({{{"role", "user"}, {"content", std::move(content)}}});
  return input;
}

std::string guarded_content(const std::string& content) {
  return guard(saying(content)).input.messages[0]["content"];
}

TEST(ChatGuard, HarmlessTextIsUntouched) {
  const Guarded guarded = guard(saying("Hello < world | im_end INST"));
  EXPECT_EQ(guarded.guard, U'\0');
  EXPECT_EQ(guarded.input.messages[0]["content"], "Hello < world | im_end INST");
}

TEST(ChatGuard, BreaksEachSpellingBehindItsFirstCharacter) {
  const Guarded guarded = guard(saying("a<s>b"));
  EXPECT_EQ(guarded.guard, U'\uFDD0');
  EXPECT_EQ(guarded.input.messages[0]["content"], "a<" + kGuard + "s>b");
  EXPECT_EQ(guarded_content("<s></s>"), "<" + kGuard + "s><" + kGuard + "/s>");
  EXPECT_EQ(guarded_content("▁<x>"), "▁" + kGuard + "<x>");
}

TEST(ChatGuard, NoSpellingSurvives) {
  // Overlapping, nested and repeated: whatever is left between guards spells nothing.
  for (const char* text : {"<<s>s>",
                           "<|<|im_end|>",
                           "<|im_<|im_end|>end|>",
                           "<s<s<s>>>",
                           "[INST][INST]",
                           "<|im_start|><|im_end|></s><s>",
                           "<|<|<|"}) {
    const std::string content = guarded_content(text);
    for (const std::string_view spelling : kSpellings) {
      EXPECT_EQ(content.find(spelling), std::string::npos) << text << " holds " << spelling;
    }
    std::string restored = content;
    for (size_t at; (at = restored.find(kGuard)) != std::string::npos;) {
      restored.erase(at, kGuard.size());
    }
    EXPECT_EQ(restored, text);
  }
}

TEST(ChatGuard, ReachesEveryValueAndNoKeyOrRole) {
  ChatInput input;
  input.messages =
      Json::parse(R"([{"role": "<s>", "name": "<s>", "content": [{"type": "text", "text": "<s>"}],
      "tool_calls": [{"function": {"name": "f<s>", "arguments": {"<s>": "<s>", "n": 1, "l": ["<s>"]}}}]}])");
  input.tools = Json::parse(R"([{"function": {"description": "</s>"}}])");
  input.kwargs = Json::parse(R"({"system": "<s>"})");
  const Guarded guarded = guard(input);
  const std::string broken = "<" + kGuard + "s>";
  const Json& message = guarded.input.messages[0];
  EXPECT_EQ(message["role"], "<s>");
  EXPECT_EQ(message["name"], broken);
  EXPECT_EQ(message["content"][0]["text"], broken);
  EXPECT_EQ(message["tool_calls"][0]["function"]["name"], "f" + broken);
  const Json& arguments = message["tool_calls"][0]["function"]["arguments"];
  EXPECT_EQ(arguments["<s>"], broken);
  EXPECT_EQ(arguments["n"], 1);
  EXPECT_EQ(arguments["l"][0], broken);
  EXPECT_EQ(guarded.input.tools[0]["function"]["description"], "<" + kGuard + "/s>");
  EXPECT_EQ(guarded.input.kwargs["system"], broken);
}

TEST(ChatGuard, TakesACodePointThatTheInputDoesNotHold) {
  const Guarded guarded = guard(saying("<s>\xEF\xB7\x90\xEF\xB7\x91"));
  EXPECT_EQ(guarded.guard, U'\uFDD2');
  EXPECT_EQ(guarded.input.messages[0]["content"], "<\xEF\xB7\x92s>\xEF\xB7\x90\xEF\xB7\x91");
}

TEST(ChatGuard, FailsWhenTheInputHoldsThemAll) {
  std::string all;
  for (int i = 0; i < 32; ++i) all += std::string("\xEF\xB7") + static_cast<char>(0x90 + i);
  EXPECT_EQ(guarded_content(all), all) << "nothing to guard, nothing to refuse";
  const auto guarded = guard_chat(saying(all + "<s>"), kSpellings);
  ASSERT_FALSE(guarded);
  EXPECT_EQ(guarded.error().kind, ErrorKind::kBadInput);
}

TEST(ChatGuard, SpellingsOfOneCharacterOrNoneAreLeftAlone) {
  constexpr std::string_view kOdd[] = {"", "x", "é"};
  const auto guarded = guard_chat(saying("x é"), kOdd);
  ASSERT_TRUE(guarded);
  EXPECT_EQ(guarded->guard, U'\0');
}

// The guard goes through a template like any character, also where a value is printed as Python or
// as JSON shows it.
TEST(ChatGuard, ComesOutOfATemplateAsItWentIn) {
  const auto compiled = ChatTemplate::compile(
      "<|im_start|>{{ messages[0].content|trim }}|{{ messages[0] }}|{{ messages|tojson }}|"
      "{{ messages|tojson(ensure_ascii=true) }}<|im_end|>",
      "",
      "");
  ASSERT_TRUE(compiled);
  const auto text = compiled->render(guard(saying(" <|im_end|> ")).input);
  ASSERT_TRUE(text);
  const std::string broken = "<" + kGuard + "|im_end|>";
  EXPECT_EQ(*text,
            "<|im_start|>" + broken + "|{'role': 'user', 'content': ' " + broken +
                " '}|[{\"role\": \"user\", \"content\": \" " + broken +
                " \"}]|[{\"role\": \"user\", \"content\": \" " + broken + " \"}]<|im_end|>");
}

TEST(ChatGuard, IsQuickForLongTextAndManySpellings) {
  std::vector<std::string> names;
  for (int i = 0; i < 300; ++i) names.push_back(fmt::format("<|reserved_special_token_{}|>", i));
  const std::vector<std::string_view> spellings(names.begin(), names.end());
  std::string text;
  while (text.size() < 100000) text += "<|reserved_special_token_<|";
  const auto start = std::chrono::steady_clock::now();
  const auto guarded = guard_chat(saying(text), spellings);
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  ASSERT_TRUE(guarded);
  EXPECT_EQ(guarded->guard, U'\0');
  EXPECT_LT(took.count(), 1.0);
}

}  // namespace
}  // namespace farthing
