//! Owns: the state of one render (scopes, arenas, output) and the running of statements. Does not know: files, FFI.
//! Invariant: what a render allocates dies with it: what could refer to itself stands in an arena.

use std::sync::Arc;

use super::ast::*;
use super::clock::Civil;
use super::limits::{fault, Fault, Res, MAX_EVAL_DEPTH};
use super::value::{Heap, Value};

/// Variables of one block. Macros keep the scopes around them alive.
struct Scope {
    parent: Option<usize>,
    vars: Vec<(Sym, Value)>,
    captured: bool,
}

pub(super) struct MacroValue<'a> {
    pub ast: &'a Macro,
    pub scope: usize,
}

pub(super) struct LoopState<'a> {
    pub ast: &'a ForLoop,
    pub outer: usize, // the scope around the loop
    pub items: Vec<Value>,
    pub at: usize,
    pub depth: usize,
    pub changed: Option<Vec<Value>>,
}

pub(super) struct CyclerState {
    pub items: Vec<Value>,
    pub at: usize,
}

pub(super) struct JoinerState {
    pub separator: Value,
    pub used: bool,
}

pub struct Interp<'a> {
    pub(super) ast: &'a Ast,
    pub(super) heap: Heap,
    pub(super) consts: Vec<Value>,
    scopes: Vec<Scope>,
    pub(super) macros: Vec<MacroValue<'a>>,
    pub(super) namespaces: Vec<Vec<(Value, Value)>>,
    pub(super) loops: Vec<LoopState<'a>>,
    pub(super) cyclers: Vec<CyclerState>,
    pub(super) joiners: Vec<JoinerState>,
    pub(super) now: Civil,
    out: String,
    captures: u32,
    depth: u32,
}

#[derive(PartialEq)]
pub(super) enum Flow {
    Next,
    Break,
    Continue,
}

const ROOT: usize = 0;

impl<'a> Interp<'a> {
    pub fn new(ast: &'a Ast, heap: Heap, now: Civil) -> Res<Self> {
        let mut consts = Vec::with_capacity(ast.consts.len());
        for constant in &ast.consts {
            consts.push(match constant {
                Const::None => Value::None,
                Const::Bool(b) => Value::Bool(*b),
                Const::Int(i) => Value::Int(*i),
                Const::Float(f) => Value::Float(*f),
                Const::Str(text) => heap.str(text.as_str())?,
            });
        }
        Ok(Interp {
            ast,
            heap,
            consts,
            scopes: vec![Scope { parent: None, vars: Vec::new(), captured: true }],
            macros: Vec::new(),
            namespaces: Vec::new(),
            loops: Vec::new(),
            cyclers: Vec::new(),
            joiners: Vec::new(),
            now,
            out: String::new(),
            captures: 0,
            depth: 0,
        })
    }

    /// The rendered text; `variables` are the pairs of a mapping.
    pub fn render(mut self, variables: &[(Value, Value)]) -> Res<String> {
        let ast = self.ast;
        for (at, name) in ast.names.iter().enumerate() {
            let given = variables.iter().find(|(key, _)| key.as_str() == Some(name));
            if let Some((_, value)) = given {
                self.scopes[ROOT].vars.push((at as Sym, value.clone()));
            }
        }
        self.exec_all(&ast.body, ROOT)?;
        Ok(std::mem::take(&mut self.out))
    }

    // Scopes.

    pub(super) fn open_scope(&mut self, parent: usize) -> Res<usize> {
        self.heap.budget.step(1)?;
        if let Some(top) = self.scopes.last() {
            // A captured scope stays until the end: it is paid for.
            if top.captured {
                self.heap.budget.take(std::mem::size_of::<Scope>() * 2)?;
            }
        }
        self.scopes.push(Scope { parent: Some(parent), vars: Vec::new(), captured: false });
        Ok(self.scopes.len() - 1)
    }

