//! Owns: the grammar of expressions, with jinja2's precedence (or, and, not, comparisons, + -, ~, * / // %, **,
//! unary, postfix, filters and tests).

use std::sync::Arc;

use super::ast::*;
use super::lexer::Tok;
use super::limits::{fault_at, Res, MAX_EXPR_HEIGHT};
use super::parser::Parser;

impl Parser {
    fn expr<const N: usize>(&self, line: u32, kind: Kind, children: [u16; N]) -> Res<Expr> {
        let height = 1 + children.into_iter().max().unwrap_or(0);
        if height > MAX_EXPR_HEIGHT {
            return fault_at(
                line,
                format!("an expression has more than {MAX_EXPR_HEIGHT} operators inside one another"),
            );
        }
        Ok(Expr { line, height, kind })
    }

    pub(super) fn expression(&mut self, with_condition: bool) -> Res<Expr> {
        self.nested(|parser| match with_condition {
            true => parser.conditional(),
            false => parser.or(),
        })
    }

    fn conditional(&mut self) -> Res<Expr> {
        let mut line = self.line();
        let mut value = self.or()?;
        while self.skip_name("if") {
            let test = self.or()?;
            let otherwise = match self.skip_name("else") {
                true => Some(self.nested(Self::conditional)?),
                false => None,
            };
            let heights = [
                value.height,
                test.height,
                otherwise.as_ref().map_or(0, |expr| expr.height),
            ];
            let cond = CondExpr { test, then: value, otherwise };
            value = self.expr(line, Kind::Cond(Box::new(cond)), heights)?;
            line = self.line();
        }
        Ok(value)
    }

    fn or(&mut self) -> Res<Expr> {
        let mut line = self.line();
        let mut left = self.and()?;
        while self.skip_name("or") {
            let right = self.and()?;
            let heights = [left.height, right.height];
            left = self.expr(line, Kind::Or(Box::new((left, right))), heights)?;
            line = self.line();
        }
        Ok(left)
    }

    fn and(&mut self) -> Res<Expr> {
        let mut line = self.line();
        let mut left = self.not()?;
        while self.skip_name("and") {
            let right = self.not()?;
            let heights = [left.height, right.height];
            left = self.expr(line, Kind::And(Box::new((left, right))), heights)?;
            line = self.line();
        }
        Ok(left)
    }

    fn not(&mut self) -> Res<Expr> {
        let line = self.line();
        if self.skip_name("not") {
            let inner = self.nested(Self::not)?;
            let height = [inner.height];
            return self.expr(line, Kind::Not(Box::new(inner)), height);
        }
        self.compare()
    }

    fn compare(&mut self) -> Res<Expr> {
        let line = self.line();
        let first = self.sum()?;
        let mut height = first.height;
        let mut operands = Vec::new();
        while let Some(op) = self.compare_op() {
            let operand = self.sum()?;
            height = height.max(operand.height);
            operands.push((op, operand));
        }
        if operands.is_empty() {
            return Ok(first);
        }
        self.expr(line, Kind::Compare(Box::new(first), operands), [height])
    }

    fn compare_op(&mut self) -> Option<CmpOp> {
        let op = match self.peek() {
            Tok::Op("==") => CmpOp::Eq,
            Tok::Op("!=") => CmpOp::Ne,
            Tok::Op("<") => CmpOp::Lt,
            Tok::Op("<=") => CmpOp::Le,
            Tok::Op(">") => CmpOp::Gt,
            Tok::Op(">=") => CmpOp::Ge,
            Tok::Name(name) if name == "in" => CmpOp::In,
            Tok::Name(name)
                if name == "not" && matches!(self.peek_second(), Tok::Name(n) if n == "in") =>
            {
                self.next();
                CmpOp::NotIn
            }
            _ => return None,
        };
        self.next();
        Some(op)
    }

    fn binary(&mut self, line: u32, op: BinOp, left: Expr, right: Expr) -> Res<Expr> {
        let heights = [left.height, right.height];
        self.expr(line, Kind::Binary(op, Box::new((left, right))), heights)
    }

    fn sum(&mut self) -> Res<Expr> {
        let mut line = self.line();
        let mut left = self.concat()?;
        loop {
            let op = match self.peek() {
                Tok::Op("+") => BinOp::Add,
                Tok::Op("-") => BinOp::Sub,
                _ => return Ok(left),
            };
            self.next();
            let right = self.concat()?;
            left = self.binary(line, op, left, right)?;
            line = self.line();
        }
    }

