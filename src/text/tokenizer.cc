#include "text/tokenizer.h"

#include <algorithm>
#include <utility>

#include <farthing_rust.h>

#include "base/utf8.h"

namespace farthing {
namespace {

struct FreeTokenizer {
  void operator()(void* handle) const { farthing_tokenizer_free(handle); }
};
using Handle = std::unique_ptr<void, FreeTokenizer>;

FarthingSlice slice_of(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

std::string_view view_of(FarthingSlice slice) {
  return {reinterpret_cast<const char*>(slice.data), slice.len};
}

std::vector<FarthingSlice> slices_of(const std::vector<std::string>& texts) {
  std::vector<FarthingSlice> slices;
  slices.reserve(texts.size());
  for (const std::string& text : texts) slices.push_back(slice_of(text));
  return slices;
}

// On one line and without control characters: it may quote the file.
std::string take_message(FarthingBytes bytes) {
  const std::string_view raw(reinterpret_cast<const char*>(bytes.data), bytes.len);
  std::string message = printable(raw, 400);
  farthing_bytes_free(bytes);
  return message;
}

int32_t id_of(std::optional<TokenId> id) {
  return id.value_or(-1);
}

int8_t tristate(std::optional<bool> value) {
  return value ? static_cast<int8_t>(*value) : -1;
}

}  // namespace

struct Tokenizer::Impl {
  Handle handle;
  FarthingTokenizerInfo info;
  std::vector<std::string> warnings;
  std::vector<TokenId> ends;  // beside those that the handle knows

  explicit Impl(Handle made)
      : handle(std::move(made)), info(farthing_tokenizer_info(handle.get())) {
    for (uint32_t i = 0; i < info.n_warnings; ++i) {
      // They quote the file.
      warnings.push_back(printable(view_of(farthing_tokenizer_warning(handle.get(), i)), 512));
    }
  }

  // False if there is no such id.
  bool find(TokenId id, std::string_view& piece, uint8_t& flags) const {
    FarthingSlice slice;
    if (!farthing_tokenizer_piece(handle.get(), id, &slice, &flags)) return false;
    piece = view_of(slice);
    return true;
  }

