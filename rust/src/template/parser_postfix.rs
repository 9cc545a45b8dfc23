//! Owns: the grammar of what follows a primary expression: attributes, items, slices, calls, filters and tests.

use std::sync::Arc;

use super::ast::*;
use super::lexer::Tok;
use super::limits::{fault_at, Res};
use super::parser::Parser;
use super::parser_expr::tallest;

impl Parser {
    pub(super) fn postfix(&mut self, mut value: Expr) -> Res<Expr> {
        loop {
            value = match self.peek() {
                Tok::Op(".") | Tok::Op("[") => self.subscript(value)?,
                Tok::Op("(") => self.call(value)?,
                _ => return Ok(value),
            };
        }
    }

    pub(super) fn filters_and_tests(&mut self, mut value: Expr) -> Res<Expr> {
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

impl CallArgs {
    fn height(&self) -> u16 {
        let keywords = self.keywords.iter().map(|(_, value)| value);
        let splats = self.splat.iter().chain(&self.keyword_splat);
        let all = self.positional.iter().chain(keywords).chain(splats);
        all.map(|value| value.height).max().unwrap_or(0)
    }
}
