//! Owns: the grammar of statements. Expressions are in parser_expr.rs. Invariant: no recursion deeper than
//! MAX_PARSE_DEPTH, no expression higher than MAX_EXPR_HEIGHT, whatever the source.

use std::collections::HashMap;
use std::sync::Arc;

use super::ast::*;
use super::lexer::{tokenize, Tok, Token};
use super::limits::{fault_at, Res, MAX_PARSE_DEPTH, MAX_SOURCE_BYTES};

pub fn parse(source: &str) -> Res<Ast> {
    if source.len() > MAX_SOURCE_BYTES {
        return fault_at(0, format!("the template is longer than {MAX_SOURCE_BYTES} bytes"));
    }
    let mut parser = Parser {
        tokens: tokenize(source)?,
        pos: 0,
        depth: 0,
        names: Vec::new(),
        symbols: HashMap::new(),
        consts: Vec::new(),
        implicit: Vec::new(),
        loops: 0,
    };
    let body = parser.body(&[])?;
    Ok(Ast { body, names: parser.names, consts: parser.consts })
}

pub(super) struct Parser {
    tokens: Vec<Token>,
    pos: usize,
    depth: u32,
    names: Vec<Arc<str>>,
    symbols: HashMap<Arc<str>, Sym>,
    consts: Vec<Const>,
    implicit: Vec<ImplicitArgs>, // one per macro around
    loops: u32,                  // around, for break and continue
}

impl Parser {
    pub(super) fn peek(&self) -> &Tok {
        &self.tokens[self.pos].tok
    }

    pub(super) fn peek_second(&self) -> &Tok {
        &self.tokens[(self.pos + 1).min(self.tokens.len() - 1)].tok
    }

    pub(super) fn line(&self) -> u32 {
        self.tokens[self.pos].line
    }

    pub(super) fn next(&mut self) -> Tok {
        let tok = self.tokens[self.pos].tok.clone();
        if self.pos + 1 < self.tokens.len() {
            self.pos += 1;
        }
        tok
    }

    pub(super) fn is_op(&self, op: &str) -> bool {
        matches!(self.peek(), Tok::Op(o) if *o == op)
    }

    pub(super) fn is_name(&self, name: &str) -> bool {
        matches!(self.peek(), Tok::Name(n) if n == name)
    }

    pub(super) fn skip_op(&mut self, op: &str) -> bool {
        let found = self.is_op(op);
        if found {
            self.next();
        }
        found
    }

    pub(super) fn skip_name(&mut self, name: &str) -> bool {
        let found = self.is_name(name);
        if found {
            self.next();
        }
        found
    }

    pub(super) fn unexpected<T>(&self, wanted: &str) -> Res<T> {
        let got = match self.peek() {
            Tok::Eof => "the end of the template".to_string(),
            Tok::Name(name) => format!("'{name}'"),
            Tok::Op(op) => format!("'{op}'"),
            Tok::BlockEnd => "'%}'".to_string(),
            Tok::VarEnd => "'}}'".to_string(),
            Tok::Str(_) => "a string".to_string(),
            Tok::Int(_) | Tok::Float(_) => "a number".to_string(),
            Tok::Data(_) | Tok::VarBegin | Tok::BlockBegin => "text".to_string(),
        };
        fault_at(self.line(), format!("expected {wanted}, got {got}"))
    }

    pub(super) fn expect_op(&mut self, op: &'static str) -> Res<()> {
        if self.skip_op(op) {
            return Ok(());
        }
        self.unexpected(&format!("'{op}'"))
    }

    pub(super) fn expect_name(&mut self) -> Res<String> {
        match self.peek() {
            Tok::Name(_) => match self.next() {
                Tok::Name(name) => Ok(name),
                _ => self.unexpected("a name"),
            },
            _ => self.unexpected("a name"),
        }
    }

    fn expect_keyword(&mut self, name: &str) -> Res<()> {
        if self.skip_name(name) {
            return Ok(());
        }
        self.unexpected(&format!("'{name}'"))
    }

