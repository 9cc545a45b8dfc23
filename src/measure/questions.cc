#include "measure/questions.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <span>
#include <utility>

namespace farthing {
namespace {

// Of a longer text the rest is left out: its words are held as views.
constexpr size_t kMostTextBytes = size_t{16} << 20;
constexpr size_t kChoices = 4;
constexpr size_t kMostContextBytes = 2048;
constexpr size_t kMostLineBytes = 120;
constexpr size_t kContextWords = 48, kContinuedWords = 8;
constexpr size_t kSpeakerLines = 12;  // before the name that is asked for
constexpr size_t kNearLines = 300;    // about as far as a scene goes
constexpr size_t kPassageLines = 8;
constexpr size_t kListWords = 6;
constexpr int kCounted = 6, kCountedOn = 3;
// Places that are tried for one question before it is left out.
constexpr int kTries = 200;

// std::mt19937_64 is the same everywhere; the standard's distributions are not.
class Dice {
 public:
  Dice(uint64_t seed, Task task, int32_t index)
      : random_(seed * 1000003 + static_cast<uint64_t>(task) * 1000033 +
                static_cast<uint64_t>(index)) {}
  size_t below(size_t n) { return static_cast<size_t>(random_() % n); }

  template <class T>
  void shuffle(std::vector<T>& values) {
    for (size_t i = values.size(); i > 1; --i) std::swap(values[i - 1], values[below(i)]);
  }

 private:
  std::mt19937_64 random_;
};

bool is_space(char c) {
  return c == ' ' || (c >= '\t' && c <= '\r');
}
bool is_capital(char c) {
  return c >= 'A' && c <= 'Z';
}
bool is_small(char c) {
  return c >= 'a' && c <= 'z';
}

// Runs of what isn't space.
std::vector<std::string_view> words_of(std::string_view text) {
  std::vector<std::string_view> words;
  for (size_t at = 0; at < text.size();) {
    while (at < text.size() && is_space(text[at])) ++at;
    const size_t begin = at;
    while (at < text.size() && !is_space(text[at])) ++at;
    if (at > begin) words.push_back(text.substr(begin, at - begin));
  }
  return words;
}

// Without their ends and without empty ones.
std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> lines;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    std::string_view line = text.substr(at, end - at);
    while (!line.empty() && is_space(line.back())) line.remove_suffix(1);
    if (!line.empty()) lines.push_back(line);
    at = end + 1;
  }
  return lines;
}

// A name in capitals, as plays write them over a speech.
bool is_name(std::string_view line) {
  return line.size() >= 3 && line.size() <= 24 && is_capital(line.front()) &&
         std::ranges::all_of(line, [](char c) { return is_capital(c) || c == ' '; });
}

// What questions are made from; the views are into the text.
class Source {
 public:
  explicit Source(std::string_view text) : words_(words_of(text)), lines_(lines_of(text)) {
    std::map<std::string_view, int> names, small;
    for (const std::string_view line : lines_) {
      if (is_name(line)) ++names[line];
    }
    for (size_t i = 0; i < lines_.size(); ++i) {
      if (is_name(lines_[i]) && names[lines_[i]] >= 3) speeches_.push_back(i);
    }
    for (const std::string_view word : words_) {
      const bool plain =
          word.size() >= 4 && word.size() <= 8 && std::ranges::all_of(word, is_small);
      if (plain) ++small[word];
    }
    for (const auto& [word, count] : small) {
      if (count >= 3) plain_words_.push_back(word);
    }
  }

  std::optional<Question> make(Task task, Dice& dice) const {
    switch (task) {
      case Task::kContinue:
        return continue_(dice);
      case Task::kSpeaker:
        return speaker(dice);
      case Task::kLastWord:
        return last_word(dice);
      case Task::kRepeat:
        return repeat(dice);
      case Task::kRecall:
        return recall(dice);
      case Task::kCount:
        return count(dice);
    }
    return std::nullopt;
  }

