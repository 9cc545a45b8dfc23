// One holder's part of the bytes that all holders of a kind have in memory together.
#pragma once

#include <cstdint>

namespace farthing {

class ByteShare {
 public:
  explicit ByteShare(uint64_t& all) : all_(all) {}
  ~ByteShare() { set(0); }
  ByteShare(const ByteShare&) = delete;
  ByteShare& operator=(const ByteShare&) = delete;

  // What this holder has now. Gives what all have.
  uint64_t set(uint64_t bytes) {
    all_ += bytes - bytes_;
    bytes_ = bytes;
    return all_;
  }

 private:
  uint64_t& all_;
  uint64_t bytes_ = 0;
};

}  // namespace farthing