    fn expect_block_end(&mut self) -> Res<()> {
        match self.peek() {
            Tok::BlockEnd => {
                self.next();
                Ok(())
            }
            _ => self.unexpected("'%}'"),
        }
    }

    /// Runs `body` one level deeper; refuses a template that nests without end.
    pub(super) fn nested<T>(&mut self, body: impl FnOnce(&mut Self) -> Res<T>) -> Res<T> {
        if self.depth >= MAX_PARSE_DEPTH {
            return fault_at(
                self.line(),
                format!("the template nests more than {MAX_PARSE_DEPTH} levels deep"),
            );
        }
        self.depth += 1;
        let value = body(self)?;
        self.depth -= 1;
        Ok(value)
    }

    pub(super) fn intern(&mut self, name: &str) -> Sym {
        if let Some(&sym) = self.symbols.get(name) {
            return sym;
        }
        let sym = self.names.len() as Sym;
        let shared: Arc<str> = Arc::from(name);
        self.names.push(shared.clone());
        self.symbols.insert(shared, sym);
        sym
    }

    pub(super) fn constant(&mut self, value: Const) -> Kind {
        self.consts.push(value);
        Kind::Const(self.consts.len() as u32 - 1)
    }

    /// A macro's body may name its implicit arguments; every macro around then takes them.
    pub(super) fn note_implicit(&mut self, name: &str) {
        for uses in &mut self.implicit {
            match name {
                "caller" => uses.caller = true,
                "varargs" => uses.varargs = true,
                "kwargs" => uses.kwargs = true,
                _ => {}
            }
        }
    }

    /// Statements until a tag that begins with one of `ends` (which is left to be read), or the end of the source.
    fn body(&mut self, ends: &[&str]) -> Res<Vec<Stmt>> {
        let mut body = Vec::new();
        loop {
            let line = self.line();
            match self.peek() {
                Tok::Eof if ends.is_empty() => return Ok(body),
                Tok::Eof => {
                    let wanted: Vec<String> =
                        ends.iter().map(|end| format!("{{% {end} %}}")).collect();
                    return self.unexpected(&wanted.join(" or "));
                }
                Tok::Data(_) => {
                    if let Tok::Data(text) = self.next() {
                        body.push(Stmt { line, kind: StmtKind::Data(text) });
                    }
                }
                Tok::VarBegin => {
                    self.next();
                    let value = self.tuple(true, &[], false)?;
                    if self.next() != Tok::VarEnd {
                        self.pos -= 1;
                        return self.unexpected("'}}'");
                    }
                    body.push(Stmt { line, kind: StmtKind::Emit(value) });
                }
                Tok::BlockBegin => {
                    self.next();
                    if ends.iter().any(|end| self.is_name(end)) {
                        return Ok(body);
                    }
                    let kinds = self.nested(Self::statement)?;
                    body.extend(kinds.into_iter().map(|kind| Stmt { line, kind }));
                    self.expect_block_end()?;
                }
                _ => return self.unexpected("text or a tag"),
            }
        }
    }

    /// The body of a statement: the rest of its tag, and the statements until one of `ends`.
    fn block(&mut self, ends: &[&str]) -> Res<Vec<Stmt>> {
        self.skip_op(":");
        self.expect_block_end()?;
        self.body(ends)
    }

    fn closed_block(&mut self, end: &str) -> Res<Vec<Stmt>> {
        let body = self.block(&[end])?;
        self.next();
        Ok(body)
    }

