//! Owns: the bytes each token adds to a text, and whether they are shown. Does not know: how text becomes tokens.

use super::attributes::{Attributes, TokenAttr};
use super::strings::StringTable;
use super::unicode::char_to_byte;
use super::vocab::Alphabet;

/// Bits of `Pieces::flags`; also in farthing_tokenizer.h.
pub const CONTROL: u8 = 1; // not shown when specials are skipped
pub const ENDS_GENERATION: u8 = 2;

#[derive(Default)]
pub struct Pieces {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    flags: Vec<u8>,
}

impl Pieces {
    pub fn from_vocab(strings: &StringTable, attributes: &Attributes, alphabet: Alphabet) -> Self {
        let mut pieces = Pieces::default();
        for id in 0..attributes.len() as u32 {
            let (text, attr) = (strings.text(id), attributes.of(id));
            if attr.is(TokenAttr::CONTROL | TokenAttr::UNKNOWN | TokenAttr::USER_DEFINED) {
                pieces.bytes.extend_from_slice(text);
            } else if attr.is(TokenAttr::NORMAL) && alphabet == Alphabet::Bytes {
                pieces.spell_bytes(text);
            } else if attr.is(TokenAttr::NORMAL) {
                pieces.spell_spaces(text);
            } else if attr.is(TokenAttr::BYTE) {
                pieces.spell_byte(text);
            }
            let control = attr.is(TokenAttr::CONTROL | TokenAttr::UNKNOWN);
            pieces.end(control, attr.is(TokenAttr::ENDS_GENERATION));
        }
        pieces
    }

    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn get(&self, id: u32) -> Option<(&[u8], u8)> {
        let id = id as usize;
        let end = *self.ends.get(id)?;
        let start = if id == 0 { 0 } else { self.ends[id - 1] };
        Some((&self.bytes[start..end], self.flags[id]))
    }

    pub fn push_text(&mut self, text: &[u8]) {
        self.bytes.extend_from_slice(text);
    }

    /// Closes the piece of the next id.
    pub fn end(&mut self, control: bool, ends_generation: bool) {
        self.ends.push(self.bytes.len());
        self.flags.push(if control { CONTROL } else { 0 } | if ends_generation { ENDS_GENERATION } else { 0 });
    }

    /// Byte-level text; a character that stands for no byte is kept as it is.
    pub fn spell_bytes(&mut self, text: &[u8]) {
        let Ok(text) = std::str::from_utf8(text) else {
            return self.push_text(text);
        };
        for c in text.chars() {
            match char_to_byte(c) {
                Some(byte) => self.bytes.push(byte),
                None => self.push_text(c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
    }

    /// U+2581 is a space.
    pub fn spell_spaces(&mut self, text: &[u8]) {
        let mark = "\u{2581}".as_bytes();
        let mut rest = text;
        while let Some(first) = rest.first() {
            if rest.starts_with(mark) {
                self.bytes.push(b' ');
                rest = &rest[mark.len()..];
            } else {
                self.bytes.push(*first);
                rest = &rest[1..];
            }
        }
    }

    /// `<0xXX>`; anything else is kept as it is.
    pub fn spell_byte(&mut self, text: &[u8]) {
        match byte_of(text) {
            Some(byte) => self.bytes.push(byte),
            None => self.push_text(text),
        }
    }
}

/// The byte that `<0xXX>` names.
pub fn byte_of(text: &[u8]) -> Option<u8> {
    let digits = text.strip_prefix(b"<0x")?.strip_suffix(b">")?;
    if digits.len() != 2 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings() {
        let mut pieces = Pieces::default();
        pieces.spell_bytes("Ġhé<".as_bytes());
        pieces.end(false, false);
        pieces.spell_spaces("▁a▁▁".as_bytes());
        pieces.end(true, false);
        pieces.spell_byte(b"<0xE2>");
        pieces.end(false, true);
        assert_eq!(pieces.get(0), Some((&b" h\xE9<"[..], 0)));
        assert_eq!(pieces.get(1), Some((&b" a  "[..], CONTROL)));
        assert_eq!(pieces.get(2), Some((&b"\xE2"[..], ENDS_GENERATION)));
        assert_eq!(pieces.get(3), None);
        assert_eq!(byte_of(b"<0x+1>"), None);
        assert_eq!(byte_of(b"<0x1>"), None);
    }
}
