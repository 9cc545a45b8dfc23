//! Owns: the values a template computes with, Python's as far as jinja2 shows them. Does not know: syntax.
//! Invariant: values are immutable once made (jinja2's immutable sandbox), so no value can contain itself, and none
//! is deeper than MAX_VALUE_DEPTH: recursion over a value is safe. What can change or refer back (namespaces,
//! macros, loops) lives in the interpreter's arenas and is an index here.

use std::borrow::Borrow;
use std::cell::Cell;
use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::rc::Rc;

use super::limits::{fault, Budget, Res, MAX_VALUE_DEPTH};

pub const VALUE_BYTES: usize = std::mem::size_of::<Value>();

#[derive(Clone)]
pub enum Value {
    Undefined(Rc<str>), // why, for the error when it is used
    None,
    Bool(bool),
    Int(i128),
    Float(f64),
    Str(Rc<Text>),
    List(Rc<Items>),
    Tuple(Rc<Items>),
    Dict(Rc<Dict>),
    View(Rc<Dict>, ViewKind),
    Range(i64, i64, i64), // start, length, step
    Iter(Rc<Generator>),
    Method(Rc<(Value, &'static str)>),
    Function(&'static str),
    Namespace(usize),
    Macro(usize),
    Loop(usize),
    Cycler(usize),
    Joiner(usize),
}

#[derive(Clone, Copy, PartialEq)]
pub enum ViewKind {
    Keys,
    Values,
    Items,
}

/// A string that is in a budget's account while it lives.
pub struct Text {
    text: String,
    pub is_markup: bool, // made by `safe` or `escape`: what is added to it gets HTML-escaped
    budget: Rc<Budget>,
}

impl std::ops::Deref for Text {
    type Target = str;
    fn deref(&self) -> &str {
        &self.text
    }
}

impl Drop for Text {
    fn drop(&mut self) {
        self.budget.give_back(text_bytes(&self.text));
    }
}

fn text_bytes(text: &str) -> usize {
    text.len() + std::mem::size_of::<Text>()
}

#[derive(PartialEq, Eq)]
struct TextKey(Rc<Text>);

impl PartialEq for Text {
    fn eq(&self, other: &Text) -> bool {
        self.text == other.text
    }
}
impl Eq for Text {}
impl Hash for TextKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.text.as_str().hash(state);
    }
}
impl Borrow<str> for TextKey {
    fn borrow(&self) -> &str {
        &self.0.text
    }
}

/// The items of a list or a tuple.
pub struct Items {
    pub items: Vec<Value>,
    pub is_group: bool, // a tuple of groupby: its parts have the names `grouper` and `list`
    depth: u16,
    budget: Rc<Budget>,
}

impl Drop for Items {
    fn drop(&mut self) {
        self.budget.give_back(self.items.len() * VALUE_BYTES);
    }
}

/// Key order is insertion order.
pub struct Dict {
    pub entries: Vec<(Value, Value)>,
    index: HashMap<TextKey, usize>, // of string keys, once there are many
    depth: u16,
    budget: Rc<Budget>,
}

const SMALL_DICT: usize = 8;
/// What an entry costs: two values, and its place in the index.
const ENTRY_BYTES: usize = 2 * VALUE_BYTES + 32;

impl Drop for Dict {
    fn drop(&mut self) {
        self.budget.give_back(self.entries.len() * ENTRY_BYTES);
    }
}

impl Dict {
    pub fn get_str(&self, key: &str) -> Option<&Value> {
        if self.entries.len() > SMALL_DICT {
            return self.index.get(key).map(|&at| &self.entries[at].1);
        }
        let found = |(k, _): &&(Value, Value)| matches!(k, Value::Str(text) if &***text == key);
        self.entries.iter().find(found).map(|(_, value)| value)
    }
}

/// What `map`, `select` and their like give: it can be walked once.
pub struct Generator {
    pub items: Rc<Items>,
    pub position: Cell<usize>,
    pub name: &'static str,
}

impl Generator {
    pub fn rest(&self) -> &[Value] {
        let from = self.position.replace(self.items.items.len());
        &self.items.items[from..]
    }

