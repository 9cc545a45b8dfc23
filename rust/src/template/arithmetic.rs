//! Owns: Python's `+ - * / // % **` on numbers, strings and sequences.

use super::ast::BinOp;
use super::limits::{fault, Res};
use super::percent::percent_format;
use super::text::html_escape;
use super::value::{Heap, Text, Value, VALUE_BYTES};

pub(super) fn as_float(value: &Value) -> Option<f64> {
    match value {
        Value::Float(f) => Some(*f),
        other => other.as_index().map(|i| i as f64),
    }
}

fn symbol(op: BinOp) -> &'static str {
    match op {
        BinOp::Add => "+",
        BinOp::Sub => "-",
        BinOp::Mul => "*",
        BinOp::Div => "/",
        BinOp::FloorDiv => "//",
        BinOp::Mod => "%",
        BinOp::Pow => "**",
    }
}

pub(super) fn unsupported<T>(what: &str, a: &Value, b: &Value) -> Res<T> {
    for value in [a, b] {
        if let Value::Undefined(why) = value {
            return fault(&**why);
        }
    }
    fault(format!(
        "unsupported operand types for {what}: '{}' and '{}'",
        a.type_name(),
        b.type_name()
    ))
}

impl Heap {
    pub fn binary(&self, op: BinOp, a: &Value, b: &Value) -> Res<Value> {
        if a.is_undefined() || (b.is_undefined() && !(op == BinOp::Mod && a.as_str().is_some())) {
            return unsupported(symbol(op), a, b);
        }
        match (op, a, b) {
            (BinOp::Add, Value::Str(x), Value::Str(y)) if x.is_markup || y.is_markup => {
                let shown = |text: &Text| match text.is_markup {
                    true => text.to_string(),
                    false => html_escape(text),
                };
                self.markup(shown(x) + &shown(y))
            }
            (BinOp::Add, Value::Str(x), Value::Str(y)) => self.join_two(x, y),
            (BinOp::Add, Value::List(x), Value::List(y)) => {
                self.list(self.chain(&x.items, &y.items)?)
            }
            (BinOp::Add, Value::Tuple(x), Value::Tuple(y)) => {
                self.tuple(self.chain(&x.items, &y.items)?)
            }
            (BinOp::Mul, Value::Str(_) | Value::List(_) | Value::Tuple(_), _) => {
                match b.as_index() {
                    Some(times) => self.repeat(a, times),
                    None => unsupported("*", a, b),
                }
            }
            (BinOp::Mul, _, Value::Str(_) | Value::List(_) | Value::Tuple(_)) => {
                match a.as_index() {
                    Some(times) => self.repeat(b, times),
                    None => unsupported("*", a, b),
                }
            }
            (BinOp::Mod, Value::Str(format), _) => percent_format(self, format, b),
            _ => match (a.as_index(), b.as_index()) {
                (Some(x), Some(y)) => int_binary(op, x, y),
                _ => match (as_float(a), as_float(b)) {
                    (Some(x), Some(y)) => float_binary(op, x, y),
                    _ => unsupported(symbol(op), a, b),
                },
            },
        }
    }

    fn join_two(&self, a: &str, b: &str) -> Res<Value> {
        self.budget.room_for(a.len() + b.len())?;
        self.str([a, b].concat())
    }

    fn chain(&self, a: &[Value], b: &[Value]) -> Res<Vec<Value>> {
        self.budget.room_for((a.len() + b.len()) * VALUE_BYTES)?;
        Ok([a, b].concat())
    }

