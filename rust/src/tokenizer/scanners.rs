//! The matchers of the pre-tokenizers: each gives the end of the match that starts at `at`, or `at` if there is none.
//! The expressions in the comments are what the vocabularies were trained with; \s is White_Space, alternatives are
//! tried in order, and a lookahead ends at the end of the piece. `Piece` keeps code points and class bits.

use super::pretokenize::Piece;
use super::unicode::{lower, LETTER, MARK, NUMBER, PUNCTUATION, SPACE, SYMBOL};

impl Piece<'_> {
    fn is(&self, at: usize, classes: u8) -> bool {
        self.classes.get(at).is_some_and(|class| class & classes != 0)
    }

    /// In the piece, and of none of these classes.
    fn is_not(&self, at: usize, classes: u8) -> bool {
        self.classes.get(at).is_some_and(|class| class & classes == 0)
    }

    fn code_point(&self, at: usize) -> Option<u32> {
        self.code_points.get(at).copied()
    }

    fn is_char(&self, at: usize, c: char) -> bool {
        self.code_point(at) == Some(c as u32)
    }

    fn is_newline(&self, at: usize) -> bool {
        self.is_char(at, '\n') || self.is_char(at, '\r')
    }

    fn is_ascii(&self, at: usize, test: fn(&u8) -> bool) -> bool {
        self.code_point(at).is_some_and(|c| c < 0x80 && test(&(c as u8)))
    }

    /// Non-ASCII white space counts as no particular code point in ranges of code points.
    fn in_ranges(&self, at: usize, ranges: &[(u32, u32)]) -> bool {
        let Some(c) = self.code_point(at) else { return false };
        let after = ranges.partition_point(|(first, _)| *first <= c);
        after > 0 && c <= ranges[after - 1].1 && (c < 0x80 || !self.is(at, SPACE))
    }

    fn run(&self, mut at: usize, mut test: impl FnMut(usize) -> bool) -> usize {
        while at < self.classes.len() && test(at) {
            at += 1;
        }
        at
    }

    fn class_run(&self, at: usize, classes: u8) -> usize {
        self.run(at, |i| self.is(i, classes))
    }

    /// As class_run, but at most `most` long (and no look beyond, or a long run would cost its square).
    fn up_to(&self, at: usize, classes: u8, most: usize) -> usize {
        (at..at + most).find(|i| !self.is(*i, classes)).unwrap_or(at + most)
    }

    /// `\s?X+`: the end of the run of X after an optional white space, or `at`.
    fn space_then(&self, at: usize, test: impl Fn(usize) -> bool) -> usize {
        let first = at + usize::from(self.is(at, SPACE));
        let end = self.run(first, &test);
        if end > first {
            return end;
        }
        self.run(at, &test)
    }

    /// `'s|'t|'re|'ve|'m|'ll|'d`: its end, or `at`.
    fn contraction(&self, at: usize, fold: fn(u32) -> u32) -> usize {
        if !self.is_char(at, '\'') {
            return at;
        }
        let letter = |i: usize| self.code_point(i).map(fold).and_then(char::from_u32);
        match (letter(at + 1), letter(at + 2)) {
            (Some('s' | 't' | 'm' | 'd'), _) => at + 2,
            (Some('r'), Some('e')) | (Some('v'), Some('e')) | (Some('l'), Some('l')) => at + 3,
            _ => at,
        }
    }

    /// `\s*[\r\n]+|\s+(?!\S)|\s+`
    fn white_space(&self, at: usize) -> usize {
        let end = self.class_run(at, SPACE);
        match (at..end).rev().find(|i| self.is_newline(*i)) {
            Some(last_newline) => last_newline + 1,
            None => self.white_space_before_word(at, end),
        }
    }

    /// `\s+(?!\S)|\s+` for the run of white space at..end: the last one goes with the word that follows.
    fn white_space_before_word(&self, at: usize, end: usize) -> usize {
        if end < self.classes.len() && end > at + 1 {
            end - 1
        } else {
            end
        }
    }

    /// ` ?X+` for X not of these classes.
    fn blank_then_others(&self, at: usize, classes: u8) -> usize {
        let first = at + usize::from(self.is_char(at, ' '));
        let end = self.run(first, |i| self.is_not(i, classes));
        if end > first {
            end
        } else {
            at
        }
    }
}