    fn concat(&mut self) -> Res<Expr> {
        let line = self.line();
        let first = self.product()?;
        if !self.is_op("~") {
            return Ok(first);
        }
        let mut height = first.height;
        let mut parts = vec![first];
        while self.skip_op("~") {
            let part = self.product()?;
            height = height.max(part.height);
            parts.push(part);
        }
        self.expr(line, Kind::Concat(parts), [height])
    }

    fn product(&mut self) -> Res<Expr> {
        let mut line = self.line();
        let mut left = self.power()?;
        loop {
            let op = match self.peek() {
                Tok::Op("*") => BinOp::Mul,
                Tok::Op("/") => BinOp::Div,
                Tok::Op("//") => BinOp::FloorDiv,
                Tok::Op("%") => BinOp::Mod,
                _ => return Ok(left),
            };
            self.next();
            let right = self.power()?;
            left = self.binary(line, op, left, right)?;
            line = self.line();
        }
    }

    fn power(&mut self) -> Res<Expr> {
        let mut line = self.line();
        let mut left = self.unary(true)?;
        while self.skip_op("**") {
            let right = self.unary(true)?;
            left = self.binary(line, BinOp::Pow, left, right)?;
            line = self.line();
        }
        Ok(left)
    }

    fn unary(&mut self, with_filter: bool) -> Res<Expr> {
        let line = self.line();
        let value = if self.is_op("-") || self.is_op("+") {
            let negative = self.next() == Tok::Op("-");
            let inner = self.nested(|parser| parser.unary(false))?;
            let height = [inner.height];
            let inner = Box::new(inner);
            let kind = if negative { Kind::Neg(inner) } else { Kind::Pos(inner) };
            self.expr(line, kind, height)?
        } else {
            self.primary()?
        };
        let value = self.postfix(value)?;
        match with_filter {
            true => self.filters_and_tests(value),
            false => Ok(value),
        }
    }

    fn primary(&mut self) -> Res<Expr> {
        let line = self.line();
        let kind = match self.peek() {
            Tok::Name(_) => {
                let name = self.expect_name()?;
                match name.as_str() {
                    "true" | "True" => self.constant(Const::Bool(true)),
                    "false" | "False" => self.constant(Const::Bool(false)),
                    "none" | "None" => self.constant(Const::None),
                    _ => {
                        self.note_implicit(&name);
                        Kind::Name(self.intern(&name))
                    }
                }
            }
            Tok::Str(_) => {
                let mut text = String::new();
                while matches!(self.peek(), Tok::Str(_)) {
                    if let Tok::Str(piece) = self.next() {
                        text.push_str(&piece);
                    }
                }
                self.constant(Const::Str(text))
            }
            Tok::Int(value) => {
                let value = *value;
                self.next();
                self.constant(Const::Int(value))
            }
            Tok::Float(value) => {
                let value = *value;
                self.next();
                self.constant(Const::Float(value))
            }
            Tok::Op("(") => {
                self.next();
                let inner = self.tuple(true, &[], true)?;
                self.expect_op(")")?;
                return Ok(inner);
            }
            Tok::Op("[") => return self.list(line),
            Tok::Op("{") => return self.dict(line),
            _ => return self.unexpected("an expression"),
        };
        self.expr(line, kind, [])
    }

    fn list(&mut self, line: u32) -> Res<Expr> {
        self.next();
        let mut items = Vec::new();
        while !self.is_op("]") {
            if !items.is_empty() {
                self.expect_op(",")?;
            }
            if self.is_op("]") {
                break;
            }
            items.push(self.expression(true)?);
        }
        self.expect_op("]")?;
        let height = tallest(&items);
        self.expr(line, Kind::List(items), [height])
    }

    fn dict(&mut self, line: u32) -> Res<Expr> {
        self.next();
        let mut pairs = Vec::new();
        let mut height = 0;
        while !self.is_op("}") {
            if !pairs.is_empty() {
                self.expect_op(",")?;
            }
            if self.is_op("}") {
                break;
            }
            let key = self.expression(true)?;
            self.expect_op(":")?;
            let value = self.expression(true)?;
            height = height.max(key.height).max(value.height);
            pairs.push((key, value));
        }
        self.expect_op("}")?;
        self.expr(line, Kind::Dict(pairs), [height])
    }

