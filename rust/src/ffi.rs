//! What both halves of the C ABI share: byte strings that cross the border, and the guard around every call.

use std::cell::RefCell;
use std::panic::{catch_unwind, set_hook, AssertUnwindSafe};
use std::sync::Once;

/// Bytes owned by Rust; given back with `farthing_bytes_free`.
#[repr(C)]
pub struct FarthingBytes {
    pub data: *mut u8,
    pub len: usize,
}

impl FarthingBytes {
    pub fn new(bytes: Vec<u8>) -> Self {
        let boxed = bytes.into_boxed_slice();
        let len = boxed.len();
        let data = Box::into_raw(boxed) as *mut u8;
        FarthingBytes { data, len }
    }
}

#[no_mangle]
pub extern "C" fn farthing_bytes_free(bytes: FarthingBytes) {
    if !bytes.data.is_null() {
        // SAFETY: made by FarthingBytes::new, given back once.
        drop(unsafe { Box::from_raw(std::ptr::slice_from_raw_parts_mut(bytes.data, bytes.len)) });
    }
}

thread_local! {
    /// What the last panic of this thread said, and where.
    static LAST_PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Panics are errors like others here: kept for the message, not printed (libraries panic on hostile files).
fn keep_panics_quiet() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        set_hook(Box::new(|info| {
            let text = match (info.payload().downcast_ref::<&str>(), info.payload().downcast_ref::<String>()) {
                (Some(text), _) => text,
                (_, Some(text)) => text.as_str(),
                _ => "panic",
            };
            let text: String = text.chars().take(200).collect();
            LAST_PANIC.with(|last| *last.borrow_mut() = text);
        }));
    });
}

/// Runs `body`; an error or a panic becomes its message in `*error` and `false`.
pub fn guarded<F>(error: *mut FarthingBytes, body: F) -> bool
where
    F: FnOnce() -> Result<(), String>,
{
    keep_panics_quiet();
    let message = match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => return true,
        Ok(Err(message)) => message,
        Err(_) => format!("the text library gave up: {}", LAST_PANIC.with(|last| last.take())),
    };
    if !error.is_null() {
        // SAFETY: the caller passes a valid, writable slot.
        unsafe { *error = FarthingBytes::new(message.into_bytes()) };
    }
    false
}

/// A borrowed byte slice from C; an empty one may be null.
///
/// # Safety
/// `data` is valid for `len` bytes during the call, or `len` is 0.
pub unsafe fn slice<'a>(data: *const u8, len: usize) -> &'a [u8] {
    if len == 0 {
        &[]
    } else {
        std::slice::from_raw_parts(data, len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_with_its_words() {
        let mut error = FarthingBytes::new(Vec::new());
        assert!(!guarded(&mut error, || panic!("slot {} is odd", 7)));
        // SAFETY: made by FarthingBytes::new above.
        let text = unsafe { slice(error.data, error.len) };
        assert_eq!(text, b"the text library gave up: slot 7 is odd");
        farthing_bytes_free(error);
    }
}
