//! Owns: jinja2's filters on single values, and the list of all. Those on sequences are in seq_filters.rs.

use super::calls::Args;
use super::interp::Interp;
use super::json;
use super::limits::{fault, Res};
use super::percent;
use super::str_methods::centered;
use super::str_search::strip;
use super::text;
use super::value::{Heap, Value};

pub(super) fn int_or(value: Option<Value>, default: i128, what: &str) -> Res<i128> {
    match value {
        None => Ok(default),
        Some(value) => match value.as_index() {
            Some(int) => Ok(int),
            None => fault(format!("{what} needs an integer, not {}", value.type_name())),
        },
    }
}

pub(super) fn flag(value: Option<Value>) -> bool {
    value.is_some_and(|value| value.is_true())
}

impl Interp<'_> {
    #[inline(never)]
    pub(super) fn call_filter(&mut self, name: &str, value: Value, args: Args) -> Res<Value> {
        self.heap.budget.step(1)?;
        match name {
            "default" | "d" => {
                let [default, boolean] = args.take(name, ["default_value", "boolean"])?;
                if value.is_undefined() || (flag(boolean) && !value.is_true()) {
                    return default.map_or_else(|| self.heap.str(""), Ok);
                }
                Ok(value)
            }
            "tojson" => self.tojson(&value, args),
            "length" | "count" => {
                let [] = args.exactly(name)?;
                if let Value::Loop(at) = value {
                    return Ok(Value::Int(self.loops[at].items.len() as i128));
                }
                Ok(Value::Int(self.heap.length(&value)? as i128))
            }
            "abs" => {
                let [] = args.exactly(name)?;
                match &value {
                    Value::Float(f) => Ok(Value::Float(f.abs())),
                    other => match other.as_index().and_then(i128::checked_abs) {
                        Some(int) => Ok(Value::Int(int)),
                        None => not_suited("abs", other),
                    },
                }
            }
            "int" => self.to_int(&value, args),
            "float" => {
                let [default] = args.take(name, ["default"])?;
                if let Value::Undefined(why) = &value {
                    return fault(&**why);
                }
                let default = default.unwrap_or(Value::Float(0.0));
                Ok(python_float(&value).map_or(default, Value::Float))
            }
            "round" => round(&value, args),
            "attr" => {
                let [attr] = args.exactly(name)?;
                match (&value, attr.as_str()) {
                    (Value::Dict(_), Some(attr)) => match super::methods::find(&value, attr) {
                        Some(_) => self.get_attr(&value, attr),
                        None => Ok(self.heap.undefined(format!("there is no attribute '{attr}'"))),
                    },
                    (_, Some(attr)) => self.get_attr(&value, attr),
                    _ => fault("attr needs the name of an attribute"),
                }
            }
            "safe" => {
                let text = self.to_text(&value)?;
                self.heap.markup(text)
            }
            "filesizeformat" => filesize(&self.heap, &value, args),
            _ => match self.text_filter(name, &value, args)? {
                Ok(value) => Ok(value),
                Err(args) => self.seq_filter(name, value, args),
            },
        }
    }

    /// The filters that take `str(value)`; gives the arguments back if `name` is none of them.
    fn text_filter(&mut self, name: &str, value: &Value, args: Args) -> Res<Result<Value, Args>> {
        let is_text_filter = matches!(
            name,
            "string"
                | "upper"
                | "lower"
                | "capitalize"
                | "title"
                | "trim"
                | "replace"
                | "center"
                | "indent"
                | "format"
                | "escape"
                | "e"
                | "forceescape"
                | "wordcount"
                | "truncate"
                | "urlencode"
        );
        if !is_text_filter {
            return Ok(Err(args));
        }
        if name == "indent" && value.as_str().is_none() {
            return not_suited("indent", value);
        }
        let owned = self.to_text(value)?;
        let s = owned.as_str();
        let heap = &self.heap;
        Ok(Ok(match name {
            "trim" => {
                let [chars] = args.take(name, ["chars"])?;
                let chars = chars.filter(|chars| !matches!(chars, Value::None));
                let chars = chars.as_ref().map(|chars| chars.as_str().unwrap_or_default());
                heap.budget.walk(s.len() * chars.map_or(1, str::len))?;
                heap.str(strip(s, chars, true, true))?
            }
            "replace" => {
                let [old, new, count] = args.take(name, ["old", "new", "count"])?;
                let (Some(old), Some(new)) = (old, new) else {
                    return fault("replace needs two strings");
                };
                let count = count.filter(|count| !matches!(count, Value::None));
                let (old, new) = (heap.to_text(&old)?, heap.to_text(&new)?);
                heap.replaced(s, &old, &new, int_or(count, -1, name)?)?
            }
            "center" => {
                let [width] = args.take(name, ["width"])?;
                let width = int_or(width, 80, name)?;
                heap.padded(s, width, " ", centered(width))?
            }
            "indent" => indent(heap, s, args)?,
            "format" => format_filter(heap, s, args)?,
            "truncate" => truncate(heap, s, args)?,
            _ => {
                let [] = args.exactly(name)?;
                match name {
                    "string" => heap.str(owned)?,
                    "upper" => heap.str(s.to_uppercase())?,
                    "lower" => heap.str(s.to_lowercase())?,
                    "capitalize" => heap.str(text::py_capitalize(s))?,
                    "title" => heap.str(text::filter_title(s))?,
                    "wordcount" => {
                        let is_word = |c: char| c.is_alphanumeric() || c == '_';
                        let words = s.split(|c| !is_word(c)).filter(|word| !word.is_empty());
                        Value::Int(words.count() as i128)
                    }
                    "urlencode" => heap.str(url_quote(s))?,
                    "forceescape" => heap.markup(text::html_escape(s))?,
                    _ if matches!(value, Value::Str(text) if text.is_markup) => value.clone(),
                    _ => heap.markup(text::html_escape(s))?,
                }
            }
        }))
    }

    fn tojson(&mut self, value: &Value, args: Args) -> Res<Value> {
        let [ensure_ascii, indent, separators, sort_keys] =
            args.take("tojson", ["ensure_ascii", "indent", "separators", "sort_keys"])?;
        let indent = match indent {
            None | Some(Value::None) => None,
            Some(Value::Str(text)) => Some(text.to_string()),
            Some(other) => {
                let width = usize::try_from(int_or(Some(other), 0, "tojson's indent")?.max(0));
                let width = width.unwrap_or(usize::MAX);
                self.heap.budget.room_for(width)?;
                Some(" ".repeat(width))
            }
        };
        let mut style = json::Style {
            ensure_ascii: flag(ensure_ascii),
            item_separator: if indent.is_some() { "," } else { ", " }.to_string(),
            key_separator: ": ".to_string(),
            indent,
            sort_keys: flag(sort_keys),
        };
        if let Some(separators) = separators.filter(|value| !matches!(value, Value::None)) {
            let parts = self.heap.iterate(&separators)?;
            let [Value::Str(item), Value::Str(key)] = &parts[..] else {
                return fault("tojson's separators must be two strings");
            };
            style.item_separator = item.to_string();
            style.key_separator = key.to_string();
        }
        let text = json::write(&self.heap, value, &style)?;
        self.heap.str(text)
    }

    fn to_int(&self, value: &Value, args: Args) -> Res<Value> {
        let [default, base] = args.take("int", ["default", "base"])?;
        let default = default.unwrap_or(Value::Int(0));
        let parsed = match value {
            Value::Undefined(why) => return fault(&**why),
            Value::Str(text) => python_int(text, int_or(base, 10, "int")?),
            Value::Float(f) if f.is_finite() => Some(f.trunc() as i128),
            other => other.as_index(),
        };
        Ok(match parsed {
            Some(int) => Value::Int(int),
            None => match python_float(value) {
                Some(float) if float.is_finite() => Value::Int(float.trunc() as i128),
                _ => default,
            },
        })
    }
}

