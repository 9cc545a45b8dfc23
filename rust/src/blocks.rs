//! Owns: the big blocks of memory of this library, whole pages from the kernel. Does not know: what is in them.
//! Invariant: a block of at least BIG bytes is a mapping of `capacity(size)` bytes; a smaller one is the system's.
//!
//! A text of megabytes goes through a dozen buffers of some tens of bytes per byte. The system's allocator gives each
//! of 32 MiB or more back to the kernel at once (glibc's M_MMAP_THRESHOLD stops growing there), so that beyond such a
//! text every page of every buffer is faulted in anew: three times the CPU time for twice the text. While a `Reuse`
//! lives, blocks that this thread frees are kept for its next buffers; then they go back.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::{Cell, UnsafeCell};
use std::ptr::null_mut;

#[global_allocator]
static ALLOCATOR: Blocks = Blocks;

const BIG: usize = 1 << 20;

/// Blocks one thread keeps at most; what comes on top goes back to the kernel.
const MOST_KEPT: usize = 32;

struct Blocks;

struct Kept {
    blocks: [(*mut u8, usize); MOST_KEPT], // address, capacity
    len: usize,
}

thread_local! {
    // Neither allocates nor has a destructor: the allocator itself reads them.
    static KEPT: UnsafeCell<Kept> =
        const { UnsafeCell::new(Kept { blocks: [(null_mut(), 0); MOST_KEPT], len: 0 }) };
    static USERS: Cell<usize> = const { Cell::new(0) };
    static MAPPED: Cell<u64> = const { Cell::new(0) };
}

/// While it lives, this thread's big blocks are used again.
pub struct Reuse {
    _of_this_thread: std::marker::PhantomData<*const ()>,
}

impl Reuse {
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        USERS.set(USERS.get() + 1);
        Reuse { _of_this_thread: std::marker::PhantomData }
    }
}

impl Drop for Reuse {
    fn drop(&mut self) {
        USERS.set(USERS.get() - 1);
        if USERS.get() > 0 {
            return;
        }
        while let Some((block, capacity)) = with_kept(Kept::pop) {
            // SAFETY: kept blocks are mappings that nobody else has.
            unsafe { unmap(block, capacity) };
        }
    }
}

/// Bytes this thread has had from the kernel so far.
pub fn mapped_bytes() -> u64 {
    MAPPED.get()
}

impl Kept {
    fn pop(&mut self) -> Option<(*mut u8, usize)> {
        self.len = self.len.checked_sub(1)?;
        Some(self.blocks[self.len])
    }

    fn push(&mut self, block: *mut u8, capacity: usize) -> bool {
        let room = self.len < MOST_KEPT;
        if room {
            self.blocks[self.len] = (block, capacity);
            self.len += 1;
        }
        room
    }

    fn take(&mut self, capacity: usize) -> Option<*mut u8> {
        let at = self.blocks[..self.len].iter().rposition(|kept| kept.1 == capacity)?;
        let (block, _) = self.blocks[at];
        self.len -= 1;
        self.blocks[at] = self.blocks[self.len];
        Some(block)
    }
}

fn with_kept<R>(use_it: impl FnOnce(&mut Kept) -> R) -> R {
    // SAFETY: only this thread reaches it, and the methods of Kept call nothing that allocates.
    KEPT.with(|kept| use_it(unsafe { &mut *kept.get() }))
}

/// Few sizes, so that a kept block fits; the pages beyond what is asked for are never touched.
fn capacity(size: usize) -> Option<usize> {
    size.checked_next_power_of_two()
}

fn is_big(layout: &Layout) -> bool {
    layout.size() >= BIG && layout.align() <= 4096
}

/// A block, and whether it is all zeros.
fn obtain(size: usize) -> (*mut u8, bool) {
    let Some(capacity) = capacity(size) else { return (null_mut(), false) };
    match with_kept(|kept| kept.take(capacity)) {
        Some(block) => (block, false),
        None => (map(capacity), true),
    }
}

fn map(capacity: usize) -> *mut u8 {
    let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a new private mapping at an address of the kernel's choice.
    let block = unsafe { libc::mmap(null_mut(), capacity, access, kind, -1, 0) };
    if block == libc::MAP_FAILED {
        return null_mut();
    }
    MAPPED.set(MAPPED.get() + capacity as u64);
    block.cast()
}

