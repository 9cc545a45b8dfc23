//! Owns: `%` formatting, `str.format` and their number formats (Python library reference, "printf-style String
//! Formatting" and "Format Specification Mini-Language").

use super::limits::{fault, Res};
use super::number_format::{number_format, pad, Spec, MAX_WIDTH};
use super::value::{Heap, Value};

struct Cursor<'t> {
    rest: &'t str,
}

impl<'t> Cursor<'t> {
    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }
    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.rest = &self.rest[c.len_utf8()..];
        Some(c)
    }
    fn skip(&mut self, c: char) -> bool {
        let found = self.peek() == Some(c);
        if found {
            self.next();
        }
        found
    }
    fn number(&mut self) -> Res<Option<usize>> {
        let length = self.rest.bytes().take_while(u8::is_ascii_digit).count();
        if length == 0 {
            return Ok(None);
        }
        let (digits, rest) = self.rest.split_at(length);
        self.rest = rest;
        match digits.parse::<usize>() {
            Ok(number) if number <= MAX_WIDTH => Ok(Some(number)),
            _ => fault(format!("a width in a format is larger than {MAX_WIDTH}")),
        }
    }
}

pub fn percent_format(heap: &Heap, format: &str, args: &Value) -> Res<Value> {
    let mut out = String::new();
    let mut cursor = Cursor { rest: format };
    let mut used = 0;
    let positional: Vec<Value> = match args {
        Value::Tuple(tuple) => tuple.items.clone(),
        other => vec![other.clone()],
    };
    let mut has_keys = false;
    while let Some(c) = cursor.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        if cursor.skip('%') {
            out.push('%');
            continue;
        }
        let mut value = None;
        if cursor.skip('(') {
            let Some((key, rest)) = cursor.rest.split_once(')') else {
                return fault("incomplete format key");
            };
            cursor.rest = rest;
            let Value::Dict(dict) = args else {
                return fault("format requires a mapping");
            };
            match dict.get_str(key) {
                Some(found) => value = Some(found.clone()),
                None => return fault(format!("the format's key '{key}' is missing")),
            }
            has_keys = true;
        }
        let take = |used: &mut usize| match positional.get(*used) {
            Some(item) => {
                *used += 1;
                Ok(item.clone())
            }
            None => fault("not enough arguments for format string"),
        };
        let mut spec = Spec { align: '>', ..Spec::default() };
        percent_flags(&mut cursor, &mut spec);
        if cursor.skip('*') {
            let width = take(&mut used)?.as_index().unwrap_or(-1);
            match usize::try_from(width) {
                Ok(width) if width <= MAX_WIDTH => spec.width = width,
                _ => return fault("a width in a format is no small number"),
            }
        } else {
            spec.width = cursor.number()?.unwrap_or(0);
        }
        if cursor.skip('.') {
            spec.precision = Some(cursor.number()?.unwrap_or(0));
        }
        while matches!(cursor.peek(), Some('h' | 'l' | 'L')) {
            cursor.next();
        }
        let Some(kind) = cursor.next() else {
            return fault("incomplete format");
        };
        let value = match value {
            Some(value) => value,
            None => take(&mut used)?,
        };
        percent_one(heap, kind, spec, &value, &mut out)?;
        heap.budget.room_for(out.len())?;
    }
    let all_used = used >= positional.len() || has_keys || matches!(args, Value::Dict(_));
    if !all_used {
        return fault("not all arguments converted during string formatting");
    }
    heap.str(out)
}

fn percent_flags(cursor: &mut Cursor, spec: &mut Spec) {
    loop {
        match cursor.peek() {
            Some('-') => spec.align = '<',
            Some('+') => spec.sign = '+',
            Some(' ') if spec.sign != '+' => spec.sign = ' ',
            Some(' ') => {}
            Some('#') => spec.alternate = true,
            Some('0') if spec.align != '<' => {
                spec.fill = '0';
                spec.align = '=';
            }
            Some('0') => {}
            _ => return,
        }
        cursor.next();
    }
}

