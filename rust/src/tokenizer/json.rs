//! Owns: a tokenizer built from a tokenizer.json, run by the Hugging Face `tokenizers` crate. Does not know: GGUF.

use std::sync::{Arc, Mutex, OnceLock};

use serde_json::{json, Value};
use tokenizers::Tokenizer;

use super::attributes::ends_generation_by_spelling;
use super::pieces::{byte_of, Pieces};
use super::{EncodeOptions, Info};

/// Ids may have gaps, but not at any price.
const MAX_TOKENS: u32 = 1 << 24;

/// Bytes of all added tokens together (Gemma's 6,242 have 75 KB): the crate's automata over them take a hundred times that.
const MAX_ADDED_TEXT: usize = 1 << 20;

pub struct JsonTokenizer {
    tokenizer: Tokenizer,           // special tokens are found in the text
    literal: OnceLock<Tokenizer>,   // they aren't; made at first use
    guarded: Mutex<Option<Guarded>>, // for the last guard asked for
    pieces: Pieces,
    info: Info,
}

#[derive(Clone)]
struct Guarded {
    guard: char,
    tokenizer: Arc<Tokenizer>,
}

/// What has to be known of a tokenizer.json before the crate may build it.
#[derive(serde::Deserialize)]
struct Outline {
    #[serde(default)]
    added_tokens: Vec<AddedText>,
}

#[derive(serde::Deserialize)]
struct AddedText {
    #[serde(default)]
    content: String,
}

fn check_added_text(source: &[u8]) -> Result<(), String> {
    let outline: Outline = serde_json::from_slice(source).map_err(|e| format!("tokenizer.json: {e}"))?;
    let text: usize = outline.added_tokens.iter().map(|token| token.content.len()).sum();
    if text > MAX_ADDED_TEXT {
        return Err(format!("tokenizer.json: its added tokens have {text} bytes; at most {MAX_ADDED_TEXT} are taken"));
    }
    Ok(())
}

impl JsonTokenizer {
    pub fn new(source: &[u8]) -> Result<Self, String> {
        check_added_text(source)?;
        let mut tokenizer = Tokenizer::from_bytes(source).map_err(|e| format!("tokenizer.json: {e}"))?;
        // A prompt is never cut or filled behind the caller's back.
        tokenizer.with_truncation(None).map_err(|e| e.to_string())?;
        tokenizer.with_padding(None);
        let decoding = Decoding::of(&tokenizer)?;
        let pieces = spell_pieces(&tokenizer, &decoding)?;
        let (bos, eos) = added_ends(&tokenizer);
        let info = Info {
            n_tokens: pieces.len() as u32,
            bos,
            eos,
            adds_bos: bos.is_some(),
            strips_leading_space: decoding.strips_leading_space,
        };
        Ok(JsonTokenizer { tokenizer, literal: OnceLock::new(), guarded: Mutex::new(None), pieces, info })
    }

    /// The text may hold `options.guard`.
    pub fn encode(&self, text: &str, options: EncodeOptions) -> Result<Vec<u32>, String> {
        let guard = options.guard.filter(|guard| text.contains(*guard));
        match (options.parse_special, guard) {
            (false, Some(guard)) => run(self.literal(), &text.replace(guard, ""), options.add_special),
            (false, None) => run(self.literal(), text, options.add_special),
            (true, Some(guard)) => run(&*self.guarded(guard)?, text, options.add_special),
            (true, None) => run(&self.tokenizer, text, options.add_special),
        }
    }

    fn literal(&self) -> &Tokenizer {
        self.literal.get_or_init(|| {
            let mut literal = self.tokenizer.clone();
            literal.set_encode_special_tokens(true);
            literal
        })
    }

    /// Special tokens are looked for before normalization, where the guard breaks their spelling; the normalizer then
    /// drops it, so that the plain text is as if it had never been there.
    fn guarded(&self, guard: char) -> Result<Arc<Tokenizer>, String> {
        let mut kept = self.guarded.lock().map_err(|_| "the tokenizer broke in another thread".to_string())?;
        if let Some(known) = kept.as_ref().filter(|known| known.guard == guard) {
            return Ok(known.tokenizer.clone());
        }
        let mut state = serde_json::to_value(&self.tokenizer).map_err(|e| e.to_string())?;
        for token in state["added_tokens"].as_array_mut().into_iter().flatten() {
            if token["special"] == true {
                token["normalized"] = Value::Bool(false);
            }
        }
        let drop_guard = json!({"type": "Replace", "pattern": {"String": guard.to_string()}, "content": ""});
        let normalizers = match state["normalizer"].take() {
            Value::Null => json!([drop_guard]),
            normalizer => json!([drop_guard, normalizer]),
        };
        state["normalizer"] = json!({"type": "Sequence", "normalizers": normalizers});
        let tokenizer: Tokenizer = serde_json::from_value(state).map_err(|e| e.to_string())?;
        let tokenizer = Arc::new(tokenizer);
        *kept = Some(Guarded { guard, tokenizer: tokenizer.clone() });
        Ok(tokenizer)
    }

    pub fn pieces(&self) -> &Pieces {
        &self.pieces
    }

    pub fn info(&self) -> Info {
        self.info
    }
}

fn run(tokenizer: &Tokenizer, text: &str, add_special: bool) -> Result<Vec<u32>, String> {
    let encoding = tokenizer.encode_fast(text, add_special).map_err(|e| e.to_string())?;
    Ok(encoding.get_ids().to_vec())
}

