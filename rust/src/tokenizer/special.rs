//! Owns: the tokens that are found by their spelling before anything else. Does not know: how plain text becomes
//! tokens. Longer spellings win over shorter ones wherever they stand, equal ones from the left.

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use memchr::memmem;

pub struct Special {
    pub id: u32,
    pub text: Vec<u8>,
    pub control: bool,     // found only when asked for, and never across a guard
    pub strips_left: bool, // swallows the white space before it
    pub strips_right: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Fragment {
    Token(u32),
    Text(usize, usize), // byte range
}

/// Specials in order of precedence, with an automaton over their spellings (Aho and Corasick 1975).
pub struct SpecialSet {
    order: Vec<Special>,
    automaton: Option<AhoCorasick>,
}

impl SpecialSet {
    pub fn new(mut specials: Vec<Special>) -> Result<Self, String> {
        specials.retain(|special| !special.text.is_empty());
        specials.sort_by_key(|special| std::cmp::Reverse(special.text.len()));
        let automaton = if specials.is_empty() {
            None
        } else {
            let spellings = specials.iter().map(|special| &special.text);
            // The crate's choice for few patterns, a full table per state, would let long ones take gigabytes.
            let built = AhoCorasick::builder()
                .match_kind(MatchKind::Standard)
                .kind(Some(AhoCorasickKind::ContiguousNFA))
                .build(spellings);
            Some(built.map_err(|e| format!("special tokens: {e}"))?)
        };
        Ok(SpecialSet { order: specials, automaton })
    }

    /// Cuts the text. `guards` are ascending byte offsets that no control token may span.
    pub fn partition(&self, text: &[u8], guards: &[usize]) -> Vec<Fragment> {
        let Some(automaton) = &self.automaton else {
            return whole(text);
        };
        // A list of all occurrences is best, but spellings within spellings can make it many times the text.
        let limit = 4 * text.len() + 1024;
        let mut found: Vec<u64> = Vec::new();
        let mut present = vec![false; self.order.len()];
        for occurrence in automaton.find_overlapping_iter(text) {
            let rank = occurrence.pattern().as_usize();
            if !self.allowed(rank, occurrence.start(), guards) {
                continue;
            }
            present[rank] = true;
            if found.len() <= limit {
                found.push((rank as u64) << 40 | occurrence.start() as u64);
            }
        }
        if found.is_empty() {
            return whole(text);
        }
        let mut cut = Cut::new(text);
        if found.len() <= limit {
            found.sort_unstable();
            for entry in found {
                let (rank, start) = ((entry >> 40) as usize, (entry & ((1 << 40) - 1)) as usize);
                cut.take(&self.order[rank], start);
            }
        } else {
            for rank in (0..self.order.len()).filter(|rank| present[*rank]) {
                self.take_all(rank, text, guards, &mut cut);
            }
        }
        cut.fragments()
    }

    fn allowed(&self, rank: usize, start: usize, guards: &[usize]) -> bool {
        let special = &self.order[rank];
        let inner = guards.partition_point(|guard| *guard <= start);
        !special.control || guards.get(inner).is_none_or(|guard| *guard >= start + special.text.len())
    }

    /// One special over what is still plain text.
    fn take_all(&self, rank: usize, text: &[u8], guards: &[usize], cut: &mut Cut) {
        let special = &self.order[rank];
        let finder = memmem::Finder::new(&special.text);
        for (first, end) in cut.plain_ranges(special.text.len()) {
            let mut at = first;
            while let Some(offset) = finder.find(&text[at..end]) {
                let start = at + offset;
                let taken = self.allowed(rank, start, guards) && cut.take(special, start);
                at = start + if taken { special.text.len() } else { 1 };
            }
        }
    }
}

fn whole(text: &[u8]) -> Vec<Fragment> {
    if text.is_empty() {
        Vec::new()
    } else {
        vec![Fragment::Text(0, text.len())]
    }
}

/// Which bytes are spoken for. Specials come longest first, so an earlier one that overlaps a later one covers one of
/// its ends (white space that was stripped lies beside the special that stripped it).
struct Cut<'a> {
    text: &'a [u8],
    taken: Vec<bool>,
    tokens: Vec<(usize, usize, u32)>, // start, end, id
}

impl<'a> Cut<'a> {
    fn new(text: &'a [u8]) -> Self {
        Cut { text, taken: vec![false; text.len()], tokens: Vec::new() }
    }

    fn take(&mut self, special: &Special, start: usize) -> bool {
        let end = start + special.text.len();
        if self.taken[start] || self.taken[end - 1] {
            return false;
        }
        let (mut left, mut right) = (start, end);
        while special.strips_left && left > 0 && self.strippable(left - 1) {
            left -= 1;
        }
        while special.strips_right && right < self.text.len() && self.strippable(right) {
            right += 1;
        }
        self.taken[left..right].fill(true);
        self.tokens.push((start, end, special.id));
        true
    }

    fn strippable(&self, at: usize) -> bool {
        !self.taken[at] && matches!(self.text[at], b' ' | 0x09..=0x0D)
    }

    /// Ranges of plain text of at least `len` bytes.
    fn plain_ranges(&self, len: usize) -> Vec<(usize, usize)> {
        let mut ranges = Vec::new();
        let mut first = 0;
        for run in self.taken.chunk_by(|a, b| a == b) {
            if !run[0] && run.len() >= len {
                ranges.push((first, first + run.len()));
            }
            first += run.len();
        }
        ranges
    }

    fn fragments(mut self) -> Vec<Fragment> {
        self.tokens.sort_unstable();
        let mut fragments = Vec::with_capacity(2 * self.tokens.len() + 1);
        let mut at = 0;
        for (start, end, id) in &self.tokens {
            push_plain(&mut fragments, &self.taken, at, *start);
            fragments.push(Fragment::Token(*id));
            at = *end;
        }
        push_plain(&mut fragments, &self.taken, at, self.text.len());
        fragments
    }
}

/// The untaken bytes between two tokens are one range: stripping only eats its ends.
fn push_plain(fragments: &mut Vec<Fragment>, taken: &[bool], first: usize, end: usize) {
    let between = &taken[first..end];
    if let Some(skip) = between.iter().position(|taken| !taken) {
        let len = between[skip..].iter().take_while(|taken| !**taken).count();
        fragments.push(Fragment::Text(first + skip, first + skip + len));
    }
}
