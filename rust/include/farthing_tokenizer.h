/* Tokenizers (rust/src/tokenizer). Included by farthing_rust.h. */

typedef struct FarthingSlice { /* borrowed bytes */
  const uint8_t* data;
  size_t len;
} FarthingSlice;

/* The keys tokenizer.* of a GGUF file; copied, so nothing has to outlive the call. */
typedef struct FarthingVocab {
  FarthingSlice model, pre, name; /* tokenizer.ggml.model, .pre (empty: none), general.name */
  const FarthingSlice* tokens;
  size_t n_tokens;
  const float* scores; /* as many as tokens, or none */
  size_t n_scores;
  const uint8_t* types; /* as many as tokens, or none */
  size_t n_types;
  const FarthingSlice* merges; /* "left right" */
  size_t n_merges;
  int32_t bos, eos, eot, eom, unknown, separator, fim_pad, fim_rep, fim_sep; /* -1: not stated */
  int8_t add_bos, add_eos, add_space_prefix, lowercase, strip_accents;       /* -1: not stated */
} FarthingVocab;

typedef struct FarthingIds { /* owned; given back with farthing_ids_free */
  uint32_t* data;
  size_t len;
} FarthingIds;

typedef struct FarthingTokenizerInfo {
  uint32_t n_tokens;
  int32_t bos, eos; /* -1: none */
  bool adds_bos;
  bool strips_leading_space; /* a text starts with a space that decoding takes away again */
  uint32_t n_warnings;
} FarthingTokenizerInfo;

/* Flags of a piece. */
enum { FARTHING_PIECE_CONTROL = 1, FARTHING_PIECE_ENDS_GENERATION = 2 };

/* Every function that takes a const tokenizer may be called from many threads at once. */
bool farthing_tokenizer_from_vocab(const FarthingVocab* vocab, void** out, FarthingBytes* error);
bool farthing_tokenizer_from_json(const uint8_t* source, size_t len, void** out, FarthingBytes* error);
void farthing_tokenizer_free(void* tokenizer);
/* guard: 0, or a code point that breaks the spelling of a control token and is then dropped. */
bool farthing_tokenizer_encode(const void* tokenizer, const uint8_t* text, size_t len, bool add_special,
                               bool parse_special, uint32_t guard, FarthingIds* out, FarthingBytes* error);
void farthing_ids_free(FarthingIds ids);
/* False if there is no such id. The bytes live as long as the tokenizer. */
bool farthing_tokenizer_piece(const void* tokenizer, int32_t id, FarthingSlice* piece, uint8_t* flags);
FarthingTokenizerInfo farthing_tokenizer_info(const void* tokenizer);
FarthingSlice farthing_tokenizer_warning(const void* tokenizer, uint32_t index);