    pub fn next(&self) -> Option<Value> {
        let at = self.position.get();
        let item = self.items.items.get(at)?;
        self.position.set(at + 1);
        Some(item.clone())
    }
}

impl Value {
    pub fn depth(&self) -> u16 {
        match self {
            Value::List(list) | Value::Tuple(list) => list.depth,
            Value::Dict(dict) | Value::View(dict, _) => dict.depth,
            Value::Iter(generator) => generator.items.depth + 1,
            Value::Method(method) => method.0.depth() + 1,
            _ => 0,
        }
    }

    pub fn type_name(&self) -> &'static str {
        match self {
            Value::Undefined(_) => "Undefined",
            Value::None => "NoneType",
            Value::Bool(_) => "bool",
            Value::Int(_) => "int",
            Value::Float(_) => "float",
            Value::Str(_) => "str",
            Value::List(_) => "list",
            Value::Tuple(_) => "tuple",
            Value::Dict(_) => "dict",
            Value::View(_, ViewKind::Keys) => "dict_keys",
            Value::View(_, ViewKind::Values) => "dict_values",
            Value::View(_, ViewKind::Items) => "dict_items",
            Value::Range(..) => "range",
            Value::Iter(_) => "generator",
            Value::Method(_) | Value::Function(_) => "builtin_function_or_method",
            Value::Namespace(_) => "Namespace",
            Value::Macro(_) => "Macro",
            Value::Loop(_) => "LoopContext",
            Value::Cycler(_) => "Cycler",
            Value::Joiner(_) => "Joiner",
        }
    }

    /// Python's truth value.
    pub fn is_true(&self) -> bool {
        match self {
            Value::Undefined(_) | Value::None => false,
            Value::Bool(b) => *b,
            Value::Int(i) => *i != 0,
            Value::Float(f) => *f != 0.0,
            Value::Str(text) => !text.is_empty(),
            Value::List(list) | Value::Tuple(list) => !list.items.is_empty(),
            Value::Dict(dict) | Value::View(dict, _) => !dict.entries.is_empty(),
            Value::Range(_, length, _) => *length != 0,
            _ => true,
        }
    }

    pub fn is_undefined(&self) -> bool {
        matches!(self, Value::Undefined(_))
    }

    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::Str(text) => Some(text),
            _ => None,
        }
    }

    /// An int or a bool, as Python's `__index__` has it.
    pub fn as_index(&self) -> Option<i128> {
        match self {
            Value::Int(i) => Some(*i),
            Value::Bool(b) => Some(i128::from(*b)),
            _ => None,
        }
    }

    /// As `jinja2.utils.object_type_repr` has it: 'dict object'.
    pub fn described(&self) -> String {
        match self {
            Value::None => "None".to_string(),
            other => format!("{} object", other.type_name()),
        }
    }
}

/// The maker of values of one render: each is paid for.
#[derive(Clone)]
pub struct Heap {
    pub budget: Rc<Budget>,
}

impl Heap {
    pub fn str(&self, text: impl Into<String>) -> Res<Value> {
        Ok(Value::Str(self.text(text)?))
    }

    pub fn text(&self, text: impl Into<String>) -> Res<Rc<Text>> {
        self.make_text(text.into(), false)
    }

    pub fn markup(&self, text: String) -> Res<Value> {
        Ok(Value::Str(self.make_text(text, true)?))
    }

    fn make_text(&self, text: String, is_markup: bool) -> Res<Rc<Text>> {
        self.budget.walk(text.len())?;
        self.budget.take(text_bytes(&text))?;
        Ok(Rc::new(Text { text, is_markup, budget: self.budget.clone() }))
    }

    pub fn items(&self, items: Vec<Value>) -> Res<Rc<Items>> {
        self.budget.step(1 + items.len() as u64 / 4)?;
        self.budget.take(items.len() * VALUE_BYTES)?;
        let depth = self.depth_of(items.iter())?;
        Ok(Rc::new(Items { items, is_group: false, depth, budget: self.budget.clone() }))
    }

