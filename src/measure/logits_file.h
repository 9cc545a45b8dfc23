// A reference's distributions, kept for comparisons to come: a file with the tokens of every window
// and, for each scored position, ln p of the whole vocabulary as binary16. What that loses of a KL
// divergence is below 1e-4 (|p ln p| <= 1/e, rounded by 2^-12 of itself at most).
// Layout, little-endian: kMagic, header (7 x u32), n_name bytes of the reference's description,
// n_windows x size tokens (i32), padding to 64 bytes, n_windows x n_scored x vocab u16.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/mapped_file.h"
#include "base/new_file.h"
#include "base/result.h"
#include "measure/windows.h"

namespace farthing {

class LogitsWriter {
 public:
  // As NewFile::create.
  static Result<LogitsWriter> create(const std::string& path,
                                     const std::string& description,
                                     const Windows& windows,
                                     int32_t vocab_size);
  // The rows of the next window, [n_scored][vocab], logits up to a constant each.
  Status add(std::span<const float> logits);
  Status finish();

 private:
  LogitsWriter(NewFile file, size_t vocab) : file_(std::move(file)), vocab_(vocab), row_(vocab) {}
  NewFile file_;
  size_t vocab_;
  std::vector<uint16_t> row_;
};

class LogitsFile {
 public:
  static bool is_one(const std::string& path);  // by its first bytes
  // kBadInput if it isn't whole.
  static Result<LogitsFile> open(const std::string& path);

  const std::string& description() const { return description_; }
  int32_t vocab_size() const { return vocab_; }
  int32_t window_size() const { return size_; }
  int32_t n_windows() const { return n_windows_; }
  std::vector<TokenId> tokens(int32_t window) const;
  // ln p, [n_scored][vocab]; valid until the next call.
  std::span<const float> rows(int32_t window);

 private:
  LogitsFile() = default;
  MappedFile file_;
  std::string description_;
  int32_t vocab_ = 0, size_ = 0, n_windows_ = 0, n_scored_ = 0;
  size_t tokens_at_ = 0, rows_at_ = 0;
  std::vector<float> rows_;
};

}  // namespace farthing
