//! Owns: jinja2's tests (`x is ...`).

use super::ast::CmpOp;
use super::calls::Args;
use super::interp::Interp;
use super::limits::{fault, Res};
use super::value::Value;

impl Interp<'_> {
    #[inline(never)]
    pub(super) fn call_test(&mut self, name: &str, value: &Value, args: Args) -> Res<bool> {
        self.heap.budget.step(1)?;
        let compared = match name {
            "==" | "eq" | "equalto" => Some(CmpOp::Eq),
            "!=" | "ne" => Some(CmpOp::Ne),
            "<" | "lt" | "lessthan" => Some(CmpOp::Lt),
            "<=" | "le" => Some(CmpOp::Le),
            ">" | "gt" | "greaterthan" => Some(CmpOp::Gt),
            ">=" | "ge" => Some(CmpOp::Ge),
            "in" => Some(CmpOp::In),
            _ => None,
        };
        if let Some(op) = compared {
            let [other] = args.exactly(name)?;
            return self.compare(op, value, &other);
        }
        match name {
            "divisibleby" => {
                let [divisor] = args.exactly(name)?;
                let rest = self.heap.binary(super::ast::BinOp::Mod, value, &divisor)?;
                return self.heap.equal(&rest, &Value::Int(0));
            }
            "sameas" => {
                let [other] = args.exactly(name)?;
                return self.same(value, &other);
            }
            _ => {}
        }
        let [] = args.exactly(name)?;
        Ok(match name {
            "defined" => !value.is_undefined(),
            "undefined" => value.is_undefined(),
            "none" => matches!(value, Value::None),
            "boolean" => matches!(value, Value::Bool(_)),
            "true" => matches!(value, Value::Bool(true)),
            "false" => matches!(value, Value::Bool(false)),
            "integer" => matches!(value, Value::Int(_)),
            "float" => matches!(value, Value::Float(_)),
            "number" => matches!(value, Value::Int(_) | Value::Float(_) | Value::Bool(_)),
            "string" => matches!(value, Value::Str(_)),
            "mapping" => matches!(value, Value::Dict(_)),
            "sequence" => matches!(
                value,
                Value::Str(_)
                    | Value::List(_)
                    | Value::Tuple(_)
                    | Value::Dict(_)
                    | Value::Range(..)
                    | Value::Undefined(_)
            ),
            "iterable" => !matches!(
                value,
                Value::None
                    | Value::Bool(_)
                    | Value::Int(_)
                    | Value::Float(_)
                    | Value::Namespace(_)
                    | Value::Macro(_)
                    | Value::Function(_)
                    | Value::Method(_)
                    | Value::Cycler(_)
                    | Value::Joiner(_)
            ),
            "callable" => matches!(
                value,
                Value::Undefined(_)
                    | Value::Macro(_)
                    | Value::Function(_)
                    | Value::Method(_)
                    | Value::Loop(_)
                    | Value::Joiner(_)
            ),
            "odd" | "even" => {
                let rest = self.heap.binary(super::ast::BinOp::Mod, value, &Value::Int(2))?;
                let wanted = i128::from(name == "odd");
                self.heap.equal(&rest, &Value::Int(wanted))?
            }
            "lower" | "upper" => {
                let text = self.to_text(value)?;
                match name {
                    "lower" => {
                        text.chars().any(char::is_lowercase)
                            && !text.chars().any(char::is_uppercase)
                    }
                    _ => {
                        text.chars().any(char::is_uppercase)
                            && !text.chars().any(char::is_lowercase)
                    }
                }
            }
            "escaped" => matches!(value, Value::Str(text) if text.is_markup),
            "filter" | "test" => {
                return fault(format!("the test '{name}' is not supported in a chat template"))
            }
            other => return fault(format!("there is no test named '{other}'")),
        })
    }

    /// `a is b` for the values where Python has one object.
    fn same(&self, a: &Value, b: &Value) -> Res<bool> {
        if a.type_name() != b.type_name() {
            return Ok(false);
        }
        match (a, b) {
            (Value::List(a), Value::List(b)) | (Value::Tuple(a), Value::Tuple(b)) => {
                Ok(std::rc::Rc::ptr_eq(a, b))
            }
            (Value::Dict(a), Value::Dict(b)) => Ok(std::rc::Rc::ptr_eq(a, b)),
            _ => self.heap.equal(a, b),
        }
    }
}
