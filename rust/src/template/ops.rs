//! Owns: Python's operators on values: equality, order, membership, slices, iteration, sorting.

use std::cmp::Ordering;

use super::arithmetic::{as_float, unsupported};
use super::limits::{fault, Res};
use super::value::{Heap, Value, ViewKind, VALUE_BYTES};

impl Heap {
    pub fn equal(&self, a: &Value, b: &Value) -> Res<bool> {
        self.budget.step(1)?;
        Ok(match (a, b) {
            (Value::Undefined(_), Value::Undefined(_)) | (Value::None, Value::None) => true,
            (Value::Str(a), Value::Str(b)) => {
                if a.len() == b.len() {
                    self.budget.walk(a.len())?;
                }
                a == b
            }
            (Value::List(a), Value::List(b)) | (Value::Tuple(a), Value::Tuple(b)) => {
                if std::rc::Rc::ptr_eq(a, b) {
                    return Ok(true);
                }
                if a.items.len() != b.items.len() {
                    return Ok(false);
                }
                for (x, y) in a.items.iter().zip(&b.items) {
                    if !self.equal(x, y)? {
                        return Ok(false);
                    }
                }
                true
            }
            (Value::Dict(a), Value::Dict(b)) => {
                if std::rc::Rc::ptr_eq(a, b) {
                    return Ok(true);
                }
                if a.entries.len() != b.entries.len() {
                    return Ok(false);
                }
                for (key, x) in &a.entries {
                    match self.dict_get(b, key)? {
                        Some(y) if self.equal(x, &y)? => {}
                        _ => return Ok(false),
                    }
                }
                true
            }
            (Value::Range(s1, n1, t1), Value::Range(s2, n2, t2)) => {
                n1 == n2 && (*n1 == 0 || (s1 == s2 && (*n1 == 1 || t1 == t2)))
            }
            (Value::Function(a), Value::Function(b)) => a == b,
            (Value::Namespace(a), Value::Namespace(b))
            | (Value::Macro(a), Value::Macro(b))
            | (Value::Loop(a), Value::Loop(b))
            | (Value::Cycler(a), Value::Cycler(b))
            | (Value::Joiner(a), Value::Joiner(b)) => a == b,
            (Value::Iter(a), Value::Iter(b)) => std::rc::Rc::ptr_eq(a, b),
            (Value::Method(a), Value::Method(b)) => std::rc::Rc::ptr_eq(a, b),
            _ => match (a.as_index(), b.as_index()) {
                (Some(a), Some(b)) => a == b,
                _ => matches!((as_float(a), as_float(b)), (Some(a), Some(b)) if a == b),
            },
        })
    }

    /// None: not comparable as numbers go (a NaN). `what` is the operator, for the error.
    pub fn order(&self, a: &Value, b: &Value, what: &str) -> Res<Option<Ordering>> {
        self.budget.step(1)?;
        match (a, b) {
            (Value::Str(a), Value::Str(b)) => {
                self.budget.walk(a.len().min(b.len()))?;
                Ok(Some((***a).cmp(&***b)))
            }
            (Value::List(a), Value::List(b)) | (Value::Tuple(a), Value::Tuple(b)) => {
                for (x, y) in a.items.iter().zip(&b.items) {
                    if !self.equal(x, y)? {
                        return self.order(x, y, what);
                    }
                }
                Ok(Some(a.items.len().cmp(&b.items.len())))
            }
            _ => {
                if let (Some(a), Some(b)) = (a.as_index(), b.as_index()) {
                    return Ok(Some(a.cmp(&b)));
                }
                match (as_float(a), as_float(b)) {
                    (Some(a), Some(b)) => Ok(a.partial_cmp(&b)),
                    _ => unsupported(what, a, b),
                }
            }
        }
    }

