//! Tokenizers: from a GGUF vocabulary or a tokenizer.json.

mod attributes;
mod bpe;
pub mod ffi;
mod joins;
mod json;
mod merge;
mod pieces;
mod pretokenize;
mod queue;
mod scanners;
mod special;
mod spm;
mod strings;
mod unicode;
mod unicode_nfd;
mod unicode_tables;
mod vocab;
mod wpm;

pub use json::JsonTokenizer;
pub use vocab::{NamedIds, VocabInput, VocabTokenizer};

use crate::blocks::Reuse;

#[derive(Clone, Copy, Default)]
pub struct EncodeOptions {
    pub add_special: bool,
    pub parse_special: bool,
    /// Breaks the spelling of a control token, then vanishes.
    pub guard: Option<char>,
}

#[derive(Clone, Copy)]
pub struct Info {
    pub n_tokens: u32,
    pub bos: Option<u32>,
    pub eos: Option<u32>,
    pub adds_bos: bool,
    /// A text starts with a space that decoding takes away again.
    pub strips_leading_space: bool,
}

/// Positions and ids are 32 bits wide, and spaces may grow to three bytes.
const MAX_TEXT: usize = 1 << 30;

pub enum Tokenizer {
    Vocab(Box<VocabTokenizer>),
    Json(Box<JsonTokenizer>),
}

impl Tokenizer {
    pub fn encode(&self, bytes: &[u8], options: EncodeOptions) -> Result<Vec<u32>, String> {
        if bytes.len() > MAX_TEXT {
            return Err(format!("the text has {} bytes; at most {MAX_TEXT} can be encoded at once", bytes.len()));
        }
        let _buffers = Reuse::new();
        let text = std::str::from_utf8(bytes)
            .map_err(|e| format!("the text is not UTF-8 at byte offset {}", e.valid_up_to()))?;
        match (self, options.guard.filter(|guard| text.contains(*guard))) {
            (Tokenizer::Json(json), _) => json.encode(text, options),
            (Tokenizer::Vocab(vocab), None) => vocab.encode(text, &[], options),
            (Tokenizer::Vocab(vocab), Some(guard)) => {
                let (clean, guards) = without_guards(text, guard);
                vocab.encode(&clean, &guards, options)
            }
        }
    }

    pub fn piece(&self, id: u32) -> Option<(&[u8], u8)> {
        match self {
            Tokenizer::Vocab(vocab) => vocab.pieces().get(id),
            Tokenizer::Json(json) => json.pieces().get(id),
        }
    }

    pub fn info(&self) -> Info {
        match self {
            Tokenizer::Vocab(vocab) => vocab.info(),
            Tokenizer::Json(json) => json.info(),
        }
    }

    pub fn warnings(&self) -> &[String] {
        match self {
            Tokenizer::Vocab(vocab) => vocab.warnings(),
            Tokenizer::Json(_) => &[],
        }
    }
}

/// The text without its guards, and where in it they stood.
fn without_guards(text: &str, guard: char) -> (String, Vec<usize>) {
    let mut clean = String::with_capacity(text.len());
    let mut guards = Vec::new();
    for (i, part) in text.split(guard).enumerate() {
        if i > 0 {
            guards.push(clean.len());
        }
        clean.push_str(part);
    }
    (clean, guards)
}
