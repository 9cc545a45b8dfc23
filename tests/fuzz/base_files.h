// The right files that the sweep damages, and the numbering of what it makes of them.
// Owns: bytes. Does not know: what is done to them.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "load/gguf_for_tests.h"
#include "tests/fuzz/malformed.h"

namespace farthing::fuzz {

struct Base {
  std::string name;
  testing::GgufDoc doc;  // empty for a file from disk
  testing::GgufBytes file;
};

Base make_base(std::string name, testing::GgufDoc doc);

// A vocabulary alone, byte-level BPE, in version 2 of the format.
testing::GgufDoc bpe_vocabulary();

// The tiny llama with another family's keys, on the same tensors.
testing::GgufDoc as_family(std::string_view family);

// The two that get every kind of damage: a whole model, and a vocabulary alone.
std::vector<Base> main_bases();

// Files of the other tests, for random damage: whole models that are right in every family.
std::vector<Base> golden_models();

// Numbers files of the sweep and hands them out.
class Emitter {
 public:
  explicit Emitter(const Visit& visit) : visit_(visit) {}

  void operator()(const std::function<MalformedFile()>& make) { visit_(index_++, make); }
  void document(const Base& base,
                std::string what,
                const std::function<void(testing::GgufDoc&)>& damage) {
    (*this)([&] {
      testing::GgufDoc doc = base.doc;
      damage(doc);
      return MalformedFile{base.name + ": " + what, testing::encode(doc).bytes};
    });
  }

 private:
  const Visit& visit_;
  uint64_t index_ = 0;
};

}  // namespace farthing::fuzz
