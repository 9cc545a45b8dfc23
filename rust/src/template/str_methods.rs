//! Owns: Python's methods of strings.

use super::interp::{Args, Interp};
use super::limits::{fault, Res};
use super::percent::{format_pieces, format_value, Piece};
use super::text::{self, is_py_space};
use super::value::{Heap, Value, VALUE_BYTES};

fn expect_str<'v>(value: &'v Option<Value>, what: &str) -> Res<&'v str> {
    match value {
        Some(Value::Str(text)) => Ok(text),
        Some(Value::Undefined(why)) => fault(format!("{what} needs a string: {why}")),
        Some(other) => fault(format!("{what} needs a string, not {}", other.type_name())),
        None => fault(format!("{what} needs an argument")),
    }
}

fn expect_int(value: &Option<Value>, default: i128, what: &str) -> Res<i128> {
    match value {
        None => Ok(default),
        Some(value) => match value.as_index() {
            Some(int) => Ok(int),
            None => fault(format!("{what} needs an integer, not {}", value.type_name())),
        },
    }
}

/// The byte range of `text[start:end]`, counted in characters.
fn char_range(text: &str, start: i128, end: i128) -> Option<(usize, usize)> {
    let length = text.chars().count() as i128;
    let clamp = |at: i128| (if at < 0 { at.saturating_add(length) } else { at }).max(0);
    let (start, end) = (clamp(start), clamp(end).min(length));
    if start > end {
        return None;
    }
    let byte = |at: i128| text.char_indices().nth(at as usize).map_or(text.len(), |(at, _)| at);
    Some((byte(start), byte(end)))
}

/// Python's `strip`, `lstrip` and `rstrip` without and with a set of characters.
pub fn strip<'t>(text: &'t str, chars: Option<&str>, left: bool, right: bool) -> &'t str {
    let drops = |c: char| match chars {
        Some(chars) => chars.contains(c),
        None => is_py_space(c),
    };
    let text = if left { text.trim_start_matches(drops) } else { text };
    if right {
        text.trim_end_matches(drops)
    } else {
        text
    }
}

/// `str.split` and `str.rsplit`; `limit` < 0 is none.
fn split_parts<'t>(text: &'t str, sep: Option<&str>, limit: i128, from_right: bool) -> Vec<&'t str> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    match (sep, from_right) {
        (Some(sep), false) => text.splitn(limit.saturating_add(1), sep).collect(),
        (Some(sep), true) => {
            let mut parts: Vec<&str> = text.rsplitn(limit.saturating_add(1), sep).collect();
            parts.reverse();
            parts
        }
        (None, false) => {
            let mut parts = Vec::new();
            let mut rest = text.trim_start_matches(is_py_space);
            while !rest.is_empty() {
                let end = match parts.len() < limit {
                    true => rest.find(is_py_space).unwrap_or(rest.len()),
                    false => rest.len(),
                };
                parts.push(&rest[..end]);
                rest = rest[end..].trim_start_matches(is_py_space);
            }
            parts
        }
        (None, true) => {
            let mut parts = Vec::new();
            let mut rest = text.trim_end_matches(is_py_space);
            while !rest.is_empty() {
                let space = rest.rfind(is_py_space).filter(|_| parts.len() < limit);
                let start = space.map_or(0, |at| {
                    at + rest[at..].chars().next().map_or(1, char::len_utf8)
                });
                parts.push(&rest[start..]);
                rest = rest[..start].trim_end_matches(is_py_space);
            }
            parts.reverse();
            parts
        }
    }
}

impl Heap {
    fn str_list<'t>(&self, parts: impl IntoIterator<Item = &'t str>) -> Res<Value> {
        let mut items = Vec::new();
        for part in parts {
            self.budget.room_for(items.len() * VALUE_BYTES)?;
            items.push(self.str(part)?);
        }
        self.list(items)
    }

    pub fn replaced(&self, text: &str, old: &str, new: &str, count: i128) -> Res<Value> {
        let found = match old.is_empty() {
            true => text.chars().count() + 1,
            false => text.matches(old).count(),
        };
        let times = usize::try_from(count).map_or(found, |count| found.min(count));
        let kept = text.len() - times.saturating_mul(old.len()).min(text.len());
        let grown = times.saturating_mul(new.len());
        self.budget.room_for(kept.saturating_add(grown))?;
        self.budget.walk(text.len() + grown)?;
        self.budget.step(found as u64 * 4)?;
        match times == found {
            true => self.str(text.replace(old, new)),
            false => self.str(text.replacen(old, new, times)),
        }
    }

    /// `width` in characters; `before` tells how many of the missing ones stand in front.
    pub fn padded(
        &self,
        text: &str,
        width: i128,
        fill: &str,
        before: impl Fn(usize) -> usize,
    ) -> Res<Value> {
        let length = text.chars().count();
        let missing = usize::try_from(width).unwrap_or(0).saturating_sub(length);
        self.budget.room_for(missing.saturating_mul(fill.len()).saturating_add(text.len()))?;
        let front = before(missing);
        self.str([&fill.repeat(front), text, &fill.repeat(missing - front)].concat())
    }
}

