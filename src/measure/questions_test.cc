#include "measure/questions.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>

namespace farthing {
namespace {

// A play of four who speak in turn, in lines of words that no other line has in that order.
std::string play() {
  std::mt19937 random(5);
  std::string text;
  constexpr std::array kNames = {"HAMLET", "GHOST", "QUEEN", "FIRST LORD"};
  for (int speech = 0; speech < 120; ++speech) {
    text += fmt::format("{}\n", kNames[random() % kNames.size()]);
    for (int line = 0; line < 4; ++line) {
      for (int word = 0; word < 7; ++word)
        text += fmt::format(
            "{}{}", word == 0 ? "" : " ", std::string(4 + random() % 3, 'a' + random() % 26));
      text += '\n';
    }
  }
  return text;
}

std::map<Task, int> count_by_task(const std::vector<Question>& questions) {
  std::map<Task, int> counts;
  for (const Question& question : questions) ++counts[question.task];
  return counts;
}

TEST(Questions, OfEveryTaskAndAlwaysTheSame) {
  const std::string text = play();
  const std::vector<Question> questions = make_questions(text, 20, 1);
  const std::map<Task, int> counts = count_by_task(questions);
  ASSERT_EQ(counts.size(), kTaskCount);
  for (const auto& [task, count] : counts) EXPECT_EQ(count, 20) << task_name(task);
  const std::vector<Question> again = make_questions(text, 20, 1),
                              others = make_questions(text, 20, 2);
  int n_same = 0;
  for (size_t i = 0; i < questions.size(); ++i) {
    EXPECT_EQ(questions[i].context, again[i].context);
    EXPECT_EQ(questions[i].choices, again[i].choices);
    n_same += questions[i].context == others[i].context ? 1 : 0;
  }
  EXPECT_LT(n_same, static_cast<int>(questions.size()) / 4);
}

// Fewer are the first of more.
TEST(Questions, MoreOfThemKeepTheFirst) {
  const std::string text = play();
  const std::vector<Question> few = make_questions(text, 3, 1), more = make_questions(text, 9, 1);
  for (size_t task = 0; task < kTaskCount; ++task) {
    for (size_t i = 0; i < 3; ++i) EXPECT_EQ(few[task * 3 + i].context, more[task * 9 + i].context);
  }
}

TEST(Questions, ChoicesAreFourDifferentOnesOfWhichOneIsRight) {
  const std::string text = play();
  std::array<int, 4> places{};
  for (const Question& question : make_questions(text, 50, 3)) {
    ASSERT_LT(question.right, question.choices.size());
    const std::string& right = question.choices[question.right];
    EXPECT_LT(question.context.size() + right.size(), 2500);
    if (!has_choices(question.task)) {
      EXPECT_EQ(question.choices.size(), 1);
      continue;
    }
    ++places[question.right];
    EXPECT_EQ(question.choices.size(), 4);
    EXPECT_EQ(std::set(question.choices.begin(), question.choices.end()).size(), 4);
    const auto in_text = [&](const std::string& choice) {
      return text.find(question.context + choice) != text.npos;
    };
    switch (question.task) {
      case Task::kContinue:
        for (const std::string& choice : question.choices) {
          EXPECT_EQ(in_text(choice), choice == right);
          EXPECT_NEAR(static_cast<double>(choice.size()), static_cast<double>(right.size()), 7);
        }
        break;
      case Task::kSpeaker:
        EXPECT_TRUE(in_text(right));
        for (const std::string& choice : question.choices)
          EXPECT_NE(text.find("\n" + choice), text.npos);
        break;
      default: {  // what ends a line of the passage, and the others don't end this line
        const size_t line = question.context.rfind('\n') + 1;
        const std::string said = question.context.substr(line);
        for (const std::string& choice : question.choices)
          EXPECT_EQ(question.context.find(said + choice) != text.npos, choice == right) << said;
      }
    }
  }
  for (const int n : places) EXPECT_GT(n, 15);  // of 150
}

TEST(Questions, ExactOnesFollowFromTheirContext) {
  for (const Question& question : make_questions(play(), 40, 4)) {
    const std::string& answer = question.choices[0];
    if (question.task == Task::kRepeat || question.task == Task::kRecall) {
      const size_t line = question.context.rfind('\n') + 1;
      const std::string whole = question.context.substr(line) + answer;
      EXPECT_NE(question.context.find(whole), std::string::npos) << whole;
      EXPECT_LT(question.context.find(whole), line);
    } else if (question.task == Task::kCount) {
      int previous = 0, step = 0, n = 0;
      std::string all = question.context + answer;
      for (size_t at = 0; at < all.size(); ++n) {
        const int value = std::stoi(all.substr(at));
        if (n >= 2) {
          EXPECT_EQ(value - previous, step);
        }
        step = value - previous;
        previous = value;
        at = std::min(all.find(' ', at), all.size() - 1) + 1;
      }
      EXPECT_EQ(n, 9);
    }
  }
}

TEST(Questions, TextsThatHaveNothingToAsk) {
  EXPECT_EQ(count_by_task(make_questions("", 5, 1)), (std::map<Task, int>{{Task::kCount, 5}}));
  std::string verse;
  for (int i = 0; i < 400; ++i) verse += fmt::format("the {} w{} is here\n", i, i % 7);
  const std::map<Task, int> counts = count_by_task(make_questions(verse, 5, 1));
  EXPECT_FALSE(counts.contains(Task::kSpeaker));
  EXPECT_EQ(counts.at(Task::kContinue), 5);
  EXPECT_FALSE(counts.contains(Task::kRepeat));  // "here" is the one plain word
}

// One line without end, nothing but spaces, random bytes: no question is long, none holds a cut
// character.
TEST(Questions, HostileTexts) {
  std::mt19937 random(1);
  std::string bytes(1 << 20, '\0');
  for (char& c : bytes) c = static_cast<char>(random());
  std::string accents;
  for (int i = 0; i < 9000000; ++i) accents += "\xc3\xa9";
  for (const std::string& text : {std::string(1 << 22, 'a'),
                                  std::string(1 << 22, ' '),
                                  std::string(1 << 20, '\n'),
                                  bytes,
                                  accents,
                                  accents + "\n" + play()}) {
    for (const Question& question : make_questions(text, 5, 1))
      EXPECT_LT(question.context.size(), 2500);
  }
}

}  // namespace
}  // namespace farthing