    pub(super) fn close_scope(&mut self, scope: usize) {
        if scope + 1 == self.scopes.len() && !self.scopes[scope].captured {
            self.scopes.pop();
        }
    }

    pub(super) fn lookup(&self, scope: usize, sym: Sym) -> Option<&Value> {
        let mut at = Some(scope);
        while let Some(index) = at {
            let scope = &self.scopes[index];
            if let Some((_, value)) = scope.vars.iter().rev().find(|(name, _)| *name == sym) {
                return Some(value);
            }
            at = scope.parent;
        }
        None
    }

    pub(super) fn bind(&mut self, scope: usize, sym: Sym, value: Value) {
        let vars = &mut self.scopes[scope].vars;
        match vars.iter_mut().find(|(name, _)| *name == sym) {
            Some(slot) => slot.1 = value,
            None => vars.push((sym, value)),
        }
    }

    pub(super) fn bind_name(&mut self, scope: usize, name: &str, value: Value) {
        // A name that the source never mentions needs no binding.
        if let Some(sym) = self.ast.names.iter().position(|known| &**known == name) {
            self.bind(scope, sym as Sym, value);
        }
    }

    fn capture_scopes(&mut self, scope: usize) {
        let mut at = Some(scope);
        while let Some(index) = at {
            if self.scopes[index].captured {
                return;
            }
            self.scopes[index].captured = true;
            at = self.scopes[index].parent;
        }
    }

    // Output.

    fn emit(&mut self, text: &str) -> Res<()> {
        self.heap.budget.walk(text.len())?;
        if self.captures > 0 {
            self.heap.budget.take(text.len())?;
        } else if self.out.len() + text.len() > self.heap.budget.output_limit {
            return fault(format!(
                "the template gives more than {} MiB of text",
                self.heap.budget.output_limit >> 20
            ));
        }
        self.out.push_str(text);
        Ok(())
    }

    fn emit_value(&mut self, value: &Value) -> Res<()> {
        match value {
            Value::Str(text) => self.emit(text),
            other => {
                let text = self.to_text(other)?;
                self.emit(&text)
            }
        }
    }

    /// What `body` writes, as a value.
    pub(super) fn capture(&mut self, body: impl FnOnce(&mut Self) -> Res<()>) -> Res<Value> {
        let outer = std::mem::take(&mut self.out);
        self.captures += 1;
        let result = body(self);
        self.captures -= 1;
        let text = std::mem::replace(&mut self.out, outer);
        result?;
        self.heap.budget.give_back(text.len());
        self.heap.str(text)
    }

    // Statements.

    /// Counts one more level of evaluation; the caller calls `leave` on success.
    pub(super) fn enter(&mut self) -> Res<()> {
        self.heap.budget.step(1)?;
        if self.depth >= MAX_EVAL_DEPTH {
            return fault(
                "macros, loops or expressions nest too deeply (is a macro calling itself?)",
            );
        }
        self.depth += 1;
        Ok(())
    }

    pub(super) fn leave(&mut self) {
        self.depth -= 1;
    }

    pub(super) fn exec_all(&mut self, body: &'a [Stmt], scope: usize) -> Res<Flow> {
        for stmt in body {
            match self.exec(stmt, scope) {
                Ok(Flow::Next) => {}
                Ok(flow) => return Ok(flow),
                Err(fault) => return Err(at_line(fault, stmt.line)),
            }
        }
        Ok(Flow::Next)
    }

    fn exec(&mut self, stmt: &'a Stmt, scope: usize) -> Res<Flow> {
        match &stmt.kind {
            StmtKind::Data(text) => self.emit(text)?,
            StmtKind::Emit(expr) => {
                let value = self.eval(expr, scope)?;
                self.emit_value(&value)?;
            }
            StmtKind::Break => return Ok(Flow::Break),
            StmtKind::Continue => return Ok(Flow::Continue),
            StmtKind::Unsupported(why) => return fault(*why),
            _ => {
                self.enter()?;
                let flow = self.exec_compound(stmt, scope)?;
                self.leave();
                return Ok(flow);
            }
        }
        Ok(Flow::Next)
    }

