//! Owns: the scores of a SentencePiece BPE vocabulary (Kudo and Richardson 2018): neighbours merge when their joined
//! text is a token, best score first. What is no token in the end is given as its bytes. Does not know: specials.

use super::joins::Joins;
use super::merge::{Merger, Pairs, Symbol, NONE};
use super::strings::StringTable;

pub struct Spm {
    strings: StringTable,
    keys: Vec<u32>, // of each token: lower is better
    longest: usize, // bytes of the longest token
    byte_token: Vec<u32>,
    joins: Joins,
}

impl Spm {
    pub fn new(strings: StringTable, scores: &[f32], unknown: Option<u32>) -> Self {
        let n_tokens = strings.len() as u32;
        let score = |id: u32| scores.get(id as usize).copied().unwrap_or(0.0);
        let keys = (0..n_tokens).map(|id| !ascending(score(id))).collect();
        let longest = (0..n_tokens).map(|id| strings.text(id).len()).max().unwrap_or(0);
        let byte_token = (0..=255u8)
            .map(|byte| {
                let spelled = strings.get(format!("<0x{byte:02X}>").as_bytes());
                spelled.or_else(|| strings.get(&[byte])).or(unknown).unwrap_or(NONE)
            })
            .collect();
        let mut joins = Joins::new();
        for text in (0..n_tokens).filter_map(|id| std::str::from_utf8(strings.text(id)).ok()) {
            joins.add_all(text);
        }
        Spm { strings, keys, longest, byte_token, joins }
    }

    pub fn strings(&self) -> &StringTable {
        &self.strings
    }

    /// `text` has its spaces escaped already.
    pub fn encode(&self, text: &str, merger: &mut Merger, out: &mut Vec<u32>) {
        for part in self.joins.parts(text) {
            self.encode_part(&text[part], merger, out);
        }
    }

    fn encode_part(&self, text: &str, merger: &mut Merger, out: &mut Vec<u32>) {
        merger.clear();
        for c in text.chars() {
            merger.push(NONE, c.len_utf8());
        }
        let pairs = Joined { spm: self, text: text.as_bytes() };
        for symbol in merger.run(&pairs) {
            let bytes = &text.as_bytes()[symbol.start..][..symbol.len];
            if symbol.id != NONE {
                out.push(symbol.id);
            } else if let Some(token) = self.strings.get(bytes) {
                out.push(token);
            } else {
                let tokens = bytes.iter().map(|byte| self.byte_token[*byte as usize]);
                out.extend(tokens.filter(|token| *token != NONE));
            }
        }
    }
}

struct Joined<'a> {
    spm: &'a Spm,
    text: &'a [u8],
}

impl Pairs for Joined<'_> {
    fn pair(&self, left: Symbol, right: Symbol) -> Option<(u32, u32)> {
        let len = left.len + right.len;
        if len > self.spm.longest {
            return None;
        }
        let joined = &self.text[left.start..][..len];
        let token = self.spm.strings.get(joined)?;
        Some((self.spm.keys[token as usize], token))
    }
}

/// Bits that order as the floats do; -0 equals 0, and NaN is worst.
fn ascending(score: f32) -> u32 {
    if score.is_nan() {
        return 0;
    }
    let bits = (score + 0.0).to_bits();
    if bits >> 31 == 0 {
        bits | 1 << 31
    } else {
        !bits
    }
}

#[cfg(test)]
mod tests {
    use super::ascending;

    #[test]
    fn order_of_scores() {
        let sorted = [f32::NAN, f32::NEG_INFINITY, -5.0, -0.5, 0.0, 1e-9, 7.0, f32::INFINITY];
        assert!(sorted.windows(2).all(|pair| ascending(pair[0]) < ascending(pair[1])));
        assert_eq!(ascending(-0.0), ascending(0.0));
    }
}
