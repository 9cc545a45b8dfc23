//! Tokenizers: from a GGUF vocabulary or a tokenizer.json.
