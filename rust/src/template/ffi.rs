//! The C ABI of templates (include/farthing_template.h).

use super::Template;
use crate::ffi::{guarded, slice, FarthingBytes};

pub struct FarthingTemplate(Template);

fn utf8<'a>(bytes: &'a [u8], what: &str) -> Result<&'a str, String> {
    std::str::from_utf8(bytes)
        .map_err(|error| format!("{what} is no UTF-8 (at byte {})", error.valid_up_to()))
}

/// # Safety
/// `source` is valid for `len` bytes; `out` and `error` are writable.
#[no_mangle]
pub unsafe extern "C" fn farthing_template_compile(
    source: *const u8,
    len: usize,
    out: *mut *mut FarthingTemplate,
    error: *mut FarthingBytes,
) -> bool {
    guarded(error, || {
        let template = Template::compile(utf8(slice(source, len), "the chat template")?)?;
        *out = Box::into_raw(Box::new(FarthingTemplate(template)));
        Ok(())
    })
}

/// # Safety
/// `template` came from `farthing_template_compile` and is given back once; it may be null.
#[no_mangle]
pub unsafe extern "C" fn farthing_template_free(template: *mut FarthingTemplate) {
    if !template.is_null() {
        drop(Box::from_raw(template));
    }
}

/// # Safety
/// `template` is alive; the pointers are valid for their lengths; `out` and `error` are writable.
#[no_mangle]
pub unsafe extern "C" fn farthing_template_render(
    template: *const FarthingTemplate,
    variables: *const u8,
    variables_len: usize,
    now: *const u8,
    now_len: usize,
    out: *mut FarthingBytes,
    error: *mut FarthingBytes,
) -> bool {
    guarded(error, || {
        let variables = utf8(slice(variables, variables_len), "the template's input")?;
        let now = utf8(slice(now, now_len), "the time")?;
        let text = (*template).0.render(variables, now)?;
        *out = FarthingBytes::new(text.into_bytes());
        Ok(())
    })
}