 private:
  // From the first word's beginning to the last one's end.
  std::string_view between(size_t first, size_t count) const {
    const char* begin = words_[first].data();
    const std::string_view last = words_[first + count - 1];
    return {begin, static_cast<size_t>(last.data() + last.size() - begin)};
  }

  // Shuffled, the right one being the first now.
  static Question with_choices(Task task,
                               std::string context,
                               std::vector<std::string> choices,
                               Dice& dice) {
    const std::string truth = choices.front();
    dice.shuffle(choices);
    const auto at = std::ranges::find(choices, truth) - choices.begin();
    return {task, std::move(context), std::move(choices), static_cast<size_t>(at)};
  }

  std::optional<Question> continue_(Dice& dice) const {
    constexpr size_t kSpan = kContextWords + kContinuedWords;
    if (words_.size() < 2 * kSpan) return std::nullopt;
    const size_t first = dice.below(words_.size() - kSpan);
    const std::string_view context = between(first, kContextWords);
    const std::string_view truth = between(first + kContextWords, kContinuedWords);
    if (between(first, kSpan).size() > kMostContextBytes) return std::nullopt;
    const char* end = context.data() + context.size();
    const std::string gap(end, static_cast<size_t>(truth.data() - end));
    std::vector<std::string> choices = {gap + std::string(truth)};
    for (int i = 0; i < kTries && choices.size() < kChoices; ++i) {
      const size_t other = dice.below(words_.size() - kContinuedWords);
      const bool overlaps = other + kContinuedWords > first && other < first + kSpan;
      const std::string_view words = between(other, kContinuedWords);
      const bool alike =
          words.size() * 10 >= truth.size() * 9 && words.size() * 9 <= truth.size() * 10;
      std::string choice = gap + std::string(words);
      if (!overlaps && alike && std::ranges::find(choices, choice) == choices.end())
        choices.push_back(std::move(choice));
    }
    if (choices.size() < kChoices) return std::nullopt;
    return with_choices(Task::kContinue, std::string(context), std::move(choices), dice);
  }

  // Lines [first, first + count), or nothing if they are too long.
  std::optional<std::string> passage(size_t first, size_t count) const {
    std::string text;
    for (size_t i = first; i < first + count; ++i) {
      if (lines_[i].size() > kMostLineBytes) return std::nullopt;
      text += lines_[i];
      text += '\n';
    }
    return text;
  }

  std::optional<Question> speaker(Dice& dice) const {
    if (speeches_.empty()) return std::nullopt;
    const size_t line = speeches_[dice.below(speeches_.size())];
    if (line < kSpeakerLines) return std::nullopt;
    std::optional<std::string> context = passage(line - kSpeakerLines, kSpeakerLines);
    if (!context) return std::nullopt;
    std::set<std::string_view> near;
    const auto from = std::ranges::lower_bound(speeches_, line - std::min(line, kNearLines));
    for (auto at = from; at != speeches_.end() && *at < line + kNearLines; ++at)
      near.insert(lines_[*at]);
    near.erase(lines_[line]);
    std::vector<std::string_view> others(near.begin(), near.end());
    dice.shuffle(others);
    if (others.size() < kChoices - 1) return std::nullopt;
    std::vector<std::string> choices = {std::string(lines_[line]) + '\n'};
    for (size_t i = 0; i + 1 < kChoices; ++i) choices.push_back(std::string(others[i]) + '\n');
    return with_choices(Task::kSpeaker, *std::move(context), std::move(choices), dice);
  }

