#include "model/registry.h"

#include "model/arch/families.h"
#include "model/spec_reader.h"

namespace farthing {
namespace {

struct Family {
  std::string_view architecture;  // general.architecture
  Result<ModelSpec> (*spec)(const SpecReader&);
};

constexpr Family kFamilies[] = {
    {"llama", llama_spec},
    {"qwen2", qwen2_spec},
    {"qwen3", qwen3_spec},
    {"gemma2", gemma2_spec},
    {"gemma3", gemma3_spec},
};

}  // namespace

Result<ModelSpec> build_spec(const ModelFile& file) {
  for (const Family& family : kFamilies) {
    if (family.architecture == file.architecture) return family.spec(SpecReader(file));
  }
  std::string known;
  for (const Family& family : kFamilies) {
    known += fmt::format("{}{}", known.empty() ? "" : ", ", family.architecture);
  }
  return bad_input("general.architecture is \"{}\": farthing runs {}", file.architecture, known);
}

std::vector<std::string> supported_architectures() {
  std::vector<std::string> names;
  for (const Family& family : kFamilies) names.emplace_back(family.architecture);
  return names;
}

}  // namespace farthing
