//! Owns: how each pre-tokenizer of the GGUF key tokenizer.ggml.pre cuts a text into words. Does not know: tokens.
//! A splitter is a chain of stages; each stage cuts every piece of the stage before into its matches and the gaps
//! between them. Every stage is linear in the text: no regular expression, no backtracking.

use super::scanners as scan;
use super::unicode;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Splitter {
    Default,
    Gpt2,
    Starcoder,
    Falcon,
    Llama3,
    Qwen2,
    Qwen35,
    DeepseekLlm,
    DeepseekCoder,
    DeepseekV3,
    Gpt4o,
    Tekken,
    Laguna,
    Lines,
}

/// What a name in tokenizer.ggml.pre stands for.
#[derive(Clone, Copy, Debug)]
pub struct PreTokenizer {
    pub splitter: Splitter,
    pub ignore_merges: bool,
    pub add_bos: bool,
    pub default_bos: bool, // without a BOS in the file the format's default id is taken
    pub plain_utf8: bool,  // Gemma 4: spaces as U+2581, no byte alphabet
}

/// One row per meaning, with the names that share it.
#[rustfmt::skip]
const NAMES: &[(PreTokenizer, &[&str])] = &[
    (plain(Splitter::Default), &["default"]),
    (plain(Splitter::Gpt2), &["gpt-2", "phi-2", "jina-es", "jina-de", "gigachat", "jina-v2-es", "jina-v2-de",
        "a.x-4.0", "mellum", "modern-bert", "exaone4", "jina-v1-en", "jina-v2-code", "roberta-bpe", "mpt", "olmo",
        "jais", "trillion", "granite-docling"]),
    (plain(Splitter::Starcoder), &["starcoder", "refact", "command-r", "smollm", "codeshell", "exaone",
        "minerva-7b", "mellum2"]),
    (plain(Splitter::Falcon), &["falcon"]),
    (PreTokenizer { ignore_merges: true, add_bos: true, ..plain(Splitter::Llama3) },
        &["llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2", "jina-v5-nano"]),
    (plain(Splitter::Llama3), &["dbrx", "smaug-bpe"]),
    (PreTokenizer { default_bos: false, ..plain(Splitter::Llama3) }, &["chatglm-bpe"]),
    (PreTokenizer { default_bos: false, ignore_merges: true, ..plain(Splitter::Llama3) }, &["glm4", "glm5"]),
    (plain(Splitter::Qwen2), &["qwen2", "deepseek-r1-qwen", "kormo", "f2llmv2", "megrez", "stablelm2", "hunyuan",
        "solar-open", "grok-2"]),
    (plain(Splitter::Qwen35), &["qwen35"]),
    (plain(Splitter::DeepseekLlm), &["deepseek-llm"]),
    (plain(Splitter::DeepseekCoder), &["deepseek-coder"]),
    (plain(Splitter::DeepseekV3), &["deepseek-v3", "hunyuan-dense", "joyai-llm", "hy_v4"]),
    (plain(Splitter::Gpt4o), &["gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2"]),
    (PreTokenizer { ignore_merges: true, add_bos: true, ..plain(Splitter::Tekken) }, &["tekken"]),
    (plain(Splitter::Laguna), &["laguna"]),
    (PreTokenizer { add_bos: true, plain_utf8: true, ..plain(Splitter::Lines) },
        &["gemma4", "granite-embed-multi-311m"]),
];

const fn plain(splitter: Splitter) -> PreTokenizer {
    PreTokenizer { splitter, ignore_merges: false, add_bos: false, default_bos: true, plain_utf8: false }
}

pub fn find(name: &str) -> Option<PreTokenizer> {
    NAMES.iter().find(|(_, names)| names.contains(&name)).map(|(pre, _)| *pre)
}

/// Every name, for an error message.
pub fn names() -> String {
    let all: Vec<&str> = NAMES.iter().flat_map(|(_, names)| names.iter().copied()).collect();
    all.join(", ")
}

/// The characters of one piece, with their classes (unicode.rs).
pub struct Piece<'a> {
    pub code_points: &'a [u32],
    pub classes: &'a [u8],
}

enum Stage {
    /// The end of the match that starts here; the same position if there is none.
    Match(fn(&Piece, usize) -> usize),
    /// White space at the very end of the piece.
    TrailingSpace,
}
use Stage::{Match, TrailingSpace};

