//! Owns: the split of a template's source into tokens, with jinja2's whitespace rules (trim_blocks and lstrip_blocks
//! on, one newline at the very end dropped). Does not know: grammar.

use super::limits::{fault_at, Res};
use super::text::is_py_space;

#[derive(Clone, Debug, PartialEq)]
pub enum Tok {
    Data(String),
    VarBegin,
    VarEnd,
    BlockBegin,
    BlockEnd,
    Name(String),
    Str(String),
    Int(i128),
    Float(f64),
    Op(&'static str),
    Eof,
}

#[derive(Clone, Debug)]
pub struct Token {
    pub tok: Tok,
    pub line: u32,
}

/// Longest first, so that `**` is not two `*`.
const OPERATORS: [&str; 26] = [
    "//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}",
    ">", "<", "=", ".", ":", "|", ",", ";",
];

pub fn tokenize(source: &str) -> Res<Vec<Token>> {
    let mut text = source.replace("\r\n", "\n").replace('\r', "\n");
    if text.ends_with('\n') {
        text.pop();
    }
    let mut lexer = Lexer { src: &text, pos: 0, line: 1, line_starting: true, tokens: Vec::new() };
    lexer.root()?;
    let line = lexer.line;
    lexer.tokens.push(Token { tok: Tok::Eof, line });
    Ok(lexer.tokens)
}

struct Lexer<'s> {
    src: &'s str,
    pos: usize,
    line: u32,
    line_starting: bool, // the tag before ended with a newline
    tokens: Vec<Token>,
}

#[derive(Clone, Copy, PartialEq)]
enum Strip {
    Default,
    All,
    Keep,
}

