// What verbs that work on text alone need of a model: its vocabulary and its template, from a GGUF
// file (one with a vocabulary and nothing else will do), a Hugging Face folder or, for the
// tokenizer, a tokenizer.json.
#pragma once

#include <string>

#include "base/result.h"
#include "core/vocab.h"
#include "text/tokenizer.h"

namespace farthing {

// `model` as --model has it: a path or an alias.
Result<Tokenizer> open_tokenizer(const std::string& model);

// Of a GGUF file or a folder.
Result<Vocab> open_vocab(const std::string& model);

}  // namespace farthing
