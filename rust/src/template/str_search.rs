//! Owns: how Python's string methods find, split, strip and align.

use super::calls::Args;
use super::limits::{fault, Res};
use super::text::is_py_space;
use super::value::{Heap, Value};

pub fn expect_str<'v>(value: &'v Option<Value>, what: &str) -> Res<&'v str> {
    match value {
        Some(Value::Str(text)) => Ok(text),
        Some(Value::Undefined(why)) => fault(format!("{what} needs a string: {why}")),
        Some(other) => fault(format!("{what} needs a string, not {}", other.type_name())),
        None => fault(format!("{what} needs an argument")),
    }
}

pub fn expect_int(value: &Option<Value>, default: i128, what: &str) -> Res<i128> {
    match value {
        None => Ok(default),
        Some(value) => match value.as_index() {
            Some(int) => Ok(int),
            None => fault(format!("{what} needs an integer, not {}", value.type_name())),
        },
    }
}

/// The byte range of `text[start:end]`, counted in characters.
pub fn char_range(text: &str, start: i128, end: i128) -> Option<(usize, usize)> {
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
pub fn split_parts<'t>(
    text: &'t str,
    sep: Option<&str>,
    limit: i128,
    from_right: bool,
) -> Vec<&'t str> {
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
                let start =
                    space.map_or(0, |at| at + rest[at..].chars().next().map_or(1, char::len_utf8));
                parts.push(&rest[start..]);
                rest = rest[..start].trim_end_matches(is_py_space);
            }
            parts.reverse();
            parts
        }
    }
}

pub fn starts_or_ends(heap: &Heap, text: &str, method: &str, args: Args) -> Res<Value> {
    let [affix, start, end] = args.take(method, ["affix", "start", "end"])?;
    let start = expect_int(&start, 0, method)?;
    let end = expect_int(&end, i128::MAX, method)?;
    let whole = start == 0 && end == i128::MAX;
    let Some((from, to)) =
        (if whole { Some((0, text.len())) } else { char_range(text, start, end) })
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

pub fn find_or_count(heap: &Heap, text: &str, method: &str, args: Args) -> Res<Value> {
    let [sub, start, end] = args.take(method, ["sub", "start", "end"])?;
    let sub = expect_str(&sub, method)?;
    heap.budget.walk(text.len() * 4)?;
    let range =
        char_range(text, expect_int(&start, 0, method)?, expect_int(&end, i128::MAX, method)?);
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

pub fn expand_tabs(heap: &Heap, text: &str, size: i128) -> Res<Value> {
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