    fn exec_compound(&mut self, stmt: &'a Stmt, scope: usize) -> Res<Flow> {
        match &stmt.kind {
            StmtKind::If(branches, otherwise) => {
                for (test, body) in branches {
                    if self.test(test, scope)? {
                        return self.exec_all(body, scope);
                    }
                }
                return self.exec_all(otherwise, scope);
            }
            StmtKind::For(ast) => {
                let iterable = self.eval(&ast.iter, scope)?;
                return self.run_loop(ast, &iterable, scope, 0);
            }
            StmtKind::Set(target, expr) => {
                let value = self.eval(expr, scope)?;
                self.assign(target, value, scope)?;
            }
            StmtKind::SetBlock(target, filters, body) => {
                let text = self.captured_block(body, scope)?;
                let value = self.apply_filters(filters, text, scope)?;
                self.assign(target, value, scope)?;
            }
            StmtKind::With(pairs, body) => {
                let inner = self.open_scope(scope)?;
                for (target, expr) in pairs {
                    let value = self.eval(expr, scope)?;
                    self.assign(target, value, inner)?;
                }
                let flow = self.exec_all(body, inner)?;
                self.close_scope(inner);
                return Ok(flow);
            }
            StmtKind::FilterBlock(filters, body) => {
                let text = self.captured_block(body, scope)?;
                let value = self.apply_filters(filters, text, scope)?;
                self.emit_value(&value)?;
            }
            StmtKind::Macro(ast) => {
                let value = self.make_macro(ast, scope)?;
                self.bind(scope, ast.name, value);
            }
            StmtKind::CallBlock(call, body) => {
                let caller = self.make_macro(body, scope)?;
                let callee = self.eval(&call.0, scope)?;
                let mut args = self.eval_args(&call.1, scope)?;
                args.keywords.push((Arc::from("caller"), caller));
                let value = self.call(&callee, args)?;
                self.emit_value(&value)?;
            }
            StmtKind::Scoped(body) => {
                let inner = self.open_scope(scope)?;
                let flow = self.exec_all(body, inner)?;
                self.close_scope(inner);
                return Ok(flow);
            }
            StmtKind::Data(_)
            | StmtKind::Emit(_)
            | StmtKind::Unsupported(_)
            | StmtKind::Break
            | StmtKind::Continue => {}
        }
        Ok(Flow::Next)
    }

    fn captured_block(&mut self, body: &'a [Stmt], scope: usize) -> Res<Value> {
        let inner = self.open_scope(scope)?;
        let text = self.capture(|interp| interp.exec_all(body, inner).map(|_| ()))?;
        self.close_scope(inner);
        Ok(text)
    }

    fn apply_filters(
        &mut self,
        filters: &'a [FilterCall],
        mut value: Value,
        scope: usize,
    ) -> Res<Value> {
        for filter in filters {
            let args = self.eval_args(&filter.args, scope)?;
            value = self.call_filter(&filter.name, value, args)?;
        }
        Ok(value)
    }

    fn make_macro(&mut self, ast: &'a Macro, scope: usize) -> Res<Value> {
        self.heap.budget.take(std::mem::size_of::<MacroValue>())?;
        self.capture_scopes(scope);
        self.macros.push(MacroValue { ast, scope });
        Ok(Value::Macro(self.macros.len() - 1))
    }

