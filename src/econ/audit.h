// The audit of the chapter that started this: each of its figures beside ours, recomputed from the
// inputs by this folder's formulas, with verdict and reason. The rows are data/chapter_audit.jsonl
// (fields: docs/economics.md).
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace farthing {

struct Range {
  double low = 0, high = 0;
};

struct AuditRow {
  std::string id, section, chapter_expr;
  Json chapter_value;           // a number, [low, high], or null: it gives none
  std::string unit;             // of chapter_value and our_value
  std::string formula;          // of a computed row; empty: judged
  Json inputs;                  // by name: "NUMBER UNIT", or two of them: from, to
  std::optional<Range> pinned;  // our_value as the file has it
  std::optional<Range> ours;    // as it comes out now
  double tolerance = 0;         // relative; within it the chapter's figure is ours
  std::vector<std::string> verdicts;
  std::string reason;
  bool computed() const { return !formula.empty(); }
  // Whether the chapter's figure is ours within the tolerance; none where it has none.
  std::optional<bool> agrees() const;
};

// OK: the arithmetic holds (not that the claim is true). UNIT, ARITH, DIR (direction or baseline),
// CONTRA (contradicts the chapter itself), FALSE (contradicts a source), UNSUP (no source found).
bool is_verdict(std::string_view word);

// Reads and recomputes; kBadInput names the row at fault.
Result<std::vector<AuditRow>> read_audit(std::string_view jsonl);

}  // namespace farthing
