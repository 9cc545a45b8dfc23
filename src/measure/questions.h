// Questions with one right answer, made from a text at hand: nothing is downloaded, and a model
// that only continues texts can answer them. The same text and options give the same questions,
// whatever the tokenizer. Does not know: tokens, models.
//
// Of several choices, by likelihood (chance is right once in four):
//   continue  which of four stretches of eight words, about equally long, comes next
//   speaker   a play: whose speech is next (lines that are a name in capitals)
//   last-word a line is said again: which of four last words of the passage ends it
// Exactly, by the likeliest token at every step:
//   repeat    six words, said twice and begun again
//   recall    "The sword has the crown": who has what, of six
//   count     1 4 7 10 13 16, and three more
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace farthing {

enum class Task : uint8_t { kContinue, kSpeaker, kLastWord, kRepeat, kRecall, kCount };
inline constexpr size_t kTaskCount = 6;

constexpr std::string_view task_name(Task task) {
  constexpr std::array<std::string_view, kTaskCount> kNames = {
      "continue", "speaker", "last-word", "repeat", "recall", "count"};
  return kNames[static_cast<size_t>(task)];
}
// Else it is answered exactly.
constexpr bool has_choices(Task task) {
  return task <= Task::kLastWord;
}

struct Question {
  Task task = Task::kContinue;
  std::string context;
  std::vector<std::string> choices;  // what may follow at once; four of them, or the answer alone
  size_t right = 0;                  // which of them it is
};

// At most n_each of every task, in the order of the tasks; fewer, or none, where the text doesn't
// have what a task needs. No question is longer than some kilobytes.
std::vector<Question> make_questions(std::string_view text, int32_t n_each, uint64_t seed);

}  // namespace farthing
