//! Owns: jinja2's filters on sequences and mappings.

use std::collections::HashSet;

use super::calls::Args;
use super::filters::{flag, int_or, not_suited};
use super::interp::Interp;
use super::limits::{fault, Res};
use super::value::{Value, ViewKind, VALUE_BYTES};

/// An `attribute=` argument: `a.b.0`, or a plain index.
struct Path(Vec<Value>);

impl Interp<'_> {
    #[inline(never)]
    pub(super) fn seq_filter(&mut self, name: &str, value: Value, args: Args) -> Res<Value> {
        match name {
            "join" => self.join_filter(&value, args),
            "list" => {
                let [] = args.exactly(name)?;
                let items = self.heap.iterate(&value)?;
                self.heap.list(items)
            }
            "map" => self.map_filter(&value, args),
            "select" | "reject" | "selectattr" | "rejectattr" => self.select(name, &value, args),
            "items" => {
                let [] = args.exactly(name)?;
                let items = match &value {
                    Value::Undefined(_) => Vec::new(),
                    Value::Dict(dict) => {
                        self.heap.iterate(&Value::View(dict.clone(), ViewKind::Items))?
                    }
                    _ => return fault("Can only get item pairs from a mapping."),
                };
                self.heap.generator("do_items", items)
            }
            "first" => {
                let [] = args.exactly(name)?;
                if let Value::Iter(generator) = &value {
                    return Ok(match generator.next() {
                        Some(item) => item,
                        None => self.heap.undefined("No first item, sequence was empty.".into()),
                    });
                }
                let items = self.heap.iterate(&value)?;
                Ok(match items.into_iter().next() {
                    Some(item) => item,
                    None => self.heap.undefined("No first item, sequence was empty.".into()),
                })
            }
            "last" => {
                let [] = args.exactly(name)?;
                if matches!(value, Value::Iter(_) | Value::Undefined(_)) {
                    return not_suited("last", &value);
                }
                Ok(match self.heap.iterate(&value)?.pop() {
                    Some(item) => item,
                    None => self.heap.undefined("No last item, sequence was empty.".into()),
                })
            }
            "reverse" => {
                let [] = args.exactly(name)?;
                if let Value::Str(text) = &value {
                    return self.heap.str(text.chars().rev().collect::<String>());
                }
                let mut items = self.heap.iterate(&value)?;
                items.reverse();
                match value {
                    Value::Iter(_) | Value::Undefined(_) => self.heap.list(items),
                    _ => self.heap.generator("reversed", items),
                }
            }
            "sort" => self.sort_filter(&value, args),
            "dictsort" => self.dictsort(&value, args),
            "unique" => self.unique(&value, args),
            "min" | "max" => self.min_or_max(name, &value, args),
            "sum" => self.sum(&value, args),
            "groupby" => self.groupby(&value, args),
            "batch" => self.batch(&value, args),
            "slice" => self.slice_filter(&value, args),
            other => fault(format!("there is no filter named '{other}'")),
        }
    }

    fn path(&mut self, attribute: &Value) -> Res<Path> {
        let Value::Str(text) = attribute else {
            return Ok(Path(vec![attribute.clone()]));
        };
        let mut parts = Vec::new();
        for part in text.split('.') {
            let is_number = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
            parts.push(match part.parse::<i128>() {
                Ok(index) if is_number => Value::Int(index),
                _ => self.heap.str(part)?,
            });
        }
        Ok(Path(parts))
    }

    fn follow(&mut self, path: &Path, item: &Value, default: Option<&Value>) -> Res<Value> {
        let mut value = item.clone();
        for part in &path.0 {
            value = self.get_item(&value, part)?;
            if let (true, Some(default)) = (value.is_undefined(), default) {
                value = default.clone();
            }
        }
        Ok(value)
    }

    fn optional_path(&mut self, attribute: Option<Value>) -> Res<Path> {
        match attribute {
            None | Some(Value::None) => Ok(Path(Vec::new())),
            Some(attribute) => self.path(&attribute),
        }
    }

    /// A string in lower case, unless case counts.
    fn folded(&mut self, value: Value, case_sensitive: bool) -> Res<Value> {
        match &value {
            Value::Str(text) if !case_sensitive => self.heap.str(text.to_lowercase()),
            _ => Ok(value),
        }
    }

    fn join_filter(&mut self, value: &Value, args: Args) -> Res<Value> {
        let [separator, attribute] = args.take("join", ["d", "attribute"])?;
        let separator = match separator {
            None => String::new(),
            Some(separator) => self.to_text(&separator)?,
        };
        let path = self.optional_path(attribute)?;
        let mut out = String::new();
        for (at, item) in self.heap.iterate(value)?.iter().enumerate() {
            let item = self.follow(&path, item, None)?;
            if at > 0 {
                out.push_str(&separator);
            }
            match &item {
                Value::Str(text) => {
                    self.heap.budget.walk(text.len() + separator.len())?;
                    self.heap.budget.room_for(out.len() + text.len())?;
                    out.push_str(text);
                }
                other => out.push_str(&self.to_text(other)?),
            }
            self.heap.budget.room_for(out.len() + separator.len())?;
        }
        self.heap.str(out)
    }

    fn map_filter(&mut self, value: &Value, mut args: Args) -> Res<Value> {
        let mut mapped = Vec::new();
        let attribute = args.keywords.iter().position(|(key, _)| &**key == "attribute");
        if let (true, Some(at)) = (args.positional.is_empty(), attribute) {
            let path = self.path(&args.keywords.remove(at).1)?;
            let [default] = args.take("map", ["default"])?;
            let default = default.filter(|default| !matches!(default, Value::None));
            for item in self.heap.iterate(value)? {
                mapped.push(self.follow(&path, &item, default.as_ref())?);
            }
        } else if value.is_true() {
            if args.positional.is_empty() {
                return fault("map requires a filter argument");
            }
            let name = args.positional.remove(0);
            let Value::Str(name) = name else {
                return not_suited("map", &name);
            };
            for item in self.heap.iterate(value)? {
                let args =
                    Args { positional: args.positional.clone(), keywords: args.keywords.clone() };
                self.enter()?;
                mapped.push(self.call_filter(&name, item, args)?);
                self.leave();
            }
        }
        self.heap.generator("sync_do_map", mapped)
    }

    fn select(&mut self, name: &str, value: &Value, mut args: Args) -> Res<Value> {
        let wanted = name.starts_with("select");
        let mut kept = Vec::new();
        if value.is_true() {
            let path = match name.ends_with("attr") {
                true if args.positional.is_empty() => {
                    return fault("Missing parameter for attribute name")
                }
                true => self.path(&args.positional.remove(0))?,
                false => Path(Vec::new()),
            };
            let test = match args.positional.is_empty() {
                true => None,
                false => Some(args.positional.remove(0)),
            };
            for item in self.heap.iterate(value)? {
                let subject = self.follow(&path, &item, None)?;
                let passes = match &test {
                    None => subject.is_true(),
                    Some(Value::Str(test)) => {
                        let args = Args {
                            positional: args.positional.clone(),
                            keywords: args.keywords.clone(),
                        };
                        self.call_test(test, &subject, args)?
                    }
                    Some(other) => return not_suited("select", other),
                };
                if passes == wanted {
                    kept.push(item);
                }
            }
        }
        self.heap.generator("select_or_reject", kept)
    }

    fn sort_filter(&mut self, value: &Value, args: Args) -> Res<Value> {
        let [reverse, case_sensitive, attribute] =
            args.take("sort", ["reverse", "case_sensitive", "attribute"])?;
        let case_sensitive = flag(case_sensitive);
        let mut paths = Vec::new();
        match &attribute {
            Some(Value::Str(text)) => {
                for part in text.split(',') {
                    let part = self.heap.str(part)?;
                    paths.push(self.path(&part)?);
                }
            }
            _ => paths.push(self.optional_path(attribute)?),
        }
        let mut items = self.heap.iterate(value)?;
        let heap = self.heap.clone();
        let key = |item: &Value| {
            let mut parts = Vec::new();
            for path in &paths {
                let part = self.follow(path, item, None)?;
                parts.push(self.folded(part, case_sensitive)?);
            }
            self.heap.list(parts)
        };
        heap.sort_by_key(&mut items, key, flag(reverse))?;
        self.heap.list(items)
    }

    fn dictsort(&mut self, value: &Value, args: Args) -> Res<Value> {
        let [case_sensitive, by, reverse] =
            args.take("dictsort", ["case_sensitive", "by", "reverse"])?;
        let by_value = match &by {
            None => false,
            Some(by) => match by.as_str() {
                Some("key") => false,
                Some("value") => true,
                _ => return fault("You can only sort by either \"key\" or \"value\""),
            },
        };
        let Value::Dict(dict) = value else {
            return not_suited("dictsort", value);
        };
        let case_sensitive = flag(case_sensitive);
        let mut items = self.heap.iterate(&Value::View(dict.clone(), ViewKind::Items))?;
        let heap = self.heap.clone();
        let key = |item: &Value| match item {
            Value::Tuple(pair) => {
                self.folded(pair.items[usize::from(by_value)].clone(), case_sensitive)
            }
            other => Ok(other.clone()),
        };
        heap.sort_by_key(&mut items, key, flag(reverse))?;
        self.heap.list(items)
    }

    fn unique(&mut self, value: &Value, args: Args) -> Res<Value> {
        let [case_sensitive, attribute] = args.take("unique", ["case_sensitive", "attribute"])?;
        let case_sensitive = flag(case_sensitive);
        let path = self.optional_path(attribute)?;
        let mut seen = HashSet::new();
        let mut kept = Vec::new();
        let mut held = 0;
        for item in self.heap.iterate(value)? {
            let key = self.follow(&path, &item, None)?;
            let key = self.folded(key, case_sensitive)?;
            let mut id = String::new();
            self.heap.hash_key(&key, &mut id)?;
            held += id.len();
            self.heap.budget.room_for(held)?;
            if seen.insert(id) {
                kept.push(item);
            }
        }
        self.heap.generator("sync_do_unique", kept)
    }

    fn min_or_max(&mut self, name: &str, value: &Value, args: Args) -> Res<Value> {
        let [case_sensitive, attribute] = args.take(name, ["case_sensitive", "attribute"])?;
        let case_sensitive = flag(case_sensitive);
        let path = self.optional_path(attribute)?;
        let mut best: Option<(Value, Value)> = None;
        for item in self.heap.iterate(value)? {
            let key = self.follow(&path, &item, None)?;
            let key = self.folded(key, case_sensitive)?;
            let replaces = match &best {
                None => true,
                Some((held, _)) if name == "min" => {
                    self.heap.order(&key, held, "<")?.is_some_and(|order| order.is_lt())
                }
                Some((held, _)) => {
                    self.heap.order(&key, held, ">")?.is_some_and(|order| order.is_gt())
                }
            };
            if replaces {
                best = Some((key, item));
            }
        }
        Ok(match best {
            Some((_, item)) => item,
            None => self.heap.undefined("No aggregated item, sequence was empty.".into()),
        })
    }

    fn sum(&mut self, value: &Value, args: Args) -> Res<Value> {
        let [attribute, start] = args.take("sum", ["attribute", "start"])?;
        let path = self.optional_path(attribute)?;
        let mut total = start.unwrap_or(Value::Int(0));
        if total.as_str().is_some() {
            return fault("sum() can't sum strings");
        }
        for item in self.heap.iterate(value)? {
            let item = self.follow(&path, &item, None)?;
            total = self.heap.binary(super::ast::BinOp::Add, &total, &item)?;
        }
        Ok(total)
    }

    fn groupby(&mut self, value: &Value, args: Args) -> Res<Value> {
        let [attribute, default, case_sensitive] =
            args.take("groupby", ["attribute", "default", "case_sensitive"])?;
        let Some(attribute) = attribute else {
            return fault("groupby needs an attribute");
        };
        let path = self.path(&attribute)?;
        let default = default.filter(|default| !matches!(default, Value::None));
        let case_sensitive = flag(case_sensitive);
        let mut items = self.heap.iterate(value)?;
        let heap = self.heap.clone();
        let key = |item: &Value| {
            let key = self.follow(&path, item, default.as_ref())?;
            self.folded(key, case_sensitive)
        };
        heap.sort_by_key(&mut items, key, false)?;
        let mut groups: Vec<(Value, Value, Vec<Value>)> = Vec::new();
        for item in items {
            let shown = self.follow(&path, &item, default.as_ref())?;
            let key = self.folded(shown.clone(), case_sensitive)?;
            match groups.last_mut() {
                Some(group) if self.heap.equal(&group.0, &key)? => group.2.push(item),
                _ => groups.push((key, shown, vec![item])),
            }
        }
        let mut out = Vec::new();
        for (_, shown, members) in groups {
            let members = self.heap.list(members)?;
            out.push(self.heap.group(shown, members)?);
        }
        self.heap.list(out)
    }

    fn batch(&mut self, value: &Value, args: Args) -> Res<Value> {
        let [count, fill] = args.take("batch", ["linecount", "fill_with"])?;
        let fill = fill.filter(|fill| !matches!(fill, Value::None));
        let count = usize::try_from(int_or(count, 0, "batch")?).unwrap_or(0);
        if count == 0 {
            return fault("batch needs a positive number");
        }
        let mut rows = Vec::new();
        for row in self.heap.iterate(value)?.chunks(count) {
            let mut row = row.to_vec();
            if let Some(fill) = &fill {
                self.heap.budget.room_for(count.saturating_mul(VALUE_BYTES))?;
                row.resize(count, fill.clone());
            }
            rows.push(self.heap.list(row)?);
        }
        self.heap.generator("do_batch", rows)
    }

    fn slice_filter(&mut self, value: &Value, args: Args) -> Res<Value> {
        let [count, fill] = args.take("slice", ["slices", "fill_with"])?;
        let fill = fill.filter(|fill| !matches!(fill, Value::None));
        let count = usize::try_from(int_or(count, 0, "slice")?).unwrap_or(0);
        if count == 0 {
            return fault("slice needs a positive number");
        }
        let items = self.heap.iterate(value)?;
        self.heap.budget.room_for(count.saturating_mul(2 * VALUE_BYTES))?;
        self.heap.budget.step(count as u64)?;
        let (each, extra) = (items.len() / count, items.len() % count);
        let mut columns = Vec::new();
        let mut start = 0;
        for at in 0..count {
            let length = each + usize::from(at < extra);
            let mut column = items[start..start + length].to_vec();
            start += length;
            if at >= extra {
                column.extend(fill.clone());
            }
            columns.push(self.heap.list(column)?);
        }
        self.heap.generator("sync_do_slice", columns)
    }
}
