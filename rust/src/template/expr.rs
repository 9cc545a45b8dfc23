//! Owns: the evaluation of expressions, attribute and item access, and calls.

use super::ast::*;
use super::calls::Args;
use super::interp::{at_line, Interp};
use super::limits::{fault, Res};
use super::methods;
use super::value::Value;

/// The functions every template sees; variables of the same name come first.
const GLOBALS: [&str; 7] =
    ["range", "dict", "namespace", "cycler", "joiner", "raise_exception", "strftime_now"];

impl<'a> Interp<'a> {
    pub(super) fn test(&mut self, expr: &'a Expr, scope: usize) -> Res<bool> {
        Ok(self.eval(expr, scope)?.is_true())
    }

    pub(super) fn eval(&mut self, expr: &'a Expr, scope: usize) -> Res<Value> {
        match &expr.kind {
            Kind::Const(at) => {
                self.heap.budget.step(1)?;
                return Ok(self.consts[*at as usize].clone());
            }
            Kind::Name(sym) => {
                self.heap.budget.step(1)?;
                return Ok(self.variable(*sym, scope));
            }
            _ => {}
        }
        self.enter()?;
        match self.eval_compound(expr, scope) {
            Ok(value) => {
                self.leave();
                Ok(value)
            }
            Err(fault) => Err(at_line(fault, expr.line)),
        }
    }

    fn variable(&self, sym: Sym, scope: usize) -> Value {
        if let Some(value) = self.lookup(scope, sym) {
            return value.clone();
        }
        let name = &self.ast.names[sym as usize];
        match GLOBALS.iter().find(|global| **global == &**name) {
            Some(global) => Value::Function(global),
            None => self.heap.undefined(format!("'{name}' is undefined")),
        }
    }

    fn eval_compound(&mut self, expr: &'a Expr, scope: usize) -> Res<Value> {
        match &expr.kind {
            Kind::And(sides) => {
                let left = self.eval(&sides.0, scope)?;
                if left.is_true() {
                    self.eval(&sides.1, scope)
                } else {
                    Ok(left)
                }
            }
            Kind::Or(sides) => {
                let left = self.eval(&sides.0, scope)?;
                if left.is_true() {
                    Ok(left)
                } else {
                    self.eval(&sides.1, scope)
                }
            }
            Kind::Not(inner) => Ok(Value::Bool(!self.test(inner, scope)?)),
            Kind::Cond(cond) => {
                if self.test(&cond.test, scope)? {
                    return self.eval(&cond.then, scope);
                }
                match &cond.otherwise {
                    Some(otherwise) => self.eval(otherwise, scope),
                    None => Ok(self.heap.undefined(
                        "the inline if-expression evaluated to false and has no else".to_string(),
                    )),
                }
            }
            Kind::Attr(inner, name) => {
                let value = self.eval(inner, scope)?;
                self.get_attr(&value, name)
            }
            Kind::Item(sides) => {
                let value = self.eval(&sides.0, scope)?;
                let key = self.eval(&sides.1, scope)?;
                self.get_item(&value, &key)
            }
            Kind::Binary(op, sides) => {
                let left = self.eval(&sides.0, scope)?;
                let right = self.eval(&sides.1, scope)?;
                self.heap.binary(*op, &left, &right)
            }
            Kind::Neg(inner) | Kind::Pos(inner) => {
                let value = self.eval(inner, scope)?;
                self.heap.negate(&value, matches!(expr.kind, Kind::Neg(_)))
            }
            Kind::Call(call) => self.eval_call(call, scope),
            Kind::Filter(inner, filter) => {
                let value = self.eval(inner, scope)?;
                let args = self.eval_args(&filter.args, scope)?;
                self.call_filter(&filter.name, value, args)
            }
            Kind::Test(inner, test) => {
                let value = self.eval(inner, scope)?;
                let args = self.eval_args(&test.args, scope)?;
                Ok(Value::Bool(self.call_test(&test.name, &value, args)?))
            }
            _ => self.eval_rare(expr, scope),
        }
    }