    fn statement(&mut self) -> Res<Vec<StmtKind>> {
        let line = self.line();
        let name = self.expect_name()?;
        let kind = match name.as_str() {
            "if" => self.if_statement()?,
            "for" => self.for_statement()?,
            "set" => self.set_statement()?,
            "with" => self.with_statement()?,
            "macro" => self.macro_statement()?,
            "call" => self.call_statement()?,
            "filter" => {
                let filters = self.filter_chain(true)?;
                StmtKind::FilterBlock(filters, self.closed_block("endfilter")?)
            }
            "generation" => StmtKind::Scoped(self.closed_block("endgeneration")?),
            "block" => self.block_statement()?,
            "print" => return self.print_statement(),
            "break" | "continue" if self.loops == 0 => {
                return fault_at(line, format!("'{name}' outside of a loop"))
            }
            "break" => StmtKind::Break,
            "continue" => StmtKind::Continue,
            "extends" | "include" | "import" | "from" => {
                while !matches!(self.peek(), Tok::BlockEnd | Tok::Eof) {
                    self.next();
                }
                StmtKind::Unsupported("a chat template can't load other templates")
            }
            _ => return fault_at(line, format!("unknown tag '{name}'")),
        };
        Ok(vec![kind])
    }

    fn if_statement(&mut self) -> Res<StmtKind> {
        let mut branches = Vec::new();
        loop {
            let test = self.tuple(false, &[], false)?;
            let body = self.block(&["elif", "else", "endif"])?;
            branches.push((test, body));
            match self.expect_name()?.as_str() {
                "elif" => continue,
                "else" => return Ok(StmtKind::If(branches, self.closed_block("endif")?)),
                _ => return Ok(StmtKind::If(branches, Vec::new())),
            }
        }
    }

    fn for_statement(&mut self) -> Res<StmtKind> {
        let line = self.line();
        let target = self.target(&["in"], false)?;
        if self.binds_loop(&target) {
            return fault_at(line, "a loop can't assign to 'loop'");
        }
        self.expect_keyword("in")?;
        let iter = self.tuple(false, &["recursive"], false)?;
        let filter = match self.skip_name("if") {
            true => Some(self.expression(true)?),
            false => None,
        };
        let recursive = self.skip_name("recursive");
        self.loops += 1;
        let body = self.block(&["endfor", "else"])?;
        self.loops -= 1;
        let otherwise = match self.expect_name()?.as_str() {
            "else" => self.closed_block("endfor")?,
            _ => Vec::new(),
        };
        Ok(StmtKind::For(Box::new(ForLoop { target, iter, filter, recursive, body, otherwise })))
    }

    fn binds_loop(&self, target: &Target) -> bool {
        match target {
            Target::Name(sym) => &*self.names[*sym as usize] == "loop",
            Target::Attr(..) => false,
            Target::Tuple(parts) => parts.iter().any(|part| self.binds_loop(part)),
        }
    }

    fn set_statement(&mut self) -> Res<StmtKind> {
        let target = self.target(&[], true)?;
        if self.skip_op("=") {
            return Ok(StmtKind::Set(target, self.tuple(true, &[], false)?));
        }
        let filters = self.filter_chain(false)?;
        Ok(StmtKind::SetBlock(target, filters, self.closed_block("endset")?))
    }

    fn with_statement(&mut self) -> Res<StmtKind> {
        let mut pairs = Vec::new();
        while *self.peek() != Tok::BlockEnd {
            if !pairs.is_empty() {
                self.expect_op(",")?;
            }
            let target = self.target(&[], false)?;
            self.expect_op("=")?;
            pairs.push((target, self.expression(true)?));
        }
        Ok(StmtKind::With(pairs, self.closed_block("endwith")?))
    }

    fn block_statement(&mut self) -> Res<StmtKind> {
        let name = self.expect_name()?;
        self.skip_name("scoped");
        self.skip_name("required");
        let body = self.closed_block("endblock")?;
        self.skip_name(&name);
        Ok(StmtKind::Scoped(body))
    }

    fn print_statement(&mut self) -> Res<Vec<StmtKind>> {
        let mut kinds = Vec::new();
        while *self.peek() != Tok::BlockEnd {
            if !kinds.is_empty() {
                self.expect_op(",")?;
            }
            kinds.push(StmtKind::Emit(self.expression(true)?));
        }
        Ok(kinds)
    }

