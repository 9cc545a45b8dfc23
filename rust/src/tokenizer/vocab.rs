//! Owns: a tokenizer built from a GGUF vocabulary, with the same ids as llama.cpp's (docs/decisions/0002).
//! Does not know: the C ABI, tokenizer.json.

use std::sync::OnceLock;

use super::attributes::{Attributes, TokenAttr};
use super::bpe::{Bpe, BpeOptions};
use super::merge::Merger;
use super::pieces::Pieces;
use super::pretokenize::{self, PreTokenizer, Splitter, Words};
use super::special::{Fragment, Special, SpecialSet};
use super::spm::Spm;
use super::strings::StringTable;
use super::wpm::Wpm;
use super::{EncodeOptions, Info};

/// The keys tokenizer.* of a GGUF file, as C hands them over.
#[derive(Default)]
pub struct VocabInput<'a> {
    pub model: &'a str,
    pub pre: Option<&'a str>,
    pub name: &'a str, // general.name: phi-3 is known by it
    pub tokens: Vec<&'a [u8]>,
    pub scores: &'a [f32],
    pub types: &'a [u8],
    pub merges: Vec<&'a [u8]>,
    pub ids: NamedIds,
    pub add_bos: Option<bool>,
    pub add_eos: Option<bool>,
    pub add_space_prefix: Option<bool>,
    pub lowercase: Option<bool>,
    pub strip_accents: Option<bool>,
}

#[derive(Default, Clone, Copy)]
pub struct NamedIds {
    pub bos: Option<u32>,
    pub eos: Option<u32>,
    pub eot: Option<u32>,
    pub eom: Option<u32>,
    pub unknown: Option<u32>,
    pub separator: Option<u32>,
    pub fim_pad: Option<u32>,
    pub fim_rep: Option<u32>,
    pub fim_sep: Option<u32>,
}

enum Model {
    Bpe(Box<Bpe>),
    Spm(Spm),
    Wpm(Box<Wpm>),
}

pub struct VocabTokenizer {
    model: Model,
    specials: [OnceLock<Result<SpecialSet, String>>; 2], // without and with control tokens; made at first use
    attributes: Attributes,
    pieces: Pieces,
    ids: NamedIds,
    add_bos: bool,
    add_eos: bool,
    add_space_prefix: bool,
    escape_spaces: bool, // U+2581 stands for a space
    warnings: Vec<String>,
}

const SPACE_MARK: &str = "\u{2581}";

impl VocabTokenizer {
    pub fn new(input: &VocabInput) -> Result<Self, String> {
        if input.tokens.is_empty() {
            return Err("tokenizer.ggml.tokens is empty: the file has no vocabulary".to_string());
        }
        let mut warnings = Vec::new();
        let kind = Kind::of(input, &mut warnings)?;
        let ids = kind.ids(input, &mut warnings);
        let strings = intern_tokens(&input.tokens, &mut warnings);
        let attributes = Attributes::new(&strings, input, &ids);
        let pieces = Pieces::from_vocab(&strings, &attributes, kind.alphabet());
        let add_space_prefix = input.add_space_prefix.unwrap_or(matches!(kind, Kind::Spm));
        let (add_bos, add_eos) = kind.ends(input, &ids, &mut warnings);
        let escape_spaces = matches!(kind, Kind::Spm) || matches!(kind, Kind::Bpe(pre) if pre.plain_utf8);
        let model = match kind {
            Kind::Bpe(pre) => Model::Bpe(Box::new(Bpe::new(
                strings,
                &input.merges,
                BpeOptions {
                    splitter: pre.splitter,
                    byte_level: !pre.plain_utf8,
                    ignore_merges: pre.ignore_merges,
                },
            ))),
            Kind::Spm => Model::Spm(Spm::new(strings, input.scores, ids.unknown)),
            Kind::Wpm => {
                let lowercase = input.lowercase.unwrap_or(true);
                let strip_accents = input.strip_accents.unwrap_or(lowercase);
                Model::Wpm(Box::new(Wpm::new(strings, ids.unknown, lowercase, strip_accents)))
            }
        };
        Ok(VocabTokenizer {
            model,
            specials: Default::default(),
            attributes,
            pieces,
            ids,
            add_bos,
            add_eos,
            add_space_prefix,
            escape_spaces,
            warnings,
        })
    }