pub(super) fn not_suited<T>(what: &str, value: &Value) -> Res<T> {
    match value {
        Value::Undefined(why) => fault(&**why),
        other => fault(format!("{what} can't take a value of type {}", other.type_name())),
    }
}

/// `int(text, base)`
fn python_int(text: &str, base: i128) -> Option<i128> {
    let trimmed = strip(text, None, true, true);
    let (negative, digits) = match trimmed.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, trimmed.strip_prefix('+').unwrap_or(trimmed)),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, digits) = match (base, lower.get(..2)) {
        (16 | 0, Some("0x")) => (16, &lower[2..]),
        (8 | 0, Some("0o")) => (8, &lower[2..]),
        (2 | 0, Some("0b")) => (2, &lower[2..]),
        (0, _) => (10, lower.as_str()),
        (2..=36, _) => (base as u32, lower.as_str()),
        _ => return None,
    };
    let well_divided = !digits.starts_with('_') && !digits.ends_with('_') && !digits.contains("__");
    if digits.is_empty() || !well_divided || digits.starts_with(['+', '-']) {
        return None;
    }
    let magnitude = i128::from_str_radix(&digits.replace('_', ""), radix).ok()?;
    Some(if negative { -magnitude } else { magnitude })
}

/// `float(value)`
fn python_float(value: &Value) -> Option<f64> {
    match value {
        Value::Float(f) => Some(*f),
        Value::Str(text) => {
            let text = strip(text, None, true, true);
            let is_plain = |c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.' | 'e' | 'E');
            let word = text.trim_start_matches(['+', '-']).to_ascii_lowercase();
            match text.chars().all(is_plain) || matches!(&*word, "inf" | "infinity" | "nan") {
                true => text.parse().ok(),
                false => None,
            }
        }
        other => other.as_index().map(|int| int as f64),
    }
}

