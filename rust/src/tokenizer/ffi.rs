//! The C ABI of the tokenizers (include/farthing_tokenizer.h).

use std::ffi::c_void;

use super::{EncodeOptions, JsonTokenizer, NamedIds, Tokenizer, VocabInput, VocabTokenizer};
use crate::ffi::{guarded, slice, FarthingBytes};

/// Borrowed bytes.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct FarthingSlice {
    pub data: *const u8,
    pub len: usize,
}

#[repr(C)]
pub struct FarthingVocab {
    model: FarthingSlice,
    pre: FarthingSlice,
    name: FarthingSlice,
    tokens: *const FarthingSlice,
    n_tokens: usize,
    scores: *const f32,
    n_scores: usize,
    types: *const u8,
    n_types: usize,
    merges: *const FarthingSlice,
    n_merges: usize,
    bos: i32,
    eos: i32,
    eot: i32,
    eom: i32,
    unknown: i32,
    separator: i32,
    fim_pad: i32,
    fim_rep: i32,
    fim_sep: i32,
    add_bos: i8,
    add_eos: i8,
    add_space_prefix: i8,
    lowercase: i8,
    strip_accents: i8,
}

/// Token ids owned by Rust; given back with `farthing_ids_free`.
#[repr(C)]
pub struct FarthingIds {
    pub data: *mut u32,
    pub len: usize,
}

#[repr(C)]
pub struct FarthingTokenizerInfo {
    n_tokens: u32,
    bos: i32,
    eos: i32,
    adds_bos: bool,
    strips_leading_space: bool,
    n_warnings: u32,
}

unsafe fn bytes<'a>(borrowed: FarthingSlice) -> &'a [u8] {
    slice(borrowed.data, borrowed.len)
}

unsafe fn text<'a>(borrowed: FarthingSlice, key: &str) -> Result<&'a str, String> {
    std::str::from_utf8(bytes(borrowed)).map_err(|_| format!("{key} is not UTF-8"))
}

unsafe fn array<'a, T>(data: *const T, len: usize) -> &'a [T] {
    if len == 0 {
        &[]
    } else {
        std::slice::from_raw_parts(data, len)
    }
}

fn some_id(id: i32) -> Option<u32> {
    u32::try_from(id).ok()
}

fn some_bool(value: i8) -> Option<bool> {
    (value >= 0).then_some(value != 0)
}

fn or_none(id: Option<u32>) -> i32 {
    id.and_then(|id| i32::try_from(id).ok()).unwrap_or(-1)
}

fn hand_over(tokenizer: Tokenizer) -> *mut c_void {
    Box::into_raw(Box::new(tokenizer)) as *mut c_void
}

unsafe fn input_of<'a>(vocab: &FarthingVocab) -> Result<VocabInput<'a>, String> {
    let pre = text(vocab.pre, "tokenizer.ggml.pre")?;
    Ok(VocabInput {
        model: text(vocab.model, "tokenizer.ggml.model")?,
        pre: (!pre.is_empty()).then_some(pre),
        name: text(vocab.name, "general.name")?,
        tokens: array(vocab.tokens, vocab.n_tokens).iter().map(|token| bytes(*token)).collect(),
        scores: array(vocab.scores, vocab.n_scores),
        types: array(vocab.types, vocab.n_types),
        merges: array(vocab.merges, vocab.n_merges).iter().map(|merge| bytes(*merge)).collect(),
        ids: NamedIds {
            bos: some_id(vocab.bos),
            eos: some_id(vocab.eos),
            eot: some_id(vocab.eot),
            eom: some_id(vocab.eom),
            unknown: some_id(vocab.unknown),
            separator: some_id(vocab.separator),
            fim_pad: some_id(vocab.fim_pad),
            fim_rep: some_id(vocab.fim_rep),
            fim_sep: some_id(vocab.fim_sep),
        },
        add_bos: some_bool(vocab.add_bos),
        add_eos: some_bool(vocab.add_eos),
        add_space_prefix: some_bool(vocab.add_space_prefix),
        lowercase: some_bool(vocab.lowercase),
        strip_accents: some_bool(vocab.strip_accents),
    })
}