impl<'s> Lexer<'s> {
    fn rest(&self) -> &'s str {
        &self.src[self.pos..]
    }

    fn advance(&mut self, bytes: usize) {
        let passed = &self.src[self.pos..self.pos + bytes];
        self.line += passed.bytes().filter(|&b| b == b'\n').count() as u32;
        self.pos += bytes;
    }

    fn push(&mut self, tok: Tok) {
        self.tokens.push(Token { tok, line: self.line });
    }

    fn root(&mut self) -> Res<()> {
        loop {
            let rest = self.rest();
            let Some(at) = find_tag(rest) else {
                if !rest.is_empty() {
                    self.push(Tok::Data(rest.to_string()));
                    self.advance(rest.len());
                }
                return Ok(());
            };
            let kind = rest.as_bytes()[at + 1];
            let sign = strip_sign(&rest[at + 2..]);
            self.data(at, sign, kind == b'{');
            if let Some(length) = raw_begin(self.rest()) {
                self.line_starting = self.rest()[..length].ends_with('\n');
                self.advance(length);
                self.raw_block()?;
                continue;
            }
            let opening = 2 + usize::from(sign != Strip::Default);
            match kind {
                b'#' => {
                    self.advance(opening);
                    self.comment()?;
                }
                b'{' => {
                    self.push(Tok::VarBegin);
                    self.advance(opening);
                    self.tag("}}", Tok::VarEnd)?;
                }
                _ => {
                    self.push(Tok::BlockBegin);
                    self.advance(opening);
                    self.tag("%}", Tok::BlockEnd)?;
                }
            }
        }
    }

    /// Emits the text before a tag, stripped as the tag asks, and moves to the tag.
    fn data(&mut self, length: usize, sign: Strip, is_variable: bool) {
        let whole = &self.rest()[..length];
        let kept = match sign {
            Strip::All => whole.trim_end_matches(is_py_space),
            Strip::Default if !is_variable => {
                let line_start = whole.rfind('\n').map_or(0, |at| at + 1);
                let blank = &whole[line_start..];
                let strips = (line_start > 0 || self.line_starting)
                    && !blank.is_empty()
                    && blank.chars().all(is_py_space);
                if strips {
                    &whole[..line_start]
                } else {
                    whole
                }
            }
            _ => whole,
        };
        if !kept.is_empty() {
            self.push(Tok::Data(kept.to_string()));
        }
        self.advance(length);
    }

    fn comment(&mut self) -> Res<()> {
        let rest = self.rest();
        if rest.is_empty() {
            return Ok(()); // jinja2 lets it pass
        }
        let Some(at) = rest.find("#}") else {
            return fault_at(self.line, "a comment is not closed: \"#}\" is missing");
        };
        let sign = rest[..at].bytes().last();
        self.close(at, sign, true);
        Ok(())
    }

    /// Passes the two closing characters at `at` and the whitespace that goes with them.
    fn close(&mut self, at: usize, sign: Option<u8>, trims_newline: bool) {
        let after = &self.rest()[at + 2..];
        let trailing = match sign {
            Some(b'-') => after.len() - after.trim_start_matches(is_py_space).len(),
            Some(b'+') => 0,
            _ if trims_newline && after.starts_with('\n') => 1,
            _ => 0,
        };
        self.line_starting = after[..trailing].ends_with('\n');
        self.advance(at + 2 + trailing);
    }

    fn raw_block(&mut self) -> Res<()> {
        let rest = self.rest();
        let mut from = 0;
        while let Some(found) = rest[from..].find("{%") {
            let at = from + found;
            let sign = strip_sign(&rest[at + 2..]);
            let inner = &rest[at + 2 + usize::from(sign != Strip::Default)..];
            if let Some(tail) = word_then_space(inner, "endraw") {
                let sign_end = tail.bytes().next().filter(|b| matches!(b, b'-' | b'+'));
                let closing = &tail[usize::from(sign_end.is_some())..];
                if closing.starts_with("%}") {
                    self.data(at, sign, false);
                    let closing_at = self.rest().len() - closing.len();
                    self.close(closing_at, sign_end, true);
                    return Ok(());
                }
            }
            from = at + 2;
        }
        if rest.is_empty() {
            return Ok(()); // jinja2 lets it pass
        }
        fault_at(self.line, "a raw block is not closed: \"{% endraw %}\" is missing")
    }

    fn tag(&mut self, end: &'static str, end_token: Tok) -> Res<()> {
        let mut open: Vec<&'static str> = Vec::new();
        let is_block = end == "%}";
        loop {
            let rest = self.rest();
            let Some(first) = rest.chars().next() else {
                return fault_at(self.line, format!("a tag is not closed: \"{end}\" is missing"));
            };
            if open.is_empty() {
                let sign = match first {
                    '-' => Some(b'-'),
                    '+' if is_block => Some(b'+'),
                    _ => None,
                };
                let at = usize::from(sign.is_some());
                if rest[at..].starts_with(end) {
                    self.push(end_token);
                    self.close(at, sign, is_block);
                    return Ok(());
                }
            }
            if is_py_space(first) {
                self.advance(first.len_utf8());
            } else if first.is_ascii_digit() {
                self.number()?;
            } else if first.is_alphanumeric() || first == '_' {
                let length =
                    rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
                self.push(Tok::Name(rest[..length].to_string()));
                self.advance(length);
            } else if first == '"' || first == '\'' {
                self.string(first)?;
            } else {
                self.operator(&mut open)?;
            }
        }
    }

    fn operator(&mut self, open: &mut Vec<&'static str>) -> Res<()> {
        let rest = self.rest();
        let Some(op) = OPERATORS.into_iter().find(|op| rest.starts_with(op)) else {
            let c = rest.chars().next().unwrap_or(' ');
            return fault_at(self.line, format!("unexpected character {c:?}"));
        };
        match op {
            "{" => open.push("}"),
            "(" => open.push(")"),
            "[" => open.push("]"),
            "}" | ")" | "]" => match open.pop() {
                None => return fault_at(self.line, format!("unexpected '{op}'")),
                Some(expected) if expected != op => {
                    return fault_at(self.line, format!("unexpected '{op}', expected '{expected}'"))
                }
                Some(_) => {}
            },
            _ => {}
        }
        self.push(Tok::Op(op));
        self.advance(op.len());
        Ok(())
    }

    fn number(&mut self) -> Res<()> {
        let rest = self.rest();
        let bytes = rest.as_bytes();
        let after_dot = self.pos > 0 && self.src.as_bytes()[self.pos - 1] == b'.';
        let whole = digits(bytes, 0, 10);
        let mut end = whole;
        let mut is_float = false;
        if !after_dot {
            if bytes.get(end) == Some(&b'.') && bytes.get(end + 1).is_some_and(u8::is_ascii_digit) {
                end = digits(bytes, end + 1, 10);
                is_float = true;
            }
            if matches!(bytes.get(end), Some(b'e' | b'E')) {
                let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
                if bytes.get(end + 1 + sign).is_some_and(u8::is_ascii_digit) {
                    end = digits(bytes, end + 1 + sign, 10);
                    is_float = true;
                }
            }
        }
        if is_float {
            let literal = rest[..end].replace('_', "");
            self.push(Tok::Float(literal.parse().unwrap_or(f64::INFINITY)));
            self.advance(end);
            return Ok(());
        }
        let (radix, start, end) = integer_extent(bytes, whole);
        let literal = rest[start..end].replace('_', "");
        match i128::from_str_radix(&literal, radix) {
            Ok(value) => self.push(Tok::Int(value)),
            Err(_) => return fault_at(self.line, "an integer literal is too large"),
        }
        self.advance(end);
        Ok(())
    }

    fn string(&mut self, quote: char) -> Res<()> {
        let rest = self.rest();
        let mut chars = rest.char_indices().skip(1);
        while let Some((at, c)) = chars.next() {
            if c == '\\' {
                chars.next();
            } else if c == quote {
                match unescape(&rest[1..at]) {
                    Ok(value) => self.push(Tok::Str(value)),
                    Err(why) => return fault_at(self.line, why),
                }
                self.advance(at + 1);
                return Ok(());
            }
        }
        fault_at(self.line, "a string literal is not closed")
    }
}