  std::optional<Question> last_word(Dice& dice) const {
    if (lines_.size() <= kPassageLines) return std::nullopt;
    const size_t first = dice.below(lines_.size() - kPassageLines);
    std::optional<std::string> context = passage(first, kPassageLines);
    if (!context) return std::nullopt;
    std::vector<std::string> choices;
    std::string said;  // again: the line whose last word is the first choice
    for (size_t tries = 0; tries < 4 * kPassageLines && choices.size() < kChoices; ++tries) {
      const std::string_view line = lines_[first + dice.below(kPassageLines)];
      const std::vector<std::string_view> words = words_of(line);
      if (words.size() < 4) continue;
      std::string choice = fmt::format(" {}\n", words.back());
      if (std::ranges::find(choices, choice) != choices.end()) continue;
      if (choices.empty()) {
        const char* end = words[words.size() - 2].data() + words[words.size() - 2].size();
        said = line.substr(0, static_cast<size_t>(end - line.data()));
      }
      choices.push_back(std::move(choice));
    }
    if (choices.size() < kChoices) return std::nullopt;
    return with_choices(Task::kLastWord, *context + said, std::move(choices), dice);
  }

  // Different ones.
  std::vector<std::string_view> some_words(size_t n, Dice& dice) const {
    std::vector<std::string_view> words;
    for (int i = 0; i < kTries && words.size() < n && !plain_words_.empty(); ++i) {
      const std::string_view word = plain_words_[dice.below(plain_words_.size())];
      if (std::ranges::find(words, word) == words.end()) words.push_back(word);
    }
    return words;
  }

  std::optional<Question> repeat(Dice& dice) const {
    const std::vector<std::string_view> words = some_words(kListWords, dice);
    if (words.size() < kListWords) return std::nullopt;
    std::string rest;
    for (const std::string_view word : std::span(words).subspan(1))
      rest += fmt::format(" {}", word);
    rest += '\n';
    const std::string line = std::string(words[0]) + rest;
    return Question{Task::kRepeat, line + line + std::string(words[0]), {rest}, 0};
  }

  std::optional<Question> recall(Dice& dice) const {
    const std::vector<std::string_view> words = some_words(2 * kListWords, dice);
    if (words.size() < 2 * kListWords) return std::nullopt;
    std::string context;
    for (size_t i = 0; i < kListWords; ++i)
      context += fmt::format("The {} has the {}\n", words[2 * i], words[2 * i + 1]);
    const size_t asked = dice.below(kListWords);
    context += fmt::format("The {} has the", words[2 * asked]);
    return Question{Task::kRecall, context, {fmt::format(" {}\n", words[2 * asked + 1])}, 0};
  }

  static std::optional<Question> count(Dice& dice) {
    constexpr std::array kSteps = {1, 2, 3, 5, 10};
    const int step = kSteps[dice.below(kSteps.size())];
    const int first = 1 + static_cast<int>(dice.below(40));
    std::string context = fmt::format("{}", first), answer;
    for (int i = 1; i < kCounted + kCountedOn; ++i)
      (i < kCounted ? context : answer) += fmt::format(" {}", first + i * step);
    return Question{Task::kCount, context, {answer}, 0};
  }

  std::vector<std::string_view> words_;
  std::vector<std::string_view> lines_;
  std::vector<size_t> speeches_;               // lines that are names, of those who speak often
  std::vector<std::string_view> plain_words_;  // sorted
};

}  // namespace

std::vector<Question> make_questions(std::string_view text, int32_t n_each, uint64_t seed) {
  if (text.size() > kMostTextBytes)  // up to a space, so as not to cut a character
    text = text.substr(0, text.find_last_of(" \n", kMostTextBytes) + 1);
  const Source source(text);
  std::vector<Question> questions;
  for (size_t task = 0; task < kTaskCount; ++task) {
    for (int32_t i = 0; i < n_each; ++i) {
      Dice dice(seed, static_cast<Task>(task), i);
      std::optional<Question> question;
      for (int tries = 0; tries < kTries && !question; ++tries)
        question = source.make(static_cast<Task>(task), dice);
      if (!question) break;  // the text hasn't got it: neither has it for the next one
      questions.push_back(*std::move(question));
    }
  }
  return questions;
}

}  // namespace farthing