/// # Safety
/// `block` is a mapping of `capacity` bytes that nobody uses any more.
unsafe fn unmap(block: *mut u8, capacity: usize) {
    libc::munmap(block.cast(), capacity);
}

// SAFETY: `size >= BIG` decides alike for every call which of two allocators owns a block; a mapping is page-aligned
// and as large as `capacity(size)`, which is the same for all sizes that a block may take without moving.
unsafe impl GlobalAlloc for Blocks {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if is_big(&layout) {
            obtain(layout.size()).0
        } else {
            System.alloc(layout)
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if !is_big(&layout) {
            return System.alloc_zeroed(layout);
        }
        let (block, zeroed) = obtain(layout.size());
        if !zeroed && !block.is_null() {
            block.write_bytes(0, layout.size());
        }
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        match capacity(layout.size()).filter(|_| is_big(&layout)) {
            None => System.dealloc(block, layout),
            Some(capacity) => {
                if USERS.get() == 0 || !with_kept(|kept| kept.push(block, capacity)) {
                    unmap(block, capacity);
                }
            }
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let wanted = Layout::from_size_align_unchecked(size, layout.align());
        match (is_big(&layout), is_big(&wanted)) {
            (false, false) => return System.realloc(block, layout, size),
            (true, true) if capacity(layout.size()) == capacity(size) => return block,
            _ => {}
        }
        let moved = self.alloc(wanted);
        if !moved.is_null() {
            moved.copy_from_nonoverlapping(block, layout.size().min(size));
            self.dealloc(block, layout);
        }
        moved
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hint::black_box; // an allocation that nobody looks at may be left out

    #[test]
    fn blocks_are_used_again_while_asked_for() {
        let before = mapped_bytes();
        drop(black_box(vec![1u8; 5 << 20]));
        drop(black_box(vec![1u8; 5 << 20]));
        assert_eq!(mapped_bytes() - before, 2 * (8 << 20), "nothing is kept without a Reuse");
        let before = mapped_bytes();
        {
            let _outer = Reuse::new();
            for value in 0..20u8 {
                let _inner = Reuse::new();
                let bytes = black_box(vec![value; (5 << 20) + value as usize]);
                assert!(bytes.iter().all(|byte| *byte == value));
            }
        }
        assert_eq!(mapped_bytes() - before, 8 << 20);
        assert_eq!(with_kept(|kept| kept.len), 0);
    }

    #[test]
    fn reused_blocks_are_zeroed_when_zeros_are_asked_for() {
        let _reuse = Reuse::new();
        drop(black_box(vec![0xFFu8; 4 << 20]));
        let before = mapped_bytes();
        assert!(black_box(vec![0u8; 3 << 20]).iter().all(|byte| *byte == 0));
        assert_eq!(mapped_bytes(), before);
    }

    #[test]
    fn contents_survive_every_change_of_size() {
        for _reuse in [None, Some(Reuse::new())] {
            let mut numbers: Vec<u64> = Vec::new();
            for i in 0..1 << 21 {
                numbers.push(i);
            }
            for len in [1 << 20, 1 << 17, 100, 1 << 17, 1 << 19] {
                numbers.truncate(len);
                numbers.shrink_to_fit();
                numbers.extend(numbers.len() as u64..len as u64);
                assert!(numbers.iter().copied().eq(0..len as u64));
            }
        }
    }

    #[test]
    fn no_more_than_the_limit_is_kept() {
        let _reuse = Reuse::new();
        let many: Vec<Vec<u8>> = (0..MOST_KEPT + 5).map(|_| Vec::with_capacity(BIG)).collect();
        drop(black_box(many));
        assert_eq!(with_kept(|kept| kept.len), MOST_KEPT);
    }

    #[test]
    fn what_the_kernel_refuses_is_an_error() {
        let mut bytes: Vec<u8> = Vec::new();
        assert!(bytes.try_reserve_exact(isize::MAX as usize).is_err());
        assert!(bytes.try_reserve_exact(1 << 47).is_err());
        assert_eq!(bytes.capacity(), 0);
    }
}
