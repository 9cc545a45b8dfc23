// Owns: a read-only memory map of a whole regular file. Does not know: its format.
// A file truncated while mapped raises SIGBUS on access: base/lost_pages.h says what then.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "base/lost_pages.h"
#include "base/result.h"

namespace farthing {

class MappedFile {
 public:
  MappedFile() = default;
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();

  // kBadInput if the file is missing, unreadable, not a regular file, or empty.
  static Result<MappedFile> open(const std::string& path);

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  const std::string& path() const { return path_; }

  // Asks for the pages of `part` (which may be of something else: then nothing happens), without
  // waiting for them.
  void want_pages(std::span<const std::byte> part) const;
  // Gives back the memory of the pages that lie inside `part` (or of something else, as above).
  // They are read again if they are touched.
  void drop_pages(std::span<const std::byte> part) const;

 private:
  bool has(std::span<const std::byte> part) const;

  const std::byte* data_ = nullptr;
  size_t size_ = 0;
  std::string path_;
  ListedMap listed_;
};

// A whole file as a string, at most `max_bytes` (kBadInput beyond). "-" is not special here.
Result<std::string> read_file(const std::string& path, size_t max_bytes);

}  // namespace farthing
