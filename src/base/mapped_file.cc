#include "base/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace farthing {
namespace {

struct Fd {
  int fd;
  ~Fd() {
    if (fd >= 0) ::close(fd);
  }
};

size_t page_bytes() {
  return static_cast<size_t>(::sysconf(_SC_PAGESIZE));
}

Result<size_t> regular_file_size(int fd, const std::string& path) {
  struct stat st{};
  if (::fstat(fd, &st) != 0) return bad_input("cannot stat {}: {}", path, std::strerror(errno));
  if (S_ISDIR(st.st_mode)) return bad_input("{} is a folder, not a file", path);
  if (!S_ISREG(st.st_mode)) return bad_input("{} is not a regular file", path);
  return static_cast<size_t>(st.st_size);
}

}  // namespace

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      path_(std::move(other.path_)),
      listed_(std::move(other.listed_)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(path_, other.path_);
  std::swap(listed_, other.listed_);
  return *this;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

bool MappedFile::has(std::span<const std::byte> part) const {
  return part.data() >= data_ && part.data() + part.size() <= data_ + size_;
}

void MappedFile::want_pages(std::span<const std::byte> part) const {
  if (part.empty() || !has(part)) return;
  const size_t begin = static_cast<size_t>(part.data() - data_) / page_bytes() * page_bytes();
  const size_t end = static_cast<size_t>(part.data() + part.size() - data_);
  ::madvise(const_cast<std::byte*>(data_) + begin, end - begin, MADV_WILLNEED);
}

void MappedFile::drop_pages(std::span<const std::byte> part) const {
  if (part.empty() || !has(part)) return;
  const size_t page = page_bytes();
  const size_t begin = (static_cast<size_t>(part.data() - data_) + page - 1) / page * page;
  const size_t end = static_cast<size_t>(part.data() + part.size() - data_) / page * page;
  if (begin < end) ::madvise(const_cast<std::byte*>(data_) + begin, end - begin, MADV_DONTNEED);
}

Result<MappedFile> MappedFile::open(const std::string& path) {
  // O_NONBLOCK: opening a FIFO must not wait for a writer.
  Fd fd{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  if (fd.fd < 0) return bad_input("cannot open {}: {}", path, std::strerror(errno));
  FARTHING_TRY(size_t size, regular_file_size(fd.fd, path));
  if (size == 0) return bad_input("{} is empty", path);
  void* p = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, fd.fd, 0);
  if (p == MAP_FAILED) return runtime_failure("cannot map {}: {}", path, std::strerror(errno));
  MappedFile out;
  out.data_ = static_cast<const std::byte*>(p);
  out.size_ = size;
  out.path_ = path;
  out.listed_ = ListedMap(out.bytes(), path);
  return out;
}

Result<std::string> read_file(const std::string& path, size_t max_bytes) {
  Fd fd{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (fd.fd < 0) return bad_input("cannot open {}: {}", path, std::strerror(errno));
  std::string out;
  char chunk[1 << 16];
  for (;;) {
    ssize_t n = ::read(fd.fd, chunk, sizeof chunk);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return bad_input("cannot read {}: {}", path, std::strerror(errno));
    if (n == 0) return out;
    out.append(chunk, static_cast<size_t>(n));
    if (out.size() > max_bytes) return bad_input("{} is larger than {} bytes", path, max_bytes);
  }
}

}  // namespace farthing
