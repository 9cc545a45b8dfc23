// How a comparison is shown: JSON, or a table. Does not know: how it was measured.
#pragma once

#include <optional>
#include <string>

#include "base/json.h"
#include "measure/quality.h"
#include "measure/suite.h"

namespace farthing {

struct QualityReport {
  Quality quality;
  // Of the model's distributions only the likeliest tokens were known: KL divergences are what they
  // are at least.
  bool kld_at_least = false;
  std::optional<SuiteScore> suite;
  int32_t n_chunks = 0;
  int32_t ctx = 0;
  // Each has "description"; of a model that ran here also what it takes (bytes and tokens/s).
  Json model;
  Json reference;
  std::string reference_note;  // see measure/weights_note.h
  int64_t peak_resident_bytes = 0;
};

// Estimates stand as "name" and "name_ci95": [low, high].
Json quality_json(const QualityReport& report);
std::string quality_table(const QualityReport& report);

}  // namespace farthing
