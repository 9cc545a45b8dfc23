// For tests: a decoder with its threads and KV bytes, sequences whose blocks lie in no particular
// order, and the goldens of tests/golden/model.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <memory>
#include <ostream>
#include <random>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/json.h"
#include "base/thread_team.h"
#include "cache/kv_store.h"
#include "core/batch.h"
#include "kernels/isa.h"
#include "model/decoder.h"
#include "model/model.h"

namespace farthing::testing {

// What can't be loaded fails every test there is: say why and stop.
template <class T>
T must(Result<T> result) {
  if (!result) std::fprintf(stderr, "%s\n", result.error().message.c_str());
  return std::move(result).value();
}

inline std::unique_ptr<Model> open_model(const std::string& path, WeightMode mode) {
  return must(make_model(must(open_model_file(path)), mode));
}

inline TokenId argmax(std::span<const float> logits) {
  return static_cast<TokenId>(std::ranges::max_element(logits) - logits.begin());
}

struct RigOptions {
  Isa isa = Isa::kRef;
  int32_t n_threads = 1;
  KVTypes kv_type = KVType::kF32;
  AttentionMode attention = AttentionMode::kFlash;
  int32_t context = 128;
  int32_t n_sequences = 1;   // blocks for so many full contexts
  int32_t max_tokens = 512;  // of one batch
  int32_t max_logits = 0;    // of one batch; 0: max_tokens
  uint32_t block_seed = 1;   // which blocks a sequence gets
};

class Rig {
 public:
  Rig(const Model& model, const RigOptions& options) : vocab_(model.spec.vocab_size) {
    const int32_t n_blocks = options.n_sequences * blocks_for(options.context);
    store_ = must(KVStore::create(model.kv_shapes(options.kv_type), n_blocks));
    team_ = std::make_unique<ThreadTeam>(options.n_threads);
    DecoderOptions decoder;
    decoder.max_tokens = options.max_tokens;
    decoder.max_logits = options.max_logits > 0 ? options.max_logits : options.max_tokens;
    decoder.context = options.context;
    decoder.kv_type = options.kv_type;
    decoder.attention = options.attention;
    const Exec exec{&kernel_table(options.isa), team_.get()};
    decoder_ = std::make_unique<Decoder>(must(Decoder::create(model, exec, decoder)));
    for (int32_t b = 0; b < n_blocks; ++b) free_.push_back(BlockId{static_cast<uint32_t>(b)});
    std::mt19937 random(options.block_seed);
    std::ranges::shuffle(free_, random);
  }

  // A sequence of these tokens with blocks for `room` positions.
  Sequence sequence(std::vector<TokenId> tokens, int32_t room) {
    Sequence s;
    s.n_prompt = static_cast<int32_t>(tokens.size());
    s.tokens = std::move(tokens);
    const auto n = static_cast<size_t>(blocks_for(room));
    CHECK(n <= free_.size());
    s.blocks.assign(free_.end() - static_cast<ptrdiff_t>(n), free_.end());
    free_.resize(free_.size() - n);
    return s;
  }
  void release(const Sequence& s) { free_.insert(free_.end(), s.blocks.begin(), s.blocks.end()); }

  int32_t vocab() const { return vocab_; }
  Matrix<float> forward(const Batch& batch) { return decoder_->forward(batch, store_).all; }
  Logits logits(const Batch& batch) { return decoder_->forward(batch, store_); }

  // Computes tokens [s.n_stored, s.n_stored + count) and gives the logits of each.
  std::vector<float> advance(Sequence& s, int32_t count) {
    const Matrix<float> logits = forward({{{&s, s.n_stored, count, count}}});
    s.n_stored += count;
    return flat(logits);
  }

  // The logits of every token of a fresh sequence, computed `chunk` tokens at a time.
  std::vector<float> logits_of(const std::vector<TokenId>& tokens, int32_t chunk) {
    Sequence s = sequence(tokens, static_cast<int32_t>(tokens.size()));
    std::vector<float> all;
    while (s.n_stored < s.size()) {
      const std::vector<float> part = advance(s, std::min(chunk, s.size() - s.n_stored));
      all.insert(all.end(), part.begin(), part.end());
    }
    release(s);
    return all;
  }

  // What greedy decoding adds to the prompt.
  std::vector<TokenId> greedy(const std::vector<TokenId>& prompt, int32_t n_new) {
    Sequence s = sequence(prompt, static_cast<int32_t>(prompt.size()) + n_new);
    for (int32_t i = 0; i < n_new; ++i) {
      const std::vector<float> logits = advance(s, s.size() - s.n_stored);
      s.tokens.push_back(argmax(std::span(logits).last(static_cast<size_t>(vocab_))));
    }
    release(s);
    return {s.tokens.begin() + s.n_prompt, s.tokens.end()};
  }

  std::vector<float> flat(const Matrix<float>& logits) const {
    std::vector<float> out;
    for (int64_t t = 0; t < logits.rows; ++t) {
      out.insert(out.end(), logits[t].begin(), logits[t].end());
    }
    return out;
  }