    fn repeat(&self, value: &Value, times: i128) -> Res<Value> {
        let times = usize::try_from(times.max(0)).unwrap_or(usize::MAX);
        match value {
            Value::Str(text) => {
                self.budget.room_for(text.len().saturating_mul(times))?;
                self.str(if text.is_empty() { String::new() } else { text.repeat(times) })
            }
            Value::List(list) | Value::Tuple(list) => {
                let length = list.items.len().saturating_mul(times);
                self.budget.room_for(length.saturating_mul(VALUE_BYTES))?;
                let times = if list.items.is_empty() { 0 } else { times };
                let mut items = Vec::with_capacity(length);
                for _ in 0..times {
                    items.extend_from_slice(&list.items);
                }
                match value {
                    Value::List(_) => self.list(items),
                    _ => self.tuple(items),
                }
            }
            other => Ok(other.clone()),
        }
    }

    pub fn negate(&self, value: &Value, negative: bool) -> Res<Value> {
        match value {
            Value::Undefined(why) => fault(&**why),
            Value::Float(f) => Ok(Value::Float(if negative { -f } else { *f })),
            other => match other.as_index() {
                Some(i) if negative => match i.checked_neg() {
                    Some(i) => Ok(Value::Int(i)),
                    None => fault("an integer became too large"),
                },
                Some(i) => Ok(Value::Int(i)),
                None => fault(format!("bad operand type for unary -: '{}'", other.type_name())),
            },
        }
    }
}

fn int_binary(op: BinOp, a: i128, b: i128) -> Res<Value> {
    let result = match op {
        BinOp::Add => a.checked_add(b),
        BinOp::Sub => a.checked_sub(b),
        BinOp::Mul => a.checked_mul(b),
        BinOp::Div | BinOp::FloorDiv | BinOp::Mod if b == 0 => {
            return fault("division by zero");
        }
        BinOp::Div => return Ok(Value::Float(a as f64 / b as f64)),
        BinOp::FloorDiv => a.checked_div_euclid(b).and_then(|quotient| {
            // Euclid's remainder is never negative; Python's has the sign of the divisor.
            let inexact = a.checked_rem_euclid(b)? != 0;
            if b < 0 && inexact {
                quotient.checked_sub(1)
            } else {
                Some(quotient)
            }
        }),
        BinOp::Mod => a.checked_rem_euclid(b).map(|rest| match b < 0 && rest != 0 {
            true => rest + b,
            false => rest,
        }),
        BinOp::Pow if b < 0 => return float_binary(op, a as f64, b as f64),
        BinOp::Pow => u32::try_from(b).ok().and_then(|b| a.checked_pow(b)).or(match a {
            0 | 1 => Some(a),
            -1 => Some(if b % 2 == 0 { 1 } else { -1 }),
            _ => None,
        }),
    };
    match result {
        Some(value) => Ok(Value::Int(value)),
        None => fault("an integer became too large"),
    }
}

fn float_mod(a: f64, b: f64) -> f64 {
    let rest = a % b;
    if rest == 0.0 {
        0f64.copysign(b)
    } else if (rest < 0.0) != (b < 0.0) {
        rest + b
    } else {
        rest
    }
}

fn float_binary(op: BinOp, a: f64, b: f64) -> Res<Value> {
    let is_division = matches!(op, BinOp::Div | BinOp::FloorDiv | BinOp::Mod);
    if (is_division && b == 0.0) || (op == BinOp::Pow && a == 0.0 && b < 0.0) {
        return fault("division by zero");
    }
    Ok(Value::Float(match op {
        BinOp::Add => a + b,
        BinOp::Sub => a - b,
        BinOp::Mul => a * b,
        BinOp::Div => a / b,
        BinOp::Mod => float_mod(a, b),
        BinOp::FloorDiv => {
            let quotient = (a - float_mod(a, b)) / b;
            let floor = quotient.floor();
            match quotient - floor > 0.5 {
                true => floor + 1.0,
                false => floor,
            }
        }
        BinOp::Pow => {
            if a < 0.0 && b.fract() != 0.0 {
                return fault("complex numbers are not supported");
            }
            let power = a.powf(b);
            if power.is_infinite() && a.is_finite() && b.is_finite() {
                return fault("a power became too large");
            }
            power
        }
    }))
}
