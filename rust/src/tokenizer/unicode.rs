//! Facts about code points (Unicode 15.1) and the byte alphabet of byte-level BPE.

use std::sync::OnceLock;

use super::unicode_nfd::NFD_BASE;
use super::unicode_tables::{CLASSES, LOWER};

pub const NUMBER: u8 = 0x01; // general category N*
pub const LETTER: u8 = 0x02; // L*
pub const MARK: u8 = 0x04; // M*
pub const PUNCTUATION: u8 = 0x08; // P*
pub const SYMBOL: u8 = 0x10; // S*
pub const CONTROL: u8 = 0x20; // C* but Cn
pub const SPACE: u8 = 0x80; // White_Space, whatever the category

const CODE_POINTS: usize = 0x110000;

/// The class bits of every code point.
pub fn classes() -> &'static [u8] {
    static TABLE: OnceLock<Box<[u8]>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let mut table = vec![0u8; CODE_POINTS].into_boxed_slice();
        for (i, entry) in CLASSES.iter().enumerate() {
            let first = (entry >> 8) as usize;
            let end = CLASSES.get(i + 1).map_or(CODE_POINTS, |next| (next >> 8) as usize);
            table[first..end].fill(*entry as u8);
        }
        table
    })
}

pub fn class(code_point: u32) -> u8 {
    classes().get(code_point as usize).copied().unwrap_or(0)
}

/// The simple lower-case mapping (one code point to one).
pub fn lower(code_point: u32) -> u32 {
    if code_point < 0x80 {
        return (code_point as u8).to_ascii_lowercase() as u32;
    }
    let after = LOWER.partition_point(|run| run.0 <= code_point);
    match after.checked_sub(1).map(|i| LOWER[i]) {
        Some((first, last, step, low)) if code_point <= last && (code_point - first) % step == 0 => {
            low + (code_point - first)
        }
        _ => code_point,
    }
}

/// The first code point of the canonical decomposition.
pub fn nfd_base(code_point: u32) -> u32 {
    let after = NFD_BASE.partition_point(|run| run.0 <= code_point);
    match after.checked_sub(1).map(|i| NFD_BASE[i]) {
        Some((_, last, base)) if code_point <= last => base,
        _ => code_point,
    }
}

/// The printable character that stands for `byte` in a byte-level vocabulary (GPT-2, Radford et al. 2019): printable
/// Latin-1 stands for itself, the other 68 bytes are U+0100 and up in their order.
pub fn byte_to_char(byte: u8) -> char {
    let shifted = match byte {
        0..=0x20 => byte as u32,
        0x7F..=0xA0 => byte as u32 - 0x7F + 33,
        0xAD => 67,
        _ => return byte as char,
    };
    char::from_u32(0x100 + shifted).unwrap_or('\u{FFFD}')
}

/// The inverse of `byte_to_char`.
pub fn char_to_byte(c: char) -> Option<u8> {
    match c as u32 {
        low @ (0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF) => Some(low as u8),
        high @ 0x100..=0x120 => Some((high - 0x100) as u8),
        high @ 0x121..=0x142 => Some((high - 0x121 + 0x7F) as u8),
        0x143 => Some(0xAD),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn byte_alphabet_is_a_bijection() {
        let mut seen = std::collections::HashSet::new();
        for byte in 0..=255u8 {
            let c = byte_to_char(byte);
            assert!(seen.insert(c));
            assert_eq!(char_to_byte(c), Some(byte));
        }
        assert_eq!(byte_to_char(b' '), 'Ġ');
        assert_eq!(byte_to_char(b'\n'), 'Ċ');
        assert_eq!(byte_to_char(0xAD), '\u{143}');
        assert_eq!(char_to_byte('\u{144}'), None);
    }

    #[test]
    fn known_classes() {
        let cases: [(u32, u8); 10] = [
            ('a' as u32, LETTER),
            ('7' as u32, NUMBER),
            ('½' as u32, NUMBER),
            (0x301, MARK),
            ('_' as u32, PUNCTUATION),
            ('$' as u32, SYMBOL),
            (0x85, CONTROL | SPACE),
            (0x2FFC, SYMBOL), // new in 15.1
            (0x897, 0),       // new in 16.0: not assigned here
            (0x110000, 0),
        ];
        for (code_point, expected) in cases {
            assert_eq!(class(code_point), expected, "U+{code_point:04X}");
        }
    }

    #[test]
    fn lower_and_nfd() {
        assert_eq!(lower('Ä' as u32), 'ä' as u32);
        assert_eq!(lower('×' as u32), '×' as u32);
        assert_eq!(lower(0x130), 'i' as u32);
        assert_eq!(lower('ā' as u32), 'ā' as u32);
        assert_eq!(nfd_base('é' as u32), 'e' as u32);
        assert_eq!(nfd_base('한' as u32), 0x1112);
        assert_eq!(nfd_base('e' as u32), 'e' as u32);
    }
}