/// Where Python's `center` puts the odd character.
pub fn centered(width: i128) -> impl Fn(usize) -> usize {
    move |missing| missing / 2 + (missing & 1 & (width & 1) as usize)
}

fn all_chars(text: &str, holds: impl Fn(char) -> bool) -> Value {
    Value::Bool(!text.is_empty() && text.chars().all(holds))
}

impl Interp<'_> {
    #[inline(never)]
    pub(super) fn str_method(&mut self, text: &str, method: &str, args: Args) -> Res<Value> {
        self.heap.budget.walk(text.len())?;
        match method {
            "format" => return self.format_method(text, args),
            "format_map" => {
                let [mapping] = args.exactly(method)?;
                let Value::Dict(dict) = mapping else {
                    return fault("format_map needs a mapping");
                };
                let mut args = Args::default();
                for (key, value) in &dict.entries {
                    if let Some(key) = key.as_str() {
                        args.keywords.push((key.into(), value.clone()));
                    }
                }
                return self.format_method(text, args);
            }
            "join" => {
                let [parts] = args.exactly(method)?;
                return self.join_method(text, &parts);
            }
            "encode" => return fault("bytes are not supported in a chat template"),
            _ => {}
        }
        if let Some(value) = plain_method(&self.heap, text, method)? {
            let [] = args.exactly(method)?;
            return Ok(value);
        }
        self.str_method_with_args(text, method, args)
    }

    fn str_method_with_args(&mut self, text: &str, method: &str, args: Args) -> Res<Value> {
        let heap = &self.heap;
        match method {
            "strip" | "lstrip" | "rstrip" => {
                let [chars] = args.take(method, ["chars"])?;
                let chars = match &chars {
                    None | Some(Value::None) => None,
                    some => Some(expect_str(some, method)?),
                };
                heap.budget.walk(text.len() * chars.map_or(1, str::len))?;
                heap.str(strip(text, chars, method != "rstrip", method != "lstrip"))
            }
            "split" | "rsplit" => {
                let [sep, limit] = args.take(method, ["sep", "maxsplit"])?;
                let sep = match &sep {
                    None | Some(Value::None) => None,
                    some => Some(expect_str(some, method)?),
                };
                if sep == Some("") {
                    return fault("empty separator");
                }
                let limit = expect_int(&limit, -1, method)?;
                heap.str_list(split_parts(text, sep, limit, method == "rsplit"))
            }
            "startswith" | "endswith" => starts_or_ends(heap, text, method, args),
            "replace" => {
                let [old, new, count] = args.take(method, ["old", "new", "count"])?;
                let (old, new) = (expect_str(&old, method)?, expect_str(&new, method)?);
                heap.replaced(text, old, new, expect_int(&count, -1, method)?)
            }
            "find" | "rfind" | "index" | "rindex" | "count" => find_or_count(heap, text, method, args),
            "removeprefix" | "removesuffix" => {
                let [affix] = args.take(method, ["affix"])?;
                let affix = expect_str(&affix, method)?;
                let rest = match method {
                    "removeprefix" => text.strip_prefix(affix),
                    _ => text.strip_suffix(affix),
                };
                heap.str(rest.unwrap_or(text))
            }
            "partition" | "rpartition" => {
                let [sep] = args.take(method, ["sep"])?;
                let sep = expect_str(&sep, method)?;
                if sep.is_empty() {
                    return fault("empty separator");
                }
                let parts = match method {
                    "partition" => match text.split_once(sep) {
                        Some((head, tail)) => [head, sep, tail],
                        None => [text, "", ""],
                    },
                    _ => match text.rsplit_once(sep) {
                        Some((head, tail)) => [head, sep, tail],
                        None => ["", "", text],
                    },
                };
                heap.tuple(parts.into_iter().map(|part| heap.str(part)).collect::<Res<_>>()?)
            }
            "splitlines" => {
                let [keep] = args.take(method, ["keepends"])?;
                let keep = keep.is_some_and(|keep| keep.is_true());
                heap.str_list(text::split_lines(text, keep))
            }
            "center" | "ljust" | "rjust" => {
                let [width, fill] = args.take(method, ["width", "fillchar"])?;
                let fill = match &fill {
                    None => " ",
                    some => expect_str(some, method)?,
                };
                let Some(width) = width.and_then(|width| width.as_index()) else {
                    return fault(format!("{method} needs an integer"));
                };
                if fill.chars().count() != 1 {
                    return fault("the fill character must be exactly one character long");
                }
                match method {
                    "center" => heap.padded(text, width, fill, centered(width)),
                    "ljust" => heap.padded(text, width, fill, |_| 0),
                    _ => heap.padded(text, width, fill, |missing| missing),
                }
            }
            "zfill" => {
                let [width] = args.exactly(method)?;
                let width = expect_int(&Some(width), 0, method)?;
                let sign = text.len() - text.trim_start_matches(['+', '-']).len();
                let (sign, digits) = text.split_at(sign.min(1));
                let padded = heap.padded(digits, width - sign.len() as i128, "0", |missing| missing)?;
                heap.str(format!("{sign}{}", padded.as_str().unwrap_or_default()))
            }
            "expandtabs" => {
                let [size] = args.take(method, ["tabsize"])?;
                expand_tabs(heap, text, expect_int(&size, 8, method)?)
            }
            other => fault(format!("'str' has no method '{other}'")),
        }
    }

    pub(super) fn join_method(&mut self, separator: &str, parts: &Value) -> Res<Value> {
        let mut out = String::new();
        for (at, part) in self.heap.iterate(parts)?.iter().enumerate() {
            let Value::Str(part) = part else {
                return fault(format!(
                    "sequence item {at}: expected str instance, {} found",
                    part.type_name()
                ));
            };
            self.heap.budget.room_for(out.len() + separator.len() + part.len())?;
            self.heap.budget.walk(separator.len() + part.len())?;
            if at > 0 {
                out.push_str(separator);
            }
            out.push_str(part);
        }
        self.heap.str(out)
    }

    fn format_method(&mut self, text: &str, args: Args) -> Res<Value> {
        let mut out = String::new();
        let mut automatic = 0;
        for piece in format_pieces(text)? {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Field { path, conversion, spec } => {
                    let value = self.format_field(path, &args, &mut automatic)?;
                    match conversion {
                        Some('r' | 'a') => {
                            let shown = self.heap.repr_of(&value)?;
                            let shown = self.heap.str(shown)?;
                            format_value(&self.heap, &shown, spec, &mut out)?
                        }
                        Some('s') => {
                            let shown = self.to_text(&value)?;
                            let shown = self.heap.str(shown)?;
                            format_value(&self.heap, &shown, spec, &mut out)?
                        }
                        _ => format_value(&self.heap, &value, spec, &mut out)?,
                    }
                }
            }
            self.heap.budget.room_for(out.len())?;
        }
        self.heap.str(out)
    }

    /// The value of a field like `0.name[key]`.
    fn format_field(&mut self, path: &str, args: &Args, automatic: &mut usize) -> Res<Value> {
        let end = path.find(['.', '[']).unwrap_or(path.len());
        let (first, mut rest) = path.split_at(end);
        let found = match first.parse::<usize>() {
            Ok(at) => args.positional.get(at),
            Err(_) if first.is_empty() => {
                *automatic += 1;
                args.positional.get(*automatic - 1)
            }
            Err(_) => {
                args.keywords.iter().find(|(key, _)| &**key == first).map(|(_, value)| value)
            }
        };
        let Some(mut value) = found.cloned() else {
            return fault(format!("format has no argument '{first}'"));
        };
        while !rest.is_empty() {
            if let Some(tail) = rest.strip_prefix('.') {
                let end = tail.find(['.', '[']).unwrap_or(tail.len());
                value = self.get_attr(&value, &tail[..end])?;
                rest = &tail[end..];
            } else {
                let Some((key, tail)) = rest[1..].split_once(']') else {
                    return fault("missing ']' in format string");
                };
                let key = match key.parse::<i128>() {
                    Ok(index) => Value::Int(index),
                    Err(_) => self.heap.str(key)?,
                };
                value = self.get_item(&value, &key)?;
                rest = tail;
            }
        }
        Ok(value)
    }
}