    fn macro_statement(&mut self) -> Res<StmtKind> {
        let name = self.expect_name()?;
        let name = self.intern(&name);
        Ok(StmtKind::Macro(Box::new(self.macro_rest(name, true, "endmacro")?)))
    }

    /// `{% call(a, b) f(x) %}`: the body becomes a macro named `caller`.
    fn call_statement(&mut self) -> Res<StmtKind> {
        let line = self.line();
        let params = match self.is_op("(") {
            true => self.signature()?,
            false => Vec::new(),
        };
        let call = self.expression(true)?;
        let Kind::Call(call) = call.kind else {
            return fault_at(line, "expected a call after 'call'");
        };
        let name = self.intern("caller");
        let mut body = self.macro_rest(name, false, "endcall")?;
        body.params = params;
        Ok(StmtKind::CallBlock(call, Box::new(body)))
    }

    fn macro_rest(&mut self, name: Sym, has_signature: bool, end: &str) -> Res<Macro> {
        let loops = std::mem::take(&mut self.loops);
        self.implicit.push(ImplicitArgs::default());
        let params = if has_signature { self.signature()? } else { Vec::new() };
        let body = self.closed_block(end)?;
        let uses = self.implicit.pop().unwrap_or_default();
        self.loops = loops;
        Ok(Macro { name, params, body, uses })
    }

    fn signature(&mut self) -> Res<Vec<(Sym, Option<Expr>)>> {
        let mut params: Vec<(Sym, Option<Expr>)> = Vec::new();
        self.expect_op("(")?;
        while !self.is_op(")") {
            if !params.is_empty() {
                self.expect_op(",")?;
            }
            let name = self.expect_name()?;
            let sym = self.intern(&name);
            let default = match self.skip_op("=") {
                true => Some(self.expression(true)?),
                false if params.last().is_some_and(|(_, default)| default.is_some()) => {
                    return fault_at(self.line(), "a parameter without default follows one with");
                }
                false => None,
            };
            params.push((sym, default));
        }
        self.expect_op(")")?;
        Ok(params)
    }

    fn target(&mut self, ends: &[&str], with_namespace: bool) -> Res<Target> {
        let mut parts = Vec::new();
        let mut is_tuple = false;
        loop {
            if !parts.is_empty() {
                self.expect_op(",")?;
            }
            if self.at_tuple_end(ends) {
                break;
            }
            parts.push(self.target_part(with_namespace)?);
            if !self.is_op(",") {
                break;
            }
            is_tuple = true;
        }
        match parts.pop() {
            Some(only) if !is_tuple => Ok(only),
            Some(last) => {
                parts.push(last);
                Ok(Target::Tuple(parts))
            }
            None => self.unexpected("a variable to assign to"),
        }
    }

    fn target_part(&mut self, with_namespace: bool) -> Res<Target> {
        if self.skip_op("(") {
            let inner = self.nested(|parser| parser.target(&[], with_namespace))?;
            self.expect_op(")")?;
            return Ok(inner);
        }
        let name = self.expect_name()?;
        if matches!(name.as_str(), "true" | "false" | "none" | "True" | "False" | "None") {
            return fault_at(self.line(), format!("can't assign to '{name}'"));
        }
        let sym = self.intern(&name);
        if with_namespace && self.skip_op(".") {
            let attr = self.expect_name()?;
            return Ok(Target::Attr(sym, Arc::from(attr)));
        }
        Ok(Target::Name(sym))
    }

    /// One or more filters: `upper|trim`; without `at_name` each is preceded by '|', and there may be none.
    fn filter_chain(&mut self, at_name: bool) -> Res<Vec<FilterCall>> {
        let mut filters = Vec::new();
        while (at_name && filters.is_empty()) || self.skip_op("|") {
            filters.push(self.filter_call()?);
        }
        Ok(filters)
    }
}
