//! Owns: the merges of a BPE vocabulary. Two alphabets: bytes as printable characters (GPT-2) or plain UTF-8 with
//! `<0xXX>` tokens for what the vocabulary lacks (Gemma 4). Does not know: special tokens.
//!
//! Symbols are ids of `strings`: the tokens first, then texts that occur in merges only. A text that is no token in
//! the end is given byte by byte; a byte without a token is dropped, as the reference does.

use std::collections::HashMap;

use ahash::RandomState;

use super::joins::Joins;
use super::merge::{Merger, Pairs, Symbol, NONE};
use super::pretokenize::{Splitter, Words};
use super::strings::StringTable;
use super::unicode;

pub struct Bpe {
    strings: StringTable,
    n_tokens: u32,
    ranks: HashMap<u64, (u32, u32), RandomState>, // left << 32 | right -> (rank, merged)
    splitter: Splitter,
    byte_level: bool,
    ignore_merges: bool,
    byte_symbol: Vec<u32>, // byte level: the symbol of each byte
    byte_token: Vec<u32>,  // the token of a byte of the vocabulary's alphabet that stands alone
    joins: Option<Joins>,  // plain UTF-8, where words are whole lines
}

pub struct BpeOptions {
    pub splitter: Splitter,
    pub byte_level: bool,
    pub ignore_merges: bool, // a word that is a token needs no merges
}

impl Bpe {
    pub fn new(mut strings: StringTable, merges: &[&[u8]], options: BpeOptions) -> Self {
        let n_tokens = strings.len() as u32;
        let mut ranks = HashMap::with_capacity_and_hasher(merges.len(), RandomState::new());
        let mut joined = Vec::new();
        for (rank, merge) in merges.iter().enumerate() {
            let Some((left, right)) = split_merge(merge) else { continue };
            joined.clear();
            joined.extend_from_slice(left);
            joined.extend_from_slice(right);
            let key = pair_key(strings.intern(left), strings.intern(right));
            let merged = strings.intern(&joined);
            ranks.entry(key).or_insert((rank as u32, merged));
        }
        let mut bpe = Bpe {
            strings,
            n_tokens,
            ranks,
            splitter: options.splitter,
            byte_level: options.byte_level,
            ignore_merges: options.ignore_merges,
            byte_symbol: Vec::new(),
            byte_token: Vec::new(),
            joins: (!options.byte_level).then(|| joins_of(merges)),
        };
        bpe.byte_symbol = (0..=255u8).map(|byte| bpe.symbol_of_byte(byte)).collect();
        bpe.byte_token = (0..=255u8).map(|byte| bpe.token_of_byte(byte)).collect();
        bpe
    }

    pub fn strings(&self) -> &StringTable {
        &self.strings
    }

    pub fn encode(&self, text: &str, words: &mut Words, merger: &mut Merger, out: &mut Vec<u32>) {
        let mut alphabet = String::new();
        words.split(self.splitter, text, |word| {
            if let Some(token) = self.whole_word(word, &mut alphabet) {
                out.push(token);
                return;
            }
            match &self.joins {
                None => self.encode_bytes(word, merger, out),
                Some(joins) => joins.parts(word).for_each(|part| self.encode_chars(&word[part], merger, out)),
            }
        });
    }

    fn encode_bytes(&self, word: &str, merger: &mut Merger, out: &mut Vec<u32>) {
        merger.clear();
        for byte in word.bytes() {
            merger.push(self.byte_symbol[byte as usize], 1);
        }
        for symbol in merger.run(self) {
            self.emit(symbol, word.as_bytes(), out);
        }
    }

    fn encode_chars(&self, text: &str, merger: &mut Merger, out: &mut Vec<u32>) {
        merger.clear();
        for (at, c) in text.char_indices() {
            let len = c.len_utf8();
            let id = self.strings.get(&text.as_bytes()[at..at + len]);
            merger.push(id.unwrap_or(NONE), len);
        }
        for symbol in merger.run(self) {
            self.emit(symbol, text.as_bytes(), out);
        }
    }

    fn token(&self, text: &[u8]) -> Option<u32> {
        self.strings.get(text).filter(|id| *id < self.n_tokens)
    }

    fn whole_word(&self, word: &str, alphabet: &mut String) -> Option<u32> {
        if self.byte_level {
            if !self.ignore_merges {
                return None;
            }
            alphabet.clear();
            alphabet.extend(word.bytes().map(unicode::byte_to_char));
            self.token(alphabet.as_bytes())
        } else if self.ignore_merges || word.bytes().all(|byte| byte == b'\n') {
            self.token(word.as_bytes()) // runs of newlines are tokens without merges
        } else {
            None
        }
    }

    fn emit(&self, symbol: Symbol, word: &[u8], out: &mut Vec<u32>) {
        if symbol.id < self.n_tokens {
            out.push(symbol.id);
            return;
        }
        let bytes = &word[symbol.start..][..symbol.len];
        let alone = |byte: u8| Some(self.byte_token[byte as usize]).filter(|token| *token != NONE);
        if self.byte_level {
            let mut utf8 = [0; 4];
            for byte in bytes {
                let spelled = unicode::byte_to_char(*byte).encode_utf8(&mut utf8).bytes();
                out.extend(spelled.filter_map(alone));
            }
        } else {
            out.extend(bytes.iter().copied().filter_map(alone));
        }
    }

    fn symbol_of_byte(&self, byte: u8) -> u32 {
        let mut utf8 = [0; 4];
        let spelled = unicode::byte_to_char(byte).encode_utf8(&mut utf8);
        self.strings.get(spelled.as_bytes()).unwrap_or(NONE)
    }

    fn token_of_byte(&self, byte: u8) -> u32 {
        let token = if self.byte_level {
            self.token(&[byte])
        } else {
            self.token(format!("<0x{byte:02X}>").as_bytes())
        };
        token.unwrap_or(NONE)
    }
}

impl Pairs for Bpe {
    fn pair(&self, left: Symbol, right: Symbol) -> Option<(u32, u32)> {
        self.ranks.get(&pair_key(left.id, right.id)).copied()
    }
}

fn pair_key(left: u32, right: u32) -> u64 {
    (left as u64) << 32 | right as u64
}

/// A merge joins the last character of its left half and the first of its right half.
fn joins_of(merges: &[&[u8]]) -> Joins {
    let mut joins = Joins::new();
    for (left, right) in merges.iter().filter_map(|merge| split_merge(merge)) {
        let last = String::from_utf8_lossy(left).chars().next_back();
        let first = String::from_utf8_lossy(right).chars().next();
        if let (Some(last), Some(first)) = (last, first) {
            joins.add(last, first);
        }
    }
    joins
}

/// "left right": the first space parts them, unless it is the first byte.
fn split_merge(merge: &[u8]) -> Option<(&[u8], &[u8])> {
    let space = merge.iter().skip(1).position(|byte| *byte == b' ')? + 1;
    Some((&merge[..space], &merge[space + 1..]))
}
