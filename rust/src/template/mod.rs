//! Chat templates: Jinja as `transformers` sets up jinja2 (immutable sandbox, trim_blocks, lstrip_blocks,
//! loop controls, `{% generation %}`, tojson, strftime_now, raise_exception), with Python's values and text, byte
//! for byte, under limits (limits.rs). Why not a crate: docs/decisions/0003-chat-templates.md.

mod arithmetic;
mod ast;
mod calls;
mod clock;
mod expr;
pub mod ffi;
mod filters;
mod functions;
mod interp;
mod json;
mod lexer;
mod limits;
mod methods;
mod number_format;
mod ops;
mod parser;
mod parser_expr;
mod parser_postfix;
mod percent;
mod seq_filters;
mod str_methods;
mod str_search;
mod tests;
mod text;
mod value;

use std::rc::Rc;

use limits::{Budget, Fault};
use value::{Heap, Value};

pub struct Template {
    ast: ast::Ast,
}

fn message(fault: &Fault) -> String {
    match fault.line {
        0 => format!("chat template: {}", fault.message),
        line => format!("chat template, line {line}: {}", fault.message),
    }
}

impl Template {
    pub fn compile(source: &str) -> Result<Template, String> {
        parser::parse(source).map(|ast| Template { ast }).map_err(|fault| message(&fault))
    }

    /// `variables`: a JSON object. `now`: the local time in ISO 8601.
    pub fn render(&self, variables: &str, now: &str) -> Result<String, String> {
        let Some(now) = clock::Civil::parse(now) else {
            return Err(format!("chat template: '{now}' is no time like 2025-01-31T13:45:00"));
        };
        let heap = Heap { budget: Rc::new(Budget::new(variables.len())) };
        let rendered = json::read(&heap, variables).and_then(|variables| match &variables {
            Value::Dict(dict) => {
                interp::Interp::new(&self.ast, heap.clone(), now)?.render(&dict.entries)
            }
            _ => limits::fault("the variables are no JSON object"),
        });
        rendered.map_err(|fault| message(&fault))
    }
}