impl Splitter {
    fn stages(self) -> &'static [Stage] {
        match self {
            Splitter::Default => &[
                Match(scan::punctuation_run),
                Match(scan::gpt2),
                Match(scan::number_run),
                Match(scan::three_ascii_digits),
            ],
            Splitter::Gpt2 => &[Match(scan::gpt2)],
            Splitter::Starcoder => &[Match(scan::number), Match(scan::gpt2)],
            Splitter::Falcon => &[
                Match(scan::punctuation_or_backtick_run),
                Match(scan::gpt2),
                Match(scan::three_ascii_digits),
            ],
            Splitter::Llama3 => &[Match(scan::llama3)],
            Splitter::Qwen2 => &[Match(scan::qwen2)],
            Splitter::Qwen35 => &[Match(scan::qwen35)],
            Splitter::DeepseekLlm => &[
                Match(scan::newline),
                Match(scan::space_cased_letters),
                Match(scan::space_common_punctuation),
                TrailingSpace,
                Match(scan::cjk_run),
                Match(scan::number_run),
            ],
            Splitter::DeepseekCoder => &[
                Match(scan::newline),
                Match(scan::space_letters),
                Match(scan::space_punctuation),
                Match(scan::cjk_run),
                Match(scan::number),
            ],
            Splitter::DeepseekV3 => &[
                Match(scan::up_to_three_numbers),
                Match(scan::cjk_kana_run),
                Match(scan::deepseek_v3),
            ],
            Splitter::Gpt4o => &[Match(scan::gpt4o)],
            Splitter::Tekken => &[Match(scan::tekken)],
            Splitter::Laguna => &[Match(scan::line), Match(scan::qwen2)],
            Splitter::Lines => &[Match(scan::line)],
        }
    }
}

/// Scratch memory of `split`, kept between texts.
#[derive(Default)]
pub struct Words {
    code_points: Vec<u32>,
    classes: Vec<u8>,
    ends: Vec<usize>,
    next_ends: Vec<usize>,
}

impl Words {
    /// Gives every word of the text, in order; joined they are the text.
    pub fn split(&mut self, splitter: Splitter, text: &str, mut each: impl FnMut(&str)) {
        let classes = unicode::classes();
        self.code_points.clear();
        self.code_points.extend(text.chars().map(|c| c as u32));
        self.classes.clear();
        self.classes.extend(self.code_points.iter().map(|c| classes[*c as usize]));
        self.ends.clear();
        self.ends.push(self.code_points.len());
        for stage in splitter.stages() {
            self.apply(stage);
        }
        let mut chars = text.char_indices();
        let (mut first, mut word_start) = (0, 0);
        for end in &self.ends {
            let word_end = chars.by_ref().take(end - first).last().map_or(word_start, |(at, c)| at + c.len_utf8());
            if word_end > word_start {
                each(&text[word_start..word_end]);
            }
            (first, word_start) = (*end, word_end);
        }
    }

    fn apply(&mut self, stage: &Stage) {
        self.next_ends.clear();
        let mut first = 0;
        for end in &self.ends {
            let piece = Piece {
                code_points: &self.code_points[first..*end],
                classes: &self.classes[first..*end],
            };
            let ends = &mut self.next_ends;
            match stage {
                Match(scanner) => cut(&piece, *scanner, |at| ends.push(first + at)),
                TrailingSpace => {
                    let kept = piece.classes.iter().rposition(|class| class & unicode::SPACE == 0);
                    ends.extend(kept.map(|last| first + last + 1));
                    ends.push(*end);
                }
            }
            first = *end;
        }
        self.next_ends.dedup(); // a piece without trailing space ends twice
        std::mem::swap(&mut self.ends, &mut self.next_ends);
    }
}

/// Gives the end of every match and of every gap between matches.
fn cut(piece: &Piece, scanner: fn(&Piece, usize) -> usize, mut boundary: impl FnMut(usize)) {
    let len = piece.classes.len();
    let (mut at, mut done) = (0, 0);
    while at < len {
        let end = scanner(piece, at);
        if end == at {
            at += 1;
            continue;
        }
        if done < at {
            boundary(at);
        }
        boundary(end);
        (at, done) = (end, end);
    }
    if done < len {
        boundary(len);
    }
}