/// The ids that the post-processor puts before and after a text.
fn added_ends(tokenizer: &Tokenizer) -> (Option<u32>, Option<u32>) {
    let ids = |add| run(tokenizer, "a", add).unwrap_or_default();
    let (bare, full) = (ids(false), ids(true));
    let before = full.windows(bare.len().max(1)).position(|window| window == bare).unwrap_or(0);
    let after = full.len().saturating_sub(before + bare.len());
    let bos = (before > 0).then(|| full[0]);
    let eos = (after > 0).then(|| full[full.len() - 1]);
    (bos, eos)
}

/// What the decoder does to one token's text.
#[derive(Default)]
struct Decoding {
    byte_level: bool,
    byte_fallback: bool,
    space_mark: Option<String>,
    continuation: Option<String>, // WordPiece: other tokens start a word
    word_end: Option<String>,
    strips_leading_space: bool,
}

impl Decoding {
    fn of(tokenizer: &Tokenizer) -> Result<Self, String> {
        let mut decoding = Decoding::default();
        let decoder = serde_json::to_value(tokenizer.get_decoder()).map_err(|e| e.to_string())?;
        decoding.read(&decoder);
        Ok(decoding)
    }

    fn read(&mut self, decoder: &Value) {
        let text = |key: &str| decoder[key].as_str().map(str::to_string);
        match decoder["type"].as_str() {
            Some("Sequence") => decoder["decoders"].as_array().into_iter().flatten().for_each(|d| self.read(d)),
            Some("ByteLevel") => self.byte_level = true,
            Some("ByteFallback") => self.byte_fallback = true,
            Some("Replace") if decoder["content"] == " " => {
                self.space_mark = decoder["pattern"]["String"].as_str().map(str::to_string);
            }
            Some("Metaspace") => {
                self.space_mark = text("replacement");
                self.strips_leading_space |= decoder["prepend_scheme"] != "never";
            }
            Some("Strip") => self.strips_leading_space |= decoder["start"].as_u64() > Some(0),
            Some("WordPiece") => {
                self.continuation = text("prefix");
                self.strips_leading_space = true;
            }
            Some("BPEDecoder") => self.word_end = text("suffix"),
            _ => {}
        }
    }

    fn spell(&self, token: &str, pieces: &mut Pieces) {
        let named_byte = byte_of(token.as_bytes()).filter(|_| self.byte_fallback);
        if let Some(byte) = named_byte {
            pieces.push_text(&[byte]);
        } else if self.byte_level {
            pieces.spell_bytes(token.as_bytes());
        } else if let Some(mark) = &self.space_mark {
            pieces.push_text(token.replace(mark, " ").as_bytes());
        } else if let Some(prefix) = &self.continuation {
            match token.strip_prefix(prefix.as_str()) {
                Some(rest) => pieces.push_text(rest.as_bytes()),
                None => {
                    pieces.push_text(b" ");
                    pieces.push_text(token.as_bytes());
                }
            }
        } else if let Some(rest) = self.word_end.as_deref().and_then(|suffix| token.strip_suffix(suffix)) {
            pieces.push_text(rest.as_bytes());
            pieces.push_text(b" ");
        } else {
            pieces.push_text(token.as_bytes());
        }
    }
}

fn spell_pieces(tokenizer: &Tokenizer, decoding: &Decoding) -> Result<Pieces, String> {
    let vocab = tokenizer.get_vocab(true);
    let n_tokens = vocab.values().max().map_or(0, |id| id.saturating_add(1));
    if n_tokens == 0 || n_tokens > MAX_TOKENS {
        return Err(format!("tokenizer.json: {n_tokens} ids; 1 to {MAX_TOKENS} are allowed"));
    }
    let mut texts: Vec<Option<&str>> = vec![None; n_tokens as usize];
    for (text, id) in &vocab {
        texts[*id as usize] = Some(text);
    }
    let added = tokenizer.get_added_tokens_decoder();
    let mut pieces = Pieces::default();
    for (id, text) in texts.into_iter().enumerate() {
        if let Some(token) = added.get(&(id as u32)) {
            pieces.push_text(token.content.as_bytes());
            pieces.end(token.special, ends_generation_by_spelling(&token.content));
        } else {
            decoding.spell(text.unwrap_or(""), &mut pieces);
            pieces.end(false, false);
        }
    }
    Ok(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::{mapped_bytes, Reuse};

    /// Memory from the kernel is what once grew faster than the text (blocks.rs).
    #[test]
    fn memory_grows_with_the_text_only() {
        for name in ["llama3", "llama2", "bert"] {
            let path = format!("{}/../tests/golden/tokenizer/json/{name}.tokenizer.json", env!("CARGO_MANIFEST_DIR"));
            let tokenizer = JsonTokenizer::new(&std::fs::read(path).unwrap()).unwrap();
            for unit in [" ", "é"] {
                let cost = |bytes: usize| {
                    let text = unit.repeat(bytes / unit.len());
                    let before = mapped_bytes();
                    let _buffers = Reuse::new();
                    tokenizer.encode(&text, EncodeOptions::default()).unwrap();
                    mapped_bytes() - before
                };
                let (one, two) = (cost(1 << 19), cost(1 << 20));
                assert!(one > 0 && two * 2 <= one * 5, "{name} {unit:?}: {one}, then {two} bytes");
            }
        }
    }
}
