#include "measure/ladder.h"

#include <algorithm>
#include <filesystem>
#include <limits>
#include <memory>
#include <numeric>
#include <set>
#include <utility>

#include "base/cpu.h"
#include "measure/ladder_quality.h"
#include "measure/ladder_state.h"
#include "measure/weights_note.h"

namespace farthing {
namespace {

// Of the budget: for the losses; and kept back from the rounds, since a machine may get slower.
constexpr double kQualityShare = 0.12;
constexpr double kReserve = 0.1;
// A try that is shorter says little: another one takes about so long.
constexpr double kShortProbe = 0.2;
constexpr double kProbeSeconds = 0.5;
// Settings whose sequences share steps run so many requests at least.
constexpr int32_t kLeastTogether = 4;

class Ladder {
 public:
  Ladder(const LadderOptions& options, const LadderWatch& watch)
      : options_(options), watch_(watch), meter_(EnergyMeter::open()) {}

  Result<LadderResult> run() {
    if (Status done = measure(); !done) {
      if (done.error().kind != ErrorKind::kInterrupted) return std::move(done).error();
      result_.interrupted = true;
    }
    result_.n_rounds = std::numeric_limits<int32_t>::max();
    for (const RungSet rungs : order_)
      result_.n_rounds = std::min(result_.n_rounds, n_samples(rungs));
    result_.seconds += seconds_between(began_, Clock::now());
    if (!order_.empty()) FARTHING_TRY_VOID(save(0));
    return std::move(result_);
  }

 private:
  Status measure();
  Status describe();
  Status measure_roofs();
  Status probe_all();
  Status probe(RungSet rungs);
  void plan();
  Status run_rounds();
  Status run_once(RungSet rungs);
  Status measure_quality();
  Result<LadderSample> sample(RungSet rungs, const LadderSlice& slice);
  Status save(double seconds);

  LadderSetting setting(RungSet rungs) const {
    return setting_of(rungs, result_.machine, result_.service);
  }
  int32_t n_samples(RungSet rungs) const {
    const LadderMeasured* measured = result_.of(rungs);
    return measured ? static_cast<int32_t>(measured->samples.size()) : 0;
  }
  int32_t least_requests(const LadderSetting& s) const {
    return s.engine.batching == Batching::kOff
               ? 1
               : std::min(result_.service.n_clients, kLeastTogether);
  }
  double spent() const { return resumed_seconds_ + seconds_between(began_, Clock::now()); }
  double left() const { return options_.budget - spent(); }
  void say(const std::string& what, double seconds_left) { watch_.progress(what, seconds_left); }
  // What every setting takes in a round, by its slice and pace.
  double expected(RungSet rungs) const;