fn same(code_point: u32) -> u32 {
    code_point
}

fn ascii_lower(code_point: u32) -> u32 {
    if code_point < 0x80 {
        lower(code_point)
    } else {
        code_point
    }
}

/// `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)`
pub fn gpt2(piece: &Piece, at: usize) -> usize {
    let end = piece.contraction(at, same);
    if end > at {
        return end;
    }
    let first = at + usize::from(piece.is_char(at, ' '));
    for class in [LETTER, NUMBER] {
        if piece.is(first, class) {
            return piece.class_run(first, class);
        }
    }
    let end = piece.blank_then_others(at, SPACE | LETTER | NUMBER);
    if end > at {
        return end;
    }
    let end = piece.class_run(at, SPACE);
    piece.white_space_before_word(at, end)
}

/// `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
pub fn llama3(piece: &Piece, at: usize) -> usize {
    words_numbers_others(piece, at, LETTER, 3)
}

/// As llama3, but every number alone.
pub fn qwen2(piece: &Piece, at: usize) -> usize {
    words_numbers_others(piece, at, LETTER, 1)
}

/// As qwen2, with `[\p{L}\p{M}]` where that has `\p{L}`.
pub fn qwen35(piece: &Piece, at: usize) -> usize {
    words_numbers_others(piece, at, LETTER | MARK, 1)
}

fn words_numbers_others(piece: &Piece, at: usize, word: u8, digits: usize) -> usize {
    let end = piece.contraction(at, lower);
    if end > at {
        return end;
    }
    if piece.is(at, NUMBER) {
        return piece.up_to(at, NUMBER, digits);
    }
    if !piece.is_newline(at) && (piece.is(at, word) || piece.is(at + 1, word)) {
        return piece.class_run(at + 1, word);
    }
    let end = piece.blank_then_others(at, SPACE | word | NUMBER);
    if end > at {
        return piece.run(end, |i| piece.is_newline(i));
    }
    piece.white_space(at)
}

/// `[!-/:-@\[-`{-~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
pub fn deepseek_v3(piece: &Piece, at: usize) -> usize {
    if piece.is_ascii(at, u8::is_ascii_punctuation) && piece.is_ascii(at + 1, u8::is_ascii_alphabetic) {
        return piece.run(at + 1, |i| piece.is_ascii(i, u8::is_ascii_alphabetic));
    }
    let lead = !piece.is_newline(at) && piece.is_not(at, LETTER | PUNCTUATION | SYMBOL);
    let first = at + usize::from(lead && piece.is(at + 1, LETTER | MARK));
    let end = piece.class_run(first, LETTER | MARK);
    if end > first {
        return end;
    }
    let first = at + usize::from(piece.is_char(at, ' '));
    let end = piece.class_run(first, PUNCTUATION | SYMBOL);
    if end > first {
        return piece.run(end, |i| piece.is_newline(i));
    }
    piece.white_space(at)
}

/// Upper-case-then-lower words with an optional contraction, up to three numbers, others with `[\r\n/]*` after them.
pub fn gpt4o(piece: &Piece, at: usize) -> usize {
    let end = cased_word(piece, at);
    if end > at {
        return piece.contraction(end, ascii_lower);
    }
    numbers_others_slash(piece, at, 3)
}

/// As gpt4o, without contractions and with every number alone.
pub fn tekken(piece: &Piece, at: usize) -> usize {
    let end = cased_word(piece, at);
    if end > at {
        return end;
    }
    numbers_others_slash(piece, at, 1)
}