fn find_tag(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    (0..bytes.len().saturating_sub(1))
        .find(|&at| bytes[at] == b'{' && matches!(bytes[at + 1], b'%' | b'{' | b'#'))
}

fn strip_sign(after_opening: &str) -> Strip {
    match after_opening.bytes().next() {
        Some(b'-') => Strip::All,
        Some(b'+') => Strip::Keep,
        _ => Strip::Default,
    }
}

/// What follows `word` and the whitespace around it, if the text starts so.
fn word_then_space<'t>(text: &'t str, word: &str) -> Option<&'t str> {
    let tail = text.trim_start_matches(is_py_space).strip_prefix(word)?;
    Some(tail.trim_start_matches(is_py_space))
}

/// The bytes of a `{% raw %}` tag (with what `-%}` strips), if the text starts with one.
fn raw_begin(text: &str) -> Option<usize> {
    let inner = text.strip_prefix("{%")?;
    let inner = inner.strip_prefix(['-', '+']).unwrap_or(inner);
    let tail = word_then_space(inner, "raw")?;
    let after = match tail.strip_prefix('-') {
        Some(dashed) => dashed.strip_prefix("%}")?.trim_start_matches(is_py_space),
        None => tail.strip_prefix("%}")?,
    };
    Some(text.len() - after.len())
}

/// The end of a run of digits that single underscores may divide.
fn digits(bytes: &[u8], start: usize, radix: u32) -> usize {
    let is_digit = |at: usize| bytes.get(at).is_some_and(|&b| (b as char).is_digit(radix));
    let mut end = start;
    while is_digit(end) || (bytes.get(end) == Some(&b'_') && is_digit(end + 1)) {
        end += 1;
    }
    end
}

/// Radix, and where the digits of the integer literal begin and end.
fn integer_extent(bytes: &[u8], decimal_end: usize) -> (u32, usize, usize) {
    if bytes[0] == b'0' {
        let radix = match bytes.get(1) {
            Some(b'b' | b'B') => 2,
            Some(b'o' | b'O') => 8,
            Some(b'x' | b'X') => 16,
            _ => 10,
        };
        if radix != 10 {
            let end = digits(bytes, 2, radix);
            if end > 2 {
                return (radix, 2, end);
            }
            return (10, 0, 1);
        }
        let zeros = bytes.iter().take(decimal_end).take_while(|&&b| b == b'0' || b == b'_').count();
        return (10, 0, zeros.max(1));
    }
    (10, 0, decimal_end)
}

/// Python's escapes in string literals (language reference, 2.4.1), as its "unicode-escape" codec reads them.
fn unescape(raw: &str) -> Result<String, String> {
    let mut out = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let Some(c) = rest.chars().next() else {
            return Err("a string literal ends in a backslash".to_string());
        };
        rest = &rest[c.len_utf8()..];
        match c {
            '\n' => {}
            '\\' | '\'' | '"' => out.push(c),
            'a' => out.push('\u{7}'),
            'b' => out.push('\u{8}'),
            'f' => out.push('\u{c}'),
            'n' => out.push('\n'),
            'r' => out.push('\r'),
            't' => out.push('\t'),
            'v' => out.push('\u{b}'),
            'x' | 'u' | 'U' => {
                let length = match c {
                    'x' => 2,
                    'u' => 4,
                    _ => 8,
                };
                out.push(code_point(rest, length, 16, c)?);
                rest = &rest[length..];
            }
            '0'..='7' => {
                let more = rest.bytes().take(2).take_while(|b| matches!(b, b'0'..=b'7')).count();
                let octal = format!("{c}{}", &rest[..more]);
                out.push(code_point(&octal, octal.len(), 8, 'o')?);
                rest = &rest[more..];
            }
            'N' => return Err("\\N{...} escapes are not supported: use \\u".to_string()),
            _ if c.is_ascii() => {
                out.push('\\');
                out.push(c);
            }
            // jinja2 first writes non-ASCII characters as escapes, whose backslash this one then quotes.
            _ => {
                let code = c as u32;
                out.push_str(&match code {
                    0..=0xff => format!("\\x{code:02x}"),
                    0x100..=0xffff => format!("\\u{code:04x}"),
                    _ => format!("\\U{code:08x}"),
                });
            }
        }
    }
    out.push_str(rest);
    Ok(out)
}

fn code_point(text: &str, length: usize, radix: u32, escape: char) -> Result<char, String> {
    text.get(..length)
        .filter(|digits| digits.bytes().all(|b| (b as char).is_digit(radix)))
        .and_then(|digits| u32::from_str_radix(digits, radix).ok())
        .and_then(char::from_u32)
        .ok_or_else(|| format!("a \\{escape} escape does not name a character"))
}
