// The ladder's rungs as data: each is a setting of the engine that may be switched on by itself,
// what it is called, what it does in two plain sentences, and what it can't do without.
// Does not know: models, workloads, how anything is measured.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "engine/engine.h"

namespace farthing {

// What the machine allows: the top of the rungs SIMD and threads.
struct LadderMachine {
  Isa isa = Isa::kRef;
  int32_t n_threads = 1;
};

// What the workload asks for, once sequences share steps.
struct LadderService {
  int32_t n_clients = 1;  // that wait for answers at the same time
  int32_t context = 0;    // most tokens of a sequence
  double itl_target = 0;  // seconds between two tokens that nobody should wait longer for
};

struct LadderSetting {
  WeightMode weights = WeightMode::kF32;
  EngineOptions engine;
};

// Whose merit a rung is, as the chapter divides them.
enum class RungKind : uint8_t { kBottom, kAlgorithm, kSystem };
std::string_view rung_kind_name(RungKind kind);

struct Rung {
  std::string_view id;  // "kv-cache"
  std::string_view title;
  std::string_view what;   // two sentences for somebody who never heard of it
  std::string_view flags;  // of `farthing serve`, that switch it on
  RungKind kind = RungKind::kSystem;
  // Rungs, by id, without which it is nothing; empty names are none.
  std::array<std::string_view, 3> needs{};
  bool changes_numbers = false;  // answers may differ from those without it
  void (*turn_on)(LadderSetting&, const LadderMachine&, const LadderService&) = nullptr;
};

// The first is the bottom: the naive engine.
std::span<const Rung> all_rungs();

// Rungs that are switched on together: a bit for each, by its place in all_rungs(). The bottom is
// always on.
using RungSet = uint32_t;
constexpr RungSet rung_bit(size_t rung) {
  return RungSet{1} << rung;
}
// A rung's place; all_rungs().size() if there is none of this id.
size_t rung_index(std::string_view id);
// The rungs that it needs, and what these need; not itself.
RungSet needs_of(size_t rung);
std::string names_of(RungSet rungs);  // "naive+kv-cache+simd"
// kBadInput for a name that is no rung's.
Result<RungSet> rungs_from_names(std::string_view names);

LadderSetting setting_of(RungSet rungs, const LadderMachine& machine, const LadderService& service);

// What a ladder measures: each rung on top of those below, and alone: the bottom with what it
// needs, without and with it. `usable` are the rungs that this model and machine have.
struct LadderRow {
  size_t rung = 0;
  RungSet cumulative = 0;
  RungSet with = 0, without = 0;  // alone; both 0 for the bottom
};
std::vector<LadderRow> ladder_rows(RungSet usable);

}  // namespace farthing