/// The methods without arguments; None for the others.
fn plain_method(heap: &Heap, s: &str, method: &str) -> Res<Option<Value>> {
    Ok(Some(match method {
        "upper" => heap.str(s.to_uppercase())?,
        "lower" => heap.str(s.to_lowercase())?,
        "casefold" => heap.str(s.to_lowercase().replace('ß', "ss"))?,
        "title" => heap.str(text::py_title(s))?,
        "capitalize" => heap.str(text::py_capitalize(s))?,
        "swapcase" => heap.str(text::swapcase(s))?,
        "isalnum" => all_chars(s, char::is_alphanumeric),
        "isalpha" => all_chars(s, char::is_alphabetic),
        "isascii" => Value::Bool(s.is_ascii()),
        "isdecimal" | "isdigit" | "isnumeric" => all_chars(s, char::is_numeric),
        "isidentifier" => Value::Bool(
            s.chars().all(|c| c.is_alphanumeric() || c == '_')
                && s.chars().next().is_some_and(|c| !c.is_numeric()),
        ),
        "islower" => Value::Bool(s.chars().any(char::is_lowercase) && !s.chars().any(char::is_uppercase)),
        "isupper" => Value::Bool(s.chars().any(char::is_uppercase) && !s.chars().any(char::is_lowercase)),
        "isprintable" => {
            let mut shown = String::new();
            text::repr_str(&s.replace(['\\', '\'', '"'], ""), &mut shown);
            Value::Bool(!shown.contains('\\'))
        }
        "isspace" => all_chars(s, is_py_space),
        "istitle" => Value::Bool(s.chars().any(char::is_uppercase) && text::py_title(s) == s),
        _ => return Ok(None),
    }))
}

