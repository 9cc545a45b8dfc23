// The reference reader of make.py: asks llama.cpp for the ids of many texts at once. Not part of the build.
//   c++ -std=c++17 -I INCLUDE reference.cc LIBRARIES -o reference     (llama.h, ggml.h; libllama and libggml*)
//   reference model.gguf < requests > answers
// A request is a u32 length, a flags byte (1: add_special, 2: parse_special) and the text; an answer is a u32 count and
// as many i32 ids. Little-endian.
#include <llama.h>

#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  llama_log_set([](ggml_log_level, const char*, void*) {}, nullptr);
  llama_model_params params = llama_model_default_params();
  params.vocab_only = true;
  llama_model* model = llama_model_load_from_file(argv[1], params);
  if (model == nullptr) return 1;
  const llama_vocab* vocab = llama_model_get_vocab(model);
  uint32_t length = 0;
  while (std::fread(&length, sizeof(length), 1, stdin) == 1) {
    const int flags = std::fgetc(stdin);
    std::string text(length, '\0');
    if (std::fread(text.data(), 1, length, stdin) != length) return 1;
    std::vector<llama_token> ids(4 * text.size() + 16);
    const int32_t count = llama_tokenize(vocab, text.data(), static_cast<int32_t>(length), ids.data(),
                                         static_cast<int32_t>(ids.size()), (flags & 1) != 0, (flags & 2) != 0);
    if (count < 0) return 1;
    std::fwrite(&count, sizeof(count), 1, stdout);
    std::fwrite(ids.data(), sizeof(llama_token), static_cast<size_t>(count), stdout);
  }
  llama_model_free(model);
  return 0;
}
