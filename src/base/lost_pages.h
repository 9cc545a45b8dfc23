// Owns: the process's list of mapped files, for its SIGBUS handler. Does not know: what reads them.
// A page of a mapped file that is no longer there (the file was truncated, or the disk failed)
// raises SIGBUS, and no Result can come of that: the program says which file it was and ends.
// Invariant: what the handler reads is complete whenever it runs; nothing in it allocates or locks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace farthing {

// From now on a fault in a listed file writes one line "error: <file>: ..." to standard error and
// ends the process with ErrorKind::kBadInput's exit code. Any other SIGBUS kills as before. For
// main().
void explain_lost_pages();

// MappedFile lists what it maps while it is mapped. A map that finds no place in the list (there is
// one for every shard of a model, and more) has no line.
class ListedMap {
 public:
  ListedMap() = default;
  ListedMap(std::span<const std::byte> bytes, const std::string& path);
  ListedMap(ListedMap&& other) noexcept;
  ListedMap& operator=(ListedMap&& other) noexcept;
  ~ListedMap();

 private:
  size_t slot_ = kNone;
  static constexpr size_t kNone = SIZE_MAX;
};

}  // namespace farthing