    pub(super) fn at_tuple_end(&self, ends: &[&str]) -> bool {
        matches!(self.peek(), Tok::VarEnd | Tok::BlockEnd | Tok::Op(")"))
            || ends.iter().any(|end| self.is_name(end))
    }

    /// One expression, or a tuple of several with commas between.
    pub(super) fn tuple(
        &mut self,
        with_condition: bool,
        ends: &[&str],
        in_parentheses: bool,
    ) -> Res<Expr> {
        let line = self.line();
        let mut items = Vec::new();
        let mut is_tuple = false;
        loop {
            if !items.is_empty() {
                self.expect_op(",")?;
            }
            if self.at_tuple_end(ends) {
                break;
            }
            items.push(self.expression(with_condition)?);
            if !self.is_op(",") {
                break;
            }
            is_tuple = true;
        }
        if !is_tuple {
            if let Some(only) = items.pop() {
                return Ok(only);
            }
            if !in_parentheses {
                return self.unexpected("an expression");
            }
        }
        let height = tallest(&items);
        self.expr(line, Kind::Tuple(items), [height])
    }

    fn postfix(&mut self, mut value: Expr) -> Res<Expr> {
        loop {
            value = match self.peek() {
                Tok::Op(".") | Tok::Op("[") => self.subscript(value)?,
                Tok::Op("(") => self.call(value)?,
                _ => return Ok(value),
            };
        }
    }

    fn filters_and_tests(&mut self, mut value: Expr) -> Res<Expr> {
        loop {
            let line = self.line();
            value = if self.skip_op("|") {
                let filter = self.filter_call()?;
                let heights = [value.height, filter.args.height()];
                self.expr(line, Kind::Filter(Box::new(value), Box::new(filter)), heights)?
            } else if self.skip_name("is") {
                self.test(line, value)?
            } else if self.is_op("(") {
                self.call(value)?
            } else {
                return Ok(value);
            };
        }
    }

    fn dotted_name(&mut self) -> Res<String> {
        let mut name = self.expect_name()?;
        while self.skip_op(".") {
            name.push('.');
            name.push_str(&self.expect_name()?);
        }
        Ok(name)
    }

    pub(super) fn filter_call(&mut self) -> Res<FilterCall> {
        let name = self.dotted_name()?;
        let args = match self.is_op("(") {
            true => self.call_args()?,
            false => CallArgs::default(),
        };
        Ok(FilterCall { name, args })
    }

    fn test(&mut self, line: u32, value: Expr) -> Res<Expr> {
        let negated = self.skip_name("not");
        let name = self.dotted_name()?;
        let has_bare_argument = match self.peek() {
            Tok::Name(next) => !matches!(next.as_str(), "else" | "or" | "and"),
            Tok::Str(_) | Tok::Int(_) | Tok::Float(_) | Tok::Op("[") | Tok::Op("{") => true,
            _ => false,
        };
        let args = if self.is_op("(") {
            self.call_args()?
        } else if has_bare_argument {
            if self.is_name("is") {
                return fault_at(line, "tests can't be chained with 'is'");
            }
            let argument = self.primary()?;
            let argument = self.postfix(argument)?;
            CallArgs { positional: vec![argument], ..CallArgs::default() }
        } else {
            CallArgs::default()
        };
        let heights = [value.height, args.height()];
        let call = Box::new(FilterCall { name, args });
        let test = self.expr(line, Kind::Test(Box::new(value), call), heights)?;
        if !negated {
            return Ok(test);
        }
        let height = [test.height];
        self.expr(line, Kind::Not(Box::new(test)), height)
    }

