//! What both halves of the C ABI share: byte strings that cross the border, and the guard around every call.

use std::panic::{catch_unwind, AssertUnwindSafe};

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

/// Runs `body`; an error or a panic becomes its message in `*error` and `false`.
pub fn guarded<F>(error: *mut FarthingBytes, body: F) -> bool
where
    F: FnOnce() -> Result<(), String>,
{
    let message = match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => return true,
        Ok(Err(message)) => message,
        Err(_) => "internal error in the text library".to_string(),
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
