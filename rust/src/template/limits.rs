//! What a template may use. A template is a program from a file that nobody has read, and its input comes from
//! strangers: everything it does is paid for here, so that it can neither hang nor fill the memory.

use std::cell::Cell;

/// Steps of the interpreter; one step is an evaluated node or 64 bytes (or 4 values) moved. Some 10 ns each.
pub const BASE_FUEL: u64 = 12_000_000;
/// Steps on top for every byte of the variables: a long conversation may be walked a few dozen times.
pub const FUEL_PER_INPUT_BYTE: u64 = 2;
/// Bytes of values that may live at once, besides a multiple of what was given.
pub const BASE_LIVE_BYTES: usize = 64 << 20;
pub const LIVE_BYTES_PER_INPUT_BYTE: usize = 16;
/// The longest text that a render may give, besides a multiple of what was given.
pub const BASE_OUTPUT_BYTES: usize = 16 << 20;
pub const OUTPUT_BYTES_PER_INPUT_BYTE: usize = 4;
/// Source text of a template, in bytes; the largest in use are some 30 kB.
pub const MAX_SOURCE_BYTES: usize = 1 << 20;
/// Parentheses, blocks and operators inside one another.
pub const MAX_PARSE_DEPTH: u32 = 100;
/// Height of one expression's tree; a chain of `+` is as high as it is long.
pub const MAX_EXPR_HEIGHT: u16 = 400;
/// Nodes being evaluated at once, over macros and recursive loops.
pub const MAX_EVAL_DEPTH: u32 = 1200;
/// Lists and mappings inside one another.
pub const MAX_VALUE_DEPTH: u16 = 150;
/// The longest `range`, as in jinja2's sandbox.
pub const MAX_RANGE: i128 = 100_000;

/// A failure of a template: where (0: not known yet) and why.
#[derive(Debug)]
pub struct Fault {
    pub line: u32,
    pub message: String,
}

pub type Res<T> = Result<T, Box<Fault>>;

pub fn fault<T>(message: impl Into<String>) -> Res<T> {
    Err(Box::new(Fault { line: 0, message: message.into() }))
}

pub fn fault_at<T>(line: u32, message: impl Into<String>) -> Res<T> {
    Err(Box::new(Fault { line, message: message.into() }))
}

/// The account of one render.
pub struct Budget {
    fuel: Cell<u64>,
    live: Cell<usize>,
    live_limit: usize,
    pub output_limit: usize,
}

impl Budget {
    pub fn new(input_bytes: usize) -> Self {
        Budget {
            fuel: Cell::new(BASE_FUEL + FUEL_PER_INPUT_BYTE * input_bytes as u64),
            live: Cell::new(0),
            live_limit: BASE_LIVE_BYTES + LIVE_BYTES_PER_INPUT_BYTE.saturating_mul(input_bytes),
            output_limit: BASE_OUTPUT_BYTES
                + OUTPUT_BYTES_PER_INPUT_BYTE.saturating_mul(input_bytes),
        }
    }

    pub fn step(&self, steps: u64) -> Res<()> {
        match self.fuel.get().checked_sub(steps) {
            Some(left) => {
                self.fuel.set(left);
                Ok(())
            }
            None => fault("the template runs too long and was stopped"),
        }
    }

    /// The cost of looking at or copying `bytes` bytes.
    pub fn walk(&self, bytes: usize) -> Res<()> {
        self.step(1 + bytes as u64 / 64)
    }

    /// Fails if `bytes` more can't live; takes nothing.
    pub fn room_for(&self, bytes: usize) -> Res<()> {
        if bytes > self.live_limit - self.live.get() {
            return fault(format!(
                "the template's values need more than {} MiB of memory",
                self.live_limit >> 20
            ));
        }
        Ok(())
    }

    pub fn take(&self, bytes: usize) -> Res<()> {
        self.room_for(bytes)?;
        self.live.set(self.live.get() + bytes);
        Ok(())
    }

    pub fn give_back(&self, bytes: usize) {
        self.live.set(self.live.get().saturating_sub(bytes));
    }
}
