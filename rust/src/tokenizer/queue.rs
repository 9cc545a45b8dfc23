//! Owns: the pairs of a long text that wait to be merged. Gives the lowest (key, place) first.
//! Places of one key mostly come in ascending order, so each key keeps a sorted run, and a heap for the stragglers:
//! a text of one repeated character is walked from left to right, not in the random order of one big heap.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use ahash::RandomState;

#[derive(Default)]
struct Bucket {
    run: Vec<u32>, // ascending
    next: usize,   // of the run
    stragglers: BinaryHeap<Reverse<u32>>,
    queued: bool,
}

#[derive(Default)]
pub struct BucketQueue {
    buckets: Vec<Bucket>,
    bucket_of: HashMap<u32, u32, RandomState>,
    keys: BinaryHeap<Reverse<u64>>, // key << 32 | bucket, of the buckets that hold something
}

impl BucketQueue {
    pub fn push(&mut self, key: u32, place: u32) {
        let fresh = self.buckets.len() as u32;
        let at = *self.bucket_of.entry(key).or_insert(fresh);
        if at == fresh {
            self.buckets.push(Bucket::default());
        }
        let bucket = &mut self.buckets[at as usize];
        if bucket.run.last().is_none_or(|last| *last <= place) {
            bucket.run.push(place);
        } else {
            bucket.stragglers.push(Reverse(place));
        }
        if !bucket.queued {
            bucket.queued = true;
            self.keys.push(Reverse((key as u64) << 32 | at as u64));
        }
    }

    pub fn pop(&mut self) -> Option<(u32, u32)> {
        let Reverse(top) = *self.keys.peek()?;
        let bucket = &mut self.buckets[top as u32 as usize];
        let run = bucket.run.get(bucket.next).copied();
        let straggler = bucket.stragglers.peek().map(|place| place.0);
        let place = match (run, straggler) {
            (Some(run), Some(straggler)) => run.min(straggler),
            (run, straggler) => run.or(straggler)?,
        };
        if run == Some(place) {
            bucket.next += 1;
        } else {
            bucket.stragglers.pop();
        }
        if bucket.next == bucket.run.len() && bucket.stragglers.is_empty() {
            bucket.run.clear();
            bucket.next = 0;
            bucket.queued = false;
            self.keys.pop();
        }
        Some(((top >> 32) as u32, place))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pops_in_order_like_one_heap() {
        let mut queue = BucketQueue::default();
        let mut heap = BinaryHeap::new();
        let mut state = 12345u32;
        let mut random = move || {
            state = state.wrapping_mul(1664525).wrapping_add(1013904223);
            state >> 16
        };
        for _ in 0..20000 {
            if random() % 3 > 0 {
                let (key, place) = (random() % 7, random() % 1000);
                queue.push(key, place);
                heap.push(Reverse((key, place)));
            } else {
                assert_eq!(queue.pop(), heap.pop().map(|entry| entry.0));
            }
        }
        while let Some(Reverse(expected)) = heap.pop() {
            assert_eq!(queue.pop(), Some(expected));
        }
        assert_eq!(queue.pop(), None);
    }
}
