//! Owns: the arguments of calls, and the calling of macros.

use std::sync::Arc;

use super::ast::*;
use super::interp::{Interp, MacroValue};
use super::limits::{fault, Res};
use super::value::Value;

impl<'a> Interp<'a> {
    pub(super) fn call_macro(&mut self, id: usize, args: Args) -> Res<Value> {
        let MacroValue { ast, scope } = self.macros[id];
        self.enter()?;
        let inner = self.open_scope(scope)?;
        self.bind_macro_args(ast, args, inner)?;
        let text = self.capture(|interp| interp.exec_all(&ast.body, inner).map(|_| ()))?;
        self.close_scope(inner);
        self.leave();
        Ok(text)
    }

    fn bind_macro_args(&mut self, ast: &'a Macro, mut args: Args, inner: usize) -> Res<()> {
        let name = self.ast.names[ast.name as usize].clone();
        let mut positional = args.positional.into_iter();
        for (sym, default) in &ast.params {
            let param = self.ast.names[*sym as usize].clone();
            let given = match positional.next() {
                Some(value) => Some(value),
                None => {
                    let at = args.keywords.iter().position(|(key, _)| *key == param);
                    at.map(|at| args.keywords.remove(at).1)
                }
            };
            let value = match (given, default) {
                (Some(value), _) => value,
                (None, Some(default)) => self.eval(default, inner)?,
                (None, None) => {
                    self.heap.undefined(format!("parameter '{param}' was not provided"))
                }
            };
            self.bind(inner, *sym, value);
        }
        let rest: Vec<Value> = positional.collect();
        if ast.uses.caller {
            let at = args.keywords.iter().position(|(key, _)| &**key == "caller");
            let caller = match at {
                Some(at) => args.keywords.remove(at).1,
                None => self.heap.undefined("No caller defined".to_string()),
            };
            self.bind_name(inner, "caller", caller);
        }
        if ast.uses.kwargs {
            let mut pairs = Vec::new();
            for (key, value) in args.keywords {
                pairs.push((self.heap.str(&*key)?, value));
            }
            let kwargs = self.heap.dict_of(pairs)?;
            self.bind_name(inner, "kwargs", kwargs);
        } else if let Some((key, _)) = args.keywords.first() {
            return fault(format!("macro '{name}' takes no keyword argument '{key}'"));
        }
        if ast.uses.varargs {
            let varargs = self.heap.tuple(rest)?;
            self.bind_name(inner, "varargs", varargs);
        } else if !rest.is_empty() {
            return fault(format!(
                "macro '{name}' takes not more than {} argument(s)",
                ast.params.len()
            ));
        }
        Ok(())
    }
}

/// Evaluated arguments of a call.
#[derive(Default)]
pub struct Args {
    pub positional: Vec<Value>,
    pub keywords: Vec<(Arc<str>, Value)>,
}

impl Args {
    /// The arguments in the order of `names`, as a Python function with these parameters takes them.
    pub fn take<const N: usize>(self, what: &str, names: [&str; N]) -> Res<[Option<Value>; N]> {
        let mut taken = [const { None }; N];
        if self.positional.len() > N {
            return fault(format!("{what} takes at most {N} argument(s)"));
        }
        for (slot, value) in taken.iter_mut().zip(self.positional) {
            *slot = Some(value);
        }
        for (key, value) in self.keywords {
            match names.iter().position(|name| *name == &*key) {
                Some(at) if taken[at].is_none() => taken[at] = Some(value),
                Some(_) => return fault(format!("{what} got two values for argument '{key}'")),
                None => return fault(format!("{what} got an unexpected argument '{key}'")),
            }
        }
        Ok(taken)
    }

    /// The arguments of a function that takes exactly N, all positional.
    pub fn exactly<const N: usize>(self, what: &str) -> Res<[Value; N]> {
        let count = self.positional.len();
        match (<[Value; N]>::try_from(self.positional), self.keywords.is_empty()) {
            (Ok(values), true) => Ok(values),
            _ => fault(format!("{what} takes exactly {N} argument(s), got {count}")),
        }
    }
}
