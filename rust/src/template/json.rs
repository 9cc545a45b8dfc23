//! Owns: JSON in (the variables of a render) and out (`tojson`, as Python's json.dumps writes it).

use super::limits::{fault, Res};
use super::text::float_repr;
use super::value::{Heap, Value};

/// Reads the JSON text of a render's variables. Depth is bounded by the values' own limit and `MAX_JSON_DEPTH`.
pub fn read(heap: &Heap, text: &str) -> Res<Value> {
    let mut reader = Reader { heap, text, pos: 0, depth: 0 };
    let value = reader.value()?;
    reader.space();
    match reader.pos == text.len() {
        true => Ok(value),
        false => reader.wrong("the end"),
    }
}

const MAX_JSON_DEPTH: u32 = 128;

struct Reader<'t> {
    heap: &'t Heap,
    text: &'t str,
    pos: usize,
    depth: u32,
}

impl Reader<'_> {
    fn rest(&self) -> &str {
        &self.text[self.pos..]
    }

    fn wrong<T>(&self, wanted: &str) -> Res<T> {
        fault(format!("the variables are no JSON: expected {wanted} at byte {}", self.pos))
    }

    fn space(&mut self) {
        let rest = self.rest();
        let blank = rest.bytes().take_while(|b| matches!(b, b' ' | b'\t' | b'\n' | b'\r'));
        self.pos += blank.count();
    }

    fn skip(&mut self, token: &str) -> bool {
        self.space();
        let found = self.rest().starts_with(token);
        if found {
            self.pos += token.len();
        }
        found
    }

    fn value(&mut self) -> Res<Value> {
        self.space();
        match self.rest().bytes().next() {
            Some(b'{') => self.deeper(Self::object),
            Some(b'[') => self.deeper(Self::array),
            Some(b'"') => {
                let text = self.string()?;
                self.heap.str(text)
            }
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ if self.skip("true") => Ok(Value::Bool(true)),
            _ if self.skip("false") => Ok(Value::Bool(false)),
            _ if self.skip("null") => Ok(Value::None),
            _ => self.wrong("a value"),
        }
    }

    fn deeper(&mut self, body: fn(&mut Self) -> Res<Value>) -> Res<Value> {
        if self.depth == MAX_JSON_DEPTH {
            return fault(format!(
                "messages, tools or template variables nest more than {MAX_JSON_DEPTH} levels deep"
            ));
        }
        self.depth += 1;
        let value = body(self);
        self.depth -= 1;
        value
    }

    fn object(&mut self) -> Res<Value> {
        self.pos += 1;
        let mut pairs = Vec::new();
        if self.skip("}") {
            return self.heap.dict(pairs);
        }
        loop {
            self.space();
            let key = self.string()?;
            if !self.skip(":") {
                return self.wrong("':'");
            }
            pairs.push((self.heap.str(key)?, self.value()?));
            if self.skip("}") {
                return self.heap.dict_of(pairs);
            }
            if !self.skip(",") {
                return self.wrong("',' or '}'");
            }
        }
    }

    fn array(&mut self) -> Res<Value> {
        self.pos += 1;
        let mut items = Vec::new();
        if self.skip("]") {
            return self.heap.list(items);
        }
        loop {
            items.push(self.value()?);
            if self.skip("]") {
                return self.heap.list(items);
            }
            if !self.skip(",") {
                return self.wrong("',' or ']'");
            }
        }
    }

    fn number(&mut self) -> Res<Value> {
        let rest = self.rest();
        let is_part = |b: &u8| matches!(b, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
        let length = rest.bytes().take_while(is_part).count();
        let literal = &rest[..length];
        let value = match literal.parse::<i128>() {
            Ok(int) => Value::Int(int),
            Err(_) => match literal.parse::<f64>() {
                Ok(float) => Value::Float(float),
                Err(_) => return self.wrong("a number"),
            },
        };
        self.pos += length;
        Ok(value)
    }

    fn string(&mut self) -> Res<String> {
        if !self.skip("\"") {
            return self.wrong("a string");
        }
        let mut out = String::new();
        loop {
            let rest = self.rest();
            let Some(at) = rest.find(['"', '\\']) else {
                return self.wrong("the end of a string");
            };
            out.push_str(&rest[..at]);
            let is_end = rest.as_bytes()[at] == b'"';
            self.pos += at + 1;
            if is_end {
                return Ok(out);
            }
            let Some(escape) = self.rest().bytes().next().filter(u8::is_ascii) else {
                return self.wrong("an escape");
            };
            self.pos += 1;
            out.push(match escape {
                b'n' => '\n',
                b't' => '\t',
                b'r' => '\r',
                b'b' => '\u{8}',
                b'f' => '\u{c}',
                b'u' => self.unicode_escape()?,
                other => other as char,
            });
        }
    }

    fn unicode_escape(&mut self) -> Res<char> {
        let high = self.hex4()?;
        let code = if (0xd800..0xdc00).contains(&high) && self.rest().starts_with("\\u") {
            self.pos += 2;
            let low = self.hex4()?;
            0x10000 + ((high - 0xd800) << 10) + (low.wrapping_sub(0xdc00) & 0x3ff)
        } else {
            high
        };
        Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    fn hex4(&mut self) -> Res<u32> {
        let code = self.rest().get(..4).and_then(|digits| u32::from_str_radix(digits, 16).ok());
        match code {
            Some(code) => {
                self.pos += 4;
                Ok(code)
            }
            None => self.wrong("four hexadecimal digits"),
        }
    }
}

/// The arguments of json.dumps that `tojson` passes on.
pub struct Style {
    pub ensure_ascii: bool,
    pub indent: Option<String>,
    pub item_separator: String,
    pub key_separator: String,
    pub sort_keys: bool,
}

pub fn write(heap: &Heap, value: &Value, style: &Style) -> Res<String> {
    let mut writer = Writer { heap, style, out: String::new(), level: 0 };
    writer.value(value)?;
    Ok(writer.out)
}

struct Writer<'w> {
    heap: &'w Heap,
    style: &'w Style,
    out: String,
    level: usize,
}

