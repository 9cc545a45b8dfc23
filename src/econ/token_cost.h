// What a token, a query and a user cost on a machine. A machine's time is shared out by
// resource-seconds: prompts and answers pay for the seconds that they keep it busy, not for their
// number of tokens. Pure.
#pragma once

#include <string_view>

#include "base/result.h"
#include "econ/machine_price.h"
#include "econ/units.h"

namespace farthing {

// used: of the busy time alone; reserved: idle time is paid for too (econ/ledger.h).
enum class Basis { kReserved, kUsed };
std::string_view basis_name(Basis basis);

// What one kind of token costs.
struct TokenPrices {
  InputPrice input;
  CachedPrice cached;
  OutputPrice output;
};

// Tokens of one query.
struct QueryTokens {
  InputTokens input;  // without those that are cached
  CachedTokens cached;
  OutputTokens output;
  Tokens all() const { return all_tokens(input, cached, output); }
};
Money cost_of(const TokenPrices& prices, const QueryTokens& query);

struct WorkingMachine {
  MachinePrice price;
  PrefillRate prefill;     // tokens/s while it does nothing else
  DecodeRate decode;       // of all sequences together
  double utilisation = 1;  // busy part of its time
};

// kUsage names the figure that can't be: rates above 0, utilisation in (0, 1].
Status check_machine(const WorkingMachine& machine);
// What an hour costs on average.
MoneyRate rate_of(const WorkingMachine& machine);
// Cached tokens cost nothing: nothing is computed for them.
TokenPrices token_prices(const WorkingMachine& machine, Basis basis);
// How long one query keeps the machine busy.
Seconds busy_time(const WorkingMachine& machine, const QueryTokens& query);
// Queries that the machine answers while it is busy all the time.
RequestRate capacity(const WorkingMachine& machine, const QueryTokens& query);

}  // namespace farthing