  const LadderOptions& options_;
  const LadderWatch& watch_;
  std::unique_ptr<EnergyMeter> meter_;
  TimePoint began_ = Clock::now();
  double resumed_seconds_ = 0;
  LadderModels models_;
  LadderResult result_;
  std::vector<LadderRequest> requests_;
  std::vector<RungSet> order_;  // settings of a round: up the ladder, then alone
  std::map<RungSet, LadderPace> paces_;
  std::map<RungSet, LadderMeasured> tries_;  // counted where there is no time for more
  Json key_;
};

Status Ladder::describe() {
  models_.path = options_.model;
  say("loading the model", options_.budget);
  FARTHING_TRY(const LoadedModel* model, models_.get(WeightMode::kF32));
  const LadderWorkload& workload = *options_.workload;
  const EngineOptions& engine = options_.engine;
  result_.workload = &workload;
  result_.seed = options_.seed;
  result_.model = model->id;
  result_.description = model->description;
  result_.note = weights_note(model->description, model->model->file.tensors);
  result_.machine = {.isa = engine.isa.value_or(best_isa()),
                     .n_threads = engine.n_threads > 0 ? engine.n_threads : cpu_budget().threads};
  const int32_t most = engine.context > 0 ? std::min(engine.context, model->context_length())
                                          : std::min(model->context_length(), 8192);
  FARTHING_TRY(LadderRequests made, make_requests(workload, model->tokenizer, most, options_.seed));
  requests_ = std::move(made.requests);
  result_.shrunk = made.shrunk;
  int32_t longest = 0;
  for (const LadderRequest& r : requests_) {
    const auto n_prompt = static_cast<int32_t>(r.prompt.size());
    longest = std::max(longest, n_prompt + r.n_answer);
    result_.tokens.prompt += n_prompt;
    result_.tokens.answer += r.n_answer;
  }
  result_.service = {.n_clients = workload.n_clients,
                     .context = std::min(longest + 1, model->context_length()),
                     .itl_target = workload.slo_tpot};

  RungSet usable = 0;
  const auto have = [&](size_t rung, const std::string& missing) {
    if (missing.empty())
      usable |= rung_bit(rung);
    else
      result_.missing.emplace_back(rung, missing);
  };
  for (size_t i = 1; i < all_rungs().size(); ++i) {
    const std::string_view id = all_rungs()[i].id;
    std::string missing;
    if (id == "simd" && result_.machine.isa == Isa::kRef) missing = "--isa is ref";
    if (id == "threads" && result_.machine.n_threads == 1) missing = "one thread is all there is";
    if (id == "int4" && !is_four_bit(*model))
      missing = "the file's weights have more than 5 bits: give a 4-bit file (Q4_0, Q4_K, ...)";
    if (id == "slo-scheduling" && workload.slo_tpot <= 0)
      missing = "nobody waits for the answers of this workload";
    have(i, missing);
  }
  result_.rows = ladder_rows(usable);
  const auto add = [&](RungSet rungs) {
    if (rungs != 0 && std::ranges::find(order_, rungs) == order_.end()) order_.push_back(rungs);
  };
  for (const LadderRow& row : result_.rows) add(row.cumulative);
  for (const LadderRow& row : result_.rows) {
    add(row.without);
    add(row.with);
  }
  for (const RungSet rungs : order_) {
    const LadderSetting s = setting(rungs);
    FARTHING_TRY(const WeightsMemory weights,
                 weights_memory(model->model->spec, model->model->file, s.weights));
    result_.weight_bytes[s.weights] = weights.tiles;
    const int64_t block = KVStore::bytes_needed(model->model->kv_shapes(s.engine.kv_type), 1);
    result_.kv_bytes_per_token[s.engine.kv_type] = static_cast<double>(block) / kKVBlockTokens;
  }
  key_ = {{"model", fmt::format("{:016x}", model->content_hash)},
          {"workload", workload.id},
          {"seed", options_.seed},
          {"context", result_.service.context},
          {"isa", isa_name(result_.machine.isa)},
          {"threads", result_.machine.n_threads},
          {"cpu", cpu_budget().model_name},
          {"rungs", names_of(usable)}};
  return {};
}

Status Ladder::measure_roofs() {
  say("measuring the machine", left());
  const int32_t threads = result_.machine.n_threads;
  FARTHING_TRY(result_.best, measure_machine(result_.machine.isa, threads));
  result_.plain_gflops_one = f32_gflops(Isa::kRef, 1);
  result_.plain_gflops_all = f32_gflops(Isa::kRef, threads);
  return {};
}

Result<LadderSample> Ladder::sample(RungSet rungs, const LadderSlice& slice) {
  const LadderSetting s = setting(rungs);
  FARTHING_TRY(const LoadedModel* model, models_.get(s.weights));
  return run_ladder_setting(*model,
                            s,
                            {.all = requests_,
                             .slice = slice,
                             .n_clients = result_.service.n_clients,
                             .temperature = options_.workload->temperature,
                             .slo_ttft = options_.workload->slo_ttft,
                             .slo_tpot = options_.workload->slo_tpot},
                            meter_.get(),
                            watch_.stop);
}

// How fast a setting is, about: a request cut short, and more of it if that was over at once.
Status Ladder::probe(RungSet rungs) {
  constexpr double kProbeLengths = 0.03;
  LadderSlice slice{.n_requests = 1, .lengths = kProbeLengths};
  FARTHING_TRY(LadderSample tried, sample(rungs, slice));
  if (tried.spent < kShortProbe) {
    const bool kv_cache = setting(rungs).engine.kv_cache;
    const auto first = std::span(requests_).first(1);
    const LadderSlice more = fit_slice(first, tried.pace, kv_cache, 1, kProbeSeconds);
    if (more.lengths > slice.lengths) {
      slice = more;
      FARTHING_TRY(tried, sample(rungs, slice));
    }
  }
  paces_[rungs] = tried.pace;
  tries_[rungs] = {.slice = slice, .samples = {std::move(tried)}};
  return {};
}

Status Ladder::probe_all() {
  for (size_t i = 0; i < order_.size(); ++i) {
    say(fmt::format("trying setting {} of {}", i + 1, order_.size()), left());
    if (n_samples(order_[i]) > 0)
      paces_[order_[i]] = result_.of(order_[i])->samples.back().pace;
    else
      FARTHING_TRY_VOID(probe(order_[i]));
  }
  return {};
}

double Ladder::expected(RungSet rungs) const {
  const LadderMeasured* measured = result_.of(rungs);
  if (measured && !measured->samples.empty()) return measured->samples.back().spent;
  const LadderSlice slice = measured ? measured->slice : LadderSlice{};
  const bool kv_cache = setting(rungs).engine.kv_cache;
  return paces_.at(rungs).seconds(work_of(cut(requests_, slice), kv_cache));
}

// Gives every setting its slice, which it keeps in all rounds.
void Ladder::plan() {
  const double for_rounds = left() * (1 - kReserve) - kQualityShare * options_.budget;
  std::vector<double> wanted;
  for (const RungSet rungs : order_) {
    const bool kv_cache = setting(rungs).engine.kv_cache;
    wanted.push_back(paces_.at(rungs).seconds(work_of(requests_, kv_cache)));
  }
  const std::vector<double> shares = share_out(wanted, for_rounds / options_.rounds);
  for (size_t i = 0; i < order_.size(); ++i) {
    if (n_samples(order_[i]) > 0) continue;  // resumed
    const LadderSetting s = setting(order_[i]);
    result_.measured[order_[i]].slice =
        fit_slice(requests_, paces_.at(order_[i]), s.engine.kv_cache, least_requests(s), shares[i]);
  }
}

Status Ladder::run_once(RungSet rungs) {
  LadderMeasured& measured = result_.measured.at(rungs);
  FARTHING_TRY(LadderSample taken, sample(rungs, measured.slice));
  measured.samples.push_back(std::move(taken));
  return save(seconds_between(began_, Clock::now()));
}

Status Ladder::run_rounds() {
  for (int32_t round = 0; round < options_.rounds; ++round) {
    for (size_t i = 0; i < order_.size(); ++i) {
      const RungSet rungs = order_[i];
      if (n_samples(rungs) > round) continue;
      const double kept = round == 0 ? kQualityShare * options_.budget : 0;
      if (expected(rungs) > left() - kept) {
        result_.out_of_time = true;
        if (round > 0) return {};
        if (tries_.contains(rungs)) result_.measured[rungs] = tries_.at(rungs);
        continue;  // a faster setting may still fit
      }
      double rest = 0;
      for (size_t j = 0; j < order_.size(); ++j)
        rest += expected(order_[j]) * (options_.rounds - std::max(n_samples(order_[j]), round));
      say(fmt::format("round {} of {}, {} of {}: {}",
                      round + 1,
                      options_.rounds,
                      i + 1,
                      order_.size(),
                      names_of(rungs)),
          std::min(rest, left()));
      FARTHING_TRY_VOID(run_once(rungs));
    }
    if (round == 0) FARTHING_TRY_VOID(measure_quality());
  }
  return {};
}

Status Ladder::measure_quality() {
  if (left() <= 0) return {};
  // The text: what was asked, and the answers of the highest setting that gave some.
  std::vector<TokenId> text;
  const std::vector<std::vector<TokenId>>* answers = nullptr;
  std::set<LadderNumbers> wanted;
  for (const LadderRow& row : result_.rows) {
    const LadderMeasured* measured = result_.of(row.cumulative);
    if (!measured || measured->samples.empty()) continue;
    answers = &measured->samples.front().answers;
    wanted.insert(numbers_of(setting(row.cumulative)));
  }
  if (!answers) return {};
  for (size_t i = 0; i < requests_.size(); ++i) {
    const LadderRequest& r = requests_[i];
    const auto own = r.prompt.begin() + (i == 0 ? 0 : r.n_shared);
    text.insert(text.end(), own, r.prompt.end());
    if (i < answers->size()) text.insert(text.end(), (*answers)[i].begin(), (*answers)[i].end());
  }
  LadderQuality quality{.text = std::move(text),
                        .machine = result_.machine,
                        .memory_limit = options_.engine.memory_limit,
                        .seconds = std::min(kQualityShare * options_.budget, left())};
  return quality.measure(
      models_,
      {wanted.begin(), wanted.end()},
      watch_.stop,
      [&](const std::string& what) { say(what, left()); },
      result_.quality);
}

Status Ladder::save(double seconds) {
  if (options_.resume.empty()) return {};
  const double before = std::exchange(result_.seconds, result_.seconds + seconds);
  Status written = write_state(options_.resume, state_json(result_, key_));
  result_.seconds = before;
  return written;
}

Status Ladder::measure() {
  FARTHING_TRY_VOID(describe());
  std::error_code error;
  if (!options_.resume.empty() && std::filesystem::exists(options_.resume, error)) {
    FARTHING_TRY_VOID(read_state(options_.resume, key_, result_));
    resumed_seconds_ = result_.seconds;
  }
  FARTHING_TRY_VOID(measure_roofs());
  FARTHING_TRY_VOID(probe_all());
  plan();
  return run_rounds();
}

}  // namespace

LadderNumbers numbers_of(const LadderSetting& setting) {
  return {setting.weights, setting.engine.kv_type, setting.engine.attention};
}

const LadderMeasured* LadderResult::of(RungSet rungs) const {
  const auto at = measured.find(rungs);
  return at == measured.end() ? nullptr : &at->second;
}

Result<LadderResult> run_ladder(const LadderOptions& options, const LadderWatch& watch) {
  return Ladder(options, watch).run();
}

}  // namespace farthing
