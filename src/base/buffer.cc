#include "base/buffer.h"

#include <sys/mman.h>
#include <unistd.h>

#include <utility>

#include "base/checked.h"

namespace farthing {
namespace {
constexpr size_t kHugePage = size_t{2} << 20;
}  // namespace

Buffer::Buffer(Buffer&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

Buffer& Buffer::operator=(Buffer&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

Buffer::~Buffer() {
  if (data_ != nullptr) ::munmap(data_, size_);
}

int64_t Buffer::bytes_taken(size_t bytes) {
  return round_up(static_cast<int64_t>(bytes), ::sysconf(_SC_PAGESIZE));
}

Result<Buffer> Buffer::allocate(size_t bytes) {
  Buffer out;
  if (bytes == 0) return out;
  void* p = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) {
    return no_resource("cannot allocate {:.1f} MiB of memory: use a smaller context or model",
                       static_cast<double>(bytes) / (1 << 20));
  }
  // A hint only: without huge pages everything works, a few per cent slower.
  if (bytes >= kHugePage) ::madvise(p, bytes, MADV_HUGEPAGE);
  out.data_ = static_cast<std::byte*>(p);
  out.size_ = bytes;
  return out;
}

}  // namespace farthing
