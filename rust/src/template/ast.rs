//! Owns: the tree of a compiled template; immutable, shared by all renders.

use std::sync::Arc;

/// A variable's name, as an index into `Ast::names`.
pub type Sym = u32;

pub struct Ast {
    pub body: Vec<Stmt>,
    pub names: Vec<Arc<str>>,
    pub consts: Vec<Const>,
}

#[derive(Clone, Debug)]
pub enum Const {
    None,
    Bool(bool),
    Int(i128),
    Float(f64),
    Str(String),
}

pub struct Expr {
    pub line: u32,
    pub height: u16, // of the tree below, this node included
    pub kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum BinOp {
    Add,
    Sub,
    Mul,
    Div,
    FloorDiv,
    Mod,
    Pow,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum CmpOp {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    In,
    NotIn,
}

pub enum Kind {
    Const(u32),
    Name(Sym),
    Tuple(Vec<Expr>),
    List(Vec<Expr>),
    Dict(Vec<(Expr, Expr)>),
    Not(Box<Expr>),
    Neg(Box<Expr>),
    Pos(Box<Expr>),
    Binary(BinOp, Box<(Expr, Expr)>),
    Concat(Vec<Expr>),
    And(Box<(Expr, Expr)>),
    Or(Box<(Expr, Expr)>),
    Compare(Box<Expr>, Vec<(CmpOp, Expr)>),
    Cond(Box<CondExpr>),
    Attr(Box<Expr>, Arc<str>),
    Item(Box<(Expr, Expr)>),
    Slice(Box<SliceExpr>),
    Call(Box<(Expr, CallArgs)>),
    Filter(Box<Expr>, Box<FilterCall>),
    Test(Box<Expr>, Box<FilterCall>),
}

pub struct CondExpr {
    pub test: Expr,
    pub then: Expr,
    pub otherwise: Option<Expr>,
}

pub struct SliceExpr {
    pub value: Expr,
    pub start: Option<Expr>,
    pub stop: Option<Expr>,
    pub step: Option<Expr>,
}

#[derive(Default)]
pub struct CallArgs {
    pub positional: Vec<Expr>,
    pub keywords: Vec<(Arc<str>, Expr)>,
    pub splat: Option<Expr>,
    pub keyword_splat: Option<Expr>,
}

/// A filter or a test with its arguments, besides the value it is applied to.
pub struct FilterCall {
    pub name: String,
    pub args: CallArgs,
}

pub enum Target {
    Name(Sym),
    Attr(Sym, Arc<str>), // of a namespace
    Tuple(Vec<Target>),
}

pub struct Stmt {
    pub line: u32,
    pub kind: StmtKind,
}

pub enum StmtKind {
    Data(String),
    Emit(Expr),
    If(Vec<(Expr, Vec<Stmt>)>, Vec<Stmt>),
    For(Box<ForLoop>),
    Set(Target, Expr),
    SetBlock(Target, Vec<FilterCall>, Vec<Stmt>),
    With(Vec<(Target, Expr)>, Vec<Stmt>),
    FilterBlock(Vec<FilterCall>, Vec<Stmt>),
    Macro(Box<Macro>),
    CallBlock(Box<(Expr, CallArgs)>, Box<Macro>),
    Scoped(Vec<Stmt>), // {% generation %}, {% block %}
    Unsupported(&'static str),
    Break,
    Continue,
}

pub struct ForLoop {
    pub target: Target,
    pub iter: Expr,
    pub filter: Option<Expr>,
    pub recursive: bool,
    pub body: Vec<Stmt>,
    pub otherwise: Vec<Stmt>,
}

pub struct Macro {
    pub name: Sym,
    pub params: Vec<(Sym, Option<Expr>)>,
    pub body: Vec<Stmt>,
    pub uses: ImplicitArgs,
}

/// Which of the arguments that a macro need not declare its body names.
#[derive(Clone, Copy, Default)]
pub struct ImplicitArgs {
    pub caller: bool,
    pub varargs: bool,
    pub kwargs: bool,
}
