#include "text/chat_guard.h"

#include <algorithm>
#include <array>
#include <bitset>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/utf8.h"

namespace farthing {
namespace {

constexpr char32_t kFirstGuard = 0xFDD0;
constexpr size_t kGuards = 32;

// U+FDD0..U+FDEF are EF B7 90 .. EF B7 AF in UTF-8.
std::string utf8_of_guard(size_t index) {
  return {'\xEF', '\xB7', static_cast<char>(0x90 + index)};
}

void note_guards(std::string_view text, std::bitset<kGuards>& used) {
  for (size_t at = text.find("\xEF\xB7"); at != std::string_view::npos;
       at = text.find("\xEF\xB7", at + 2)) {
    if (at + 2 >= text.size()) return;
    const auto last = static_cast<uint8_t>(text[at + 2]);
    if (last >= 0x90 && last < 0x90 + kGuards) used.set(last - 0x90);
  }
}

// The spellings by their first byte, so that a text is passed over once whatever their number.
class Spellings {
 public:
  explicit Spellings(std::span<const std::string_view> spellings) {
    for (const std::string_view spelling : spellings) {
      const size_t first = utf8_length(spelling);
      if (first == 0 || first == spelling.size()) continue;
      by_first_[static_cast<uint8_t>(spelling[0])].push_back(spelling);
    }
  }

  bool begins_at(std::string_view rest) const {
    const auto& candidates = by_first_[static_cast<uint8_t>(rest[0])];
    return std::any_of(candidates.begin(), candidates.end(), [&](std::string_view spelling) {
      return rest.starts_with(spelling);
    });
  }

  // Where guards belong: behind the first character of each spelling, also of those that overlap.
  std::vector<size_t> cuts(std::string_view text) const {
    std::vector<size_t> cuts;
    for (size_t at = 0; at < text.size(); ++at) {
      const std::string_view rest = text.substr(at);
      if (begins_at(rest)) cuts.push_back(at + utf8_length(rest));
    }
    return cuts;
  }

 private:
  std::array<std::vector<std::string_view>, 256> by_first_;
};

// Calls visit for every string value below `value`. Iterative: the depth is the client's.
template <class Visit>
void for_each_string(Json& value, const Visit& visit) {
  std::vector<Json*> pending{&value};
  while (!pending.empty()) {
    Json& next = *pending.back();
    pending.pop_back();
    if (next.is_string()) {
      visit(next.get_ref<std::string&>());
    } else if (next.is_structured()) {
      for (Json& child : next) pending.push_back(&child);
    }
  }
}

template <class Visit>
void for_each_user_string(ChatInput& input, const Visit& visit) {
  if (input.messages.is_array()) {
    for (Json& message : input.messages) {
      if (!message.is_object()) continue;
      for (auto& [key, value] : message.items()) {
        if (key != "role") for_each_string(value, visit);
      }
    }
  }
  for_each_string(input.tools, visit);
  for_each_string(input.kwargs, visit);
}

std::string guarded(std::string_view text,
                    const std::vector<size_t>& cuts,
                    std::string_view guard) {
  std::string out;
  out.reserve(text.size() + cuts.size() * guard.size());
  size_t from = 0;
  for (const size_t cut : cuts) {
    out.append(text.substr(from, cut - from)).append(guard);
    from = cut;
  }
  return out.append(text.substr(from));
}

}  // namespace

Result<Guarded> guard_chat(ChatInput input, std::span<const std::string_view> control_spellings) {
  const Spellings spellings(control_spellings);
  std::bitset<kGuards> used;
  bool needed = false;
  for_each_user_string(input, [&](const std::string& text) {
    note_guards(text, used);
    needed = needed || !spellings.cuts(text).empty();
  });
  if (!needed) return Guarded{std::move(input), 0};
  for (const std::string_view spelling : control_spellings) note_guards(spelling, used);
  if (used.all()) {
    return bad_input(
        "the messages hold all 32 noncharacters U+FDD0..U+FDEF: remove one of them, it is needed "
        "to "
        "mark text that spells a control token");
  }
  size_t index = 0;
  while (used.test(index)) ++index;
  const std::string guard = utf8_of_guard(index);
  for_each_user_string(input, [&](std::string& text) {
    const std::vector<size_t> cuts = spellings.cuts(text);
    if (!cuts.empty()) text = guarded(text, cuts, guard);
  });
  return Guarded{std::move(input), static_cast<char32_t>(kFirstGuard + index)};
}

}  // namespace farthing