impl Writer<'_> {
    fn value(&mut self, value: &Value) -> Res<()> {
        self.heap.budget.step(1)?;
        match value {
            Value::None => self.out.push_str("null"),
            Value::Bool(true) => self.out.push_str("true"),
            Value::Bool(false) => self.out.push_str("false"),
            Value::Int(i) => self.out.push_str(&i.to_string()),
            Value::Float(f) => self.out.push_str(&float_json(*f)),
            Value::Str(text) => self.string(text)?,
            Value::List(list) | Value::Tuple(list) => {
                self.container('[', ']', &list.items, |writer, item| writer.value(item))?
            }
            Value::Dict(dict) => {
                let mut entries: Vec<&(Value, Value)> = dict.entries.iter().collect();
                if self.style.sort_keys {
                    self.heap.sort_by_key(&mut entries, |entry| Ok(entry.0.clone()), false)?;
                }
                self.container('{', '}', &entries, |writer, entry| {
                    writer.key(&entry.0)?;
                    writer.out.push_str(&writer.style.key_separator);
                    writer.value(&entry.1)
                })?
            }
            other => {
                return fault(format!(
                    "Object of type {} is not JSON serializable",
                    other.type_name()
                ))
            }
        }
        self.heap.budget.room_for(self.out.len())
    }

    fn container<T>(
        &mut self,
        open: char,
        close: char,
        items: &[T],
        mut write: impl FnMut(&mut Self, &T) -> Res<()>,
    ) -> Res<()> {
        self.out.push(open);
        self.level += 1;
        for (at, item) in items.iter().enumerate() {
            if at > 0 {
                self.out.push_str(&self.style.item_separator);
            }
            self.new_line()?;
            write(self, item)?;
        }
        self.level -= 1;
        if !items.is_empty() {
            self.new_line()?;
        }
        self.out.push(close);
        Ok(())
    }

    fn new_line(&mut self) -> Res<()> {
        if let Some(indent) = &self.style.indent {
            let width = indent.len() * self.level;
            self.heap.budget.walk(width)?;
            self.heap.budget.room_for(self.out.len() + width)?;
            self.out.push('\n');
            for _ in 0..self.level {
                self.out.push_str(indent);
            }
        }
        Ok(())
    }

    fn key(&mut self, key: &Value) -> Res<()> {
        match key {
            Value::Str(text) => self.string(text),
            Value::None => self.string("null"),
            Value::Bool(true) => self.string("true"),
            Value::Bool(false) => self.string("false"),
            Value::Int(i) => self.string(&i.to_string()),
            Value::Float(f) => self.string(&float_json(*f)),
            other => fault(format!(
                "keys must be str, int, float, bool or None, not {}",
                other.type_name()
            )),
        }
    }

    fn string(&mut self, text: &str) -> Res<()> {
        self.heap.budget.walk(text.len() * 4)?;
        self.out.push('"');
        for c in text.chars() {
            match c {
                '"' => self.out.push_str("\\\""),
                '\\' => self.out.push_str("\\\\"),
                '\n' => self.out.push_str("\\n"),
                '\r' => self.out.push_str("\\r"),
                '\t' => self.out.push_str("\\t"),
                '\u{8}' => self.out.push_str("\\b"),
                '\u{c}' => self.out.push_str("\\f"),
                '\0'..='\u{1f}' => self.out.push_str(&format!("\\u{:04x}", c as u32)),
                // A guard (text/chat_guard.h) comes out as it went in.
                '\u{fdd0}'..='\u{fdef}' => self.out.push(c),
                '\u{7f}'.. if self.style.ensure_ascii => {
                    let mut units = [0u16; 2];
                    for unit in c.encode_utf16(&mut units) {
                        self.out.push_str(&format!("\\u{unit:04x}"));
                    }
                }
                _ => self.out.push(c),
            }
        }
        self.out.push('"');
        Ok(())
    }
}

fn float_json(value: f64) -> String {
    if value.is_nan() {
        "NaN".to_string()
    } else if value.is_infinite() {
        if value > 0.0 { "Infinity" } else { "-Infinity" }.to_string()
    } else {
        float_repr(value)
    }
}
