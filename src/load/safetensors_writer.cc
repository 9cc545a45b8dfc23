#include "load/safetensors_writer.h"

#include "base/checked.h"
#include "base/json.h"

namespace farthing {

std::string safetensors_head(std::span<const StoredSpec> tensors) {
  Json header = {{"__metadata__", {{"format", "pt"}}}};
  int64_t at = 0;
  for (const StoredSpec& t : tensors) {
    header[t.name] = {{"dtype", t.type}, {"shape", t.shape}, {"data_offsets", {at, at + t.bytes}}};
    at += t.bytes;
  }
  std::string text = header.dump(-1, ' ', false, Json::error_handler_t::replace);
  text.resize(static_cast<size_t>(round_up(static_cast<int64_t>(text.size()), 8)), ' ');
  const uint64_t length = text.size();
  return std::string(reinterpret_cast<const char*>(&length), sizeof length) + text;
}

}  // namespace farthing
