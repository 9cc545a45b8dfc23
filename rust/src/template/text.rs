//! Owns: how Python shows values as text (`str`, `repr`), and its string methods where Rust's differ.

use super::limits::Res;
use super::value::{Heap, Value, ViewKind};

/// `str.isspace` for one character.
pub fn is_py_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// `repr(float)`: the shortest digits that read back the same, with an exponent outside 1e-4..1e16.
pub fn float_repr(value: f64) -> String {
    if value.is_nan() {
        return "nan".to_string();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf" } else { "-inf" }.to_string();
    }
    let scientific = format!("{value:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..16).contains(&exponent) {
        let plain = format!("{value}");
        return if plain.contains('.') { plain } else { plain + ".0" };
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.abs())
}

/// Whether `repr` shows the character as it is. U+FDD0..U+FDEF are shown, unlike in Python: they are the guard that
/// keeps a user's control tokens plain text (text/chat_guard.h), and must come out of a template as they went in.
fn is_printable(c: char) -> bool {
    if c.is_ascii() {
        return (' '..='~').contains(&c);
    }
    if ('\u{fdd0}'..='\u{fdef}').contains(&c) {
        return true;
    }
    // Behind another character Rust escapes just what is not printable (combining marks are).
    let shown: String = ['a', c].iter().collect::<String>().escape_debug().collect();
    shown.chars().nth(1) == Some(c)
}

pub fn repr_str(text: &str, out: &mut String) {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    out.push(quote);
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            _ if c == quote => {
                out.push('\\');
                out.push(c);
            }
            _ if is_printable(c) => out.push(c),
            _ => out.push_str(&match c as u32 {
                code @ 0..=0xff => format!("\\x{code:02x}"),
                code @ 0x100..=0xffff => format!("\\u{code:04x}"),
                code => format!("\\U{code:08x}"),
            }),
        }
    }
    out.push(quote);
}

impl Heap {
    /// `str(value)`
    pub fn to_text(&self, value: &Value) -> Res<String> {
        match value {
            Value::Undefined(_) => Ok(String::new()),
            Value::Str(text) => {
                self.budget.walk(text.len())?;
                Ok(text.to_string())
            }
            other => self.repr_of(other),
        }
    }

    pub fn repr_of(&self, value: &Value) -> Res<String> {
        let mut out = String::new();
        self.repr(value, &mut out)?;
        Ok(out)
    }

    /// Appends `repr(value)`; what stands in an arena is shown by name only.
    pub fn repr(&self, value: &Value, out: &mut String) -> Res<()> {
        self.budget.step(1)?;
        self.budget.room_for(out.len())?;
        match value {
            Value::Undefined(_) => out.push_str("Undefined"),
            Value::None => out.push_str("None"),
            Value::Bool(true) => out.push_str("True"),
            Value::Bool(false) => out.push_str("False"),
            Value::Int(i) => out.push_str(&i.to_string()),
            Value::Float(f) => out.push_str(&float_repr(*f)),
            Value::Str(text) => {
                self.budget.walk(text.len() * 8)?;
                repr_str(text, out)
            }
            Value::List(list) => {
                out.push('[');
                self.repr_all(list.items.iter(), out)?;
                out.push(']');
            }
            Value::Tuple(tuple) => {
                out.push('(');
                self.repr_all(tuple.items.iter(), out)?;
                out.push_str(if tuple.items.len() == 1 { ",)" } else { ")" });
            }
            Value::Dict(dict) => self.repr_pairs(&dict.entries, out)?,
            Value::View(dict, kind) => {
                out.push_str(value.type_name());
                out.push_str("([");
                match kind {
                    ViewKind::Keys => self.repr_all(dict.entries.iter().map(|e| &e.0), out)?,
                    ViewKind::Values => self.repr_all(dict.entries.iter().map(|e| &e.1), out)?,
                    ViewKind::Items => {
                        for (at, (key, item)) in dict.entries.iter().enumerate() {
                            out.push_str(if at == 0 { "(" } else { ", (" });
                            self.repr_all([key, item].into_iter(), out)?;
                            out.push(')');
                        }
                    }
                }
                out.push_str("])");
            }
            Value::Range(start, length, 1) => {
                out.push_str(&format!("range({start}, {})", start + length))
            }
            Value::Range(start, length, step) => {
                let stop = *start as i128 + *length as i128 * *step as i128;
                out.push_str(&format!("range({start}, {stop}, {step})"))
            }
            Value::Iter(generator) => {
                out.push_str(&format!("<generator object {}>", generator.name))
            }
            Value::Method(method) => out.push_str(&format!("<built-in method {}>", method.1)),
            Value::Function(name) => out.push_str(&format!("<function {name}>")),
            other => out.push_str(&format!("<{}>", other.type_name())),
        }
        Ok(())
    }