/// # Safety
/// Every pointer of `vocab` is valid for its length; `out` and `error` are writable.
#[no_mangle]
pub unsafe extern "C" fn farthing_tokenizer_from_vocab(
    vocab: *const FarthingVocab,
    out: *mut *mut c_void,
    error: *mut FarthingBytes,
) -> bool {
    guarded(error, || {
        let tokenizer = VocabTokenizer::new(&input_of(&*vocab)?)?;
        *out = hand_over(Tokenizer::Vocab(Box::new(tokenizer)));
        Ok(())
    })
}

/// # Safety
/// `source` is valid for `len` bytes; `out` and `error` are writable.
#[no_mangle]
pub unsafe extern "C" fn farthing_tokenizer_from_json(
    source: *const u8,
    len: usize,
    out: *mut *mut c_void,
    error: *mut FarthingBytes,
) -> bool {
    guarded(error, || {
        let tokenizer = JsonTokenizer::new(slice(source, len))?;
        *out = hand_over(Tokenizer::Json(Box::new(tokenizer)));
        Ok(())
    })
}

/// # Safety
/// `tokenizer` came from this library and is given back once; null is fine.
#[no_mangle]
pub unsafe extern "C" fn farthing_tokenizer_free(tokenizer: *mut c_void) {
    if !tokenizer.is_null() {
        drop(Box::from_raw(tokenizer as *mut Tokenizer));
    }
}

/// # Safety
/// `tokenizer` is alive; `data` is valid for `len` bytes; `out` and `error` are writable.
#[no_mangle]
pub unsafe extern "C" fn farthing_tokenizer_encode(
    tokenizer: *const c_void,
    data: *const u8,
    len: usize,
    add_special: bool,
    parse_special: bool,
    guard: u32,
    out: *mut FarthingIds,
    error: *mut FarthingBytes,
) -> bool {
    guarded(error, || {
        let guard = char::from_u32(guard).filter(|c| *c != '\0');
        let options = EncodeOptions { add_special, parse_special, guard };
        let ids = (*(tokenizer as *const Tokenizer)).encode(slice(data, len), options)?;
        let ids = ids.into_boxed_slice();
        let len = ids.len();
        *out = FarthingIds { data: Box::into_raw(ids) as *mut u32, len };
        Ok(())
    })
}

/// # Safety
/// `ids` came from `farthing_tokenizer_encode` and is given back once.
#[no_mangle]
pub unsafe extern "C" fn farthing_ids_free(ids: FarthingIds) {
    if !ids.data.is_null() {
        drop(Box::from_raw(std::ptr::slice_from_raw_parts_mut(ids.data, ids.len)));
    }
}

/// The bytes one token adds and its flags; false if there is no such id. The bytes live as long as the tokenizer.
///
/// # Safety
/// `tokenizer` is alive; `piece` and `flags` are writable.
#[no_mangle]
pub unsafe extern "C" fn farthing_tokenizer_piece(
    tokenizer: *const c_void,
    id: i32,
    piece: *mut FarthingSlice,
    flags: *mut u8,
) -> bool {
    let found = u32::try_from(id).ok().and_then(|id| (*(tokenizer as *const Tokenizer)).piece(id));
    if let Some((bytes, bits)) = found {
        *piece = FarthingSlice { data: bytes.as_ptr(), len: bytes.len() };
        *flags = bits;
    }
    found.is_some()
}

/// # Safety
/// `tokenizer` is alive.
#[no_mangle]
pub unsafe extern "C" fn farthing_tokenizer_info(tokenizer: *const c_void) -> FarthingTokenizerInfo {
    let tokenizer = &*(tokenizer as *const Tokenizer);
    let info = tokenizer.info();
    FarthingTokenizerInfo {
        n_tokens: info.n_tokens,
        bos: or_none(info.bos),
        eos: or_none(info.eos),
        adds_bos: info.adds_bos,
        strips_leading_space: info.strips_leading_space,
        n_warnings: tokenizer.warnings().len() as u32,
    }
}

/// The i-th warning (0 <= i < n_warnings); it lives as long as the tokenizer.
///
/// # Safety
/// `tokenizer` is alive.
#[no_mangle]
pub unsafe extern "C" fn farthing_tokenizer_warning(tokenizer: *const c_void, index: u32) -> FarthingSlice {
    let warnings = (*(tokenizer as *const Tokenizer)).warnings();
    let text = warnings.get(index as usize).map_or("", String::as_str);
    FarthingSlice { data: text.as_ptr(), len: text.len() }
}
