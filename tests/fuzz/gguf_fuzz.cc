// libFuzzer target: any bytes, read as a model file. Configure with the asan preset (or
// -DFARTHING_FUZZ=ON), then
//   malformed_gguf --seeds corpus && gguf_fuzz -max_len=65536 corpus
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "tests/fuzz/malformed.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string fault = farthing::fuzz::judge(std::as_bytes(std::span(data, size)));
  if (fault.empty()) return 0;
  std::fprintf(stderr, "%s\n", fault.c_str());
  std::abort();
}
