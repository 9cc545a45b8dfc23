/* Tokenizers (rust/src/tokenizer). Included by farthing_rust.h. */
