//! Owns: a WordPiece vocabulary (Devlin et al. 2019), word starts marked with U+2581 as GGUF keeps them.
//! Does not know: special tokens.

use super::strings::StringTable;
use super::unicode::{self, CONTROL, MARK, PUNCTUATION, SPACE, SYMBOL};

pub struct Wpm {
    strings: StringTable,
    prefixes: StringTable, // every proper prefix of a token, to stop a search early
    longest: usize,
    unknown: Option<u32>,
    lowercase: bool,
    strip_accents: bool,
}

impl Wpm {
    pub fn new(strings: StringTable, unknown: Option<u32>, lowercase: bool, strip_accents: bool) -> Self {
        let mut prefixes = StringTable::with_capacity(strings.len(), 0);
        let mut longest = 0;
        for id in 0..strings.len() as u32 {
            let text = strings.text(id);
            longest = longest.max(text.len());
            // Longest first: a prefix that is known has its own prefixes known too.
            for len in (1..text.len()).rev() {
                if prefixes.get(&text[..len]).is_some() {
                    break;
                }
                prefixes.push(&text[..len]);
            }
        }
        Wpm { strings, prefixes, longest, unknown, lowercase, strip_accents }
    }

    pub fn strings(&self) -> &StringTable {
        &self.strings
    }

    pub fn encode(&self, text: &str, out: &mut Vec<u32>) {
        let mut word = String::from(WORD_START);
        for c in text.chars() {
            let c = if self.strip_accents { unicode::nfd_base(c as u32) } else { c as u32 };
            let class = unicode::class(c);
            if class & SPACE != 0 {
                self.end_word(&mut word, out);
                continue;
            }
            let dropped = c == 0 || c == 0xFFFD || class & CONTROL != 0;
            if dropped || (self.strip_accents && class & MARK != 0) {
                continue;
            }
            let shown = if self.lowercase { unicode::lower(c) } else { c };
            let shown = char::from_u32(shown).unwrap_or('\u{FFFD}');
            if class & PUNCTUATION != 0 || (c < 0x7F && class & SYMBOL != 0) || is_ideograph(c) {
                self.end_word(&mut word, out);
                word.push(shown);
                self.end_word(&mut word, out);
            } else {
                word.push(shown);
            }
        }
        self.end_word(&mut word, out);
    }

    /// Greedy longest match from the left; a word that can't be covered is one unknown token.
    fn end_word(&self, word: &mut String, out: &mut Vec<u32>) {
        if word.len() == WORD_START.len() {
            return;
        }
        let bytes = word.as_bytes();
        let first_token = out.len();
        let mut at = 0;
        while at < bytes.len() {
            match self.longest_at(&bytes[at..]) {
                Some((token, len)) => {
                    out.push(token);
                    at += len;
                }
                None => {
                    out.truncate(first_token);
                    break;
                }
            }
        }
        if out.len() == first_token {
            out.extend(self.unknown);
        }
        word.truncate(WORD_START.len());
    }

    fn longest_at(&self, bytes: &[u8]) -> Option<(u32, usize)> {
        let mut best = None;
        for len in 1..=bytes.len().min(self.longest) {
            let prefix = &bytes[..len];
            if let Some(token) = self.strings.get(prefix) {
                best = Some((token, len));
            }
            if self.prefixes.get(prefix).is_none() {
                break;
            }
        }
        best
    }
}

const WORD_START: &str = "\u{2581}";

/// The blocks that BERT's basic tokenizer isolates; 2B920 is its own spelling of 2B820.
fn is_ideograph(c: u32) -> bool {
    matches!(c, 0x4E00..=0x9FFF | 0x3400..=0x4DBF | 0x20000..=0x2A6DF | 0x2A700..=0x2B73F | 0x2B740..=0x2B81F
        | 0x2B920..=0x2CEAF | 0xF900..=0xFAFF | 0x2F800..=0x2FA1F)
}
