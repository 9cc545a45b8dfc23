//! Owns: byte strings with dense ids. Invariant: `get(text(id))` is the newest id with that text.
//! The hash is keyed at random: a file can't choose strings that collide.

use ahash::RandomState;

const EMPTY: u32 = u32::MAX;

pub struct StringTable {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    slots: Vec<(u32, u32)>, // (id or EMPTY, high half of the hash), linear probing, at most half full
    hasher: RandomState,
}

impl StringTable {
    pub fn with_capacity(strings: usize, bytes: usize) -> Self {
        let slots = (strings.max(8) * 2).next_power_of_two();
        StringTable {
            bytes: Vec::with_capacity(bytes),
            ends: Vec::with_capacity(strings),
            slots: vec![(EMPTY, 0); slots],
            hasher: RandomState::new(),
        }
    }

    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn text(&self, id: u32) -> &[u8] {
        let id = id as usize;
        let start = if id == 0 { 0 } else { self.ends[id - 1] };
        &self.bytes[start..self.ends[id]]
    }

    pub fn get(&self, text: &[u8]) -> Option<u32> {
        match self.slots[self.slot_of(text, self.hasher.hash_one(text))].0 {
            EMPTY => None,
            id => Some(id),
        }
    }

    /// Appends a string and gives its id; a string that was there keeps its old id too, but `get` finds the new one.
    /// Returns (id, was already there).
    pub fn push(&mut self, text: &[u8]) -> (u32, bool) {
        if (self.len() + 1) * 2 > self.slots.len() {
            self.grow();
        }
        let hash = self.hasher.hash_one(text);
        let slot = self.slot_of(text, hash);
        let known = self.slots[slot].0 != EMPTY;
        let id = self.len() as u32;
        self.bytes.extend_from_slice(text);
        self.ends.push(self.bytes.len());
        self.slots[slot] = (id, tag(hash));
        (id, known)
    }

    /// The id of a string, which is appended if it isn't there yet.
    pub fn intern(&mut self, text: &[u8]) -> u32 {
        match self.get(text) {
            Some(id) => id,
            None => self.push(text).0,
        }
    }

    fn slot_of(&self, text: &[u8], hash: u64) -> usize {
        let mask = self.slots.len() - 1;
        let mut slot = hash as usize & mask;
        loop {
            let (id, slot_tag) = self.slots[slot];
            if id == EMPTY || (slot_tag == tag(hash) && self.text(id) == text) {
                return slot;
            }
            slot = (slot + 1) & mask;
        }
    }

    fn grow(&mut self) {
        let larger = self.slots.len() * 2;
        let old = std::mem::replace(&mut self.slots, vec![(EMPTY, 0); larger]);
        for (id, slot_tag) in old.into_iter().filter(|slot| slot.0 != EMPTY) {
            let hash = self.hasher.hash_one(self.text(id));
            let mut slot = hash as usize & (larger - 1);
            while self.slots[slot].0 != EMPTY {
                slot = (slot + 1) & (larger - 1);
            }
            self.slots[slot] = (id, slot_tag);
        }
    }
}

fn tag(hash: u64) -> u32 {
    (hash >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_pushed_after_growth() {
        let mut table = StringTable::with_capacity(0, 0);
        for i in 0..5000u32 {
            assert_eq!(table.push(i.to_string().as_bytes()), (i, false));
        }
        for i in 0..5000u32 {
            assert_eq!(table.get(i.to_string().as_bytes()), Some(i));
        }
        assert_eq!(table.get(b"5000"), None);
        assert_eq!(table.push(b"17"), (5000, true));
        assert_eq!(table.get(b"17"), Some(5000));
        assert_eq!(table.intern(b"17"), 5000);
        assert_eq!(table.intern(b""), 5001);
        assert_eq!(table.text(17), b"17");
    }
}