  bool has_flag(TokenId id, uint8_t flag) const {
    std::string_view piece;
    uint8_t flags = 0;
    return find(id, piece, flags) && (flags & flag) != 0;
  }
};

Tokenizer::Tokenizer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;
Tokenizer::~Tokenizer() = default;

Result<Tokenizer> Tokenizer::from_vocab(const Vocab& vocab) {
  const std::vector<FarthingSlice> tokens = slices_of(vocab.tokens);
  const std::vector<FarthingSlice> merges = slices_of(vocab.merges);
  std::vector<uint8_t> types;
  types.reserve(vocab.types.size());
  for (const TokenType type : vocab.types) types.push_back(static_cast<uint8_t>(type));
  const FarthingVocab flat = {
      .model = slice_of(vocab.model),
      .pre = vocab.pre ? slice_of(*vocab.pre) : FarthingSlice{},
      .name = slice_of(vocab.model_name),
      .tokens = tokens.data(),
      .n_tokens = tokens.size(),
      .scores = vocab.scores.data(),
      .n_scores = vocab.scores.size(),
      .types = types.data(),
      .n_types = types.size(),
      .merges = merges.data(),
      .n_merges = merges.size(),
      .bos = id_of(vocab.bos),
      .eos = id_of(vocab.eos),
      .eot = id_of(vocab.eot),
      .eom = id_of(vocab.eom),
      .unknown = id_of(vocab.unknown),
      .separator = id_of(vocab.separator),
      .fim_pad = id_of(vocab.fim_pad),
      .fim_rep = id_of(vocab.fim_rep),
      .fim_sep = id_of(vocab.fim_sep),
      .add_bos = tristate(vocab.add_bos),
      .add_eos = tristate(vocab.add_eos),
      .add_space_prefix = tristate(vocab.add_space_prefix),
      .lowercase = tristate(vocab.lowercase),
      .strip_accents = tristate(vocab.strip_accents),
  };
  void* handle = nullptr;
  FarthingBytes error = {};
  if (!farthing_tokenizer_from_vocab(&flat, &handle, &error))
    return bad_input("{}", take_message(error));
  return Tokenizer(std::make_unique<Impl>(Handle(handle)));
}

int64_t Tokenizer::memory_bound(const Vocab& vocab) {
  // Bytes. A growing array takes up to three times its contents while it moves.
  constexpr int64_t kFixed = int64_t{8} << 20;  // small tables, filters, automata of a few specials
  constexpr int64_t kArguments = 2 * 16;        // a slice on either side of the border
  constexpr int64_t kString = 3 * 8 + 6 * 8;    // rust/src/tokenizer/strings.rs: end, hash slots
  constexpr int64_t kPiece = 3 * 9;             // pieces.rs
  constexpr int64_t kMerge = 5 * 17;            // bpe.rs: an entry of a hash map
  constexpr int64_t kText = 3;
  constexpr int64_t kSpecialText = 2 * 192;  // special.rs: states of two automata,
  constexpr int64_t kSpecial = 4 << 10;      // of which those near the start are whole tables
  const auto is_special = [&](size_t id) {
    return id >= vocab.types.size() || vocab.types[id] != TokenType::kNormal;
  };
  int64_t bytes = kFixed;
  for (size_t id = 0; id < vocab.tokens.size(); ++id) {
    const auto text = static_cast<int64_t>(vocab.tokens[id].size());
    // Once as a string, once as a piece; WordPiece keeps every prefix of a token.
    bytes += kArguments + kString + kPiece + 2 * kText * text;
    if (is_special(id)) bytes += kSpecial + kSpecialText * text;
    if (vocab.model == "bert") bytes += text * (kString + kText * text);
  }
  for (const std::string& merge : vocab.merges) {
    // Both halves and their whole may be new strings.
    const auto text = static_cast<int64_t>(merge.size());
    bytes += kArguments + kMerge + 3 * kString + 2 * kText * text;
  }
  return bytes;
}

int64_t Tokenizer::memory_bound_of_json(int64_t bytes) {
  // A token takes at least some eight bytes of text (and its characters), and in the crate two
  // strings and two entries of hash maps, which are at most half empty; merges less for their size.
  constexpr int64_t kFixed = int64_t{8} << 20;
  constexpr int64_t kPerByte = 48;
  // Automata over the added tokens, of which from_json takes a limited amount.
  constexpr int64_t kMostAdded = 1 << 20, kPerAddedByte = 96;
  return kFixed + kPerByte * bytes + kPerAddedByte * std::min(bytes, kMostAdded);
}

Result<Tokenizer> Tokenizer::from_json(std::string_view tokenizer_json, const NamedTokens& named) {
  void* handle = nullptr;
  FarthingBytes error = {};
  const FarthingSlice source = slice_of(tokenizer_json);
  if (!farthing_tokenizer_from_json(source.data, source.len, &handle, &error)) {
    return bad_input("{}", take_message(error));
  }
  auto impl = std::make_unique<Impl>(Handle(handle));
  if (named.bos) impl->info.bos = *named.bos;
  if (named.eos) impl->info.eos = *named.eos;
  impl->ends = named.ends;
  return Tokenizer(std::move(impl));
}

Result<std::vector<TokenId>> Tokenizer::encode(std::string_view text, EncodeOptions options) const {
  FarthingIds ids = {};
  FarthingBytes error = {};
  const FarthingSlice bytes = slice_of(text);
  if (!farthing_tokenizer_encode(impl_->handle.get(),
                                 bytes.data,
                                 bytes.len,
                                 options.add_special,
                                 options.parse_special,
                                 options.guard,
                                 &ids,
                                 &error)) {
    return bad_input("{}", take_message(error));
  }
  std::vector<TokenId> tokens(ids.data, ids.data + ids.len);
  farthing_ids_free(ids);
  return tokens;
}

Result<std::string> Tokenizer::decode(std::span<const TokenId> ids, bool skip_special) const {
  std::string text;
  bool first = true;
  for (const TokenId id : ids) {
    std::string_view piece;
    uint8_t flags = 0;
    if (!impl_->find(id, piece, flags)) {
      return bad_input("token {} is outside the vocabulary of {} tokens", id, vocab_size());
    }
    if (skip_special && (flags & FARTHING_PIECE_CONTROL) != 0) continue;
    if (first && !piece.empty()) {
      first = false;
      piece = without_leading_space(id, piece);
    }
    text += piece;
  }
  return text;
}

std::string_view Tokenizer::without_leading_space(TokenId id, std::string_view piece) const {
  const bool strip = impl_->info.strips_leading_space && !is_control(id) && piece.starts_with(' ');
  return strip ? piece.substr(1) : piece;
}

std::string_view Tokenizer::piece(TokenId id) const {
  std::string_view piece;
  uint8_t flags = 0;
  impl_->find(id, piece, flags);
  return piece;
}

int32_t Tokenizer::vocab_size() const {
  return static_cast<int32_t>(impl_->info.n_tokens);
}
bool Tokenizer::is_control(TokenId id) const {
  return impl_->has_flag(id, FARTHING_PIECE_CONTROL);
}
bool Tokenizer::is_end_of_generation(TokenId id) const {
  return impl_->has_flag(id, FARTHING_PIECE_ENDS_GENERATION) ||
         std::ranges::find(impl_->ends, id) != impl_->ends.end();
}
TokenId Tokenizer::bos() const {
  return impl_->info.bos;
}
TokenId Tokenizer::eos() const {
  return impl_->info.eos;
}
bool Tokenizer::adds_bos() const {
  return impl_->info.adds_bos;
}
const std::vector<std::string>& Tokenizer::warnings() const {
  return impl_->warnings;
}

}  // namespace farthing