    /// `guards`: byte offsets in `text` that no control token may span.
    pub fn encode(&self, text: &str, guards: &[usize], options: EncodeOptions) -> Result<Vec<u32>, String> {
        let mut out = Vec::with_capacity(text.len().min(1 << 24) + 2);
        if options.add_special && self.add_bos {
            out.extend(self.ids.bos);
        }
        let (mut words, mut merger, mut spaced) = (Words::default(), Merger::default(), String::new());
        let mut after_special = true;
        for fragment in self.specials(options.parse_special)?.partition(text.as_bytes(), guards) {
            let (first, end) = match fragment {
                Fragment::Token(id) => {
                    out.push(id);
                    after_special = true;
                    continue;
                }
                Fragment::Text(first, end) => (first, end),
            };
            let mut plain = text.get(first..end).ok_or("a special token ends within a character")?;
            if self.escape_spaces {
                spaced.clear();
                if matches!(self.model, Model::Spm(_)) && self.add_space_prefix && after_special {
                    spaced.push_str(SPACE_MARK);
                }
                escape(plain, &mut spaced);
                plain = &spaced;
            }
            match &self.model {
                Model::Bpe(bpe) => bpe.encode(plain, &mut words, &mut merger, &mut out),
                Model::Spm(spm) => spm.encode(plain, &mut merger, &mut out),
                Model::Wpm(wpm) => wpm.encode(plain, &mut out),
            }
            after_special = false;
        }
        if options.add_special {
            match &self.model {
                Model::Wpm(_) => out.extend(self.ids.separator),
                _ if self.add_eos => out.extend(self.ids.eos),
                _ => {}
            }
        }
        Ok(out)
    }

    fn specials(&self, parse: bool) -> Result<&SpecialSet, String> {
        let made = self.specials[usize::from(parse)].get_or_init(|| {
            let strings = self.strings();
            let wanted = (0..self.attributes.len() as u32).filter_map(|id| {
                let attr = self.attributes.of(id);
                let control = attr.is(TokenAttr::CONTROL | TokenAttr::UNKNOWN);
                let found = attr.is(TokenAttr::USER_DEFINED) || control;
                (found && (parse || !control)).then(|| Special {
                    id,
                    text: strings.text(id).to_vec(),
                    control,
                    strips_left: attr.is(TokenAttr::STRIPS_LEFT),
                    strips_right: attr.is(TokenAttr::STRIPS_RIGHT),
                })
            });
            SpecialSet::new(wanted.collect())
        });
        made.as_ref().map_err(Clone::clone)
    }

    fn strings(&self) -> &StringTable {
        match &self.model {
            Model::Bpe(bpe) => bpe.strings(),
            Model::Spm(spm) => spm.strings(),
            Model::Wpm(wpm) => wpm.strings(),
        }
    }

    pub fn pieces(&self) -> &Pieces {
        &self.pieces
    }

    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    pub fn info(&self) -> Info {
        Info {
            n_tokens: self.attributes.len() as u32,
            bos: self.ids.bos,
            eos: self.ids.eos,
            adds_bos: self.add_bos,
            strips_leading_space: self.add_space_prefix,
        }
    }
}

fn escape(text: &str, out: &mut String) {
    for (i, part) in text.split(' ').enumerate() {
        if i > 0 {
            out.push_str(SPACE_MARK);
        }
        out.push_str(part);
    }
}

fn intern_tokens(tokens: &[&[u8]], warnings: &mut Vec<String>) -> StringTable {
    let bytes = tokens.iter().map(|token| token.len()).sum();
    let mut strings = StringTable::with_capacity(tokens.len(), bytes);
    let mut twice = 0;
    for (id, token) in tokens.iter().enumerate() {
        let (_, known) = if token.is_empty() {
            strings.push(format!("[EMPTY_{id}]").as_bytes())
        } else {
            strings.push(token)
        };
        twice += usize::from(known);
    }
    if twice > 0 {
        warnings.push(format!("tokenizer.ggml.tokens: {twice} tokens repeat an earlier text; the last one is used"));
    }
    strings
}

/// How piece bytes are spelled in the vocabulary.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Alphabet {
    Bytes,     // byte_to_char
    SpaceMark, // U+2581 is a space, <0xXX> a byte
}

enum Kind {
    Bpe(PreTokenizer),
    Spm,
    Wpm,
}

