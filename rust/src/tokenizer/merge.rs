//! Owns: the symbols of one text while neighbours are merged, best pair first. Does not know: what a pair is worth.
//! Order: lowest key first, among equal keys the leftmost pair. O(n log n).

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::queue::BucketQueue;

pub const NONE: u32 = u32::MAX;

/// Up to this many bytes one heap is best; above, it outgrows the cache.
const HEAP_BYTES: usize = 2048;

#[derive(Clone, Copy)]
pub struct Symbol {
    pub id: u32,      // what the model calls this symbol; NONE if it has no name for it
    pub start: usize, // bytes
    pub len: usize,
}

pub trait Pairs {
    /// (key, id of the merged symbol) if these neighbours may merge; the same key only for pairs of equal worth.
    fn pair(&self, left: Symbol, right: Symbol) -> Option<(u32, u32)>;
}

/// One per byte of the text, so that memory stays small: the first byte of a symbol keeps its id and length; its other
/// bytes have length 0, and the last of them keeps where the symbol starts.
#[derive(Clone, Copy)]
struct Unit {
    id: u32,
    len: u32,
}

#[derive(Default)]
pub struct Merger {
    units: Vec<Unit>,
    heap: BinaryHeap<Reverse<u64>>, // key << 32 | start of the left symbol
}

impl Merger {
    pub fn clear(&mut self) {
        self.units.clear();
    }

    /// Appends the next symbol of the text.
    pub fn push(&mut self, id: u32, len: usize) {
        let start = self.units.len() as u32;
        self.units.push(Unit { id, len: len as u32 });
        self.units.extend(std::iter::repeat_n(Unit { id: start, len: 0 }, len.saturating_sub(1)));
    }

    /// Merges until no pair is left; what remains comes in order.
    pub fn run(&mut self, pairs: &impl Pairs) -> impl Iterator<Item = Symbol> + '_ {
        if self.units.len() <= HEAP_BYTES {
            self.run_heap(pairs);
        } else {
            self.run_buckets(pairs);
        }
        self.symbols()
    }

    fn run_heap(&mut self, pairs: &impl Pairs) {
        let mut entries = std::mem::take(&mut self.heap).into_vec();
        entries.clear();
        let entry = |key: u32, left: usize| Reverse((key as u64) << 32 | left as u64);
        entries.extend(self.rated(pairs).map(|(key, left)| entry(key, left)));
        let mut heap = BinaryHeap::from(entries);
        while let Some(Reverse(next)) = heap.pop() {
            self.merge(pairs, (next >> 32) as u32, next as u32 as usize, |key, left| heap.push(entry(key, left)));
        }
        self.heap = heap;
    }

    fn run_buckets(&mut self, pairs: &impl Pairs) {
        let mut queue = BucketQueue::default();
        for (key, left) in self.rated(pairs) {
            queue.push(key, left as u32);
        }
        while let Some((key, left)) = queue.pop() {
            self.merge(pairs, key, left as usize, |key, left| queue.push(key, left as u32));
        }
    }

    /// Merges the pair at `left` if it is still worth `key` (else it was queued before one of its symbols grew), and
    /// queues the pairs on both sides of the new symbol.
    fn merge(&mut self, pairs: &impl Pairs, key: u32, left: usize, mut queue: impl FnMut(u32, usize)) {
        let right = left + self.units[left].len as usize;
        let Some((_, merged)) = self.rate(pairs, left).filter(|(now, _)| *now == key) else { return };
        let len = self.units[left].len + self.units[right].len;
        self.units[left] = Unit { id: merged, len };
        self.units[right].len = 0;
        self.units[left + len as usize - 1].id = left as u32;
        for changed in self.before(left).into_iter().chain([left]) {
            if let Some((key, _)) = self.rate(pairs, changed) {
                queue(key, changed);
            }
        }
    }

    /// What the pair of the symbol at `left` and the next one is worth; None if no symbol starts there.
    fn rate(&self, pairs: &impl Pairs, left: usize) -> Option<(u32, u32)> {
        let left = self.symbol(left)?;
        pairs.pair(left, self.symbol(left.start + left.len)?)
    }

    fn symbol(&self, start: usize) -> Option<Symbol> {
        let unit = self.units.get(start).filter(|unit| unit.len > 0)?;
        Some(Symbol { id: unit.id, start, len: unit.len as usize })
    }

    /// Where the symbol before the one at `start` starts.
    fn before(&self, start: usize) -> Option<usize> {
        let last = start.checked_sub(1)?;
        let unit = self.units[last];
        Some(if unit.len > 0 { last } else { unit.id as usize })
    }

    fn symbols(&self) -> impl Iterator<Item = Symbol> + '_ {
        std::iter::successors(self.symbol(0), |symbol| self.symbol(symbol.start + symbol.len))
    }

    fn rated<'a>(&'a self, pairs: &'a impl Pairs) -> impl Iterator<Item = (u32, usize)> + 'a {
        self.symbols().filter_map(|symbol| Some((self.rate(pairs, symbol.start)?.0, symbol.start)))
    }
}
