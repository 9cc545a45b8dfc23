//! Owns: Python's methods of strings.

use super::calls::Args;
use super::interp::Interp;
use super::limits::{fault, Res};
use super::percent::{format_pieces, format_value, Piece};
use super::str_search::*;
use super::text::{self, is_py_space};
use super::value::{Heap, Value, VALUE_BYTES};

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
            "find" | "rfind" | "index" | "rindex" | "count" => {
                find_or_count(heap, text, method, args)
            }
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
                let padded =
                    heap.padded(digits, width - sign.len() as i128, "0", |missing| missing)?;
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
            Err(_) => args.keywords.iter().find(|(key, _)| &**key == first).map(|(_, value)| value),
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
        "islower" => {
            Value::Bool(s.chars().any(char::is_lowercase) && !s.chars().any(char::is_uppercase))
        }
        "isupper" => {
            Value::Bool(s.chars().any(char::is_uppercase) && !s.chars().any(char::is_lowercase))
        }
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
