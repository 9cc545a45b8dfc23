//! Owns: the functions every chat template may call: jinja2's globals and the two that `transformers` adds.

use super::calls::Args;
use super::interp::{CyclerState, Interp, JoinerState};
use super::limits::{fault, Res, MAX_RANGE};
use super::value::{Value, VALUE_BYTES};

impl Interp<'_> {
    #[inline(never)]
    pub(super) fn call_function(&mut self, name: &'static str, args: Args) -> Res<Value> {
        match name {
            "range" => range(args),
            "dict" => {
                let pairs = self.pairs_of(args)?;
                self.heap.dict_of(pairs)
            }
            "namespace" => {
                let pairs = self.pairs_of(args)?;
                self.heap.budget.take(2 * VALUE_BYTES)?;
                self.namespaces.push(Vec::new());
                let at = self.namespaces.len() - 1;
                for (key, value) in pairs {
                    match key.as_str() {
                        Some(name) => self.namespace_set(at, name, value)?,
                        None => return fault("a namespace's names must be strings"),
                    }
                }
                Ok(Value::Namespace(at))
            }
            "raise_exception" => {
                let [message] = args.take(name, ["message"])?;
                match message {
                    Some(message) => fault(self.to_text(&message)?),
                    None => fault("raise_exception needs a message"),
                }
            }
            "strftime_now" => {
                let [format] = args.take(name, ["format"])?;
                let Some(Value::Str(format)) = format else {
                    return fault("strftime_now needs a format string");
                };
                self.heap.budget.room_for(format.len().saturating_mul(32))?;
                self.heap.str(self.now.format(&format)?)
            }
            "cycler" => {
                if args.positional.is_empty() || !args.keywords.is_empty() {
                    return fault("cycler needs at least one item");
                }
                self.heap.budget.take((2 + args.positional.len()) * VALUE_BYTES)?;
                self.cyclers.push(CyclerState { items: args.positional, at: 0 });
                Ok(Value::Cycler(self.cyclers.len() - 1))
            }
            "joiner" => {
                let [separator] = args.take(name, ["sep"])?;
                let separator = match separator {
                    Some(separator) => separator,
                    None => self.heap.str(", ")?,
                };
                self.heap.budget.take(2 * VALUE_BYTES)?;
                self.joiners.push(JoinerState { separator, used: false });
                Ok(Value::Joiner(self.joiners.len() - 1))
            }
            other => fault(format!("there is no function named '{other}'")),
        }
    }

    /// The pairs of `dict(mapping or pairs, **keywords)`.
    fn pairs_of(&mut self, args: Args) -> Res<Vec<(Value, Value)>> {
        if args.positional.len() > 1 {
            return fault("dict and namespace take at most one positional argument");
        }
        let mut pairs = Vec::new();
        match args.positional.first() {
            None => {}
            Some(Value::Dict(dict)) => pairs.extend(dict.entries.iter().cloned()),
            Some(other) => {
                for item in self.heap.iterate(other)? {
                    let parts = self.heap.iterate(&item)?;
                    let [key, value] = &parts[..] else {
                        return fault("dict needs pairs");
                    };
                    pairs.push((key.clone(), value.clone()));
                }
            }
        }
        for (key, value) in args.keywords {
            pairs.push((self.heap.str(&*key)?, value));
        }
        Ok(pairs)
    }
}

fn range(args: Args) -> Res<Value> {
    if !args.keywords.is_empty() || !(1..=3).contains(&args.positional.len()) {
        return fault("range takes one to three integers");
    }
    let mut bounds = Vec::new();
    for value in &args.positional {
        match value.as_index() {
            Some(int) => bounds.push(int),
            None => {
                return fault(format!("range needs integers, not {}", value.type_name()));
            }
        }
    }
    let (start, stop) = if bounds.len() == 1 { (0, bounds[0]) } else { (bounds[0], bounds[1]) };
    let step = bounds.get(2).copied().unwrap_or(1);
    if step == 0 {
        return fault("range() arg 3 must not be zero");
    }
    let span = match step > 0 {
        true => stop.saturating_sub(start),
        false => start.saturating_sub(stop),
    };
    let width = step.saturating_abs();
    let length = if span <= 0 { 0 } else { (span - 1) / width + 1 };
    if length > MAX_RANGE {
        return fault(format!("Range too big. The sandbox blocks ranges larger than {MAX_RANGE}."));
    }
    match (i64::try_from(start), i64::try_from(step)) {
        (Ok(start), Ok(step)) if start.abs() < 1 << 40 && step.abs() < 1 << 40 => {
            Ok(Value::Range(start, length as i64, step))
        }
        _ => fault("range's bounds are too large"),
    }
}
