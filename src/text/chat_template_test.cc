#include "text/chat_template.h"

#include <gtest/gtest.h>
#include <pthread.h>

#include <ctime>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

namespace farthing {
namespace {

const std::string kGolden = FARTHING_SOURCE_DIR "/tests/golden/template/";

std::string read_file(const std::string& name) {
  std::ifstream file(kGolden + name, std::ios::binary);
  EXPECT_TRUE(file.good()) << name;
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

Json read_json(const std::string& name) {
  return Json::parse(read_file(name));
}

Result<std::string> render(const std::string& source, const ChatInput& input) {
  FARTHING_TRY(auto compiled, ChatTemplate::compile(source, "<s>", "</s>"));
  return compiled.render(input);
}

Result<std::string> render(const std::string& source, Json variables = {}) {
  ChatInput input;
  input.messages = Json::array();
  input.kwargs = std::move(variables);
  return render(source, input);
}

ChatInput input_of(const Json& conversation, const Json& tools, const std::string& now) {
  ChatInput input;
  input.messages = conversation.at("messages");
  if (conversation.contains("tools")) {
    input.tools = conversation["tools"] == "all" ? tools : conversation["tools"];
  }
  if (conversation.contains("kwargs")) input.kwargs = conversation["kwargs"];
  input.add_generation_prompt = conversation.value("add_generation_prompt", true);
  input.now = now;
  return input;
}

// `expected` is null where the reference raises.
void expect_like_reference(const std::string& source,
                           const ChatInput& input,
                           const Json& expected) {
  const auto text = render(source, input);
  if (expected.is_null()) {
    ASSERT_FALSE(text) << *text;
    EXPECT_EQ(text.error().kind, ErrorKind::kBadInput);
    EXPECT_NE(text.error().message, "");
  } else {
    ASSERT_TRUE(text) << text.error().message;
    EXPECT_EQ(*text, expected.get<std::string>());
  }
}

TEST(ChatTemplateGolden, EveryTemplateWithEveryConversation) {
  const Json expected = read_json("expected.json");
  const Json conversations = read_json("conversations.json");
  const Json tools = read_json("tools.json");
  int cases = 0;
  for (const auto& [file, chats] : expected["chats"].items()) {
    const std::string source = read_file(file);
    for (const auto& [name, text] : chats.items()) {
      SCOPED_TRACE(file + " with " + name);
      expect_like_reference(source, input_of(conversations.at(name), tools, expected["now"]), text);
      ++cases;
    }
  }
  EXPECT_GE(cases, 280);
}

TEST(ChatTemplateGolden, EverySnippet) {
  const Json expected = read_json("expected.json");
  ChatInput input;
  input.messages = Json::parse(R"([{"role": "user", "content": "hi"}])");
  input.kwargs = read_json("variables.json");
  input.now = expected["now"].get<std::string>();
  for (const Json& snippet : expected["snippets"]) {
    const auto source = snippet["source"].get<std::string>();
    SCOPED_TRACE(source);
    expect_like_reference(source, input, snippet["text"]);
  }
  EXPECT_GE(expected["snippets"].size(), 250u);
}

// What stands before the message of an error is where it happened.
TEST(ChatTemplateErrors, NameLineAndReason) {
  const struct {
    const char* source;
    const char* message;
  } kCases[] = {
      {"a\nb {{ raise_exception('roles must alternate') }}",
       "chat template, line 2: roles must alternate"},
      {"{{ raise_exception('\x1b[31mred') }}", "chat template, line 1: \\u{1b}[31mred"},
      {"\n\n{{ x.y.z }}", "chat template, line 3: 'x' is undefined"},
      {"{% if x %}\n{{ messages[0].role + 1 }}{% endif %}\n{{ messages.nope() }}",
       "chat template, line 3: 'list object' has no attribute 'nope'"},
      {"{% for x in y %}\n",
       "chat template, line 1: expected {% endfor %} or {% else %}, got the "
       "end of the template"},
      {"{{ 1 +\n}}", "chat template, line 2: expected an expression, got '}}'"},
      {"{{ 'a'|nope }}", "chat template, line 1: there is no filter named 'nope'"},
  };
  for (const auto& c : kCases) {
    const auto text = render(c.source);
    ASSERT_FALSE(text) << c.source;
    EXPECT_EQ(text.error().kind, ErrorKind::kBadInput);
    EXPECT_EQ(text.error().message, c.message);
  }
}

TEST(ChatTemplateInput, IsChecked) {
  const auto compiled = ChatTemplate::compile("{{ messages }}{{ bos_token is defined }}", "", "");
  ASSERT_TRUE(compiled);
  ChatInput input;
  EXPECT_FALSE(compiled->render(input)) << "messages are null";
  input.messages = Json::array({1});
  EXPECT_FALSE(compiled->render(input)) << "a message is a number";
  input.messages = Json::array();
  EXPECT_EQ(*compiled->render(input), "[]False");
  input.tools = "get_weather";
  EXPECT_FALSE(compiled->render(input));
  input.tools = nullptr;
  input.kwargs = Json::array();
  EXPECT_FALSE(compiled->render(input));
  input.kwargs = Json::parse(R"({"messages": []})");
  EXPECT_FALSE(compiled->render(input));
  input.kwargs = Json::parse(R"({"bos_token": "[B]"})");
  EXPECT_EQ(*compiled->render(input), "[]True");
  input.kwargs = Json{{"x", "\xff\xfe"}};
  EXPECT_FALSE(compiled->render(input)) << "no UTF-8";
  input.kwargs = nullptr;
  input.now = "yesterday";
  EXPECT_FALSE(compiled->render(input));
  EXPECT_FALSE(ChatTemplate::compile("\xff", "", ""));
}

TEST(ChatTemplateInput, DeepValuesAreRefused) {
  const auto nested = [](size_t depth) {
    Json value = "x";
    for (size_t i = 0; i < depth; ++i) value = Json::array({std::move(value)});
    return Json{{"x", std::move(value)}};
  };
  EXPECT_TRUE(render("{{ x|string|length }}", nested(60)));
  const auto text = render("{{ x|length }}", nested(5000));
  ASSERT_FALSE(text);
  EXPECT_EQ(text.error().kind, ErrorKind::kBadInput);
}

TEST(ChatTemplateInput, ClockIsReadWhenNoTimeIsGiven) {
  const auto year = render("{{ strftime_now('%Y') }}");
  ASSERT_TRUE(year);
  EXPECT_GE(*year, "2025");
}

// Templates that try to crash, to hang or to fill the memory: each has to fail, and soon.
class HostileTemplate : public testing::TestWithParam<std::string> {};

// CPU seconds of this thread: unlike the wall clock they don't depend on the machine's other work.
double cpu_seconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

TEST_P(HostileTemplate, FailsSoon) {
  const double start = cpu_seconds();
  const auto text = render(GetParam());
  const double took = cpu_seconds() - start;
  ASSERT_FALSE(text) << text->substr(0, 100);
  EXPECT_EQ(text.error().kind, ErrorKind::kBadInput);
  EXPECT_LT(text.error().message.size(), 1000u);
  EXPECT_LT(took, 1.0) << text.error().message;
  if (took > 0.3) RecordProperty("cpu_milliseconds", static_cast<int>(took * 1000));
}

std::string repeated(const std::string& text, int times) {
  std::string out;
  for (int i = 0; i < times; ++i) out += text;
  return out;
}

std::vector<std::string> hostile_templates() {
  const std::string doubling = "{% set ns = namespace(s='aaaaaaaa') %}{% for i in range(99) %}";
  const std::string end = "{% endfor %}";
  const std::string big = "{% set b = 'ab' * 10000000 %}";  // within the limits
  return {
      // Endless work.
      "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
      "{% for a in range(99999) %}{% for b in range(99999) if false %}{% endfor %}{% endfor %}",
      "{% for a in range(10**9) %}{% endfor %}",
      "{% macro m() %}{{ m() }}{{ m() }}{% endmacro %}{{ m() }}",
      "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(64) }}",
      "{% macro a() %}{{ b() }}{% endmacro %}{% macro b() %}{{ a() }}{% endmacro %}{{ a() }}",
      "{% macro m() %}{{ caller() }}{% call m() %}{{ caller() }}{% endcall %}{% endmacro %}"
      "{% call m() %}x{% endcall %}",
      "{% for x in [[1]] recursive %}{{ loop([[1]]) }}{% endfor %}",
      big + "{% for i in range(99999) %}{{ b|upper|length }}" + end,
      big + "{% for i in range(99999) %}{{ 'zz' in b }}" + end,
      big + "{% for i in range(99999) %}{{ b == b ~ '' }}" + end,
      big + "{% for i in range(99999) %}{{ b[i] }}" + end,
      big + "{% for i in range(99999) %}{{ b.replace('b', 'c')|length }}" + end,
      "{% set l = range(99999)|list %}{% for i in l %}{{ -1 in l }}{{ l|sort|length }}" + end,
      "{% set l = range(99999)|list %}{% for i in l %}{{ l|unique|list|length }}" + end,
      "{% set l = range(99999)|list %}{% for i in l %}{{ l|map('string')|join|length }}" + end,
      // Endless memory.
      "{{ 'a' * 10**9 }}",
      "{{ 'a' * 10**30 }}",
      "{{ [0] * 10**9 }}",
      "{{ [[]] * 10**30 }}",
      "{{ ('abcdefgh' * 1000000)|list }}",
      "{{ 2 ** (10**9) }}",
      "{{ 10 ** (10 ** 10) }}",
      "{{ 99999999999999999999 * 99999999999999999999999999 }}",
      doubling + "{% set ns.s = ns.s ~ ns.s %}" + end,
      doubling + "{% set ns.s = ns.s + ns.s %}" + end,
      doubling + "{% set ns.s = [ns.s, ns.s]|join %}" + end,
      doubling + "{% set ns.s = ns.s.replace('a', 'aa') %}" + end,
      doubling + "{% set ns.s = '%s%s' % (ns.s, ns.s) %}" + end,
      doubling + "{% set ns.s = '{0}{0}'.format(ns.s) %}" + end,
      doubling +
          "{% set ns.s = ns.s|urlencode|replace('%', '%%')|replace('a', 'bb') %}"
          "{% set ns.s = ns.s ~ ns.s %}" +
          end,
      doubling + "{% set x %}{{ ns.s }}{{ ns.s }}{% endset %}{% set ns.s = x %}" + end,
      doubling + "{% set ns.s = [ns.s, ns.s]|tojson %}" + end,
      doubling + "{% set ns.s = [ns.s, ns.s]|string %}" + end,
      "{% set ns = namespace(l=[1]) %}{% for i in range(99) %}{% set ns.l = ns.l + ns.l %}" + end,
      // Small values that print large: every level refers twice to the one below.
      "{% set ns = namespace(l=[1]) %}{% for i in range(99) %}{% set ns.l = [ns.l, ns.l] %}" + end +
          "{{ ns.l }}",
      "{% set ns = namespace(l=[1]) %}{% for i in range(99) %}{% set ns.l = [ns.l, ns.l] %}" + end +
          "{{ ns.l|tojson }}",
      "{% set a = namespace(l=[1]) %}{% set b = namespace(l=[1]) %}{% for i in range(99) %}"
      "{% set a.l = [a.l, a.l] %}{% set b.l = [b.l, b.l] %}" +
          end + "{{ a.l == b.l }}",
      "{% set a = namespace(l=(1,)) %}{% for i in range(99) %}{% set a.l = (a.l, a.l) %}" + end +
          "{{ {a.l: 1} }}",
      "{{ 'a'.center(10**12) }}",
      "{{ 'a'|center(10**12) }}",
      "{{ 'a'.ljust(10**12) }}{{ 'a'.zfill(10**12) }}",
      "{{ '\\t'.expandtabs(10**12) }}",
      "{{ 'a\\nb'|indent(10**12) }}",
      "{{ [1]|tojson(indent=10**12) }}",
      "{{ '%1000000000d' % 1 }}",
      "{{ '%.1000000000f' % 1 }}",
      "{{ '{:1000000000}'.format(1) }}",
      "{{ '{:.1000000000f}'.format(1.5) }}",
      "{{ [1]|batch(10**12, 0)|list }}",
      "{{ [1]|slice(10**12)|list }}",
      "{{ range(99999)|list|slice(10**9)|list }}",
      "{% for i in range(99999) %}{{ 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa' * 1000 }}" + end,
      "{% macro m() %}{% for i in range(99999) %}" + std::string(4000, 'x') + end +
          "{% endmacro %}{% set y = m() %}",
      "{% for i in range(99999) %}{% set ns = namespace(a=i, b='x' * 1000) %}" + end,
      "{% for i in range(99999) %}{% macro m() %}{% endmacro %}{% set x = range(99)|list %}" + end,
      // Too deep for the stack.
      "{{ " + repeated("(", 100000),
      "{{ " + repeated("(", 100000) + "1" + repeated(")", 100000) + " }}",
      "{{ " + repeated("[", 100000) + repeated("]", 100000) + " }}",
      "{{ " + repeated("{1:", 50000) + "1" + repeated("}", 50000) + " }}",
      "{{ " + repeated("not ", 100000) + "x }}",
      "{{ " + repeated("-", 100000) + "1 }}",
      "{{ 1" + repeated(" + 1", 100000) + " }}",
      "{{ x" + repeated(".a", 100000) + " }}",
      "{{ x" + repeated("[0]", 100000) + " }}",
      "{{ x" + repeated("|upper", 100000) + " }}",
      "{{ x" + repeated("()", 100000) + " }}",
      "{{ x" + repeated(" or x", 100000) + " }}",
      "{{ 1" + repeated(" if 1 else 1", 100000) + " }}",
      "{{ " + repeated("f(", 100000),
      repeated("{% if 1 %}", 50000) + repeated("{% endif %}", 50000),
      repeated("{% for x in y %}", 30000),
      repeated("{% macro m() %}", 30000),
      "{% set " + repeated("(", 100000) + "x",
      "{% set ns = namespace(l=[]) %}{% for i in range(99999) %}{% set ns.l = [ns.l] %}" + end,
      "{% set ns = namespace(l=[]) %}{% for i in range(99999) %}{% set ns.l = {'a': ns.l} %}" + end,
      "{% set ns = namespace(l=[]) %}{% for i in range(99999) %}{% set ns.l = [ns.l]|map('list') "
      "%}" +
          end,
      "{% set ns = namespace(l=[]) %}{% for i in range(99999) %}{% set ns.l = [ns.l.index] %}" +
          end,
      "{% set ns = namespace() %}{% set ns.me = [ns] %}{% for i in range(9999999) %}{% endfor %}",
      // Too much source.
      std::string(2000000, 'x'),
  };
}

INSTANTIATE_TEST_SUITE_P(All, HostileTemplate, testing::ValuesIn(hostile_templates()));

// The deepest nesting that is let through must fit a small stack.
TEST(ChatTemplateLimits, DeepestRenderFitsASmallStack) {
  struct Job {
    Result<std::string> text = std::string();
  } job;
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, 2 << 20);
  pthread_t thread;
  const auto body = [](void* data) -> void* {
    const std::string nested = "{% macro m() %}" + repeated("{% if 1 %}", 40) + "{{ " +
                               repeated("(1 + ", 40) + "m()|length" + repeated(")", 40) + " }}" +
                               repeated("{% endif %}", 40) + "{% endmacro %}{{ m() }}";
    static_cast<Job*>(data)->text = render(nested);
    return nullptr;
  };
  ASSERT_EQ(pthread_create(&thread, &attributes, body, &job), 0);
  pthread_join(thread, nullptr);
  pthread_attr_destroy(&attributes);
  ASSERT_FALSE(job.text);
  EXPECT_NE(job.text.error().message.find("nest too deeply"), std::string::npos);
}

TEST(ChatTemplateLimits, LongConversationsPass) {
  ChatInput input;
  input.messages = Json::array();
  for (int i = 0; i < 4000; ++i) {
    input.messages.push_back({{"role", i % 2 ? "assistant" : "user"},
                              {"content", std::string(1000, static_cast<char>('a' + i % 26))}});
  }
  for (const char* file : {"tag_turns.jinja", "strict_turns.jinja", "tags_and_thoughts.jinja"}) {
    const auto text = render(read_file(file), input);
    ASSERT_TRUE(text) << file << ": " << text.error().message;
    EXPECT_GT(text->size(), 4000000u);
  }
}

TEST(ChatTemplateThreads, OneTemplateRendersOnMany) {
  const auto compiled = ChatTemplate::compile(read_file("tag_turns.jinja"), "<s>", "</s>");
  ASSERT_TRUE(compiled);
  const Json conversations = read_json("conversations.json");
  const ChatInput input = input_of(conversations["turns"], {}, "2025-01-31");
  const std::string expected = *compiled->render(input);
  std::vector<std::thread> threads;
  std::vector<int> equal(4, 0);
  for (int& count : equal) {
    threads.emplace_back([&] {
      for (int i = 0; i < 50; ++i) count += *compiled->render(input) == expected;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(equal, std::vector<int>(4, 50));
}

}  // namespace
}  // namespace farthing