    fn depth_of<'v>(&self, children: impl Iterator<Item = &'v Value>) -> Res<u16> {
        let depth = 1 + children.map(Value::depth).max().unwrap_or(0);
        if depth > MAX_VALUE_DEPTH {
            return fault(format!("values nest more than {MAX_VALUE_DEPTH} levels deep"));
        }
        Ok(depth)
    }

    pub fn list(&self, items: Vec<Value>) -> Res<Value> {
        Ok(Value::List(self.items(items)?))
    }

    pub fn tuple(&self, items: Vec<Value>) -> Res<Value> {
        Ok(Value::Tuple(self.items(items)?))
    }

    pub fn group(&self, key: Value, list: Value) -> Res<Value> {
        let items = vec![key, list];
        let depth = self.depth_of(items.iter())?;
        self.budget.take(items.len() * VALUE_BYTES)?;
        Ok(Value::Tuple(Rc::new(Items {
            items,
            is_group: true,
            depth,
            budget: self.budget.clone(),
        })))
    }

    pub fn generator(&self, name: &'static str, items: Vec<Value>) -> Res<Value> {
        let items = self.items(items)?;
        Ok(Value::Iter(Rc::new(Generator { items, position: Cell::new(0), name })))
    }

    pub fn undefined(&self, why: String) -> Value {
        Value::Undefined(Rc::from(why))
    }

    /// A mapping whose keys are known to be distinct.
    #[allow(clippy::mutable_key_type)] // a key's budget is no part of its hash
    pub fn dict(&self, entries: Vec<(Value, Value)>) -> Res<Value> {
        self.budget.step(1 + entries.len() as u64)?;
        self.budget.take(entries.len() * ENTRY_BYTES)?;
        let depth = self.depth_of(entries.iter().flat_map(|(key, value)| [key, value]))?;
        let mut index = HashMap::new();
        if entries.len() > SMALL_DICT {
            for (at, (key, _)) in entries.iter().enumerate() {
                if let Value::Str(text) = key {
                    index.insert(TextKey(text.clone()), at);
                }
            }
        }
        Ok(Value::Dict(Rc::new(Dict { entries, index, depth, budget: self.budget.clone() })))
    }

    /// A mapping of pairs where a later pair replaces the value of an earlier one with an equal key.
    pub fn dict_of(&self, pairs: Vec<(Value, Value)>) -> Res<Value> {
        let mut entries: Vec<(Value, Value)> = Vec::with_capacity(pairs.len());
        let mut seen: HashMap<String, usize> = HashMap::new();
        for (key, value) in pairs {
            let mut id = String::new();
            self.hash_key(&key, &mut id)?;
            match seen.get(&id) {
                Some(&at) => entries[at].1 = value,
                None => {
                    seen.insert(id, entries.len());
                    entries.push((key, value));
                }
            }
        }
        self.dict(entries)
    }

    /// Appends a text that is equal for keys that Python holds equal (1, 1.0 and True are one key).
    pub fn hash_key(&self, value: &Value, out: &mut String) -> Res<()> {
        self.budget.step(16)?; // a string is made and hashed
        match value {
            Value::Undefined(_) => out.push('u'),
            Value::None => out.push('n'),
            Value::Bool(b) => out.push_str(&format!("i{};", i32::from(*b))),
            Value::Int(i) => out.push_str(&format!("i{i};")),
            Value::Float(f) if f.fract() == 0.0 && f.abs() < 1e30 => {
                out.push_str(&format!("i{};", *f as i128))
            }
            Value::Float(f) => out.push_str(&format!("f{:x};", f.to_bits())),
            Value::Str(text) => {
                self.budget.walk(text.len())?;
                self.budget.room_for(out.len() + text.len())?;
                out.push_str(&format!("s{}:", text.len()));
                out.push_str(text);
            }
            Value::Tuple(tuple) => {
                out.push_str(&format!("t{}(", tuple.items.len()));
                for item in &tuple.items {
                    self.hash_key(item, out)?;
                }
            }
            Value::Range(start, length, step) => {
                out.push_str(&format!("r{start},{length},{step};"))
            }
            Value::Function(name) => out.push_str(&format!("F{name};")),
            Value::Namespace(at) => out.push_str(&format!("N{at};")),
            Value::Macro(at) => out.push_str(&format!("M{at};")),
            Value::Loop(at) => out.push_str(&format!("L{at};")),
            Value::Cycler(at) => out.push_str(&format!("C{at};")),
            Value::Joiner(at) => out.push_str(&format!("J{at};")),
            Value::Iter(generator) => out.push_str(&format!("G{:p};", Rc::as_ptr(generator))),
            Value::Method(method) => out.push_str(&format!("m{:p};", Rc::as_ptr(method))),
            Value::List(_) | Value::Dict(_) | Value::View(..) => {
                return fault(format!("unhashable type: '{}'", value.type_name()))
            }
        }
        Ok(())
    }
}
