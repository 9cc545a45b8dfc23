//! Owns: what kind of token each id of a GGUF vocabulary is: the file's types, corrected by spelling as llama.cpp
//! corrects them (many files mark their turn markers as plain text). Does not know: how text is encoded.

use super::strings::StringTable;
use super::vocab::{NamedIds, VocabInput};

/// A set of properties of one token.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TokenAttr(u16);

impl TokenAttr {
    pub const NORMAL: u16 = 0x01;
    pub const UNKNOWN: u16 = 0x02;
    pub const CONTROL: u16 = 0x04;
    pub const USER_DEFINED: u16 = 0x08;
    pub const BYTE: u16 = 0x10;
    pub const ENDS_GENERATION: u16 = 0x20;
    pub const STRIPS_LEFT: u16 = 0x40;
    pub const STRIPS_RIGHT: u16 = 0x80;
    /// What kind of token, apart from its other properties.
    const KIND: u16 = 0x1F;

    pub fn is(self, any_of: u16) -> bool {
        self.0 & any_of != 0
    }

    /// The numbers of tokenizer.ggml.token_type; unused and undefined tokens are of no kind.
    fn of_type(token_type: u8) -> Self {
        TokenAttr(match token_type {
            1 => Self::NORMAL,
            2 => Self::UNKNOWN,
            3 => Self::CONTROL,
            4 => Self::USER_DEFINED,
            6 => Self::BYTE,
            _ => 0,
        })
    }
}

/// Texts that end a turn or a document in the published vocabularies.
const ENDS: &[&str] = &[
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|flush|>",
    "<|calls|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "</s>",
    "<|eom_id|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<|end_of_text|>",
    "<end_of_utterance>",
    "<eos>",
    "<turn|>",
    "<|tool_response>",
    "<｜end▁of▁sentence｜>",
    "[e~[",
];

/// Markers of fill-in-the-middle; the first of each list that the vocabulary has is a control token.
const FIM_OPEN: [&[&str]; 3] = [
    &["<|fim_prefix|>", "<fim-prefix>", "<fim_prefix>", "<｜fim▁begin｜>", "<PRE>", "▁<PRE>", "<|code_prefix|>",
        "<|prefix|>"],
    &["<|fim_suffix|>", "<fim-suffix>", "<fim_suffix>", "<｜fim▁hole｜>", "<SUF>", "▁<SUF>", "<|code_suffix|>",
        "<|suffix|>"],
    &["<|fim_middle|>", "<fim-middle>", "<fim_middle>", "<｜fim▁end｜>", "<MID>", "▁<MID>", "<|code_middle|>",
        "<|middle|>"],
];
/// These end the generation too.
const FIM_PAD: &[&str] = &["<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]"];
const FIM_REP: &[&str] = &["<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>"];
const FIM_SEP: &[&str] = &["<|file_sep|>"];

/// gpt-oss: shown and found like text.
const ALWAYS_SHOWN: &[&str] = &["<|channel|>", "<|message|>", "<|start|>", "<|constrain|>"];

pub fn ends_generation_by_spelling(text: &str) -> bool {
    ENDS.contains(&text)
}

pub struct Attributes {
    of: Vec<TokenAttr>,
}

impl Attributes {
    pub fn new(strings: &StringTable, input: &VocabInput, ids: &NamedIds) -> Self {
        let normal = TokenAttr(TokenAttr::NORMAL);
        let kind = |id: usize| input.types.get(id).map_or(normal, |kind| TokenAttr::of_type(*kind));
        let mut attributes = Attributes { of: (0..input.tokens.len()).map(kind).collect() };
        attributes.mark_fill_in_the_middle(strings, ids);
        attributes.mark_ends(strings, ids);
        attributes.mark_stripping(strings, input);
        attributes
    }

    pub fn len(&self) -> usize {
        self.of.len()
    }

    pub fn of(&self, id: u32) -> TokenAttr {
        self.of[id as usize]
    }

    fn add(&mut self, id: u32, bits: u16) {
        self.of[id as usize].0 |= bits;
    }