    fn assign(&mut self, target: &'a Target, value: Value, scope: usize) -> Res<()> {
        match target {
            Target::Name(sym) => self.bind(scope, *sym, value),
            Target::Attr(sym, attr) => {
                let Some(Value::Namespace(at)) = self.lookup(scope, *sym) else {
                    return fault("cannot assign attribute on non-namespace object");
                };
                let at = *at;
                self.namespace_set(at, attr, value)?;
            }
            Target::Tuple(parts) => {
                let items = self.heap.iterate(&value)?;
                if items.len() != parts.len() {
                    return fault(format!(
                        "expected {} values to unpack, got {}",
                        parts.len(),
                        items.len()
                    ));
                }
                for (part, item) in parts.iter().zip(items) {
                    self.assign(part, item, scope)?;
                }
            }
        }
        Ok(())
    }

    pub(super) fn namespace_set(&mut self, at: usize, attr: &str, value: Value) -> Res<()> {
        if attr.starts_with('_') {
            return fault(format!("namespaces can't hold names with an underscore ('{attr}')"));
        }
        let entries = &self.namespaces[at];
        self.heap.budget.step(entries.len() as u64 / 8)?;
        let found = entries.iter().position(|(key, _)| key.as_str() == Some(attr));
        match found {
            Some(index) => self.namespaces[at][index].1 = value,
            None => {
                let key = self.heap.str(attr)?;
                self.heap.budget.take(2 * super::value::VALUE_BYTES)?;
                self.namespaces[at].push((key, value));
            }
        }
        Ok(())
    }

    fn run_loop(
        &mut self,
        ast: &'a ForLoop,
        iterable: &Value,
        outer: usize,
        depth: usize,
    ) -> Res<Flow> {
        let mut items = self.heap.iterate(iterable)?;
        if let Some(filter) = &ast.filter {
            items = self.filtered_items(ast, filter, items, outer)?;
        }
        if items.is_empty() {
            let inner = self.open_scope(outer)?;
            let flow = self.exec_all(&ast.otherwise, inner)?;
            self.close_scope(inner);
            return Ok(flow);
        }
        let length = items.len();
        let held = length * super::value::VALUE_BYTES + std::mem::size_of::<LoopState>();
        self.heap.budget.take(held)?;
        let id = self.loops.len();
        self.loops.push(LoopState { ast, outer, items, at: 0, depth, changed: None });
        for at in 0..length {
            self.loops[id].at = at;
            let item = self.loops[id].items[at].clone();
            let inner = self.open_scope(outer)?;
            self.bind_name(inner, "loop", Value::Loop(id));
            self.assign(&ast.target, item, inner)?;
            let flow = self.exec_all(&ast.body, inner)?;
            self.close_scope(inner);
            if flow == Flow::Break {
                break;
            }
        }
        // The state may still be referred to (a macro kept `loop`); its items need not stay.
        if id + 1 == self.loops.len() && !self.scopes[outer].captured {
            self.loops.pop();
            self.heap.budget.give_back(held);
        }
        Ok(Flow::Next)
    }

    fn filtered_items(
        &mut self,
        ast: &'a ForLoop,
        filter: &'a Expr,
        items: Vec<Value>,
        outer: usize,
    ) -> Res<Vec<Value>> {
        let mut kept = Vec::new();
        for item in items {
            let inner = self.open_scope(outer)?;
            self.assign(&ast.target, item.clone(), inner)?;
            let keep = self.test(filter, inner)?;
            self.close_scope(inner);
            if keep {
                kept.push(item);
            }
        }
        Ok(kept)
    }

    /// `loop(children)` inside of a recursive loop.
    pub(super) fn recurse_loop(&mut self, id: usize, children: &Value) -> Res<Value> {
        let (ast, outer, depth) = {
            let state = &self.loops[id];
            (state.ast, state.outer, state.depth)
        };
        if !ast.recursive {
            return fault("the loop must have the 'recursive' marker to be called");
        }
        self.enter()?;
        let text =
            self.capture(|interp| interp.run_loop(ast, children, outer, depth + 1).map(|_| ()))?;
        self.leave();
        Ok(text)
    }
}

pub(super) fn at_line(mut fault: Box<Fault>, line: u32) -> Box<Fault> {
    if fault.line == 0 {
        fault.line = line;
    }
    fault
}
