// libFuzzer target: a right Hugging Face folder, one of whose files is replaced. The first byte says
// which: c config.json, g generation_config.json, t tokenizer.json, k tokenizer_config.json,
// i the index, q a quantization_config inside config.json; else the weights.
#include <cstddef>
#include <cstdint>
#include <string>

#include "load/safetensors_for_tests.h"
#include "tests/fuzz/malformed.h"
#include "tests/fuzz/require.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using farthing::testing::FolderBytes;
  static const FolderBytes kRight = farthing::testing::tiny_folder().encode();
  if (size == 0) return 0;
  FolderBytes folder = kRight;
  std::string text(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0]) {
    case 'c':
      folder.config = std::move(text);
      break;
    case 'g':
      folder.generation_config = std::move(text);
      break;
    case 't':
      folder.tokenizer = std::move(text);
      break;
    case 'k':
      folder.tokenizer_config = std::move(text);
      break;
    case 'i':
      folder.index = std::move(text);
      break;
    case 'q':
      folder.config.insert(1, "\"quantization_config\":" + text + ",");
      break;
    default:
      folder.shards[0].second = std::move(text);
  }
  const std::string fault = farthing::fuzz::judge_folder(folder.view());
  farthing::fuzz::require(fault.empty(), "{}", fault);
  return 0;
}
