// A ladder as figures: JSON (docs/ladder.md has the schema), and from that JSON a table for the
// terminal, Markdown and a page of HTML. Does not know: how anything was measured.
#pragma once

#include <string>
#include <string_view>

#include "base/json.h"
#include "econ/machine_price.h"
#include "measure/ladder.h"

namespace farthing {

// What the machine costs, and what is to be said of that.
struct LadderBill {
  MachinePrice price;
  std::string basis;  // "--price-per-hour", or what was assumed
};
// What is taken if no price is given: so much for each of its CPUs.
LadderBill assumed_bill(int32_t n_cpus);

// {"schema": "farthing-ladder/1", "machine", "workload", "model", "rungs": [...], "claims": [...]}
Json ladder_json(const LadderResult& result, const LadderBill& bill, std::string_view commit);

std::string ladder_table(const Json& ladder);
std::string ladder_markdown(const Json& ladder);
std::string claims_table(const Json& ladder);
// One file, with its charts inside as SVG; no script, nothing is fetched.
std::string ladder_html(const Json& ladder);

}  // namespace farthing
