//! Owns: which characters a vocabulary ever joins, as a filter that may say yes too often (Bloom 1970) but never no
//! wrongly. Where it says no, a text can be cut before merging: no merge crosses the place.

use std::ops::Range;

const BITS: u32 = 22;

pub struct Joins {
    bits: Vec<u64>,
}

impl Joins {
    pub fn new() -> Self {
        Joins { bits: vec![0; 1 << (BITS - 6)] }
    }

    pub fn add(&mut self, left: char, right: char) {
        let bit = bit_of(left, right);
        self.bits[bit >> 6] |= 1 << (bit & 63);
    }

    /// Every pair of neighbours in the text.
    pub fn add_all(&mut self, text: &str) {
        for (left, right) in text.chars().zip(text.chars().skip(1)) {
            self.add(left, right);
        }
    }

    /// The longest parts between places where nothing joins, in order.
    pub fn parts<'a>(&'a self, text: &'a str) -> impl Iterator<Item = Range<usize>> + 'a {
        let mut chars = text.char_indices().peekable();
        let mut start = 0;
        std::iter::from_fn(move || {
            while let Some((_, left)) = chars.next() {
                let Some((at, right)) = chars.peek().copied() else { break };
                if !self.may_join(left, right) {
                    return Some(std::mem::replace(&mut start, at)..at);
                }
            }
            let rest = std::mem::replace(&mut start, text.len())..text.len();
            (!rest.is_empty()).then_some(rest)
        })
    }

    fn may_join(&self, left: char, right: char) -> bool {
        let bit = bit_of(left, right);
        self.bits[bit >> 6] >> (bit & 63) & 1 != 0
    }
}

/// Fibonacci hashing (Knuth, volume 3, 6.4).
fn bit_of(left: char, right: char) -> usize {
    let pair = (left as u64) << 32 | right as u64;
    (pair.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (64 - BITS)) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_where_nothing_joins() {
        let mut joins = Joins::new();
        joins.add_all("▁ab");
        joins.add('b', 'é');
        let parts = |text| joins.parts(text).map(|part| text[part].to_string()).collect::<Vec<_>>();
        assert_eq!(parts("▁abé▁abba"), ["▁abé", "▁ab", "b", "a"]);
        assert_eq!(parts("é"), ["é"]);
        assert!(parts("").is_empty());
    }
}
