// Malformed GGUF files, thousands of them, from a seed: each is made only when asked for, and has a
// recipe that says what is wrong with it. Also the oracle: what any reader must do with any of
// them. Owns: nothing. Invariant: file number i of a seed is the same bytes on every machine.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>

#include "load/hf_folder.h"
#include "load/model_file.h"

namespace farthing::fuzz {

struct MalformedFile {
  std::string recipe;  // "tiny-llama: tensor 'output.weight' dim = 9223372036854775808"
  std::string bytes;
};

// Calls `visit(i, make)` for every file in order; make() builds it. Some files are valid: damage
// needn't be harmful.
using Visit = std::function<void(uint64_t index, const std::function<MalformedFile()>& make)>;
void for_each_malformed(uint64_t seed, const Visit& visit);

uint64_t count_malformed(uint64_t seed);

// Well-formed files, as seeds of the fuzzer's corpus.
void for_each_well_formed(const Visit& visit);

// Files that try to make a reader take much memory: up to some 100 MB each.
void for_each_bomb(const Visit& visit);

// Reads the image as a model file, as far as `farthing check` does. Empty if all is well (refused
// with kBadInput in one line that names a key, tensor or offset; or accepted, and then everything
// lies inside); else what went wrong. `refused` tells which.
std::string judge(std::span<const std::byte> image, bool* refused = nullptr);
// The same of a Hugging Face folder, and of what a reader made of the bytes of `images`.
std::string judge_folder(const HfFolder& folder, bool* refused = nullptr);
std::string judge_model(const Result<ModelFile>& file,
                        std::span<const std::span<const std::byte>> images,
                        bool* refused);

}  // namespace farthing::fuzz
