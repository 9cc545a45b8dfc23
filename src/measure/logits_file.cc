#include "measure/logits_file.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <fstream>
#include <utility>

#include "base/check.h"
#include "base/half.h"
#include "sample/log_softmax.h"

namespace farthing {
namespace {

static_assert(std::endian::native == std::endian::little);

constexpr std::string_view kMagic = "farthing ln p 1\n";
constexpr size_t kAlignment = 64;
constexpr uint32_t kMostName = 4096;
constexpr uint32_t kMost = 1u << 24;  // of any count

struct Header {
  uint32_t n_name, vocab, size, n_windows, n_scored, reserved[2];
};

size_t aligned(size_t n) {
  return (n + kAlignment - 1) / kAlignment * kAlignment;
}

}  // namespace

Result<LogitsWriter> LogitsWriter::create(const std::string& path,
                                          const std::string& description,
                                          const Windows& windows,
                                          int32_t vocab_size) {
  const std::string name = description.substr(0, kMostName);
  const Header header{.n_name = static_cast<uint32_t>(name.size()),
                      .vocab = static_cast<uint32_t>(vocab_size),
                      .size = static_cast<uint32_t>(windows.size()),
                      .n_windows = static_cast<uint32_t>(windows.count()),
                      .n_scored = static_cast<uint32_t>(windows.n_scored()),
                      .reserved = {}};
  std::string head(kMagic);
  head.append(reinterpret_cast<const char*>(&header), sizeof header);
  head += name;
  for (int32_t i = 0; i < windows.count(); ++i) {
    const std::vector<TokenId> tokens = windows.at(i);
    head.append(reinterpret_cast<const char*>(tokens.data()), tokens.size() * sizeof(TokenId));
  }
  head.resize(aligned(head.size()));
  const int64_t row_bytes = int64_t{vocab_size} * static_cast<int64_t>(sizeof(uint16_t));
  const int64_t rows = int64_t{windows.count()} * windows.n_scored();
  FARTHING_TRY(NewFile file,
               NewFile::create(path, static_cast<int64_t>(head.size()) + rows * row_bytes));
  FARTHING_TRY_VOID(file.write(std::as_bytes(std::span(head))));
  return LogitsWriter(std::move(file), static_cast<size_t>(vocab_size));
}

Status LogitsWriter::add(std::span<const float> logits) {
  CHECK(logits.size() % vocab_ == 0);
  for (size_t at = 0; at < logits.size(); at += vocab_) {
    const std::span<const float> row = logits.subspan(at, vocab_);
    const double sum = log_sum_exp(row);
    for (size_t i = 0; i < vocab_; ++i) row_[i] = f32_to_f16(static_cast<float>(row[i] - sum));
    FARTHING_TRY_VOID(file_.write(std::as_bytes(std::span(row_))));
  }
  return {};
}

Status LogitsWriter::finish() {
  return file_.finish();
}

bool LogitsFile::is_one(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::array<char, kMagic.size()> start{};
  file.read(start.data(), start.size());
  return file && std::string_view(start.data(), start.size()) == kMagic;
}

Result<LogitsFile> LogitsFile::open(const std::string& path) {
  LogitsFile logits;
  FARTHING_TRY(logits.file_, MappedFile::open(path));
  const std::span<const std::byte> bytes = logits.file_.bytes();
  const auto bad = [&](std::string_view why) {
    return bad_input("{}: {}: make it again with --save-reference", path, why);
  };
  if (!is_one(path) || bytes.size() < kMagic.size() + sizeof(Header))
    return bad("no file of saved distributions");
  Header header;
  std::memcpy(&header, bytes.data() + kMagic.size(), sizeof header);
  for (const uint32_t count : {header.vocab, header.size, header.n_windows, header.n_scored}) {
    if (count < 1 || count > kMost) return bad("its header is damaged");
  }
  if (header.n_name > kMostName || header.n_scored >= header.size)
    return bad("its header is damaged");
  logits.tokens_at_ = kMagic.size() + sizeof header + header.n_name;
  const size_t n_tokens = size_t{header.n_windows} * header.size;
  logits.rows_at_ = aligned(logits.tokens_at_ + n_tokens * sizeof(TokenId));
  // Counts are below 2^24 each: rows of a window fit 64 bits with room, and windows are counted
  // against the size that is there.
  const size_t window_bytes = size_t{header.n_scored} * header.vocab * sizeof(uint16_t);
  if (bytes.size() < logits.rows_at_ ||
      (bytes.size() - logits.rows_at_) / window_bytes < header.n_windows)
    return bad("it is cut short");
  logits.description_.assign(
      reinterpret_cast<const char*>(bytes.data()) + kMagic.size() + sizeof header, header.n_name);
  logits.vocab_ = static_cast<int32_t>(header.vocab);
  logits.size_ = static_cast<int32_t>(header.size);
  logits.n_windows_ = static_cast<int32_t>(header.n_windows);
  logits.n_scored_ = static_cast<int32_t>(header.n_scored);
  return logits;
}

std::vector<TokenId> LogitsFile::tokens(int32_t window) const {
  CHECK(window >= 0 && window < n_windows_);
  std::vector<TokenId> tokens(static_cast<size_t>(size_));
  const size_t n_bytes = tokens.size() * sizeof(TokenId);
  std::memcpy(tokens.data(),
              file_.bytes().data() + tokens_at_ + static_cast<size_t>(window) * n_bytes,
              n_bytes);
  return tokens;
}

std::span<const float> LogitsFile::rows(int32_t window) {
  CHECK(window >= 0 && window < n_windows_);
  const size_t n = static_cast<size_t>(n_scored_) * static_cast<size_t>(vocab_);
  const std::byte* const from =
      file_.bytes().data() + rows_at_ + static_cast<size_t>(window) * n * sizeof(uint16_t);
  rows_.resize(n);
  for (size_t i = 0; i < n; ++i) {
    uint16_t half;
    std::memcpy(&half, from + i * sizeof half, sizeof half);
    rows_[i] = f16_to_f32(half);
  }
  file_.drop_pages({from, n * sizeof(uint16_t)});
  return rows_;
}

}  // namespace farthing
