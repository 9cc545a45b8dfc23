// The verbs `tokenize` and `detokenize`: standard input to standard output, byte for byte.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/utf8.h"
#include "cli/io.h"
#include "cli/model_options.h"
#include "cli/output.h"
#include "cli/tokenizer_file.h"
#include "cli/verb.h"
#include "cli/verbs.h"

namespace farthing {
namespace {

constexpr std::string_view kSpace = " \t\r\n\v\f";

struct TokenizeOptions {
  std::string model = "smollm2";
  EncodeOptions encode;
  bool json = false;
};

Status tokenize(const TokenizeOptions& options) {
  FARTHING_TRY(const Tokenizer tokenizer, open_tokenizer(options.model));
  FARTHING_TRY(const std::string text, read_stdin());
  auto ids = tokenizer.encode(text, options.encode);
  if (!ids) return std::move(ids).error().in("standard input");
  if (options.json) return write_stdout(to_text(Json{{"ids", *ids}}) + "\n");
  return write_stdout(fmt::format("{}\n", fmt::join(*ids, " ")));
}

Result<std::vector<TokenId>> ids_of_json(const std::string& text) {
  const Json json = Json::parse(text, nullptr, false);
  if (json.is_discarded()) return bad_input("standard input: neither ids nor JSON");
  const auto list = json.find("ids");
  if (!json.is_object() || list == json.end() || !list->is_array()) {
    return bad_input("standard input: a JSON object must have \"ids\", a list");
  }
  std::vector<TokenId> ids;
  for (const Json& id : *list) {
    if (!id.is_number_integer() || id < 0 || id > std::numeric_limits<TokenId>::max()) {
      return bad_input("standard input: {} in \"ids\" is no token id", printable(to_text(id)));
    }
    ids.push_back(id.get<TokenId>());
  }
  return ids;
}

Result<std::vector<TokenId>> ids_of_words(std::string_view text) {
  std::vector<TokenId> ids;
  for (size_t begin = text.find_first_not_of(kSpace); begin != std::string_view::npos;) {
    const size_t end = std::min(text.find_first_of(kSpace, begin), text.size());
    const std::string_view word = text.substr(begin, end - begin);
    TokenId id = -1;
    const auto [stop, error] = std::from_chars(word.data(), word.data() + word.size(), id);
    if (error != std::errc() || stop != word.data() + word.size() || id < 0) {
      return bad_input("standard input, byte {}: '{}' is no token id", begin, printable(word));
    }
    ids.push_back(id);
    begin = text.find_first_not_of(kSpace, end);
  }
  return ids;
}

Result<std::vector<TokenId>> parse_ids(const std::string& text) {
  const size_t first = text.find_first_not_of(kSpace);
  return first != std::string::npos && text[first] == '{' ? ids_of_json(text) : ids_of_words(text);
}

Status detokenize(const std::string& model, bool skip_special) {
  FARTHING_TRY(const Tokenizer tokenizer, open_tokenizer(model));
  FARTHING_TRY(const std::string text, read_stdin());
  FARTHING_TRY(const std::vector<TokenId> ids, parse_ids(text));
  FARTHING_TRY(const std::string bytes, tokenizer.decode(ids, skip_special));
  return write_stdout(bytes);
}

}  // namespace

void add_tokenize(CLI::App& app, int& exit_code) {
  const auto options = std::make_shared<TokenizeOptions>();
  CLI::App* verb =
      add_verb(app, "tokenize", "Text on standard input to token ids", exit_code, [options] {
        return tokenize(*options);
      });
  add_model_option(*verb, options->model);
  verb->add_flag(
      "--add-special", options->encode.add_special, "Add BOS and EOS as the vocabulary asks");
  verb->add_flag("--parse-special",
                 options->encode.parse_special,
                 "Text that spells a control token becomes that token");
  verb->add_flag("--json", options->json, "Print {\"ids\": [...]}");
}

void add_detokenize(CLI::App& app, int& exit_code) {
  struct Options {
    std::string model = "smollm2";
    bool skip_special = false;
  };
  const auto options = std::make_shared<Options>();
  CLI::App* verb =
      add_verb(app,
               "detokenize",
               "Token ids on standard input (words, or {\"ids\": [...]}) to the exact bytes",
               exit_code,
               [options] { return detokenize(options->model, options->skip_special); });
  add_model_option(*verb, options->model);
  verb->add_flag("--skip-special", options->skip_special, "Leave control tokens out");
}

}  // namespace farthing