    fn subscript(&mut self, value: Expr) -> Res<Expr> {
        let line = self.line();
        if self.skip_op(".") {
            let height = [value.height];
            return match self.next() {
                Tok::Name(name) => {
                    self.expr(line, Kind::Attr(Box::new(value), Arc::from(name)), height)
                }
                Tok::Int(index) => {
                    let index = self.constant(Const::Int(index));
                    let index = self.expr(line, index, [])?;
                    self.expr(line, Kind::Item(Box::new((value, index))), height)
                }
                _ => fault_at(line, "expected a name or a number after '.'"),
            };
        }
        self.next(); // the bracket
        if let Some(slice) = self.slice_or_none()? {
            return self.sliced(line, value, slice);
        }
        let index = match self.is_op("]") {
            true => self.expr(line, Kind::Tuple(Vec::new()), [])?,
            false => self.expression(true)?,
        };
        if self.is_op(":") {
            let slice = self.slice_rest(Some(index))?;
            return self.sliced(line, value, slice);
        }
        let mut parts = vec![index];
        while self.skip_op(",") {
            parts.push(self.expression(true)?);
        }
        self.expect_op("]")?;
        let height = tallest(&parts);
        let index = match parts.pop() {
            Some(only) if parts.is_empty() => only,
            last => {
                parts.extend(last);
                self.expr(line, Kind::Tuple(parts), [height])?
            }
        };
        let heights = [value.height, index.height];
        self.expr(line, Kind::Item(Box::new((value, index))), heights)
    }

    fn slice_or_none(&mut self) -> Res<Option<[Option<Expr>; 3]>> {
        match self.is_op(":") {
            true => Ok(Some(self.slice_rest(None)?)),
            false => Ok(None),
        }
    }

    /// From the first colon to the closing bracket.
    fn slice_rest(&mut self, start: Option<Expr>) -> Res<[Option<Expr>; 3]> {
        self.expect_op(":")?;
        let stop = match self.is_op(":") || self.is_op("]") {
            true => None,
            false => Some(self.expression(true)?),
        };
        let step = match self.skip_op(":") && !self.is_op("]") {
            true => Some(self.expression(true)?),
            false => None,
        };
        self.expect_op("]")?;
        Ok([start, stop, step])
    }

    fn sliced(&mut self, line: u32, value: Expr, parts: [Option<Expr>; 3]) -> Res<Expr> {
        let part_height = parts.iter().flatten().map(|part| part.height).max().unwrap_or(0);
        let heights = [value.height, part_height];
        let [start, stop, step] = parts;
        let slice = SliceExpr { value, start, stop, step };
        self.expr(line, Kind::Slice(Box::new(slice)), heights)
    }

    fn call(&mut self, callee: Expr) -> Res<Expr> {
        let line = self.line();
        let args = self.call_args()?;
        let heights = [callee.height, args.height()];
        self.expr(line, Kind::Call(Box::new((callee, args))), heights)
    }

    fn call_args(&mut self) -> Res<CallArgs> {
        let line = self.line();
        self.expect_op("(")?;
        let mut args = CallArgs::default();
        let mut first = true;
        while !self.is_op(")") {
            if !first {
                self.expect_op(",")?;
                if self.is_op(")") {
                    break;
                }
            }
            first = false;
            if !self.one_argument(&mut args)? {
                return fault_at(line, "the arguments of a call are in an order that can't be");
            }
        }
        self.expect_op(")")?;
        Ok(args)
    }

    /// False if the argument can't stand after those before it.
    fn one_argument(&mut self, args: &mut CallArgs) -> Res<bool> {
        let no_splat = args.splat.is_none() && args.keyword_splat.is_none();
        if self.skip_op("*") {
            args.splat = Some(self.expression(true)?);
            return Ok(no_splat);
        }
        if self.skip_op("**") {
            let allowed = args.keyword_splat.is_none();
            args.keyword_splat = Some(self.expression(true)?);
            return Ok(allowed);
        }
        if matches!(self.peek(), Tok::Name(_)) && *self.peek_second() == Tok::Op("=") {
            let name = self.expect_name()?;
            self.next();
            let value = self.expression(true)?;
            args.keywords.push((Arc::from(name), value));
            return Ok(args.keyword_splat.is_none());
        }
        args.positional.push(self.expression(true)?);
        Ok(no_splat && args.keywords.is_empty())
    }
}

fn tallest(items: &[Expr]) -> u16 {
    items.iter().map(|item| item.height).max().unwrap_or(0)
}

impl CallArgs {
    fn height(&self) -> u16 {
        let keywords = self.keywords.iter().map(|(_, value)| value);
        let splats = self.splat.iter().chain(&self.keyword_splat);
        let all = self.positional.iter().chain(keywords).chain(splats);
        all.map(|value| value.height).max().unwrap_or(0)
    }
}