    fn repr_all<'v>(&self, items: impl Iterator<Item = &'v Value>, out: &mut String) -> Res<()> {
        for (at, item) in items.enumerate() {
            if at > 0 {
                out.push_str(", ");
            }
            self.repr(item, out)?;
        }
        Ok(())
    }

    pub fn repr_pairs(&self, entries: &[(Value, Value)], out: &mut String) -> Res<()> {
        out.push('{');
        for (at, (key, item)) in entries.iter().enumerate() {
            if at > 0 {
                out.push_str(", ");
            }
            self.repr(key, out)?;
            out.push_str(": ");
            self.repr(item, out)?;
        }
        out.push('}');
        Ok(())
    }
}

/// Latin digraphs: the title case of each of the three forms.
fn digraph_title(c: char) -> Option<char> {
    Some(match c {
        'Ǆ' | 'ǅ' | 'ǆ' => 'ǅ',
        'Ǉ' | 'ǈ' | 'ǉ' => 'ǈ',
        'Ǌ' | 'ǋ' | 'ǌ' => 'ǋ',
        'Ǳ' | 'ǲ' | 'ǳ' => 'ǲ',
        _ => return None,
    })
}

fn push_title(c: char, out: &mut String) {
    if let Some(title) = digraph_title(c) {
        out.push(title);
    } else if ('\u{10d0}'..='\u{10ff}').contains(&c) {
        out.push(c); // Georgian has capitals, but no title case
    } else {
        let mut upper = c.to_uppercase();
        out.extend(upper.next());
        upper.for_each(|more| out.extend(more.to_lowercase()));
    }
}

fn is_cased(c: char) -> bool {
    c.is_lowercase() || c.is_uppercase() || digraph_title(c).is_some()
}

/// `str.title`: every run of cased letters begins with a capital.
pub fn py_title(text: &str) -> String {
    let lower = text.to_lowercase();
    if lower.chars().count() != text.chars().count() {
        return title_by_chars(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut in_word = false;
    for (c, small) in text.chars().zip(lower.chars()) {
        match in_word {
            true => out.push(small),
            false => push_title(c, &mut out),
        }
        in_word = is_cased(c);
    }
    out
}

fn title_by_chars(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut in_word = false;
    for c in text.chars() {
        match in_word {
            true => out.extend(c.to_lowercase()),
            false => push_title(c, &mut out),
        }
        in_word = is_cased(c);
    }
    out
}

/// `str.capitalize`
pub fn py_capitalize(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    if let Some(first) = text.chars().next() {
        push_title(first, &mut out);
        out.push_str(&text[first.len_utf8()..].to_lowercase());
    }
    out
}

/// jinja2's `title` filter: a capital behind the start, whitespace, and `-({[<`.
pub fn filter_title(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let is_break = |c: char| is_py_space(c) || matches!(c, '-' | '(' | '{' | '[' | '<');
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let breaks = is_break(first);
        let length = rest.find(|c| is_break(c) != breaks).unwrap_or(rest.len());
        let head = first.len_utf8();
        out.push_str(&rest[..head].to_uppercase());
        out.push_str(&rest[head..length].to_lowercase());
        rest = &rest[length..];
    }
    out
}

pub fn swapcase(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c.is_uppercase() {
            true => out.extend(c.to_lowercase()),
            false => out.extend(c.to_uppercase()),
        }
    }
    out
}

/// `str.splitlines`
pub fn split_lines(text: &str, keep_ends: bool) -> Vec<&str> {
    let mut lines = Vec::new();
    let mut start = 0;
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        let is_break = matches!(c, '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{1c}'..='\u{1e}')
            || matches!(c, '\u{85}' | '\u{2028}' | '\u{2029}');
        if !is_break {
            continue;
        }
        let mut end = at + c.len_utf8();
        if c == '\r' && matches!(chars.peek(), Some((_, '\n'))) {
            chars.next();
            end += 1;
        }
        lines.push(&text[start..if keep_ends { end } else { at }]);
        start = end;
    }
    if start < text.len() {
        lines.push(&text[start..]);
    }
    lines
}

/// As markupsafe escapes.
pub fn html_escape(s: &str) -> String {
    let mut out = String::with_capacity(s.len());
    for c in s.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\'' => out.push_str("&#39;"),
            '"' => out.push_str("&#34;"),
            _ => out.push(c),
        }
    }
    out
}