fn percent_one(
    heap: &Heap,
    kind: char,
    mut spec: Spec,
    value: &Value,
    out: &mut String,
) -> Res<()> {
    match kind {
        's' | 'r' | 'a' | 'c' => {
            let mut text = match (kind, value) {
                ('c', Value::Str(text)) if text.chars().count() == 1 => text.to_string(),
                ('c', other) => match other.as_index().and_then(|i| u32::try_from(i).ok()) {
                    Some(code) => char::from_u32(code).unwrap_or('?').to_string(),
                    None => return fault("%c requires int or char"),
                },
                ('s', _) => heap.to_text(value)?,
                _ => heap.repr_of(value)?,
            };
            if let Some(precision) = spec.precision.filter(|_| kind != 'c') {
                text = text.chars().take(precision).collect();
            }
            if spec.align == '=' {
                (spec.align, spec.fill) = ('>', ' ');
            }
            pad(&text, 0, &spec, out);
            Ok(())
        }
        'd' | 'i' | 'u' => {
            let int = match value {
                Value::Float(f) if f.is_finite() => f.trunc() as i128,
                other => match other.as_index() {
                    Some(i) => i,
                    None => {
                        return fault(format!(
                            "%{kind} format: a real number is required, not {}",
                            other.type_name()
                        ))
                    }
                },
            };
            let precision = spec.precision.take();
            spec.kind = 'd';
            number_format(&Value::Int(int), &spec, precision, out)
        }
        'x' | 'X' | 'o' => {
            let Some(int) = value.as_index() else {
                return fault(format!("%{kind} format: an integer is required"));
            };
            let precision = spec.precision.take();
            spec.kind = kind;
            number_format(&Value::Int(int), &spec, precision, out)
        }
        'e' | 'E' | 'f' | 'F' | 'g' | 'G' => {
            let float = match value {
                Value::Float(f) => *f,
                other => match other.as_index() {
                    Some(i) => i as f64,
                    None => {
                        return fault("must be real number, not ".to_string() + other.type_name())
                    }
                },
            };
            spec.kind = kind;
            number_format(&Value::Float(float), &spec, None, out)
        }
        other => fault(format!("unsupported format character {other:?}")),
    }
}

fn parse_spec(text: &str) -> Res<Spec> {
    let mut spec = Spec::default();
    let mut cursor = Cursor { rest: text };
    let is_align = |c: char| matches!(c, '<' | '>' | '^' | '=');
    let mut ahead = text.chars();
    match (ahead.next(), ahead.next()) {
        (Some(fill), Some(align)) if is_align(align) => {
            (spec.fill, spec.align) = (fill, align);
            cursor.next();
            cursor.next();
        }
        (Some(align), _) if is_align(align) => {
            spec.align = align;
            cursor.next();
        }
        _ => {}
    }
    if let Some(sign @ ('+' | '-' | ' ')) = cursor.peek() {
        spec.sign = sign;
        cursor.next();
    }
    spec.alternate = cursor.skip('#');
    if cursor.skip('0') && spec.align == '\0' {
        (spec.fill, spec.align) = ('0', '=');
    }
    spec.width = cursor.number()?.unwrap_or(0);
    if let Some(separator @ (',' | '_')) = cursor.peek() {
        spec.grouping = Some(separator);
        cursor.next();
    }
    if cursor.skip('.') {
        spec.precision = match cursor.number()? {
            None => return fault("a format lacks its precision"),
            precision => precision,
        };
    }
    spec.kind = cursor.next().unwrap_or('\0');
    match cursor.rest.is_empty() {
        true => Ok(spec),
        false => fault(format!("invalid format specifier '{text}'")),
    }
}

/// `format(value, spec)`
pub fn format_value(heap: &Heap, value: &Value, spec: &str, out: &mut String) -> Res<()> {
    if spec.is_empty() {
        out.push_str(&heap.to_text(value)?);
        return Ok(());
    }
    let mut spec = parse_spec(spec)?;
    let is_number = matches!(value, Value::Int(_) | Value::Float(_))
        || (matches!(value, Value::Bool(_)) && spec.kind != '\0' && spec.kind != 's');
    if is_number {
        return number_format(value, &spec, None, out);
    }
    if !matches!(value, Value::Str(_) | Value::Bool(_)) {
        return fault(format!(
            "unsupported format string passed to {}.__format__",
            value.type_name()
        ));
    }
    if !matches!(spec.kind, 's' | '\0') || spec.align == '=' && spec.fill != '0' {
        return fault("this format does not suit a string");
    }
    let mut text = heap.to_text(value)?;
    if let Some(precision) = spec.precision {
        text = text.chars().take(precision).collect();
    }
    if matches!(spec.align, '\0' | '=') {
        spec.align = '<';
    }
    pad(&text, 0, &spec, out);
    Ok(())
}

/// One piece of a `str.format` text.
pub enum Piece<'t> {
    Text(&'t str),
    Field { path: &'t str, conversion: Option<char>, spec: &'t str },
}

/// Splits the text of `str.format`; fields inside a spec are not supported.
pub fn format_pieces(text: &str) -> Res<Vec<Piece<'_>>> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        if at > 0 {
            pieces.push(Piece::Text(&rest[..at]));
        }
        let brace = &rest[at..at + 1];
        rest = &rest[at + 1..];
        if rest.starts_with(brace) {
            pieces.push(Piece::Text(brace));
            rest = &rest[1..];
            continue;
        }
        if brace == "}" {
            return fault("single '}' encountered in format string");
        }
        let Some((field, after)) = rest.split_once('}') else {
            return fault("expected '}' before end of string");
        };
        if field.contains('{') {
            return fault("fields inside of a format's specification are not supported");
        }
        let (head, spec) = field.split_once(':').unwrap_or((field, ""));
        let (path, conversion) = match head.split_once('!') {
            Some((path, conversion)) => (path, conversion.chars().next()),
            None => (head, None),
        };
        pieces.push(Piece::Field { path, conversion, spec });
        rest = after;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest));
    }
    Ok(pieces)
}
