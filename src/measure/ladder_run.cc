#include "measure/ladder_run.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <variant>

#include "base/clock.h"
#include "cache/kv_store.h"
#include "measure/load_report.h"

namespace farthing {
namespace {

constexpr auto kLookAround = std::chrono::milliseconds(50);  // for `stop`

// What was heard of one request.
struct Heard {
  TimePoint submitted{}, first{}, last{};
  std::vector<TokenId> tokens;
  std::vector<double> gaps;
  Usage usage;
  Timings timings;
};

// Some requests on one engine, by clients that each wait for an answer before they ask again.
class Clients {
 public:
  Clients(Engine& engine, std::span<const LadderRequest> requests, float temperature)
      : engine_(engine), requests_(requests), temperature_(temperature), heard_(requests.size()) {}

  Result<std::vector<Heard>> run(int32_t n_clients, const std::function<bool()>& stop) {
    const size_t n_first = std::min(requests_.size(), static_cast<size_t>(n_clients));
    size_t n_sent = 0;
    std::optional<Error> error;
    const auto send = [&] {
      if (auto sent = submit(n_sent); !sent)
        error = std::move(sent).error();
      else
        ++n_sent;
    };
    while (n_sent < n_first && !error) send();
    std::unique_lock lock(mutex_);
    while (!error && n_ended_ < requests_.size()) {
      const size_t seen = n_ended_;
      changed_.wait_for(lock, kLookAround, [&] { return n_ended_ > seen; });
      const size_t ended = n_ended_;
      lock.unlock();
      while (!error && n_sent < std::min(requests_.size(), n_first + ended)) send();
      if (!error && stop()) error = Error{ErrorKind::kInterrupted, "interrupted"};
      lock.lock();
    }
    if (error) {
      for (const RequestId id : ids_) engine_.cancel(id);
      changed_.wait(lock, [&] { return n_ended_ == n_sent; });
      return *std::move(error);
    }
    return std::move(heard_);
  }

 private:
  Status submit(size_t i) {
    const LadderRequest& asked = requests_[i];
    Request request{.prompt = asked.prompt, .max_tokens = asked.n_answer, .ignore_eos = true};
    request.sampling.temperature = temperature_;
    request.sampling.top_k = 40;
    request.sampling.seed = asked.seed;
    Heard& heard = heard_[i];
    heard.submitted = Clock::now();
    FARTHING_TRY(const RequestId id,
                 engine_.submit(std::move(request), [&heard, this](Event event) {
                   if (const auto* token = std::get_if<TokenEvent>(&event)) {
                     const TimePoint now = Clock::now();
                     if (heard.tokens.empty())
                       heard.first = now;
                     else
                       heard.gaps.push_back(seconds_between(heard.last, now));
                     heard.last = now;
                     heard.tokens.push_back(token->token);
                   } else if (auto* end = std::get_if<RequestEnd>(&event)) {
                     const std::lock_guard lock(mutex_);
                     heard.usage = end->usage;
                     heard.timings = end->timings;
                     ++n_ended_;
                     changed_.notify_one();
                   }
                 }));
    ids_.push_back(id);
    return {};
  }

  Engine& engine_;
  std::span<const LadderRequest> requests_;
  float temperature_;
  std::vector<Heard> heard_;
  std::vector<RequestId> ids_;
  std::mutex mutex_;
  std::condition_variable changed_;
  size_t n_ended_ = 0;
};

double per_token(double seconds, double work) {
  return work > 0 ? seconds / work : 0;
}

// The latency figures of the whole, from what each of its answers took.
struct Latencies {
  std::vector<double> ttft, tpot, itl;