    fn remove(&mut self, id: u32, bits: u16) {
        self.of[id as usize].0 &= !bits;
    }

    fn set_kind(&mut self, id: u32, kind: u16) {
        self.remove(id, TokenAttr::KIND);
        self.add(id, kind);
    }

    fn ends(&self, id: Option<u32>) -> bool {
        id.is_some_and(|id| self.of(id).is(TokenAttr::ENDS_GENERATION))
    }

    fn mark_fill_in_the_middle(&mut self, strings: &StringTable, ids: &NamedIds) {
        let first = |texts: &[&str]| texts.iter().filter_map(|text| strings.get(text.as_bytes())).min();
        for texts in FIM_OPEN {
            if let Some(id) = first(texts) {
                self.add(id, TokenAttr::CONTROL);
            }
        }
        for (stated, texts) in [(ids.fim_pad, FIM_PAD), (ids.fim_rep, FIM_REP), (ids.fim_sep, FIM_SEP)] {
            if let Some(id) = stated {
                self.add(id, TokenAttr::ENDS_GENERATION);
            } else if let Some(id) = first(texts) {
                self.add(id, TokenAttr::CONTROL | TokenAttr::ENDS_GENERATION);
            }
        }
    }

    fn mark_ends(&mut self, strings: &StringTable, ids: &NamedIds) {
        let find = |text: &str| strings.get(text.as_bytes());
        for id in ENDS.iter().filter_map(|text| find(text)) {
            self.add(id, TokenAttr::CONTROL | TokenAttr::ENDS_GENERATION);
        }
        for id in ALWAYS_SHOWN.iter().filter_map(|text| find(text)) {
            self.set_kind(id, TokenAttr::USER_DEFINED);
        }
        for id in [ids.eos, ids.eot, ids.eom].into_iter().flatten() {
            self.add(id, TokenAttr::ENDS_GENERATION);
        }
        // Where a message ends with <|return|>, <|call|> or <|flush|>, <|end|> only parts messages.
        let called = self.ends(find("<|call|>")) || self.ends(find("<|calls|>"));
        let returned = self.ends(find("<|return|>")) || self.ends(find("<|flush|>"));
        if let Some(id) = find("<|end|>").filter(|id| called && returned && self.ends(Some(*id))) {
            self.remove(id, TokenAttr::ENDS_GENERATION);
            self.set_kind(id, TokenAttr::USER_DEFINED);
        }
        // In these vocabularies </s> is an HTML tag.
        let html = self.ends(find("<|tool_response>")) || self.ends(find("<|plamo:eos|>"));
        if let Some(id) = find("</s>").filter(|id| html && self.ends(Some(*id))) {
            self.remove(id, TokenAttr::ENDS_GENERATION);
            self.set_kind(id, TokenAttr::NORMAL);
        }
    }

    /// GGUF doesn't keep which tokens swallow white space; three families are known to have them.
    fn mark_stripping(&mut self, strings: &StringTable, input: &VocabInput) {
        let pre = input.pre.unwrap_or("");
        let name = input.name.to_ascii_lowercase();
        let find = |text: &str| strings.get(text.as_bytes());
        if ["jina-v2-de", "jina-v2-es", "jina-v2-code"].iter().any(|known| pre.contains(known)) {
            if let Some(id) = find("<mask>") {
                self.add(id, TokenAttr::STRIPS_LEFT);
            }
        } else if name.contains("phi-3") || name.contains("phi3") {
            let special = TokenAttr::CONTROL | TokenAttr::USER_DEFINED | TokenAttr::UNKNOWN;
            for attr in self.of.iter_mut().filter(|attr| attr.is(special)) {
                attr.0 |= TokenAttr::STRIPS_RIGHT;
            }
            for id in ["<unk>", "<s>", "<|endoftext|>"].iter().filter_map(|text| find(text)) {
                self.remove(id, TokenAttr::STRIPS_RIGHT);
            }
        } else if name.contains("modern-bert") {
            if let Some(id) = find("[MASK]") {
                self.add(id, TokenAttr::STRIPS_LEFT);
            }
        }
    }
}