fn starts_or_ends(heap: &Heap, text: &str, method: &str, args: Args) -> Res<Value> {
    let [affix, start, end] = args.take(method, ["affix", "start", "end"])?;
    let start = expect_int(&start, 0, method)?;
    let end = expect_int(&end, i128::MAX, method)?;
    let whole = start == 0 && end == i128::MAX;
    let Some((from, to)) = (if whole { Some((0, text.len())) } else { char_range(text, start, end) })
    else {
        return Ok(Value::Bool(false));
    };
    let part = &text[from..to];
    let fits = |affix: &str| match method {
        "startswith" => part.starts_with(affix),
        _ => part.ends_with(affix),
    };
    match &affix {
        Some(Value::Tuple(tuple)) => {
            heap.budget.step(tuple.items.len() as u64)?;
            for item in &tuple.items {
                if fits(expect_str(&Some(item.clone()), method)?) {
                    return Ok(Value::Bool(true));
                }
            }
            Ok(Value::Bool(false))
        }
        some => Ok(Value::Bool(fits(expect_str(some, method)?))),
    }
}

fn find_or_count(heap: &Heap, text: &str, method: &str, args: Args) -> Res<Value> {
    let [sub, start, end] = args.take(method, ["sub", "start", "end"])?;
    let sub = expect_str(&sub, method)?;
    heap.budget.walk(text.len() * 4)?;
    let range = char_range(
        text,
        expect_int(&start, 0, method)?,
        expect_int(&end, i128::MAX, method)?,
    );
    let part = range.map(|(from, to)| &text[from..to]);
    if method == "count" {
        let count = part.map_or(0, |part| match sub.is_empty() {
            true => part.chars().count() + 1,
            false => part.matches(sub).count(),
        });
        return Ok(Value::Int(count as i128));
    }
    let found = part.and_then(|part| match method.starts_with('r') {
        true => part.rfind(sub),
        false => part.find(sub),
    });
    match (found, range) {
        (Some(at), Some((from, _))) => Ok(Value::Int(text[..from + at].chars().count() as i128)),
        _ if method.ends_with("index") => fault("substring not found"),
        _ => Ok(Value::Int(-1)),
    }
}

fn expand_tabs(heap: &Heap, text: &str, size: i128) -> Res<Value> {
    let size = usize::try_from(size).unwrap_or(0);
    let tabs = text.matches('\t').count();
    heap.budget.room_for(tabs.saturating_mul(size).saturating_add(text.len()))?;
    let mut out = String::new();
    let mut column = 0;
    for c in text.chars() {
        match c {
            '\t' if size > 0 => {
                let spaces = size - column % size;
                out.push_str(&" ".repeat(spaces));
                column += spaces;
            }
            '\t' => {}
            '\n' | '\r' => {
                out.push(c);
                column = 0;
            }
            _ => {
                out.push(c);
                column += 1;
            }
        }
    }
    heap.str(out)
}