  void into(const LadderRun& run, LadderSample& sample) const {
    sample.ttft_p50 = percentile(ttft, 50);
    sample.ttft_p99 = percentile(ttft, 99);
    sample.tpot_p50 = percentile(tpot, 50);
    sample.tpot_p99 = percentile(tpot, 99);
    sample.itl_p99 = percentile(itl, 99);
    int64_t n_good = 0;
    for (size_t i = 0; i < ttft.size(); ++i) {
      const bool good = (run.slo_ttft <= 0 || ttft[i] <= run.slo_ttft) &&
                        (run.slo_tpot <= 0 || i >= tpot.size() || tpot[i] <= run.slo_tpot);
      n_good += good ? 1 : 0;
    }
    sample.within_slo = per_token(static_cast<double>(n_good), static_cast<double>(ttft.size()));
  }
};

// One at a time: every answer's service is known, so that queueing is, too.
void time_in_turn(const LadderRun& run,
                  bool kv_cache,
                  const std::vector<Heard>& heard,
                  LadderSample& sample) {
  const bool whole = run.slice.whole(run.all);
  std::vector<ServiceTime> services;
  Latencies seen;
  for (size_t i = 0; i < run.all.size(); ++i) {
    ServiceTime service;
    if (whole) {
      service = {seconds_between(heard[i].submitted, heard[i].first),
                 seconds_between(heard[i].first, heard[i].last)};
    } else {
      const LadderWork work = work_of(run.all[i], kv_cache);
      service = {sample.pace.prompt * work.prompt, sample.pace.answer * work.answer};
    }
    services.push_back(service);
    const int32_t n_gaps = run.all[i].n_answer - 1;
    if (n_gaps > 0) seen.tpot.push_back(service.answer / n_gaps);
    sample.prompt_busy += service.prompt;
    sample.answer_busy += service.answer;
  }
  for (const ClientTime& client : serve_in_turn(services, run.n_clients))
    seen.ttft.push_back(client.ttft);
  sample.wall = sample.prompt_busy + sample.answer_busy;
  seen.itl = seen.tpot;
  if (whole) {
    seen.itl.clear();
    for (const Heard& h : heard) seen.itl.insert(seen.itl.end(), h.gaps.begin(), h.gaps.end());
  }
  seen.into(run, sample);
}

// Together: what shares steps can't be taken apart, so that all is scaled alike.
void time_together(const LadderRun& run,
                   double slice_wall,
                   double busy,
                   const LadderWork& whole,
                   const std::vector<Heard>& heard,
                   LadderSample& sample) {
  sample.prompt_busy = sample.pace.prompt * whole.prompt;
  sample.answer_busy = sample.pace.answer * whole.answer;
  const double idle = std::max(slice_wall - busy, 0.0);
  const double scale = per_token(sample.prompt_busy + sample.answer_busy, busy);
  sample.wall = sample.prompt_busy + sample.answer_busy + idle * std::max(scale, 1.0);
  const double requests = static_cast<double>(run.all.size()) / static_cast<double>(heard.size());
  Latencies seen;
  for (const Heard& h : heard) {
    seen.ttft.push_back(seconds_between(h.submitted, h.first) * scale / requests);
    if (!h.gaps.empty())
      seen.tpot.push_back(seconds_between(h.first, h.last) / static_cast<double>(h.gaps.size()));
    seen.itl.insert(seen.itl.end(), h.gaps.begin(), h.gaps.end());
  }
  seen.into(run, sample);
}

}  // namespace

Result<LadderSample> run_ladder_setting(const LoadedModel& model,
                                        const LadderSetting& setting,
                                        const LadderRun& run,
                                        EnergyMeter* meter,
                                        const std::function<bool()>& stop) {
  const TimePoint began = Clock::now();
  const bool together = setting.engine.batching != Batching::kOff;
  const bool kv_cache = setting.engine.kv_cache;
  const std::vector<LadderRequest> requests = cut(run.all, run.slice);
  FARTHING_TRY(const std::unique_ptr<Engine> engine, Engine::start(model, setting.engine));

  const double joules_before = meter ? meter->joules() : 0;
  const TimePoint start = Clock::now();
  FARTHING_TRY(std::vector<Heard> heard,
               Clients(*engine, requests, run.temperature).run(together ? run.n_clients : 1, stop));
  const double slice_wall = seconds_between(start, Clock::now());
  const double joules = meter ? meter->joules() - joules_before : 0;
  const EngineMetrics metrics = engine->metrics();

  LadderSample sample{.scaled = !run.slice.whole(run.all)};
  const LadderWork done = work_of(requests, kv_cache), whole = work_of(run.all, kv_cache);
  double prompt_seconds = metrics.prompt_busy_seconds;
  double answer_seconds = metrics.completion_busy_seconds;
  const double busy = prompt_seconds + answer_seconds;
  if (!together) {
    prompt_seconds = answer_seconds = 0;
    for (const Heard& h : heard) {
      prompt_seconds += seconds_between(h.submitted, h.first);
      answer_seconds += seconds_between(h.first, h.last);
    }
  }
  sample.pace = {per_token(prompt_seconds, done.prompt), per_token(answer_seconds, done.answer)};
  if (together) {
    time_together(run, slice_wall, busy, whole, heard, sample);
  } else {
    time_in_turn(run, kv_cache, heard, sample);
  }
  sample.joules = joules * per_token(sample.wall, slice_wall);

  const int64_t block_bytes =
      KVStore::bytes_needed(model.model->kv_shapes(setting.engine.kv_type), 1);
  sample.kv_memory = metrics.kv_blocks_leased_most * block_bytes;
  sample.memory = model.model->weights.tiles_bytes + engine->workspace_bytes() +
                  engine->drafter_bytes() + sample.kv_memory;
  sample.bytes_per_s = per_token(metrics.work.bytes, busy);
  sample.operations_per_s = per_token(metrics.work.operations, busy);
  double n_prompt = 0, n_cached = 0;
  for (Heard& h : heard) {
    n_prompt += h.usage.prompt_tokens;
    n_cached += h.usage.cached_tokens;
    sample.answers.push_back(std::move(h.tokens));
  }
  sample.cached_share = per_token(n_cached, n_prompt);
  sample.drafted = metrics.drafts.drafted_tokens;
  sample.accepted = metrics.drafts.accepted_tokens;
  sample.spent = seconds_between(began, Clock::now());
  return sample;
}

}  // namespace farthing
