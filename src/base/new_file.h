// Owns: a file that is being written, beside its path and renamed to it at the end, so that no half
// file ever stands there. The room it takes is taken first: hours of work don't end on a full disk.
// Beside it: PATH.part, which must not exist yet. Only a killed program leaves it behind.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"

namespace farthing {

class NewFile {
 public:
  // Of so many bytes. kNoResource, with the path, if it can't be made or the disk has no room.
  static Result<NewFile> create(const std::string& path, int64_t bytes);
  // Whether one could be made, but for the room: asked before work whose size isn't known yet.
  static Status check(const std::string& path);
  NewFile(NewFile&& other) noexcept;
  NewFile& operator=(NewFile&&) = delete;
  ~NewFile();  // removes what was written, unless finish() went well

  // The next bytes. kNoResource if they can't be written.
  Status write(std::span<const std::byte> bytes);
  // All bytes are there: the file takes its name.
  Status finish();

  int64_t bytes() const { return bytes_; }
  int64_t written() const { return written_; }

 private:
  NewFile() = default;
  Error failed() const;

  std::string path_, temporary_;
  int fd_ = -1;
  int64_t bytes_ = 0;
  int64_t written_ = 0;
};

// The whole of a file, as above.
Status write_file(const std::string& path, std::string_view text);

}  // namespace farthing
