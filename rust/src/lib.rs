//! Tokenizers and chat templates behind a C ABI (include/farthing_rust.h).
//! No panic crosses the border: every `extern "C"` body runs in `ffi::guarded`.

pub mod blocks;
pub mod ffi;
pub mod template;
pub mod tokenizer;
