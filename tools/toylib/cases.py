"""The toy models: one row per family and variant. Hugging Face configs are written as the released models write them
(rope_theta, rope_scaling, sliding_window_pattern...), so that a reader of such folders meets the usual keys."""

import dataclasses

from toylib import vocab

LLAMA = "llama"
MISTRAL = "mistral"
QWEN2 = "qwen2"
QWEN3 = "qwen3"
GEMMA2 = "gemma2"
GEMMA3 = "gemma3_text"

GEMMAS = (GEMMA2, GEMMA3)

_CLASSES = {
    LLAMA: "LlamaForCausalLM", MISTRAL: "MistralForCausalLM", QWEN2: "Qwen2ForCausalLM",
    QWEN3: "Qwen3ForCausalLM", GEMMA2: "Gemma2ForCausalLM", GEMMA3: "Gemma3ForCausalLM",
}  # fmt: skip

# A row's own wish for the GGUF types of its weights; anything absent has Case.dtype.
EVERY_TYPE = {
    "embed_tokens": "Q4_K", "lm_head": "Q6_K",
    "0.q_proj": "Q4_K", "0.k_proj": "Q5_K", "0.v_proj": "Q2_K", "0.o_proj": "Q5_0",
    "0.gate_proj": "Q3_K", "0.up_proj": "Q4_1", "0.down_proj": "IQ4_XS",
    "1.q_proj": "Q4_0", "1.k_proj": "BF16", "1.v_proj": "F16", "1.o_proj": "Q5_1",
    "1.gate_proj": "MXFP4", "1.up_proj": "IQ4_NL", "1.down_proj": "Q8_0",
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Case:
    name: str
    family: str
    why: str  # what this row is there to catch
    dtype: str = "F16"  # GGUF type of the weight matrices
    dtypes: dict = dataclasses.field(default_factory=dict)
    qk_gain: float = 1.6  # how peaked attention is
    d_model: int = 64
    n_layers: int = 2
    n_heads: int = 4
    n_kv_heads: int = 4
    head_dim: int | None = None  # None: d_model / n_heads, not stated in the config
    d_ff: int = 128
    tied: bool = False
    context: int = 1024
    rope_theta: float = 10000.0
    rope_scaling: dict | None = None
    extra: dict = dataclasses.field(default_factory=dict)  # more keys of config.json

    @property
    def title(self):
        return f"toy {self.name}"

    @property
    def head_size(self):
        return self.head_dim or self.d_model // self.n_heads

    @property
    def vocabulary(self):
        return _VOCABULARIES[self.family]()

    def config(self):
        """config.json of the Hugging Face folder."""
        special = self.vocabulary.special
        out = {
            "architectures": [_CLASSES[self.family]], "model_type": self.family,
            "vocab_size": len(self.vocabulary.tokens), "hidden_size": self.d_model, "intermediate_size": self.d_ff,
            "num_hidden_layers": self.n_layers, "num_attention_heads": self.n_heads,
            "num_key_value_heads": self.n_kv_heads, "max_position_embeddings": self.context,
            "rms_norm_eps": 1e-6 if self.family in GEMMAS + (QWEN2, QWEN3) else 1e-5,
            "rope_theta": self.rope_theta, "rope_scaling": self.rope_scaling, "tie_word_embeddings": self.tied,
            "bos_token_id": special.get("bos"), "eos_token_id": special["eos"], "pad_token_id": special.get("pad"),
            "torch_dtype": "float32",
        }  # fmt: skip
        out["hidden_activation" if self.family in GEMMAS else "hidden_act"] = (
            "gelu_pytorch_tanh" if self.family in GEMMAS else "silu"
        )
        if self.head_dim:
            out["head_dim"] = self.head_dim
        return out | self.extra


def _llama_vocabulary():
    # The template is the toy's own; it only has to spell control tokens.
    template = (
        "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>{{ m.content }}<|eot_id|>"
        "{% endfor %}{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>{% endif %}"
    )
    specials = [
        "<|begin_of_text|>",
        "<|end_of_text|>",
        "<|start_header_id|>",
        "<|end_header_id|>",
        "<|eot_id|>",
    ]
    return vocab.byte_level(
        "llama-bpe", specials, {"bos": specials[0], "eos": specials[4]}, True, template
    )


def _qwen_vocabulary():
    template = (
        "{% for m in messages %}<|im_start|>{{ m.role }}: {{ m.content }}<|im_end|>{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant: {% endif %}"
    )
    specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    return vocab.byte_level(
        "qwen2", specials, {"eos": specials[2], "pad": specials[0]}, False, template
    )


def _mistral_vocabulary():
    template = "{{ bos_token }}{% for m in messages %}{{ m.role }}: {{ m.content }}{{ eos_token }}{% endfor %}"
    specials = ["<unk>", "<s>", "</s>"]
    return vocab.sentencepiece(
        specials, {"bos": "<s>", "eos": "</s>", "unk": "<unk>"}, None, template
    )


def _gemma_vocabulary():
    template = (
        "{{ bos_token }}{% for m in messages %}<start_of_turn>{{ m.role }} {{ m.content }}<end_of_turn>{% endfor %}"
        "{% if add_generation_prompt %}<start_of_turn>model {% endif %}"
    )
    specials = ["<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"]
    roles = {"bos": "<bos>", "eos": "<eos>", "unk": "<unk>", "pad": "<pad>"}
    return vocab.sentencepiece(specials, roles, False, template)


_VOCABULARIES = {
    LLAMA: _llama_vocabulary, MISTRAL: _mistral_vocabulary, QWEN2: _qwen_vocabulary, QWEN3: _qwen_vocabulary,
    GEMMA2: _gemma_vocabulary, GEMMA3: _gemma_vocabulary,
}  # fmt: skip

# Windows, soft caps and rope ranges are small, so that each matters within 64 positions.
_WINDOW = 20
_LLAMA3_ROPE = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                "original_max_position_embeddings": 32}  # fmt: skip
_YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32}
_GEMMA2 = {"sliding_window": _WINDOW, "query_pre_attn_scalar": 16, "attn_logit_softcapping": 2.0,
           "final_logit_softcapping": 3.0}  # fmt: skip