    /// Stable merge sort by the order of the keys; unlike the standard library's it may fail midway.
    pub fn sort_by_key<T: Clone>(
        &self,
        items: &mut Vec<T>,
        mut key: impl FnMut(&T) -> Res<Value>,
        reverse: bool,
    ) -> Res<()> {
        let mut keyed: Vec<(Value, T)> = Vec::with_capacity(items.len());
        for item in items.iter() {
            keyed.push((key(item)?, item.clone()));
        }
        if reverse {
            keyed.reverse();
        }
        let mut width = 1;
        while width < keyed.len() {
            let mut merged = Vec::with_capacity(keyed.len());
            for pair in keyed.chunks(2 * width) {
                let (mut left, mut right) = pair.split_at(width.min(pair.len()));
                while let (Some(a), Some(b)) = (left.first(), right.first()) {
                    let takes_right = self.order(&b.0, &a.0, "<")? == Some(Ordering::Less);
                    let from = if takes_right { &mut right } else { &mut left };
                    merged.push(from[0].clone());
                    *from = &from[1..];
                }
                merged.extend_from_slice(left);
                merged.extend_from_slice(right);
            }
            self.budget.step(merged.len() as u64)?;
            keyed = merged;
            width *= 2;
        }
        if reverse {
            keyed.reverse();
        }
        *items = keyed.into_iter().map(|(_, item)| item).collect();
        Ok(())
    }

    pub fn dict_get(&self, dict: &super::value::Dict, key: &Value) -> Res<Option<Value>> {
        if let Value::Str(text) = key {
            self.budget.walk(text.len())?;
            return Ok(dict.get_str(text).cloned());
        }
        self.hash_key(key, &mut String::new())?;
        for (candidate, value) in &dict.entries {
            if self.equal(candidate, key)? {
                return Ok(Some(value.clone()));
            }
        }
        Ok(None)
    }

