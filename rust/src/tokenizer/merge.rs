//! Owns: the symbols of one text while neighbours are merged, best pair first. Does not know: what a pair is worth.
//! Order: lowest key first, among equal keys the leftmost pair. O(n log n).

use std::cmp::Reverse;
use std::collections::BinaryHeap;

pub const NONE: u32 = u32::MAX;

/// Below this many symbols a scan for the best pair beats the heap (most words have fewer than 16 bytes).
const SCAN_BELOW: usize = 24;

#[derive(Clone, Copy)]
pub struct Symbol {
    pub id: u32,    // what the model calls this symbol; NONE if it has no name for it
    pub start: u32, // bytes
    pub len: u32,   // bytes; 0 once merged into its left neighbour
    prev: u32,
    next: u32,
    key: u32,    // of the pair (this, next)
    merged: u32, // id of the merged pair; NONE: this pair doesn't merge
}

pub trait Pairs {
    /// (key, id of the merged symbol) if these neighbours may merge.
    fn pair(&self, left: &Symbol, right: &Symbol) -> Option<(u32, u32)>;
}

#[derive(Default)]
pub struct Merger {
    symbols: Vec<Symbol>,
    heap: BinaryHeap<Reverse<u64>>, // key << 32 | left
}

impl Merger {
    pub fn clear(&mut self) {
        self.symbols.clear();
    }

    /// Appends the next symbol of the text.
    pub fn push(&mut self, id: u32, start: usize, len: usize) {
        let at = self.symbols.len() as u32;
        self.symbols.push(Symbol {
            id,
            start: start as u32,
            len: len as u32,
            prev: at.wrapping_sub(1),
            next: at + 1,
            key: 0,
            merged: NONE,
        });
    }

    /// Merges until no pair is left; what remains comes in order.
    pub fn run(&mut self, pairs: &impl Pairs) -> impl Iterator<Item = &Symbol> {
        if let Some(last) = self.symbols.last_mut() {
            last.next = NONE;
        }
        for left in 0..self.symbols.len() {
            self.rate(pairs, left as u32);
        }
        if self.symbols.len() < SCAN_BELOW {
            while let Some(left) = self.best_by_scan() {
                self.merge(pairs, left, false);
            }
        } else {
            self.run_heap(pairs);
        }
        self.symbols.iter().filter(|symbol| symbol.len > 0)
    }

    fn run_heap(&mut self, pairs: &impl Pairs) {
        let mut entries = std::mem::take(&mut self.heap).into_vec();
        entries.clear();
        entries.extend((0..self.symbols.len() as u32).filter_map(|left| self.entry(left)));
        self.heap = BinaryHeap::from(entries);
        while let Some(Reverse(entry)) = self.heap.pop() {
            let left = entry as u32;
            // An entry that isn't the pair's present worth is out of date.
            if self.entry(left) == Some(Reverse(entry)) {
                self.merge(pairs, left, true);
            }
        }
    }

    fn entry(&self, left: u32) -> Option<Reverse<u64>> {
        let symbol = &self.symbols[left as usize];
        (symbol.merged != NONE).then_some(Reverse((symbol.key as u64) << 32 | left as u64))
    }

    fn best_by_scan(&self) -> Option<u32> {
        let live = self.symbols.iter().enumerate().filter(|(_, symbol)| symbol.merged != NONE);
        live.min_by_key(|(at, symbol)| (symbol.key, *at)).map(|(at, _)| at as u32)
    }

    fn merge(&mut self, pairs: &impl Pairs, left: u32, queue: bool) {
        let right = self.symbols[left as usize].next as usize;
        let (right_len, next) = (self.symbols[right].len, self.symbols[right].next);
        self.symbols[right].len = 0;
        self.symbols[right].merged = NONE;
        let symbol = &mut self.symbols[left as usize];
        symbol.id = symbol.merged;
        symbol.len += right_len;
        symbol.next = next;
        let prev = symbol.prev;
        if next != NONE {
            self.symbols[next as usize].prev = left;
        }
        for changed in [prev, left] {
            if changed != NONE {
                self.rate(pairs, changed);
                if queue {
                    self.heap.extend(self.entry(changed));
                }
            }
        }
    }

    fn rate(&mut self, pairs: &impl Pairs, left: u32) {
        let symbol = self.symbols[left as usize];
        let worth = match symbol.next {
            NONE => None,
            next => pairs.pair(&symbol, &self.symbols[next as usize]),
        };
        let symbol = &mut self.symbols[left as usize];
        (symbol.key, symbol.merged) = worth.unwrap_or((0, NONE));
    }
}
