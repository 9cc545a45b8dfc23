//! Owns: which methods each type has (those of Python that change nothing), and those of lists, mappings and loops.
//! The methods of strings are in str_methods.rs.

use super::calls::Args;
use super::interp::Interp;
use super::limits::{fault, Res};
use super::value::{Value, ViewKind};

const STR: [&str; 45] = [
    "capitalize",
    "casefold",
    "center",
    "count",
    "endswith",
    "expandtabs",
    "find",
    "format",
    "format_map",
    "index",
    "isalnum",
    "isalpha",
    "isascii",
    "isdecimal",
    "isdigit",
    "isidentifier",
    "islower",
    "isnumeric",
    "isprintable",
    "isspace",
    "istitle",
    "isupper",
    "join",
    "ljust",
    "lower",
    "lstrip",
    "partition",
    "removeprefix",
    "removesuffix",
    "replace",
    "rfind",
    "rindex",
    "rjust",
    "rpartition",
    "rsplit",
    "rstrip",
    "split",
    "splitlines",
    "startswith",
    "strip",
    "swapcase",
    "title",
    "upper",
    "zfill",
    "encode",
];
const SEQUENCE: [&str; 2] = ["count", "index"];
const LIST: [&str; 3] = ["count", "index", "copy"];
const DICT: [&str; 5] = ["get", "items", "keys", "values", "copy"];
const FLOAT: [&str; 1] = ["is_integer"];
const LOOP: [&str; 2] = ["cycle", "changed"];
const CYCLER: [&str; 2] = ["next", "reset"];

/// Methods that jinja2's immutable sandbox withholds.
pub const MUTATORS: [&str; 11] = [
    "append",
    "extend",
    "insert",
    "remove",
    "clear",
    "pop",
    "popitem",
    "update",
    "setdefault",
    "sort",
    "reverse",
];

pub fn find(value: &Value, name: &str) -> Option<&'static str> {
    let methods: &'static [&'static str] = match value {
        Value::Str(_) => &STR,
        Value::List(_) => &LIST,
        Value::Tuple(_) | Value::Range(..) => &SEQUENCE,
        Value::Dict(_) => &DICT,
        Value::Float(_) => &FLOAT,
        Value::Loop(_) => &LOOP,
        Value::Cycler(_) => &CYCLER,
        _ => return None,
    };
    methods.iter().find(|method| **method == name).copied()
}

impl Interp<'_> {
    #[inline(never)]
    pub(super) fn call_method(
        &mut self,
        object: &Value,
        method: &'static str,
        args: Args,
    ) -> Res<Value> {
        match object {
            Value::Str(text) => self.str_method(text, method, args),
            Value::Dict(dict) => match method {
                "get" => {
                    let [key, default] = args.take("get", ["key", "default"])?;
                    let Some(key) = key else {
                        return fault("get expected at least 1 argument");
                    };
                    let found = self.heap.dict_get(dict, &key)?;
                    Ok(found.or(default).unwrap_or(Value::None))
                }
                _ => {
                    let [] = args.exactly(method)?;
                    Ok(match method {
                        "items" => Value::View(dict.clone(), ViewKind::Items),
                        "keys" => Value::View(dict.clone(), ViewKind::Keys),
                        "values" => Value::View(dict.clone(), ViewKind::Values),
                        _ => object.clone(),
                    })
                }
            },
            Value::List(_) | Value::Tuple(_) | Value::Range(..) => {
                self.sequence_method(object, method, args)
            }
            Value::Float(f) => Ok(Value::Bool(f.is_finite() && f.fract() == 0.0)),
            Value::Loop(at) => self.loop_method(*at, method, args),
            Value::Cycler(at) => {
                let [] = args.exactly(method)?;
                let cycler = &mut self.cyclers[*at];
                if method == "reset" {
                    cycler.at = 0;
                    return Ok(Value::None);
                }
                let item = cycler.items[cycler.at].clone();
                cycler.at = (cycler.at + 1) % cycler.items.len();
                Ok(item)
            }
            other => fault(format!("'{}' has no method '{method}'", other.type_name())),
        }
    }

    fn sequence_method(&mut self, object: &Value, method: &str, args: Args) -> Res<Value> {
        if method == "copy" {
            let [] = args.exactly(method)?;
            return Ok(object.clone());
        }
        let [wanted] = args.exactly(method)?;
        let mut count = 0;
        for (at, item) in self.heap.iterate(object)?.iter().enumerate() {
            if self.heap.equal(item, &wanted)? {
                if method == "index" {
                    return Ok(Value::Int(at as i128));
                }
                count += 1;
            }
        }
        match method {
            "index" => fault("the value is not in the list"),
            _ => Ok(Value::Int(count)),
        }
    }

    fn loop_method(&mut self, at: usize, method: &str, args: Args) -> Res<Value> {
        let values = args.positional;
        if method == "cycle" {
            if values.is_empty() {
                return fault("no items for cycling given");
            }
            return Ok(values[self.loops[at].at % values.len()].clone());
        }
        let previous = self.loops[at].changed.take();
        let mut changed = previous.as_ref().is_none_or(|old| old.len() != values.len());
        for (old, new) in previous.iter().flatten().zip(&values) {
            changed = changed || !self.heap.equal(old, new)?;
        }
        self.loops[at].changed = Some(values);
        Ok(Value::Bool(changed))
    }
}
