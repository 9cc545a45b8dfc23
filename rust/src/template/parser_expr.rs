//! Owns: the grammar of expressions, with jinja2's precedence (or, and, not, comparisons, + -, ~, * / // %, **,
//! unary, postfix, filters and tests).

use super::ast::*;
use super::lexer::Tok;
use super::limits::{fault_at, Res, MAX_EXPR_HEIGHT};
use super::parser::Parser;

impl Parser {
    pub(super) fn expr<const N: usize>(
        &self,
        line: u32,
        kind: Kind,
        children: [u16; N],
    ) -> Res<Expr> {
        let height = 1 + children.into_iter().max().unwrap_or(0);
        if height > MAX_EXPR_HEIGHT {
            return fault_at(
                line,
                format!(
                    "an expression has more than {MAX_EXPR_HEIGHT} operators inside one another"
                ),
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
            let heights =
                [value.height, test.height, otherwise.as_ref().map_or(0, |expr| expr.height)];
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

    pub(super) fn primary(&mut self) -> Res<Expr> {
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
}

pub(super) fn tallest(items: &[Expr]) -> u16 {
    items.iter().map(|item| item.height).max().unwrap_or(0)
}
