// libFuzzer target: any bytes, read as a safetensors file. What is accepted lies inside, is as long
// as shape and type say, overlaps nothing and leaves nothing out.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "load/safetensors.h"
#include "tests/fuzz/require.h"

namespace farthing::fuzz {
namespace {

void judge(std::span<const std::byte> image) {
  Allowance allowance;
  const auto tensors = parse_safetensors(image, allowance);
  if (!tensors) return require_refusal(tensors.error());
  size_t sum = 0;
  const std::byte* end = nullptr;
  std::vector<std::string_view> names;
  for (const StoredTensor& tensor : *tensors) {
    const std::byte* begin = tensor.bytes.data();
    require(begin >= image.data() + 8 &&
                begin + tensor.bytes.size() <= image.data() + image.size(),
            "a tensor lies outside");
    require(end == nullptr || begin == end, "tensors overlap, or have a gap between them");
    require(tensor.size() * tensor.type->bits == static_cast<int64_t>(tensor.bytes.size() * 8),
            "{} in {} bytes",
            tensor.describe(),
            tensor.bytes.size());
    end = begin + tensor.bytes.size();
    sum += tensor.bytes.size();
    names.push_back(tensor.name);
  }
  require(end == nullptr || end == image.data() + image.size(), "bytes of nobody at the end");
  require(sum <= image.size(), "more bytes than the file has");
  std::ranges::sort(names);
  require(std::ranges::adjacent_find(names) == names.end(), "one name twice");
}

}  // namespace
}  // namespace farthing::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  farthing::fuzz::judge(std::as_bytes(std::span(data, size)));
  return 0;
}