/// `[^\r\n\p{L}\p{N}]?U*L+|[^\r\n\p{L}\p{N}]?U+L*` where U is a letter that isn't a-z, L one that isn't A-Z.
fn cased_word(piece: &Piece, at: usize) -> usize {
    let lead = !piece.is_newline(at) && piece.is_not(at, LETTER | NUMBER);
    let first = at + usize::from(lead);
    let not_small = |i: usize| piece.is(i, LETTER) && !piece.is_ascii(i, u8::is_ascii_lowercase);
    let not_capital = |i: usize| piece.is(i, LETTER) && !piece.is_ascii(i, u8::is_ascii_uppercase);
    let capitals_end = piece.run(first, not_small);
    let end = piece.run(capitals_end, not_capital);
    if end > capitals_end {
        return end;
    }
    // The L+ has to be found within what U* took: its last letter that has no ASCII case.
    match (first..capitals_end).rev().find(|i| not_capital(*i)) {
        Some(last) => last + 1,
        None if capitals_end > first => capitals_end,
        None => at,
    }
}

/// `\p{N}{1,digits}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`
fn numbers_others_slash(piece: &Piece, at: usize, digits: usize) -> usize {
    if piece.is(at, NUMBER) {
        return piece.up_to(at, NUMBER, digits);
    }
    let end = piece.blank_then_others(at, SPACE | LETTER | NUMBER);
    if end > at {
        return piece.run(end, |i| piece.is_newline(i) || piece.is_char(i, '/'));
    }
    piece.white_space(at)
}

/// `\p{N}`
pub fn number(piece: &Piece, at: usize) -> usize {
    at + usize::from(piece.is(at, NUMBER))
}

/// `\p{N}{1,3}`
pub fn up_to_three_numbers(piece: &Piece, at: usize) -> usize {
    piece.up_to(at, NUMBER, 3)
}

/// `\p{N}+`
pub fn number_run(piece: &Piece, at: usize) -> usize {
    piece.class_run(at, NUMBER)
}

/// `[0-9][0-9][0-9]`
pub fn three_ascii_digits(piece: &Piece, at: usize) -> usize {
    let three = (at..at + 3).all(|i| piece.is_ascii(i, u8::is_ascii_digit));
    at + if three { 3 } else { 0 }
}

/// `[\p{P}$+<=>^~|]+`
pub fn punctuation_run(piece: &Piece, at: usize) -> usize {
    piece.run(at, |i| punctuation_or_ascii_symbol(piece, i) && !piece.is_char(i, '`'))
}

/// `[\p{P}$+<=>^~|`]+`
pub fn punctuation_or_backtick_run(piece: &Piece, at: usize) -> usize {
    piece.run(at, |i| punctuation_or_ascii_symbol(piece, i))
}

fn punctuation_or_ascii_symbol(piece: &Piece, at: usize) -> bool {
    piece.is(at, PUNCTUATION) || piece.is_ascii(at, u8::is_ascii_punctuation)
}

/// `[\r\n]`
pub fn newline(piece: &Piece, at: usize) -> usize {
    at + usize::from(piece.is_newline(at))
}

/// `[^\n]+|[\n]+`
pub fn line(piece: &Piece, at: usize) -> usize {
    let newlines = piece.is_char(at, '\n');
    piece.run(at, |i| piece.is_char(i, '\n') == newlines)
}

/// `\s?\p{L}+`
pub fn space_letters(piece: &Piece, at: usize) -> usize {
    piece.space_then(at, |i| piece.is(i, LETTER))
}

/// `\s?\p{P}+`
pub fn space_punctuation(piece: &Piece, at: usize) -> usize {
    piece.space_then(at, |i| piece.is(i, PUNCTUATION))
}

/// `\s?[letters with case]+`
pub fn space_cased_letters(piece: &Piece, at: usize) -> usize {
    piece.space_then(at, |i| piece.in_ranges(i, CASED_LETTERS))
}

/// `\s?[common punctuation]+`
pub fn space_common_punctuation(piece: &Piece, at: usize) -> usize {
    piece.space_then(at, |i| piece.in_ranges(i, COMMON_PUNCTUATION))
}

