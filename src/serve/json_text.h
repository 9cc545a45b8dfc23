// JSON in and out at the border: bodies are bounded before they become values, and the pieces of a
// stream are written as text, without a DOM per token.
#pragma once

#include <string>
#include <string_view>
#include <variant>

#include "base/json.h"
#include "serve/api_error.h"

namespace farthing {

struct JsonLimits {
  int depth = 64;
  int values = 1 << 20;
  int keys = 1 << 16;  // in all objects together
  int object_keys =
      1 << 11;  // in one object: its look-ups are linear, so this keeps parsing linear too
};

// A JSON text within the limits, or a 400. Invalid UTF-8 and lone surrogates are invalid JSON.
std::variant<Json, ApiError> parse_json(std::string_view text, const JsonLimits& limits = {});

// The text in quotes; bytes that are no UTF-8 become U+FFFD.
void append_json_string(std::string& out, std::string_view text);
void append_json_string_or_null(std::string& out, std::string_view text);  // empty: null

size_t count_characters(std::string_view text);  // of a valid text

// At most `limit` bytes of the text, cut between characters; "..." shows the cut.
std::string shortened(std::string_view text, size_t limit);

}  // namespace farthing