_GEMMA3 = {"sliding_window": _WINDOW, "sliding_window_pattern": 6, "rope_local_base_freq": 100.0,
           "query_pre_attn_scalar": 32}  # fmt: skip

CASES = [
    Case("llama-plain", LLAMA, "one KV head per query head, untied output"),
    Case("llama-gqa", LLAMA, "two query heads per KV head, odd depth", n_kv_heads=2, n_layers=3),
    Case("llama-tied", LLAMA, "output shares token_embd; F32 weights", dtype="F32", tied=True, d_ff=64, n_kv_heads=1),
    Case("llama-rope3", LLAMA, "rope_freqs.weight of Llama 3", head_dim=32, n_kv_heads=2, context=256,
         rope_scaling=_LLAMA3_ROPE),
    Case("llama-linear", LLAMA, "linear rope scaling; BF16 weights", dtype="BF16",
         rope_scaling={"rope_type": "linear", "factor": 4.0}),
    Case("llama-yarn", LLAMA, "YaRN rope scaling", head_dim=32, n_kv_heads=2, context=128, rope_scaling=_YARN),
    Case("llama-bias", LLAMA, "biases on q, k, v and output, q and k permuted", n_kv_heads=2,
         extra={"attention_bias": True}),
    Case("llama-q8", LLAMA, "Q8_0 weights, Q4_0 feed-forward", dtype="Q8_0", n_kv_heads=2, qk_gain=1.0,
         dtypes={f"{i}.{w}_proj": "Q4_0" for i in range(2) for w in ("gate", "up")}),
    Case("llama-types", LLAMA, "every weight format", d_model=256, head_dim=32, n_kv_heads=2, d_ff=256, qk_gain=1.0,
         dtypes=EVERY_TYPE),
    Case("mistral", MISTRAL, "architecture llama, head size unlike d/h, SentencePiece", n_kv_heads=2, head_dim=32,
         rope_theta=1e6, extra={"sliding_window": None}),
    Case("qwen2", QWEN2, "biases on q, k, v; rows of q and k as they are", n_kv_heads=2, rope_theta=1e6),
    Case("qwen3", QWEN3, "norm of q and k, head size unlike d/h, tied", n_kv_heads=2, head_dim=32, rope_theta=1e6,
         tied=True, extra={"attention_bias": False}),
    Case("gemma2", GEMMA2, "soft caps, window in every other layer, post norms", n_layers=4, n_kv_heads=2, head_dim=16,
         tied=True, extra=_GEMMA2),
    Case("gemma3", GEMMA3, "window in five layers of six, two rope bases, norm of q and k", n_layers=7, n_heads=2,
         n_kv_heads=1, head_dim=32, d_ff=64, tied=True, rope_theta=1e4, extra=_GEMMA3),
    Case("gemma3-linear", GEMMA3, "linear rope scaling in the full layers only", n_layers=7, n_heads=2, n_kv_heads=1,
         head_dim=32, d_ff=64, tied=True, rope_theta=1e4, rope_scaling={"rope_type": "linear", "factor": 8.0},
         extra=_GEMMA3),
]  # fmt: skip


def find_case(name):
    for case in CASES:
        if case.name == name:
            return case
    raise SystemExit(f"no toy model '{name}'; there are: {', '.join(c.name for c in CASES)}")
