// Owns: one span of 64-byte aligned, zeroed memory; large ones ask the kernel for huge pages.
// Does not know: what is in it. Invariant: data() is valid for size() bytes until destruction.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/result.h"

namespace farthing {

class Buffer {
 public:
  Buffer() = default;
  Buffer(Buffer&& other) noexcept;
  Buffer& operator=(Buffer&& other) noexcept;
  ~Buffer();

  // kNoResource when the machine can't give it. Pages come in when they are first touched.
  static Result<Buffer> allocate(size_t bytes);

  // What allocate(bytes) takes of the machine: whole pages.
  static int64_t bytes_taken(size_t bytes);

  std::byte* data() const { return data_; }
  size_t size() const { return size_; }
  std::span<const std::byte> bytes() const { return {data_, size_}; }
  template <class T>
  T* as() const {
    return reinterpret_cast<T*>(data_);
  }

 private:
  std::byte* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace farthing
