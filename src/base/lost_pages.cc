#include "base/lost_pages.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <utility>

#include "base/result.h"
#include "base/utf8.h"

namespace farthing {
namespace {

constexpr size_t kSlots = 2048;     // load/limits.h allows 1024 shards
constexpr size_t kShownPath = 400;  // bytes

struct Slot {
  std::atomic<bool> taken{false};
  std::atomic<uintptr_t> begin{0};  // 0: not (yet) in use
  size_t size = 0;                  // this and `path` are written before `begin`
  size_t path_size = 0;
  std::array<char, kShownPath + 8> path{};
};

// A signal handler gets no argument of ours, so the list has to be global; it takes no memory
// beyond the slots in use.
constinit std::array<Slot, kSlots> slots;

void write_all(std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = ::write(STDERR_FILENO, text.data(), text.size());
    if (n <= 0) return;
    text.remove_prefix(static_cast<size_t>(n));
  }
}

void on_bus_error(int, siginfo_t* info, void*) {
  const auto address = reinterpret_cast<uintptr_t>(info->si_addr);
  for (const Slot& slot : slots) {
    const uintptr_t begin = slot.begin.load(std::memory_order_acquire);
    // What another process sends has no address: it is no fault of a file.
    if (begin == 0 || info->si_code <= 0 || address < begin || address - begin >= slot.size)
      continue;
    write_all("error: ");
    write_all({slot.path.data(), slot.path_size});
    write_all(
        ": a part of it is gone: it was truncated or overwritten while farthing read it, or the "
        "disk fails; restore the file and start again\n");
    ::_exit(static_cast<int>(ErrorKind::kBadInput));
  }
  // Back to where it came from, to die of it as without this handler.
  ::signal(SIGBUS, SIG_DFL);
  if (info->si_code <= 0) ::raise(SIGBUS);
}

}  // namespace

void explain_lost_pages() {
  struct sigaction action{};
  action.sa_sigaction = on_bus_error;
  action.sa_flags = SA_SIGINFO;
  sigemptyset(&action.sa_mask);
  ::sigaction(SIGBUS, &action, nullptr);
}

ListedMap::ListedMap(std::span<const std::byte> bytes, const std::string& path) {
  const std::string shown = printable(path, kShownPath);
  for (size_t i = 0; i < kSlots; ++i) {
    Slot& slot = slots[i];
    if (slot.taken.load(std::memory_order_relaxed)) continue;
    if (slot.taken.exchange(true, std::memory_order_acquire)) continue;
    slot.size = bytes.size();
    slot.path_size = std::min(shown.size(), slot.path.size());
    std::memcpy(slot.path.data(), shown.data(), slot.path_size);
    slot.begin.store(reinterpret_cast<uintptr_t>(bytes.data()), std::memory_order_release);
    slot_ = i;
    return;
  }
}

ListedMap::ListedMap(ListedMap&& other) noexcept : slot_(std::exchange(other.slot_, kNone)) {}

ListedMap& ListedMap::operator=(ListedMap&& other) noexcept {
  std::swap(slot_, other.slot_);
  return *this;
}

ListedMap::~ListedMap() {
  if (slot_ == kNone) return;
  slots[slot_].begin.store(0, std::memory_order_relaxed);
  slots[slot_].taken.store(false, std::memory_order_release);
}

}  // namespace farthing