    /// Apart from `eval_compound` to keep that one's stack frame small.
    #[inline(never)]
    fn eval_rare(&mut self, expr: &'a Expr, scope: usize) -> Res<Value> {
        match &expr.kind {
            Kind::Concat(parts) => {
                let mut text = String::new();
                for part in parts {
                    let value = self.eval(part, scope)?;
                    match &value {
                        Value::Str(piece) => {
                            self.heap.budget.room_for(text.len() + piece.len())?;
                            text.push_str(piece);
                        }
                        other => text.push_str(&self.to_text(other)?),
                    }
                }
                self.heap.str(text)
            }
            Kind::Compare(first, operands) => self.eval_compare(first, operands, scope),
            Kind::List(items) => {
                let items = self.eval_all(items, scope)?;
                self.heap.list(items)
            }
            Kind::Tuple(items) => {
                let items = self.eval_all(items, scope)?;
                self.heap.tuple(items)
            }
            Kind::Dict(pairs) => {
                let mut entries = Vec::with_capacity(pairs.len());
                for (key, value) in pairs {
                    entries.push((self.eval(key, scope)?, self.eval(value, scope)?));
                }
                self.heap.dict_of(entries)
            }
            Kind::Slice(slice) => {
                let value = self.eval(&slice.value, scope)?;
                let mut bounds = [Value::None, Value::None, Value::None];
                for (bound, part) in bounds.iter_mut().zip([&slice.start, &slice.stop, &slice.step])
                {
                    if let Some(part) = part {
                        *bound = self.eval(part, scope)?;
                    }
                }
                self.heap.slice(&value, [&bounds[0], &bounds[1], &bounds[2]])
            }
            _ => fault("internal error: an expression of unknown kind"),
        }
    }

    fn eval_all(&mut self, items: &'a [Expr], scope: usize) -> Res<Vec<Value>> {
        items.iter().map(|item| self.eval(item, scope)).collect()
    }

    fn eval_compare(
        &mut self,
        first: &'a Expr,
        operands: &'a [(CmpOp, Expr)],
        scope: usize,
    ) -> Res<Value> {
        let mut left = self.eval(first, scope)?;
        for (op, operand) in operands {
            let right = self.eval(operand, scope)?;
            if !self.compare(*op, &left, &right)? {
                return Ok(Value::Bool(false));
            }
            left = right;
        }
        Ok(Value::Bool(true))
    }

    pub(super) fn compare(&mut self, op: CmpOp, a: &Value, b: &Value) -> Res<bool> {
        let heap = &self.heap;
        Ok(match op {
            CmpOp::Eq => heap.equal(a, b)?,
            CmpOp::Ne => !heap.equal(a, b)?,
            CmpOp::In => heap.contains(b, a)?,
            CmpOp::NotIn => !heap.contains(b, a)?,
            CmpOp::Lt => heap.order(a, b, "<")?.is_some_and(|order| order.is_lt()),
            CmpOp::Le => heap.order(a, b, "<=")?.is_some_and(|order| order.is_le()),
            CmpOp::Gt => heap.order(a, b, ">")?.is_some_and(|order| order.is_gt()),
            CmpOp::Ge => heap.order(a, b, ">=")?.is_some_and(|order| order.is_ge()),
        })
    }

    #[inline(never)]
    pub(super) fn eval_args(&mut self, args: &'a CallArgs, scope: usize) -> Res<Args> {
        let mut positional = self.eval_all(&args.positional, scope)?;
        let mut keywords = Vec::with_capacity(args.keywords.len());
        for (name, value) in &args.keywords {
            keywords.push((name.clone(), self.eval(value, scope)?));
        }
        if let Some(splat) = &args.splat {
            let value = self.eval(splat, scope)?;
            positional.extend(self.heap.iterate(&value)?);
        }
        if let Some(splat) = &args.keyword_splat {
            let Value::Dict(dict) = self.eval(splat, scope)? else {
                return fault("the argument after ** must be a mapping");
            };
            for (key, value) in &dict.entries {
                match key.as_str() {
                    Some(key) => keywords.push((key.into(), value.clone())),
                    None => return fault("keywords must be strings"),
                }
            }
        }
        Ok(Args { positional, keywords })
    }