 private:
  int32_t vocab_;
  KVStore store_;
  std::unique_ptr<ThreadTeam> team_;
  std::unique_ptr<Decoder> decoder_;
  std::vector<BlockId> free_;
};

inline std::vector<TokenId> random_tokens(int32_t vocab, int32_t n, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<TokenId> tokens;
  for (int32_t i = 0; i < n; ++i) {
    tokens.push_back(static_cast<TokenId>(random() % static_cast<uint32_t>(vocab)));
  }
  return tokens;
}

// The first token whose logits differ in any bit, or -1.
inline int32_t first_difference(std::span<const float> a, std::span<const float> b, int32_t vocab) {
  if (a.size() != b.size()) return 0;
  for (size_t i = 0; i < a.size(); ++i) {
    if (std::memcmp(&a[i], &b[i], sizeof(float)) != 0) return static_cast<int32_t>(i) / vocab;
  }
  return -1;
}

// The logits of these tokens, computed beside three other sequences that are prefilled and end
// while this one lives: each batch mixes slices of 1 to 9 tokens, this one's first, last or
// between. The rig needs room for four sequences.
inline std::vector<float> logits_beside_others(Rig& rig,
                                               const std::vector<TokenId>& tokens,
                                               uint32_t seed) {
  const auto n = static_cast<int32_t>(tokens.size());
  std::vector<Sequence> all{rig.sequence(tokens, n)};
  for (int32_t i = 1; i < 4; ++i) {
    const int32_t length = n * (5 - i) / 4;  // as long, three quarters, half
    all.push_back(
        rig.sequence(random_tokens(rig.vocab(), length, static_cast<uint32_t>(i)), length));
  }
  std::vector<float> ours;
  std::mt19937 random(seed);
  while (all[0].n_stored < n) {
    std::vector<size_t> order{0, 1, 2, 3};
    std::ranges::shuffle(order, random);
    Batch batch;
    int64_t our_row = 0;
    int32_t our_count = 0;
    for (size_t i : order) {
      Sequence& s = all[i];
      const int32_t left = s.size() - s.n_stored;
      if (left == 0) continue;
      const int32_t count = std::min<int32_t>(left, 1 + static_cast<int32_t>(random() % 9));
      if (i == 0) {
        our_row = batch.n_logits();
        our_count = count;
      }
      batch.slices.push_back({&s, s.n_stored, count, i == 0 ? count : 1});
    }
    const std::vector<float> part = rig.flat(rig.forward(batch).slice(our_row, our_count));
    ours.insert(ours.end(), part.begin(), part.end());
    for (const Slice& slice : batch.slices) {
      all[static_cast<size_t>(slice.sequence - all.data())].n_stored += slice.count;
    }
  }
  for (const Sequence& s : all) rig.release(s);
  return ours;
}

// How far logits are from what they should be.
struct Distance {
  double worst = 0;  // largest absolute error / range of the expected values
  double nmse = 0;   // sum of squared errors / sum of squared expected values
};

inline Distance distance(std::span<const float> got, std::span<const float> expected) {
  CHECK(got.size() == expected.size() && !got.empty());
  const auto [low, high] = std::ranges::minmax(expected);
  double worst = 0;
  double error = 0;
  double power = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    const double e = double{got[i]} - double{expected[i]};
    if (!std::isfinite(e)) return {INFINITY, INFINITY};
    worst = std::max(worst, std::abs(e));
    error += e * e;
    power += double{expected[i]} * double{expected[i]};
  }
  return {worst / (double{high} - double{low}), error / power};
}

// One model of tests/golden/model.
struct Golden {
  std::string name;
  std::string path;             // of the GGUF
  std::vector<TokenId> tokens;  // 64
  std::vector<float> logits;    // [tokens][vocab]: transformers, float32
};

inline void PrintTo(const Golden& golden, std::ostream* out) {
  *out << golden.name;
}

inline std::vector<Golden> read_goldens() {
  const std::string folder = FARTHING_SOURCE_DIR "/tests/golden/model/";
  std::ifstream list(folder + "cases.json");
  CHECK(list.good());
  static_assert(std::endian::native == std::endian::little);
  std::vector<Golden> goldens;
  for (const Json& row : Json::parse(list)) {
    Golden g;
    g.name = row.at("name").get<std::string>();
    g.path = folder + g.name + ".gguf";
    g.tokens = row.at("tokens").get<std::vector<TokenId>>();
    g.logits.resize(g.tokens.size() * row.at("vocab").get<size_t>());
    std::ifstream file(folder + g.name + ".logits.f32", std::ios::binary);
    file.read(reinterpret_cast<char*>(g.logits.data()),
              static_cast<std::streamsize>(g.logits.size() * sizeof(float)));
    CHECK(file.good() && file.peek() == std::ifstream::traits_type::eof());
    goldens.push_back(std::move(g));
  }
  return goldens;
}

// For parameterised tests: "llama-gqa" as gtest allows it in a name.
inline std::string test_name(std::string name) {
  std::ranges::replace(name, '-', '_');
  return name;
}

}  // namespace farthing::testing