    /// `needle in haystack`
    pub fn contains(&self, haystack: &Value, needle: &Value) -> Res<bool> {
        match haystack {
            Value::Undefined(_) => Ok(false),
            Value::Str(text) => {
                let Value::Str(needle) = needle else {
                    return fault(format!(
                        "'in <string>' requires string as left operand, not {}",
                        needle.type_name()
                    ));
                };
                self.budget.walk(text.len())?;
                Ok(text.contains(&***needle))
            }
            Value::Dict(dict) | Value::View(dict, ViewKind::Keys) => {
                Ok(self.dict_get(dict, needle)?.is_some())
            }
            Value::Namespace(_)
            | Value::None
            | Value::Bool(_)
            | Value::Int(_)
            | Value::Float(_) => {
                fault(format!("argument of type '{}' is not iterable", haystack.type_name()))
            }
            Value::Iter(generator) => {
                while let Some(item) = generator.next() {
                    if self.equal(&item, needle)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Value::List(list) | Value::Tuple(list) => self.any_equal(&list.items, needle),
            _ => self.any_equal(&self.iterate(haystack)?, needle),
        }
    }

    fn any_equal(&self, items: &[Value], needle: &Value) -> Res<bool> {
        for item in items {
            if self.equal(item, needle)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The items that a `for` over the value sees.
    pub fn iterate(&self, value: &Value) -> Res<Vec<Value>> {
        let items = match value {
            Value::Undefined(_) => Vec::new(),
            Value::List(list) | Value::Tuple(list) => list.items.clone(),
            Value::Dict(dict) | Value::View(dict, ViewKind::Keys) => {
                dict.entries.iter().map(|(key, _)| key.clone()).collect()
            }
            Value::View(dict, ViewKind::Values) => {
                dict.entries.iter().map(|(_, value)| value.clone()).collect()
            }
            Value::View(dict, ViewKind::Items) => {
                let pair =
                    |(key, value): &(Value, Value)| self.tuple(vec![key.clone(), value.clone()]);
                dict.entries.iter().map(pair).collect::<Res<Vec<_>>>()?
            }
            Value::Iter(generator) => generator.rest().to_vec(),
            Value::Range(start, length, step) => {
                (0..*length).map(|i| Value::Int((start + i * step) as i128)).collect()
            }
            Value::Str(text) => {
                self.budget.room_for(text.len().saturating_mul(VALUE_BYTES))?;
                text.chars().map(|c| self.str(c)).collect::<Res<Vec<_>>>()?
            }
            other => return fault(format!("'{}' object is not iterable", other.type_name())),
        };
        self.budget.room_for(items.len() * VALUE_BYTES)?;
        self.budget.step(1 + items.len() as u64 / 4)?;
        Ok(items)
    }

    /// `len(value)`, if it has one.
    pub fn length(&self, value: &Value) -> Res<usize> {
        Ok(match value {
            Value::Undefined(_) => 0,
            Value::Str(text) => {
                self.budget.walk(text.len())?;
                text.chars().count()
            }
            Value::List(list) | Value::Tuple(list) => list.items.len(),
            Value::Dict(dict) | Value::View(dict, _) => dict.entries.len(),
            Value::Range(_, length, _) => *length as usize,
            other => return fault(format!("object of type '{}' has no len()", other.type_name())),
        })
    }

    /// `value[start:stop:step]`, as slice.indices counts.
    pub fn slice(&self, value: &Value, parts: [&Value; 3]) -> Res<Value> {
        if let Value::Undefined(why) = value {
            return fault(&**why);
        }
        let mut bounds = [None; 3];
        for (bound, part) in bounds.iter_mut().zip(parts) {
            *bound = match part {
                Value::None => None,
                other => match other.as_index() {
                    Some(i) => Some(i),
                    None => return fault("slice indices must be integers or None"),
                },
            };
        }
        let sequence = match value {
            Value::Str(text) => {
                if let (Some(range), true) = (plain_slice(bounds, text), text.is_ascii()) {
                    return self.str(&text[range]);
                }
                self.budget.room_for(text.len() * 4)?;
                self.budget.walk(text.len() * 4)?;
                let chars: Vec<char> = text.chars().collect();
                let picked = slice_indices(bounds, chars.len())?;
                return self.str(picked.into_iter().map(|at| chars[at]).collect::<String>());
            }
            Value::List(_) | Value::Tuple(_) | Value::Range(..) => self.iterate(value)?,
            other => return fault(format!("'{}' object can't be sliced", other.type_name())),
        };
        let picked = slice_indices(bounds, sequence.len())?;
        let items = picked.into_iter().map(|at| sequence[at].clone()).collect();
        match value {
            Value::Tuple(_) => self.tuple(items),
            _ => self.list(items),
        }
    }
}

/// The bytes of an ASCII text that a slice without step takes.
fn plain_slice(bounds: [Option<i128>; 3], text: &str) -> Option<std::ops::Range<usize>> {
    if !matches!(bounds[2], None | Some(1)) {
        return None;
    }
    let length = text.len() as i128;
    let clamp = |bound: i128| (if bound < 0 { bound + length } else { bound }).clamp(0, length);
    let start = bounds[0].map_or(0, clamp) as usize;
    let stop = bounds[1].map_or(length, clamp) as usize;
    Some(start..stop.max(start))
}

fn slice_indices(bounds: [Option<i128>; 3], length: usize) -> Res<Vec<usize>> {
    let length = length as i128;
    let step = bounds[2].unwrap_or(1);
    if step == 0 {
        return fault("slice step cannot be zero");
    }
    let (low, high) = if step > 0 { (0, length) } else { (-1, length - 1) };
    let clamp = |bound: i128| {
        (if bound < 0 { bound.saturating_add(length) } else { bound }).clamp(low, high)
    };
    let start = bounds[0].map_or(if step > 0 { low } else { high }, clamp);
    let stop = bounds[1].map_or(if step > 0 { high } else { low }, clamp);
    let mut picked = Vec::new();
    let mut at = start;
    while (step > 0 && at < stop) || (step < 0 && at > stop) {
        picked.push(at as usize);
        at = at.saturating_add(step);
    }
    Ok(picked)
}
