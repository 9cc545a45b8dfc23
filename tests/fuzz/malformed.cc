#include "tests/fuzz/malformed.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <utility>
#include <vector>

#include "tests/fuzz/base_files.h"

namespace farthing::fuzz {
namespace {

using testing::GgufDoc;
using testing::GgufField;
using testing::GgufKey;
using testing::GgufTensor;
using testing::meta;
using testing::raw;

// {0, 1, 2^7 .. 2^64-1, v+-1, 2v}: around every power of two, since a wrap or a sign begins at one
// of them.
std::vector<uint64_t> bad_values(uint64_t value, size_t bytes) {
  const uint64_t max = bytes == 8 ? ~uint64_t{0} : (uint64_t{1} << (8 * bytes)) - 1;
  std::vector<uint64_t> out = {0, 1, 2, value - 1, value + 1, value * 2, max, max - 1};
  for (int k = 7; k < static_cast<int>(8 * bytes); ++k) out.push_back(uint64_t{1} << k);
  for (int k : {7, 8, 15, 16, 31, 32, 53, 63}) out.push_back((uint64_t{1} << k) - 1);
  for (uint64_t& v : out) v &= max;
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  std::erase(out, value);
  return out;
}

// Of an array only the first two elements and the last: the others are no different.
bool is_typical(const std::vector<GgufField>& fields, size_t i) {
  const std::string& name = fields[i].name;
  const size_t at = name.find(" element ");
  if (at == std::string::npos || name.ends_with("element type")) return true;
  const std::string_view number = std::string_view(name).substr(at + 9);
  if (number.starts_with("0") || number == "1" || number.starts_with("1 ")) return true;
  return i + 1 == fields.size() || fields[i + 1].name.find(name.substr(0, at + 9)) != 0;
}

void emit_fields(const Base& base, Emitter& emit) {
  const auto& fields = base.file.fields;
  for (size_t i = 0; i < fields.size(); ++i) {
    const GgufField& field = fields[i];
    if (field.bytes > 8 || !is_typical(fields, i)) continue;
    uint64_t value = 0;
    std::memcpy(&value, base.file.bytes.data() + field.offset, field.bytes);
    for (uint64_t bad : bad_values(value, field.bytes)) {
      emit([&] {
        MalformedFile file{fmt::format("{}: {} = {}", base.name, field.name, bad), base.file.bytes};
        std::memcpy(file.bytes.data() + field.offset, &bad, field.bytes);
        return file;
      });
    }
  }
}

void emit_truncations(const Base& base, Emitter& emit) {
  const auto cut = [&](size_t n) {
    emit([&] {
      return MalformedFile{fmt::format("{}: cut after {} bytes", base.name, n),
                           base.file.bytes.substr(0, n)};
    });
  };
  for (size_t n = 0; n < base.file.data_offset; ++n) cut(n);
  constexpr size_t kPlaces = 200;
  const size_t data = base.file.bytes.size() - base.file.data_offset;
  for (size_t i = 0; i < kPlaces && data > 0; ++i) cut(base.file.data_offset + data * i / kPlaces);
}

void emit_tensor_ranges(const Base& base, Emitter& emit) {
  const size_t n = base.doc.tensors.size();
  if (n == 0) return;
  std::vector<uint64_t> offsets;
  uint64_t at = 0;
  for (const GgufTensor& tensor : base.doc.tensors) {
    offsets.push_back(at);
    at = (at + tensor.data.size() + base.doc.alignment - 1) / base.doc.alignment *
         base.doc.alignment;
  }
  const uint64_t end = at;
  emit.document(base, "tensor offsets reversed", [&](GgufDoc& doc) {
    for (size_t i = 0; i < n; ++i) doc.tensors[i].offset = offsets[n - 1 - i];
  });
  emit.document(base, "tensor offsets all 0", [&](GgufDoc& doc) {
    for (GgufTensor& tensor : doc.tensors) tensor.offset = 0;
  });
  for (size_t i = 0; i < n; ++i) {
    const std::string name = base.doc.tensors[i].name;
    const uint64_t size = base.doc.tensors[i].data.size();
    const uint64_t bad[] = {offsets[(i + 1) % n],
                            offsets[i] + 32,
                            offsets[i] - 32,
                            offsets[i] + 8,
                            end - size / 32 * 32,
                            end - size / 32 * 32 + 32,
                            end,
                            end + 32,
                            end * 2,
                            ~uint64_t{31},
                            uint64_t{1} << 63};
    for (uint64_t offset : bad) {
      emit.document(base, fmt::format("tensor '{}' at {}", name, offset), [&](GgufDoc& doc) {
        doc.tensors[i].offset = offset;
      });
    }
    emit.document(base, fmt::format("tensor '{}' missing", name), [&](GgufDoc& doc) {
      doc.tensors.erase(doc.tensors.begin() + static_cast<ptrdiff_t>(i));
    });
    emit.document(base, fmt::format("tensor '{}' twice", name), [&](GgufDoc& doc) {
      doc.tensors.push_back(doc.tensors[i]);
    });
    for (uint32_t type = 0; type <= 42; ++type) {
      emit.document(base, fmt::format("tensor '{}' of type {}", name, type), [&](GgufDoc& doc) {
        doc.tensors[i].type = type;
      });
    }
    emit.document(base, fmt::format("tensor '{}' transposed", name), [&](GgufDoc& doc) {
      std::reverse(doc.tensors[i].dims.begin(), doc.tensors[i].dims.end());
    });
    for (size_t dims = 0; dims <= 5; ++dims) {
      emit.document(base,
                    fmt::format("tensor '{}' with {} dimensions", name, dims),
                    [&](GgufDoc& doc) { doc.tensors[i].dims.resize(dims, 1); });
    }
  }
}

std::vector<GgufKey> of_every_type(const std::string& key) {
  std::vector<GgufKey> out = {
      meta(key, uint8_t{1}),
      meta(key, int8_t{-1}),
      meta(key, uint16_t{1}),
      meta(key, int16_t{-1}),
      meta(key, uint32_t{1}),
      meta(key, int32_t{-1}),
      meta(key, 1.0F),
      meta(key, true),
      meta(key, "x"),
      meta(key, uint64_t{1}),
      meta(key, int64_t{-1}),
      meta(key, 1.0),
  };
  for (uint32_t element = 0; element <= 13; ++element) {
    GgufKey array{key, MetaType::kArray, "", static_cast<MetaType>(element), {}};
    out.push_back(array);
    const bool is_string = array.element == MetaType::kString;
    const size_t sizes[] = {1, 1, 2, 2, 4, 4, 4, 1, 1, 0, 8, 8, 8, 4};
    array.elements.assign(3, std::string(sizes[element], is_string ? 'x' : '\1'));
    out.push_back(array);
  }
  out.push_back({key, static_cast<MetaType>(13), "xxxx", MetaType::kUint8, {}});
  out.push_back({key, static_cast<MetaType>(0xFFFFFFFF), "", MetaType::kUint8, {}});
  return out;
}

void emit_types(const Base& base, Emitter& emit) {
  for (const GgufKey& key : base.doc.keys) {
    for (const GgufKey& other : of_every_type(key.key)) {
      emit.document(base,
                    fmt::format("key '{}' of type {} ({}, {} elements)",
                                key.key,
                                static_cast<uint32_t>(other.type),
                                static_cast<uint32_t>(other.element),
                                other.elements.size()),
                    [&](GgufDoc& doc) { doc.set(other); });
    }
    emit.document(
        base, fmt::format("key '{}' missing", key.key), [&](GgufDoc& doc) { doc.erase(key.key); });
    emit.document(base, fmt::format("key '{}' twice", key.key), [&](GgufDoc& doc) {
      doc.keys.push_back(key);
    });
  }
}

void emit_hyper_parameters(const Base& base, Emitter& emit) {
  for (const GgufKey& key : base.doc.keys) {
    const bool is_number = key.type != MetaType::kString && key.type != MetaType::kArray;
    if (!is_number || key.key.starts_with("general.") || key.key.starts_with("tokenizer."))
      continue;
    for (int64_t bad : {int64_t{0},
                        int64_t{-1},
                        int64_t{1},
                        int64_t{3},
                        int64_t{7},
                        int64_t{63},
                        int64_t{65},
                        int64_t{1} << 16,
                        int64_t{1} << 20,
                        int64_t{1} << 31,
                        (int64_t{1} << 32) - 1,
                        int64_t{1} << 40,
                        int64_t{1} << 62,
                        std::numeric_limits<int64_t>::min(),
                        std::numeric_limits<int64_t>::max()}) {
      emit.document(base, fmt::format("{} = {}", key.key, bad), [&](GgufDoc& doc) {
        doc.set(meta(key.key, bad));
      });
    }
    for (double bad : {0.0,
                       -0.0,
                       -1.0,
                       1e-320,
                       1e-30,
                       0.5,
                       1e30,
                       1e300,
                       double{INFINITY},
                       -double{INFINITY},
                       double{NAN}}) {
      emit.document(base, fmt::format("{} = {}", key.key, bad), [&](GgufDoc& doc) {
        doc.set(meta(key.key, bad));
      });
      emit.document(base, fmt::format("{} = {} (float32)", key.key, bad), [&](GgufDoc& doc) {
        doc.set(meta(key.key, static_cast<float>(bad)));
      });
    }
  }
}

void emit_vocabularies(const Base& base, Emitter& emit) {
  const char* bad_tokens[] = {"",
                              "<0x-1>",
                              "<0x0G>",
                              "<0x>",
                              "<0x000>",
                              "\xFF",
                              "\xC0\x80",
                              "\xED\xA0\x80",
                              "a\nb",
                              " ",
                              "<s>",
                              "e",
                              "\x1b[2J",
                              "[EMPTY_4]"};
  const size_t n = GgufDoc(base.doc).find("tokenizer.ggml.tokens")->elements.size();
  for (const char* bad : bad_tokens) {
    for (size_t i : {size_t{0}, size_t{3}, n / 2, n - 1}) {
      emit.document(base, fmt::format("token {} = '{}'", i, bad), [&](GgufDoc& doc) {
        doc.find("tokenizer.ggml.tokens")->elements[i] = bad;
      });
    }
  }
  for (const char* key : {"tokens", "scores", "token_type", "merges"}) {
    const std::string name = std::string("tokenizer.ggml.") + key;
    for (int change : {-1, +1}) {
      emit.document(base, fmt::format("{}: {:+} element", name, change), [&](GgufDoc& doc) {
        GgufKey* array = doc.find(name);
        if (array == nullptr) return;
        change < 0 ? array->elements.pop_back() : array->elements.push_back(array->elements.back());
      });
    }
  }
  for (int32_t type : {-1, 0, 7, 255, 1 << 30}) {
    emit.document(base, fmt::format("every token of type {}", type), [&](GgufDoc& doc) {
      for (std::string& element : doc.find("tokenizer.ggml.token_type")->elements)
        element = raw(type);
    });
  }
  for (float score : {INFINITY, -INFINITY, NAN, 1e38F}) {
    emit.document(base, fmt::format("every score {}", score), [&](GgufDoc& doc) {
      doc.set(meta("tokenizer.ggml.scores", std::vector<float>(n, score)));
    });
  }
  for (const char* merge : {"", " ", "a", " a", "a ", "a b c", "\xFF \xFE", "unknown pair"}) {
    emit.document(base, fmt::format("merge '{}'", merge), [&](GgufDoc& doc) {
      doc.set(meta("tokenizer.ggml.merges", std::vector<std::string>{merge, "t h"}));
    });
  }
  for (const char* id :
       {"bos", "eos", "eot", "eom", "unknown", "seperator", "padding", "cls", "mask"}) {
    for (int64_t bad : {int64_t{-1}, static_cast<int64_t>(n), int64_t{1} << 31, int64_t{1} << 32}) {
      const std::string key = fmt::format("tokenizer.ggml.{}_token_id", id);
      emit.document(
          base, fmt::format("{} = {}", key, bad), [&](GgufDoc& doc) { doc.set(meta(key, bad)); });
    }
  }
  for (const char* model :
       {"", "gpt2", "bert", "t5", "none", "no_vocab", "gemma4", "unheard-of", "\xFF"}) {
    emit.document(base, fmt::format("tokenizer '{}'", model), [&](GgufDoc& doc) {
      doc.set(meta("tokenizer.ggml.model", model));
    });
  }
}

// Tensors that a file may have, of the wrong kind or with values that make no sense.
void emit_optional_tensors(const Base& base, Emitter& emit) {
  using testing::TinyLlama;
  for (const char* name : {"rope_freqs.weight", "blk.0.attn_q.bias", "blk.0.attn_q_norm.weight"}) {
    for (const GgufTensor& tensor : {TinyLlama::f32(name, {8}),  // all zeroes
                                     TinyLlama::f32(name, {7}),
                                     TinyLlama::q8_0(name, {64}),
                                     TinyLlama::q8_0(name, {64, 3})}) {
      emit.document(
          base,
          fmt::format("{} of {} dimensions, type {}", name, tensor.dims.size(), tensor.type),
          [&](GgufDoc& doc) { doc.tensors.push_back(tensor); });
    }
  }
}

// 1 to 8 bytes anywhere before the data set to anything.
void emit_random(const Base& base, uint64_t seed, int count, Emitter& emit) {
  for (int i = 0; i < count; ++i) {
    emit([&] {
      std::mt19937_64 random(seed * 1'000'003 + static_cast<uint64_t>(i));
      MalformedFile file{fmt::format("{}: random damage {} of seed {}", base.name, i, seed),
                         base.file.bytes};
      for (uint64_t n = 1 + random() % 8; n > 0; --n) {
        file.bytes[random() % base.file.data_offset] = static_cast<char>(random());
      }
      return file;
    });
  }
}

}  // namespace

void for_each_malformed(uint64_t seed, const Visit& visit) {
  Emitter emit(visit);
  for (const Base& base : main_bases()) {
    emit_fields(base, emit);
    emit_truncations(base, emit);
    emit_tensor_ranges(base, emit);
    emit_types(base, emit);
    emit_optional_tensors(base, emit);
    emit_hyper_parameters(base, emit);
    emit_vocabularies(base, emit);
    emit_random(base, seed, 1000, emit);
  }
  for (const char* family : {"qwen2", "qwen3", "gemma2", "gemma3"}) {
    const Base base = make_base(family, as_family(family));
    emit_hyper_parameters(base, emit);
    emit_random(base, seed, 250, emit);
  }
  for (const Base& base : golden_models()) emit_random(base, seed, 200, emit);
}

uint64_t count_malformed(uint64_t seed) {
  uint64_t n = 0;
  for_each_malformed(seed, [&](uint64_t, const auto&) { ++n; });
  return n;
}

}  // namespace farthing::fuzz
