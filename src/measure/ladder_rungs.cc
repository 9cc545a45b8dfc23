#include "measure/ladder_rungs.h"

#include <algorithm>
#include <limits>

namespace farthing {
namespace {

using Setting = LadderSetting;
using Machine = LadderMachine;
using Service = LadderService;

constexpr int32_t kLadderChunk = 256;

// One request at a time, one thread, plain loops, and every token computes all before it anew.
void bottom(Setting& s, const Machine&, const Service& service) {
  s.weights = WeightMode::kF32;
  s.engine = {.n_threads = 1,
              .isa = Isa::kRef,
              .context = service.context,
              .max_sequences = 1,
              .chunk = std::numeric_limits<int32_t>::max(),
              .kv_type = KVType::kF16,
              .kv_cache = false,
              .attention = AttentionMode::kNaive,
              .prefix_cache = false,
              .paged = false,
              .batching = Batching::kOff};
}

constexpr Rung kRungs[] = {
    {.id = "naive",
     .title = "naive engine",
     .what = "The model as a textbook computes it: 32-bit numbers, one processor core, plain "
             "loops, one customer at a time. For every new word it reads the whole conversation "
             "again.",
     .flags = "--kv-cache off --isa ref --threads 1 --weights f32 --attention naive --batching off "
              "--chunk off --kv-layout contiguous --prefix-cache off",
     .kind = RungKind::kBottom,
     .turn_on = bottom},
    {.id = "kv-cache",
     .title = "KV cache",
     .what = "What the model worked out about earlier words (their keys and values) is kept. A new "
             "word then costs the work of one word, instead of that of the whole conversation.",
     .flags = "--kv-cache on",
     .kind = RungKind::kAlgorithm,
     .turn_on = [](Setting& s, const Machine&, const Service&) { s.engine.kv_cache = true; }},
    {.id = "simd",
     .title = "SIMD",
     .what = "One instruction of the processor computes with 8 or 16 numbers instead of one. The "
             "arithmetic stays the same.",
     .flags = "--isa (best)",
     .kind = RungKind::kSystem,
     .changes_numbers = true,
     .turn_on = [](Setting& s, const Machine& m, const Service&) { s.engine.isa = m.isa; }},
    {.id = "threads",
     .title = "threads",
     .what = "All cores of the processor share the work of one step. Nobody has to wait for a core "
             "that sleeps beside a busy one.",
     .flags = "--threads (all)",
     .kind = RungKind::kSystem,
     .turn_on =
         [](Setting& s, const Machine& m, const Service&) { s.engine.n_threads = m.n_threads; }},
    {.id = "int8",
     .title = "INT8 weights",
     .what = "The model's numbers are rounded to 8 bits, a quarter of their size. Less has to be "
             "read from memory for each word, and the processor multiplies small whole numbers "
             "faster.",
     .flags = "--weights int8",
     .kind = RungKind::kAlgorithm,
     .needs = {"simd"},  // plain loops widen such weights to floats first: nothing is gained
     .changes_numbers = true,
     .turn_on = [](Setting& s, const Machine&, const Service&) { s.weights = WeightMode::kInt8; }},
    {.id = "int4",
     .title = "INT4 weights",
     .what = "The model's numbers are rounded to 4 bits, as the file has them. Half as much has to "
             "be read as with 8 bits, and more is lost by rounding.",
     .flags = "--weights native",
     .kind = RungKind::kAlgorithm,
     .needs = {"simd"},
     .changes_numbers = true,
     .turn_on =
         [](Setting& s, const Machine&, const Service&) { s.weights = WeightMode::kNative; }},
    {.id = "flash-attention",
     .title = "FlashAttention",
     .what = "Looking back at earlier words is done in pieces that fit the processor's cache, "
             "instead of writing a long row of scores to memory first. It matters more the longer "
             "the conversation is.",
     .flags = "--attention flash",
     .kind = RungKind::kAlgorithm,
     .changes_numbers = true,
     .turn_on = [](Setting& s,
                   const Machine&,
                   const Service&) { s.engine.attention = AttentionMode::kFlash; }},
    {.id = "continuous-batching",
     .title = "continuous batching",
     .what =
         "Several customers share every step: the model's numbers are read from memory once for "
         "all of them. Whoever is finished leaves, and the next one steps in at once.",
     .flags = "--batching continuous --max-seqs (clients)",
     .kind = RungKind::kSystem,
     .needs = {"kv-cache"},
     .turn_on =
         [](Setting& s, const Machine&, const Service& service) {
           s.engine.batching = Batching::kContinuous;
           s.engine.max_sequences = service.n_clients;
         }},
    {.id = "chunked-prefill",
     .title = "chunked prefill",
     .what = "A long question is read in pieces, between the words of other customers' answers. "
             "Nobody's answer stands still while somebody else's question is read.",
     .flags = "--chunk 256",
     .kind = RungKind::kSystem,
     .needs = {"kv-cache", "continuous-batching"},
     .turn_on = [](Setting& s, const Machine&, const Service&) { s.engine.chunk = kLadderChunk; }},
    {.id = "paged-prefix-cache",
     .title = "paged KV, prefix cache",
     .what = "Memory for conversations is handed out in small pages as they grow, instead of being "
             "reserved for the longest possible one. What conversations begin with alike is kept "
             "once and not computed again.",
     .flags = "--kv-layout paged --prefix-cache on",
     .kind = RungKind::kSystem,
     .needs = {"kv-cache"},
     .turn_on =
         [](Setting& s, const Machine&, const Service&) {
           s.engine.paged = true;
           s.engine.prefix_cache = true;
         }},
    {.id = "int8-kv",
     .title = "INT8 KV",
     .what =
         "What is kept about earlier words is rounded from 16 bits to 8. Twice as many or twice "
         "as long conversations fit into memory.",
     .flags = "--kv-type int8",
     .kind = RungKind::kAlgorithm,
     .needs = {"kv-cache"},
     .changes_numbers = true,
     .turn_on =
         [](Setting& s, const Machine&, const Service&) { s.engine.kv_type = KVType::kInt8; }},
    {.id = "speculation",
     .title = "speculative decoding",
     .what = "The engine guesses the next words from what was said before and checks several "
             "guesses in one step. A wrong guess costs a little time and never changes the answer.",
     .flags = "--speculate suffix",
     .kind = RungKind::kAlgorithm,
     .needs = {"kv-cache"},
     .turn_on = [](Setting& s,
                   const Machine&,
                   const Service&) { s.engine.speculate = Speculation::kSuffix; }},
    {.id = "slo-scheduling",
     .title = "SLO-aware scheduling",
     .what = "The engine knows how long a customer should wait at most, and takes as much of other "
             "customers' questions into a step as that allows. Short questions go first.",
     .flags = "--itl-target (of the workload) --policy shortest-prefill",
     .kind = RungKind::kSystem,
     .needs = {"kv-cache", "continuous-batching", "chunked-prefill"},
     .turn_on =
         [](Setting& s, const Machine&, const Service& service) {
           s.engine.itl_target = service.itl_target;
           s.engine.policy = Policy::kShortestPrefill;
         }},
};

}  // namespace

std::string_view rung_kind_name(RungKind kind) {
  constexpr std::string_view kNames[] = {"bottom", "algorithm", "system"};
  return kNames[static_cast<size_t>(kind)];
}

std::span<const Rung> all_rungs() {
  return kRungs;
}

size_t rung_index(std::string_view id) {
  return static_cast<size_t>(std::ranges::find(kRungs, id, &Rung::id) - std::begin(kRungs));
}

RungSet needs_of(size_t rung) {
  RungSet needs = 0;
  for (const std::string_view id : kRungs[rung].needs) {
    if (id.empty()) continue;
    const size_t i = rung_index(id);
    needs |= rung_bit(i) | needs_of(i);
  }
  return needs;
}

std::string names_of(RungSet rungs) {
  std::string names;
  for (size_t i = 0; i < std::size(kRungs); ++i) {
    if ((rungs & rung_bit(i)) == 0) continue;
    if (!names.empty()) names += '+';
    names += kRungs[i].id;
  }
  return names;
}

Result<RungSet> rungs_from_names(std::string_view names) {
  RungSet rungs = 0;
  while (!names.empty()) {
    const std::string_view name = names.substr(0, names.find('+'));
    const size_t i = rung_index(name);
    if (i == std::size(kRungs)) return bad_input("'{}' is no rung", name);
    rungs |= rung_bit(i);
    names.remove_prefix(std::min(names.size(), name.size() + 1));
  }
  return rungs;
}

LadderSetting setting_of(RungSet rungs,
                         const LadderMachine& machine,
                         const LadderService& service) {
  LadderSetting setting;
  for (size_t i = 0; i < std::size(kRungs); ++i) {
    if (((rungs | rung_bit(0)) & rung_bit(i)) != 0) kRungs[i].turn_on(setting, machine, service);
  }
  return setting;
}

std::vector<LadderRow> ladder_rows(RungSet usable) {
  std::vector<LadderRow> rows = {{.rung = 0, .cumulative = rung_bit(0)}};
  for (size_t i = 1; i < std::size(kRungs); ++i) {
    if ((usable & rung_bit(i)) == 0) continue;
    const RungSet without = rung_bit(0) | (needs_of(i) & usable);
    rows.push_back({.rung = i,
                    .cumulative = rows.back().cumulative | rung_bit(i),
                    .with = without | rung_bit(i),
                    .without = without});
  }
  return rows;
}

}  // namespace farthing