impl Kind {
    fn of(input: &VocabInput, warnings: &mut Vec<String>) -> Result<Self, String> {
        match input.model {
            "llama" => Ok(Kind::Spm),
            "bert" => Ok(Kind::Wpm),
            "gemma4" => Kind::bpe("gemma4", input),
            "gpt2" => match input.pre {
                Some(name) if !name.is_empty() => Kind::bpe(name, input),
                _ => {
                    warnings.push(
                        "the file has no tokenizer.ggml.pre; words are cut by the default rules, which may not be \
                         this model's: convert the model again"
                            .to_string(),
                    );
                    Kind::bpe("default", input)
                }
            },
            "t5" => Err("tokenizer.ggml.model is 't5' (a unigram vocabulary), which farthing doesn't read; it reads \
                         gpt2, llama, gemma4 and bert"
                .to_string()),
            other => Err(format!(
                "tokenizer.ggml.model is '{other}', which farthing doesn't know; it reads gpt2, llama, gemma4 and bert"
            )),
        }
    }

    fn bpe(name: &str, input: &VocabInput) -> Result<Self, String> {
        let pre = pretokenize::find(name).ok_or_else(|| {
            format!(
                "tokenizer.ggml.pre is '{name}', a pre-tokenizer farthing doesn't know; it knows {}",
                pretokenize::names()
            )
        })?;
        if input.merges.is_empty() && pre.splitter != Splitter::Lines {
            return Err("tokenizer.ggml.merges is missing: a gpt2 vocabulary can't be used without it".to_string());
        }
        Ok(Kind::Bpe(pre))
    }

    fn alphabet(&self) -> Alphabet {
        match self {
            Kind::Bpe(pre) if !pre.plain_utf8 => Alphabet::Bytes,
            _ => Alphabet::SpaceMark,
        }
    }

    /// The ids the file names, and what the format's readers take where it names none.
    fn ids(&self, input: &VocabInput, warnings: &mut Vec<String>) -> NamedIds {
        let defaults = match self {
            Kind::Spm => NamedIds { bos: Some(1), eos: Some(2), unknown: Some(0), ..NamedIds::default() },
            Kind::Wpm => {
                NamedIds { bos: Some(101), unknown: Some(100), separator: Some(102), ..NamedIds::default() }
            }
            Kind::Bpe(pre) if input.model == "gpt2" => {
                NamedIds { bos: pre.default_bos.then_some(11), eos: Some(11), ..NamedIds::default() }
            }
            Kind::Bpe(_) => NamedIds::default(),
        };
        let n_tokens = input.tokens.len() as u32;
        let mut pick = |name: &str, stated: Option<u32>, default: Option<u32>| {
            let default = default.filter(|id| *id < n_tokens);
            match stated {
                Some(id) if id < n_tokens => Some(id),
                Some(id) => {
                    warnings.push(format!("{name} {id} is outside the vocabulary of {n_tokens} tokens"));
                    default
                }
                None => {
                    if let Some(id) = default.filter(|_| name == "tokenizer.ggml.eos_token_id") {
                        let text = String::from_utf8_lossy(input.tokens[id as usize]);
                        warnings.push(format!("the file has no {name}; token {id} ('{text}') ends the text"));
                    }
                    default
                }
            }
        };
        let stated = &input.ids;
        NamedIds {
            bos: pick("tokenizer.ggml.bos_token_id", stated.bos, defaults.bos),
            eos: pick("tokenizer.ggml.eos_token_id", stated.eos, defaults.eos),
            eot: pick("tokenizer.ggml.eot_token_id", stated.eot, None),
            eom: pick("tokenizer.ggml.eom_token_id", stated.eom, None),
            unknown: pick("tokenizer.ggml.unknown_token_id", stated.unknown, defaults.unknown),
            separator: pick("tokenizer.ggml.seperator_token_id", stated.separator, defaults.separator),
            fim_pad: pick("tokenizer.ggml.fim_pad_token_id", stated.fim_pad, None),
            fim_rep: pick("tokenizer.ggml.fim_rep_token_id", stated.fim_rep, None),
            fim_sep: pick("tokenizer.ggml.fim_sep_token_id", stated.fim_sep, None),
        }
    }

    /// Whether encode puts BOS first and EOS last.
    fn ends(&self, input: &VocabInput, ids: &NamedIds, warnings: &mut Vec<String>) -> (bool, bool) {
        let bos = match self {
            Kind::Spm => input.add_bos.unwrap_or(true),
            Kind::Wpm => true,
            Kind::Bpe(pre) if pre.plain_utf8 => true,
            Kind::Bpe(pre) => input.add_bos.unwrap_or(pre.add_bos),
        };
        let eos = input.add_eos.unwrap_or(false);
        for (name, wanted, id) in [("BOS", bos, ids.bos), ("EOS", eos, ids.eos)] {
            if wanted && id.is_none() {
                warnings.push(format!("the vocabulary asks for {name} but names no such token; none is added"));
            }
        }
        (bos && ids.bos.is_some(), eos && ids.eos.is_some())
    }
}