fn round(value: &Value, args: Args) -> Res<Value> {
    let [precision, method] = args.take("round", ["precision", "method"])?;
    let precision = int_or(precision, 0, "round")?.clamp(-400, 400) as i32;
    let method = match &method {
        None => "common",
        Some(Value::Str(method)) => method,
        Some(_) => "",
    };
    if !matches!(method, "common" | "ceil" | "floor") {
        return fault("round's method must be common, ceil or floor");
    }
    let number = match value {
        Value::Float(f) => *f,
        other => match other.as_index() {
            Some(int) if method == "common" && precision >= 0 => return Ok(Value::Int(int)),
            Some(int) => int as f64,
            None => return not_suited("round", other),
        },
    };
    if method != "common" {
        let scale = 10f64.powi(precision);
        let scaled = number * scale;
        let whole = if method == "ceil" { scaled.ceil() } else { scaled.floor() };
        return Ok(Value::Float(whole / scale));
    }
    let rounded = if precision >= 0 {
        // The decimal that is nearest to the exact binary value, ties to even: what round() gives.
        format!("{number:.0$}", precision as usize).parse().unwrap_or(number)
    } else {
        let scale = 10f64.powi(-precision);
        (number / scale).round_ties_even() * scale
    };
    Ok(match value {
        Value::Float(_) => Value::Float(rounded),
        _ => Value::Int(rounded as i128),
    })
}

fn filesize(heap: &Heap, value: &Value, args: Args) -> Res<Value> {
    let [binary] = args.take("filesizeformat", ["binary"])?;
    let Some(bytes) = python_float(value) else {
        return not_suited("filesizeformat", value);
    };
    let (base, infix) = if flag(binary) { (1024.0, "i") } else { (1000.0, "") };
    if bytes == 1.0 {
        return heap.str("1 Byte");
    }
    if bytes < base {
        return heap.str(format!("{} Bytes", bytes.trunc() as i128));
    }
    let mut unit = base;
    let mut prefix = ' ';
    for next in (if infix.is_empty() { "kMGTPEZY" } else { "KMGTPEZY" }).chars() {
        prefix = next;
        unit *= base;
        if bytes < unit {
            break;
        }
    }
    heap.str(format!("{:.1} {prefix}{infix}B", base * bytes / unit))
}

fn indent(heap: &Heap, s: &str, args: Args) -> Res<Value> {
    let [width, first, blank] = args.take("indent", ["width", "first", "blank"])?;
    let indention = match width {
        Some(Value::Str(text)) => text.to_string(),
        other => {
            let width = usize::try_from(int_or(other, 4, "indent")?.max(0)).unwrap_or(usize::MAX);
            heap.budget.room_for(width)?;
            " ".repeat(width)
        }
    };
    let whole = format!("{s}\n");
    let lines = text::split_lines(&whole, false);
    let grown = lines.len().saturating_mul(indention.len());
    heap.budget.room_for(grown.saturating_add(s.len()))?;
    heap.budget.walk(grown)?;
    let blank = flag(blank);
    let mut out = String::new();
    if flag(first) {
        out.push_str(&indention);
    }
    for (at, line) in lines.iter().enumerate() {
        if at > 0 {
            out.push('\n');
            if blank || !line.is_empty() {
                out.push_str(&indention);
            }
        }
        out.push_str(line);
    }
    heap.str(out)
}

fn format_filter(heap: &Heap, s: &str, args: Args) -> Res<Value> {
    if args.keywords.is_empty() {
        let args = heap.tuple(args.positional)?;
        return percent::percent_format(heap, s, &args);
    }
    if !args.positional.is_empty() {
        return fault("format can't take positional and keyword arguments at the same time");
    }
    let mut pairs = Vec::new();
    for (key, value) in args.keywords {
        pairs.push((heap.str(&*key)?, value));
    }
    percent::percent_format(heap, s, &heap.dict(pairs)?)
}

fn truncate(heap: &Heap, s: &str, args: Args) -> Res<Value> {
    let [length, killwords, end, leeway] =
        args.take("truncate", ["length", "killwords", "end", "leeway"])?;
    let length = int_or(length, 255, "truncate")?;
    let leeway = leeway.filter(|value| !matches!(value, Value::None));
    let leeway = int_or(leeway, 5, "truncate")?;
    let end = match &end {
        None => "...",
        Some(Value::Str(end)) => end,
        Some(other) => return not_suited("truncate", other),
    };
    let end_length = end.chars().count() as i128;
    if length < end_length || leeway < 0 {
        return fault("truncate's length is too small");
    }
    if s.chars().count() as i128 <= length.saturating_add(leeway) {
        return heap.str(s);
    }
    let kept: String = s.chars().take((length - end_length) as usize).collect();
    let kept = match (flag(killwords), kept.rsplit_once(' ')) {
        (false, Some((head, _))) => head,
        _ => kept.as_str(),
    };
    heap.str(format!("{kept}{end}"))
}

fn url_quote(s: &str) -> String {
    let mut out = String::new();
    for byte in s.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' | b'-' | b'~' | b'/' => {
                out.push(byte as char)
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}