/// `[U+4E00-U+9FA5 U+0800-U+4E00 U+AC00-U+D7FF]+`
pub fn cjk_run(piece: &Piece, at: usize) -> usize {
    piece.run(at, |i| piece.in_ranges(i, &[(0x800, 0x9FA5), (0xAC00, 0xD7FF)]))
}

/// Ideographs, hiragana and katakana.
pub fn cjk_kana_run(piece: &Piece, at: usize) -> usize {
    piece.run(at, |i| piece.in_ranges(i, &[(0x3040, 0x30FF), (0x4E00, 0x9FA5)]))
}

/// Letters with case up to Unicode 11, as the deepseek-llm vocabulary lists them.
#[rustfmt::skip]
const CASED_LETTERS: &[(u32, u32)] = &[
    (0x41, 0x5A), (0x61, 0x7A), (0xB5, 0xB5), (0xC0, 0xD6), (0xD8, 0xF6),
    (0xF8, 0x1BA), (0x1BC, 0x1BF), (0x1C4, 0x293), (0x295, 0x2AF), (0x370, 0x373),
    (0x376, 0x377), (0x37B, 0x37D), (0x37F, 0x37F), (0x386, 0x386), (0x388, 0x38A),
    (0x38C, 0x38C), (0x38E, 0x3A1), (0x3A3, 0x3F5), (0x3F7, 0x481), (0x48A, 0x52F),
    (0x531, 0x556), (0x10A0, 0x10C5), (0x13A0, 0x13F5), (0x13F8, 0x13FD), (0x1C90, 0x1CBA),
    (0x1CBD, 0x1CBF), (0x1D00, 0x1D2B), (0x1D6B, 0x1D77), (0x1D79, 0x1D9A), (0x1E00, 0x1F15),
    (0x1F18, 0x1F1D), (0x1F20, 0x1F45), (0x1F48, 0x1F4D), (0x1F50, 0x1F57), (0x1F59, 0x1F59),
    (0x1F5B, 0x1F5B), (0x1F5D, 0x1F5D), (0x1F5F, 0x1F7D), (0x1F80, 0x1FB4), (0x1FB6, 0x1FBC),
    (0x1FBE, 0x1FBE), (0x1FC2, 0x1FC4), (0x1FC6, 0x1FCC), (0x1FD0, 0x1FD3), (0x1FD6, 0x1FDB),
    (0x1FE0, 0x1FEC), (0x1FF2, 0x1FF4), (0x1FF6, 0x1FFC), (0x2102, 0x2102), (0x2107, 0x2107),
    (0x210A, 0x2113), (0x2115, 0x2115), (0x2119, 0x211D), (0x2124, 0x2124), (0x2126, 0x2126),
    (0x2128, 0x2128), (0x212A, 0x212D), (0x212F, 0x2134), (0x2139, 0x2139), (0x213C, 0x213F),
    (0x2145, 0x2149), (0x214E, 0x214E), (0x2183, 0x2184), (0x2C00, 0x2C7B), (0x2C7E, 0x2CE4),
    (0x2CEB, 0x2CEE), (0x2CF2, 0x2CF3), (0xA640, 0xA66D), (0xA680, 0xA69B), (0xA722, 0xA76F),
    (0xA771, 0xA787), (0xA78B, 0xA78E), (0xAB70, 0xABBF), (0xFB00, 0xFB06), (0xFB13, 0xFB17),
    (0xFF21, 0xFF3A), (0xFF41, 0xFF5A), (0x10400, 0x1044F), (0x104B0, 0x104D3), (0x104D8, 0x104FB),
    (0x10C80, 0x10CB2), (0x10CC0, 0x10CF2), (0x118A0, 0x118DF), (0x1E900, 0x1E943),
];

/// ASCII and full-width punctuation, quotation marks, U+3000 to U+3002.
#[rustfmt::skip]
const COMMON_PUNCTUATION: &[(u32, u32)] = &[
    (0x21, 0x2F), (0x3A, 0x7E), (0x2018, 0x201F), (0x3000, 0x3002), (0xFF01, 0xFF0F),
    (0xFF1A, 0xFF5E),
];
