#include "base/new_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

#include "base/check.h"

namespace farthing {

Result<NewFile> NewFile::create(const std::string& path, int64_t bytes) {
  NewFile file;
  file.path_ = path;
  file.temporary_ = path + ".part";
  file.bytes_ = bytes;
  struct stat there;
  if (::stat(path.c_str(), &there) == 0 && !S_ISREG(there.st_mode))
    return no_resource("{}: can't be written: there is something that is no file", path);
  // Never over what is there: it may be another's who is writing the same file now.
  file.fd_ = ::open(file.temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (file.fd_ < 0 && errno == EEXIST)
    return no_resource("{}: is there already: if no other run is writing it, remove it",
                       file.temporary_);
  if (file.fd_ < 0) return no_resource("{}: can't be written: {}", path, std::strerror(errno));
  if (::fallocate(file.fd_, 0, 0, bytes) != 0 && (errno == ENOSPC || errno == EFBIG))
    return file.failed();
  return file;
}

NewFile::NewFile(NewFile&& other) noexcept
    : path_(std::move(other.path_)),
      temporary_(std::move(other.temporary_)),
      fd_(std::exchange(other.fd_, -1)),
      bytes_(other.bytes_),
      written_(other.written_) {}

NewFile::~NewFile() {
  if (fd_ < 0) return;
  ::close(fd_);
  ::unlink(temporary_.c_str());
}

Status NewFile::check(const std::string& path) {
  FARTHING_TRY([[maybe_unused]] const NewFile file, create(path, 0));
  return {};
}

Error NewFile::failed() const {
  return no_resource("{}: {} (the file takes {} bytes)", path_, std::strerror(errno), bytes_);
}

Status NewFile::write(std::span<const std::byte> bytes) {
  CHECK(written_ + static_cast<int64_t>(bytes.size()) <= bytes_);
  written_ += static_cast<int64_t>(bytes.size());
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd_, bytes.data(), bytes.size());
    if (n < 0) {
      if (errno == EINTR) continue;
      return failed();
    }
    bytes = bytes.subspan(static_cast<size_t>(n));
  }
  return {};
}

Status NewFile::finish() {
  CHECK(written_ == bytes_);
  // The name must not be there before the bytes are: a crash would leave a file of zeroes.
  if (::fsync(fd_) != 0 && errno != EINVAL && errno != EROFS) return failed();
  if (std::rename(temporary_.c_str(), path_.c_str()) != 0) return failed();
  ::close(std::exchange(fd_, -1));
  return {};
}

Status write_file(const std::string& path, std::string_view text) {
  FARTHING_TRY(NewFile file, NewFile::create(path, static_cast<int64_t>(text.size())));
  FARTHING_TRY_VOID(file.write(std::as_bytes(std::span(text))));
  return file.finish();
}

}  // namespace farthing
