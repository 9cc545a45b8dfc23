#include "measure/ladder_state.h"

#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string_view>

#include "base/mapped_file.h"
#include "base/new_file.h"

namespace farthing {
namespace {

constexpr std::string_view kSchema = "farthing-ladder-state/1";
constexpr size_t kMostStateBytes = size_t{64} << 20;

// The figures of a sample by name: one list for writing and reading.
template <class Sample, class Visit>
void each_figure(Sample& s, Visit visit) {
  visit("spent", s.spent);
  visit("wall", s.wall);
  visit("prompt_busy", s.prompt_busy);
  visit("answer_busy", s.answer_busy);
  visit("ttft_p50", s.ttft_p50);
  visit("ttft_p99", s.ttft_p99);
  visit("tpot_p50", s.tpot_p50);
  visit("tpot_p99", s.tpot_p99);
  visit("itl_p99", s.itl_p99);
  visit("within_slo", s.within_slo);
  visit("joules", s.joules);
  visit("bytes_per_s", s.bytes_per_s);
  visit("operations_per_s", s.operations_per_s);
  visit("cached_share", s.cached_share);
  visit("drafted", s.drafted);
  visit("accepted", s.accepted);
  visit("pace_prompt", s.pace.prompt);
  visit("pace_answer", s.pace.answer);
}

Json to_json(const LadderSample& sample) {
  Json json = {{"scaled", sample.scaled},
               {"memory", sample.memory},
               {"kv_memory", sample.kv_memory},
               {"answers", sample.answers}};
  each_figure(sample, [&](const char* name, double value) { json[name] = value; });
  return json;
}

LadderSample sample_from(const Json& json) {
  LadderSample sample{
      .scaled = json.at("scaled"), .memory = json.at("memory"), .kv_memory = json.at("kv_memory")};
  json.at("answers").get_to(sample.answers);
  each_figure(sample, [&](const char* name, double& value) {
    value = json.at(name).get<double>();
    if (!std::isfinite(value) || value < 0) throw std::invalid_argument(name);
  });
  if (!(sample.wall > 0)) throw std::invalid_argument("wall");
  return sample;
}

Status fill(const Json& state, LadderResult& result) {
  for (const Json& setting : state.at("settings")) {
    FARTHING_TRY(const RungSet rungs, rungs_from_names(setting.at("rungs").get<std::string>()));
    LadderMeasured measured;
    measured.slice = {.n_requests = setting.at("slice").at("requests"),
                      .lengths = setting.at("slice").at("lengths")};
    const LadderSlice& slice = measured.slice;
    if (slice.n_requests < 1 || slice.n_requests > result.workload->n_requests ||
        !(slice.lengths > 0 && slice.lengths <= 1))
      return bad_input("its slices can't be");
    for (const Json& sample : setting.at("samples"))
      measured.samples.push_back(sample_from(sample));
    result.measured[rungs] = std::move(measured);
  }
  result.seconds = state.at("seconds");
  return {};
}

}  // namespace

Json state_json(const LadderResult& result, const Json& key) {
  Json settings = Json::array();
  for (const auto& [rungs, measured] : result.measured) {
    Json samples = Json::array();
    for (const LadderSample& sample : measured.samples) samples.push_back(to_json(sample));
    settings.push_back(
        {{"rungs", names_of(rungs)},
         {"slice", {{"requests", measured.slice.n_requests}, {"lengths", measured.slice.lengths}}},
         {"samples", std::move(samples)}});
  }
  return {{"schema", kSchema},
          {"key", key},
          {"seconds", result.seconds},
          {"settings", std::move(settings)}};
}

Status read_state(const std::string& path, const Json& key, LadderResult& result) {
  FARTHING_TRY(const std::string text, read_file(path, kMostStateBytes));
  const Json state = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!state.is_object() || state.value("schema", Json()) != kSchema)
    return bad_input("{}: not a file of --resume (schema {})", path, kSchema);
  const Json theirs = state.value("key", Json::object());
  for (const auto& [name, value] : key.items()) {
    if (theirs.is_object() && theirs.value(name, Json()) == value) continue;
    return bad_input(
        "{}: its ladder has another {} ({}, here {}): give another file to --resume, or delete it",
        path,
        name,
        theirs.is_object() ? theirs.value(name, Json()).dump() : "none",
        value.dump());
  }
  try {
    if (Status filled = fill(state, result); !filled) return std::move(filled).error().in(path);
  } catch (const std::exception& fault) {
    return bad_input("{}: damaged ({}): delete it and measure again", path, fault.what());
  }
  return {};
}

Status write_state(const std::string& path, const Json& state) {
  return write_file(path, state.dump() + '\n');
}

}  // namespace farthing