    #[inline(never)]
    fn eval_call(&mut self, call: &'a (Expr, CallArgs), scope: usize) -> Res<Value> {
        // A method called at once needs no value of its own.
        if let Kind::Attr(object, name) = &call.0.kind {
            let object = self.eval(object, scope)?;
            let callee = match methods::find(&object, name) {
                Some(method) => {
                    let args = self.eval_args(&call.1, scope)?;
                    return self.call_method(&object, method, args);
                }
                None => self.get_attr(&object, name)?,
            };
            let args = self.eval_args(&call.1, scope)?;
            return self.call(&callee, args);
        }
        let callee = self.eval(&call.0, scope)?;
        let args = self.eval_args(&call.1, scope)?;
        self.call(&callee, args)
    }

    pub(super) fn call(&mut self, callee: &Value, args: Args) -> Res<Value> {
        match callee {
            Value::Undefined(why) => fault(&**why),
            Value::Function(name) => self.call_function(name, args),
            Value::Macro(at) => self.call_macro(*at, args),
            Value::Method(method) => self.call_method(&method.0, method.1, args),
            Value::Loop(at) => {
                let [children] = args.exactly("loop")?;
                self.recurse_loop(*at, &children)
            }
            Value::Joiner(at) => {
                let [] = args.exactly("joiner")?;
                let joiner = &mut self.joiners[*at];
                match std::mem::replace(&mut joiner.used, true) {
                    true => Ok(joiner.separator.clone()),
                    false => self.heap.str(""),
                }
            }
            other => fault(format!("'{}' object is not callable", other.type_name())),
        }
    }

    /// `value.name`: an attribute of the Python object first, then an item.
    pub(super) fn get_attr(&mut self, value: &Value, name: &str) -> Res<Value> {
        if let Some(found) = self.attribute(value, name)? {
            return Ok(found);
        }
        if let Value::Dict(dict) = value {
            if let Some(found) = dict.get_str(name) {
                return Ok(found.clone());
            }
        }
        Ok(self.no_attribute(value, name))
    }

    fn no_attribute(&self, value: &Value, name: &str) -> Value {
        let name: String = name.chars().take(80).collect();
        let hint = match methods::MUTATORS.contains(&&*name) {
            true => " here (a template can't change a value; build a new one)",
            false => "",
        };
        self.heap.undefined(format!("'{}' has no attribute '{name}'{hint}", value.described()))
    }

    /// What Python's getattr gives, as far as the sandbox lets it out.
    fn attribute(&mut self, value: &Value, name: &str) -> Res<Option<Value>> {
        if name.starts_with("__") && name.ends_with("__") && !value.is_undefined() {
            return Ok(Some(self.no_attribute(value, name)));
        }
        Ok(match value {
            Value::Undefined(why) => return fault(&**why),
            Value::Namespace(at) => {
                let entries = &self.namespaces[*at];
                self.heap.budget.step(entries.len() as u64 / 8)?;
                let found = entries.iter().find(|(key, _)| key.as_str() == Some(name));
                found.map(|(_, value)| value.clone())
            }
            Value::Loop(at) => self.loop_attribute(*at, name)?,
            Value::Macro(at) => match name {
                "name" => {
                    let sym = self.macros[*at].ast.name;
                    let name = self.ast.names[sym as usize].clone();
                    Some(self.heap.str(&*name)?)
                }
                _ => None,
            },
            Value::Cycler(at) if name == "current" => {
                let cycler = &self.cyclers[*at];
                Some(cycler.items[cycler.at].clone())
            }
            Value::Tuple(tuple) if tuple.is_group && name == "grouper" => {
                Some(tuple.items[0].clone())
            }
            Value::Tuple(tuple) if tuple.is_group && name == "list" => Some(tuple.items[1].clone()),
            _ => methods::find(value, name)
                .map(|method| Value::Method(std::rc::Rc::new((value.clone(), method)))),
        })
    }

    fn loop_attribute(&mut self, at: usize, name: &str) -> Res<Option<Value>> {
        let state = &self.loops[at];
        let (index0, length) = (state.at, state.items.len());
        let int = |number: usize| Some(Value::Int(number as i128));
        Ok(match name {
            "index" => int(index0 + 1),
            "index0" => int(index0),
            "revindex" => int(length - index0),
            "revindex0" => int(length - index0 - 1),
            "first" => Some(Value::Bool(index0 == 0)),
            "last" => Some(Value::Bool(index0 + 1 == length)),
            "length" => int(length),
            "depth" => int(state.depth + 1),
            "depth0" => int(state.depth),
            "previtem" => Some(match index0.checked_sub(1) {
                Some(at) => state.items[at].clone(),
                None => self.heap.undefined("there is no previous item".to_string()),
            }),
            "nextitem" => Some(match state.items.get(index0 + 1) {
                Some(item) => item.clone(),
                None => self.heap.undefined("there is no next item".to_string()),
            }),
            _ => methods::find(&Value::Loop(at), name)
                .map(|method| Value::Method(std::rc::Rc::new((Value::Loop(at), method)))),
        })
    }

    /// `value[key]`: an item first, then an attribute.
    pub(super) fn get_item(&mut self, value: &Value, key: &Value) -> Res<Value> {
        match (value, key) {
            (Value::Undefined(why), _) => return fault(&**why),
            (Value::Dict(dict), _) => {
                let is_hashable = !matches!(key, Value::List(_) | Value::Dict(_) | Value::View(..));
                if is_hashable {
                    if let Some(found) = self.heap.dict_get(dict, key)? {
                        return Ok(found);
                    }
                }
            }
            (Value::List(list) | Value::Tuple(list), _) => {
                if let Some(at) = index_of(key, list.items.len()) {
                    return Ok(list.items[at].clone());
                }
            }
            (Value::Range(start, length, step), _) => {
                if let Some(at) = index_of(key, *length as usize) {
                    return Ok(Value::Int((start + at as i64 * step) as i128));
                }
            }
            (Value::Str(text), _) if key.as_index().is_some() => {
                self.heap.budget.walk(text.len())?;
                let length = if text.is_ascii() { text.len() } else { text.chars().count() };
                if let Some(at) = index_of(key, length) {
                    let c = match text.is_ascii() {
                        true => text.as_bytes()[at] as char,
                        false => text.chars().nth(at).unwrap_or_default(),
                    };
                    return self.heap.str(c);
                }
            }
            _ => {}
        }
        if let Value::Str(name) = key {
            if let Some(found) = self.attribute(value, name)? {
                return Ok(found);
            }
            return Ok(self.no_attribute(value, name));
        }
        let mut shown = String::new();
        if key.depth() == 0 {
            self.heap.repr(key, &mut shown)?;
        }
        Ok(self.heap.undefined(format!("{} has no element {shown}", value.described())))
    }

    /// `str(value)`
    pub(super) fn to_text(&self, value: &Value) -> Res<String> {
        match value {
            Value::Namespace(at) => {
                let mut text = "<Namespace ".to_string();
                self.heap.repr_pairs(&self.namespaces[*at], &mut text)?;
                text.push('>');
                Ok(text)
            }
            Value::Macro(at) => {
                let name = &self.ast.names[self.macros[*at].ast.name as usize];
                Ok(format!("<Macro '{name}'>"))
            }
            Value::Loop(at) => {
                let state = &self.loops[*at];
                Ok(format!("<LoopContext {}/{}>", state.at + 1, state.items.len()))
            }
            other => self.heap.to_text(other),
        }
    }
}

/// The place that a Python index means, if it is one inside of `length` items.
fn index_of(key: &Value, length: usize) -> Option<usize> {
    let index = key.as_index()?;
    let length = length as i128;
    let at = if index < 0 { index.checked_add(length)? } else { index };
    (0..length).contains(&at).then_some(at as usize)
}
