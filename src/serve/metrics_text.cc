#include "serve/metrics_text.h"

#include <fmt/format.h>
#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <limits>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

namespace farthing {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using Labels = std::vector<ClientMetric::Label>;

struct Value {
  Labels labels;
  double value = 0;
};

class Families {
 public:
  explicit Families(Labels common) : common_(std::move(common)) {}

  void counter(std::string name, std::string help, std::vector<Value> values) {
    add(std::move(name), std::move(help), MetricType::Counter, values);
  }
  void gauge(std::string name, std::string help, std::vector<Value> values) {
    add(std::move(name), std::move(help), MetricType::Gauge, values);
  }
  template <size_t N>
  void histogram(std::string name, std::string help, const Histogram<N>& histogram) {
    ClientMetric metric{.label = common_};
    int64_t sum = 0;
    for (size_t i = 0; i <= N; ++i) {
      sum += histogram.counts[i];
      const double bound = i < N ? histogram.bounds[i] : std::numeric_limits<double>::infinity();
      metric.histogram.bucket.push_back({static_cast<uint64_t>(sum), bound});
    }
    metric.histogram.sample_count = static_cast<uint64_t>(sum);
    metric.histogram.sample_sum = histogram.sum;
    families_.push_back(
        {std::move(name), std::move(help), MetricType::Histogram, {std::move(metric)}});
  }
  std::string text() const { return prometheus::TextSerializer().Serialize(families_); }

 private:
  void add(std::string name, std::string help, MetricType type, const std::vector<Value>& values) {
    MetricFamily family{std::move(name), std::move(help), type, {}};
    for (const Value& value : values) {
      ClientMetric metric{.label = common_};
      metric.label.insert(metric.label.end(), value.labels.begin(), value.labels.end());
      (type == MetricType::Counter ? metric.counter.value : metric.gauge.value) = value.value;
      family.metric.push_back(std::move(metric));
    }
    families_.push_back(std::move(family));
  }

  Labels common_;
  std::vector<MetricFamily> families_;
};

Value number(auto value) {
  return {{}, static_cast<double>(value)};
}
Value labelled(std::string name, std::string_view label, auto value) {
  return {{{std::move(name), std::string(label)}}, static_cast<double>(value)};
}

// Of an enumeration whose first value is no reason.
template <class Reason, size_t N>
std::vector<Value> by_reason(const std::array<int64_t, N>& counts,
                             std::string_view (*name)(Reason)) {
  std::vector<Value> values;
  for (size_t i = 1; i < N; ++i) {
    values.push_back(labelled("reason", name(static_cast<Reason>(i)), counts[i]));
  }
  return values;
}

std::vector<Value> by_finish_reason(const std::array<int64_t, kFinishReasonCount>& counts) {
  std::vector<Value> values;
  for (size_t i = 0; i < counts.size(); ++i) {
    values.push_back(
        labelled("reason", finish_reason_name(static_cast<FinishReason>(i)), counts[i]));
  }
  return values;
}

void add_requests(Families& out, const MetricsView& view) {
  const EngineMetrics& m = view.engine;
  std::vector<Value> answers;
  for (const auto& [status, n] : view.answers)
    answers.push_back(labelled("status", std::to_string(status), n));
  out.counter("farthing_http_responses_total", "HTTP answers by status", std::move(answers));
  out.counter("farthing_requests_received_total",
              "Requests that the engine accepted; received = finished + in flight",
              {number(m.requests_received)});
  out.counter("farthing_requests_finished_total",
              "Requests by how their last sample ended",
              by_finish_reason(m.requests_finished));
  out.gauge("farthing_requests_running",
            "Requests of which something was computed",
            {number(m.requests_running)});
  out.gauge("farthing_requests_waiting",
            "Requests of which nothing was computed yet",
            {number(m.requests_waiting)});
  out.gauge("farthing_sequences",
            "Samples of requests",
            {labelled("state", "running", m.sequences_running),
             labelled("state", "waiting", m.sequences_waiting)});
  out.gauge("farthing_backlog_seconds",
            "What is still to be computed for all of them, by the step model",
            {number(m.backlog.seconds)});
  out.histogram("farthing_queue_time_seconds",
                "From submission to the first step that computed something, per request",
                m.queue_time);
  out.histogram("farthing_time_to_first_token_seconds",
                "TTFT: from submission to the first token, per request",
                m.time_to_first_token);
  out.histogram("farthing_inter_token_latency_seconds",
                "ITL: each gap between two tokens of a sample",
                m.inter_token_latency);
  out.histogram("farthing_time_per_output_token_seconds",
                "TPOT: (last token - first token) / (tokens - 1), per sample",
                m.time_per_output_token);
  out.histogram("farthing_e2e_request_latency_seconds",
                "From submission to the end, per request",
                m.request_latency);
  out.histogram("farthing_request_prefill_seconds",
                "From a request's first step to its first token",
                m.prefill_time);
  out.histogram(
      "farthing_request_decode_seconds", "From a request's first token to its last", m.decode_time);
  out.histogram(
      "farthing_request_prompt_tokens", "Prompt tokens, per request", m.request_prompt_tokens);
  out.histogram("farthing_request_completion_tokens",
                "Tokens generated, per request with all its samples",
                m.request_completion_tokens);
}

void add_tokens(Families& out, const MetricsView& view) {
  const EngineMetrics& m = view.engine;
  const SchedulerCounts& s = m.scheduler;
  out.counter("farthing_prompt_tokens_total",
              "Prompt tokens by where their keys and values came from",
              {labelled("source", "compute", s.prompt_tokens_computed),
               labelled("source", "cache", s.prompt_tokens_cached)});
  out.counter("farthing_generation_tokens_total", "Tokens generated", {number(m.generated_tokens)});
  const auto wasted = [&](FinishReason reason) {
    return labelled(
        "reason", finish_reason_name(reason), m.wasted_tokens[static_cast<size_t>(reason)]);
  };
  out.counter("farthing_wasted_tokens_total",
              "Tokens computed for requests that were cut short, or computed again",
              {wasted(FinishReason::kCancelled),
               wasted(FinishReason::kDeadline),
               labelled("reason", "preempted", s.tokens_computed_again)});
  out.counter("farthing_prefix_cache_query_tokens_total",
              "Prompt tokens looked up in the prefix cache",
              {number(s.prompt_tokens_looked_up)});
  out.counter("farthing_prefix_cache_hit_tokens_total",
              "Prompt tokens found there",
              {number(s.prompt_tokens_cached)});
  out.counter("farthing_prefix_cache_misses_total",
              "Samples whose prompts weren't all there, by why not",
              by_reason<CacheMiss>(s.misses, cache_miss_name));
}

void add_drafts(Families& out, const EngineMetrics& m) {
  const SchedulerCounts& s = m.scheduler;
  out.counter("farthing_spec_decode_drafts_total",
              "Drafts: guesses at what a sequence goes on with, computed in one step",
              {number(s.drafts)});
  out.counter("farthing_spec_decode_drafted_tokens_total",
              "Tokens that were guessed at, to be computed in one step",
              {number(s.drafted_tokens)});
  out.counter("farthing_spec_decode_accepted_tokens_total",
              "Guesses that were what the model chose",
              {number(s.accepted_tokens)});
  std::vector<Value> drafted, accepted;
  for (size_t i = 0; i < m.drafts.drafted_at.size(); ++i) {
    drafted.push_back(labelled("position", std::to_string(i), m.drafts.drafted_at[i]));
    accepted.push_back(labelled("position", std::to_string(i), m.drafts.accepted_at[i]));
  }
  out.counter("farthing_spec_decode_drafted_tokens_per_position_total",
              "The same guesses by their place in the draft, from 0",
              std::move(drafted));
  out.counter("farthing_spec_decode_accepted_tokens_per_position_total",
              "Those that the model chose, by their place",
              std::move(accepted));
  out.counter("farthing_spec_decode_steps_total",
              "Steps that gave a sequence tokens after its first, with a draft or not",
              {number(m.drafts.steps)});
  out.counter("farthing_spec_decode_tokens_total",
              "Tokens that came out of them",
              {number(m.drafts.tokens)});
  out.counter("farthing_spec_decode_step_seconds_total",
              "How long those steps took, each counted for every sequence in it",
              {number(m.drafts.seconds)});
  out.counter("farthing_spec_decode_plain_seconds_total",
              "How long their tokens would have taken one by one, by the step model",
              {number(m.drafts.plain_seconds)});
  out.counter("farthing_spec_decode_drafter_seconds_total",
              "What guessing took of it",
              {number(s.drafter_seconds)});
}

void add_machine(Families& out, const MetricsView& view) {
  const EngineMetrics& m = view.engine;
  const SchedulerCounts& s = m.scheduler;
  out.gauge("farthing_kv_blocks",
            "Blocks of the KV pool: leased by sequences, idle (kept for prompts that begin "
            "alike), free",
            {labelled("state", "leased", m.kv_blocks_leased),
             labelled("state", "idle", m.kv_blocks_idle),
             labelled("state", "free", m.kv_blocks_free)});
  out.counter("farthing_kv_blocks_evicted_total",
              "Idle blocks whose memory was needed",
              {number(s.evicted_blocks)});
  out.counter("farthing_preemptions_total",
              "Sequences that gave up their blocks",
              {labelled("reason", wait_reason_name(WaitReason::kBlocks), s.preemptions)});
  out.counter("farthing_waits_total",
              "Steps that a sequence waited through, by reason",
              by_reason<WaitReason>(s.waits, wait_reason_name));
  out.counter("farthing_prefill_cuts_total",
              "Steps that computed less of a prompt than was left of it, by reason",
              by_reason<SliceCut>(s.cuts, slice_cut_name));
  out.histogram("farthing_step_tokens", "Tokens computed in a step", m.step_tokens);
  out.histogram("farthing_step_seconds", "How long a step took", m.step_time);
  out.gauge("farthing_last_step_age_seconds",
            "Since the last step ended, while work waits; 0 without work",
            {number(view.progress.silent_seconds(view.now))});
  out.counter("farthing_busy_seconds_total",
              "The machine's time by what it worked on",
              {labelled("phase", "prompt", m.prompt_busy_seconds),
               labelled("phase", "completion", m.completion_busy_seconds)});
  out.counter("farthing_read_bytes_total",
              "Weights, keys and values that steps had to read at least",
              {number(m.work.bytes)});
  out.counter("farthing_operations_total",
              "Multiplications and additions of the steps' matrix products",
              {number(m.work.operations)});
  if (!view.peak) return;
  const Work rate = m.recent.per_second(view.now);
  out.gauge(
      "farthing_bandwidth_utilisation_ratio",
      "Bytes read a second, over the last ten or so, by what plain loops read when the server "
      "started",
      {number(rate.bytes / view.peak->bytes)});
  out.gauge("farthing_compute_utilisation_ratio",
            "The same of operations, by the int8 peak",
            {number(rate.operations / view.peak->operations)});
}

void add_money(Families& out, const Ledger& ledger, const EngineMetrics& m) {
  const std::string& currency = ledger.price.currency;
  const auto cost = [&](std::string phase, Money amount) {
    return Value{{{"phase", std::move(phase)}, {"currency", currency}}, amount.value};
  };
  const RequestCost used = ledger.used_cost();
  out.counter("farthing_cost_total",
              "What the machine has cost, by what it worked on; the sum is its whole cost",
              {cost("prompt", used.prompt),
               cost("completion", used.completion),
               cost("idle", ledger.idle_cost())});
  const auto wasted = [&](FinishReason reason) {
    const Seconds busy{m.wasted_busy_seconds[static_cast<size_t>(reason)]};
    return Value{{{"reason", std::string(finish_reason_name(reason))}, {"currency", currency}},
                 (ledger.price.busy * busy).value};
  };
  out.counter("farthing_wasted_cost_total",
              "The part of it that went to requests which were cut short",
              {wasted(FinishReason::kCancelled), wasted(FinishReason::kDeadline)});
  std::vector<Value> prices;
  const auto add_price = [&](Ledger::Basis basis, Ledger::Count count) {
    const auto price = ledger.token_price(basis, count);
    if (!price) return;
    prices.push_back({{{"basis", basis == Ledger::Basis::kUsed ? "used" : "reserved"},
                       {"tokens", count == Ledger::Count::kOutput ? "output" : "total"},
                       {"currency", currency}},
                      per_million(*price).value});
  };
  for (const auto basis : {Ledger::Basis::kUsed, Ledger::Basis::kReserved}) {
    for (const auto count : {Ledger::Count::kOutput, Ledger::Count::kTotal}) {
      add_price(basis, count);
    }
  }
  out.gauge("farthing_cost_per_million_tokens",
            "used: of the busy time; reserved: of all time since the start",
            std::move(prices));
}

// Measured, or else worked out from the power that the price states.
void add_energy(Families& out, const MetricsView& view) {
  std::optional<Value> value;
  if (view.joules) {
    value = labelled("source", "rapl", *view.joules);
  } else if (const auto energy = view.ledger ? view.ledger->energy() : std::nullopt) {
    value = labelled("source", "model", energy->value);
  }
  if (!value) return;
  out.counter("farthing_energy_joules_total",
              "Energy: measured by the processors (rapl), or by the machine's stated power (model)",
              {*value});
}

// Names and meanings as of vLLM 0.11; where its meaning differs from ours, its wins.
void add_vllm(Families& out, const MetricsView& view) {
  const EngineMetrics& m = view.engine;
  const SchedulerCounts& s = m.scheduler;
  const double blocks = m.kv_blocks_leased + m.kv_blocks_idle + m.kv_blocks_free;
  out.gauge("vllm:num_requests_running", "Running sequences", {number(m.sequences_running)});
  out.gauge("vllm:num_requests_waiting", "Waiting sequences", {number(m.sequences_waiting)});
  out.gauge("vllm:kv_cache_usage_perc",
            "Leased part of the KV pool, 0 to 1",
            {number(blocks > 0 ? m.kv_blocks_leased / blocks : 0)});
  out.counter("vllm:prefix_cache_queries_total",
              "Prompt tokens looked up",
              {number(s.prompt_tokens_looked_up)});
  out.counter(
      "vllm:prefix_cache_hits_total", "Prompt tokens found", {number(s.prompt_tokens_cached)});
  out.counter("vllm:num_preemptions_total", "Preemptions", {number(s.preemptions)});
  out.counter("vllm:prompt_tokens_total",
              "Prompt tokens",
              {number(s.prompt_tokens_computed + s.prompt_tokens_cached)});
  out.counter(
      "vllm:spec_decode_num_draft_tokens_total", "Drafted tokens", {number(s.drafted_tokens)});
  out.counter(
      "vllm:spec_decode_num_accepted_tokens_total", "Accepted ones", {number(s.accepted_tokens)});
  out.counter("vllm:spec_decode_num_drafts_total", "Drafts", {number(s.drafts)});
  std::vector<Value> accepted;
  for (size_t i = 0; i < m.drafts.accepted_at.size(); ++i)
    accepted.push_back(labelled("position", std::to_string(i), m.drafts.accepted_at[i]));
  out.counter("vllm:spec_decode_num_accepted_tokens_per_pos_total",
              "Accepted ones by place",
              std::move(accepted));
  out.counter("vllm:generation_tokens_total", "Generated tokens", {number(m.generated_tokens)});
  const auto finished = [&](std::string name, FinishReason reason) {
    return labelled("finished_reason", name, m.requests_finished[static_cast<size_t>(reason)]);
  };
  out.counter("vllm:request_success_total",
              "Requests by how they ended",
              {finished("stop", FinishReason::kStop),
               finished("length", FinishReason::kLength),
               finished("abort", FinishReason::kCancelled),
               finished("error", FinishReason::kDeadline)});
  out.histogram("vllm:time_to_first_token_seconds", "TTFT", m.time_to_first_token);
  out.histogram("vllm:inter_token_latency_seconds", "Each gap", m.inter_token_latency);
  out.histogram(
      "vllm:time_per_output_token_seconds", "The former name of the gaps", m.inter_token_latency);
  out.histogram(
      "vllm:request_time_per_output_token_seconds", "Per sample", m.time_per_output_token);
  out.histogram("vllm:e2e_request_latency_seconds", "Per request", m.request_latency);
  out.histogram("vllm:request_queue_time_seconds", "Per request", m.queue_time);
  out.histogram("vllm:request_prefill_time_seconds", "Per request", m.prefill_time);
  out.histogram("vllm:request_decode_time_seconds", "Per request", m.decode_time);
  out.histogram("vllm:request_inference_time_seconds", "Per request", m.inference_time);
  out.histogram("vllm:request_prompt_tokens", "Per request", m.request_prompt_tokens);
  out.histogram("vllm:request_generation_tokens", "Per request", m.request_completion_tokens);
  out.histogram("vllm:request_max_num_generation_tokens",
                "Of a request's longest sample",
                m.request_longest_sample);
  out.histogram("vllm:request_params_n", "Per request", m.request_n);
  out.histogram("vllm:request_params_max_tokens", "Per request", m.request_max_tokens);
  out.histogram("vllm:iteration_tokens_total", "Tokens of a step", m.step_tokens);
  out.gauge("vllm:cache_config_info",
            "The KV pool",
            {{{{"block_size", std::to_string(kKVBlockTokens)},
               {"num_gpu_blocks", fmt::format("{:.0f}", blocks)},
               {"num_cpu_blocks", "0"},
               {"cache_dtype", kv_types_name(m.kv_type)},
               {"enable_prefix_caching", m.prefix_cache ? "True" : "False"}},
              1}});
}

}  // namespace

std::string metrics_text(const MetricsView& view) {
  Families own({});
  add_requests(own, view);
  add_tokens(own, view);
  add_drafts(own, view.engine);
  add_machine(own, view);
  if (view.ledger) add_money(own, *view.ledger, view.engine);
  add_energy(own, view);
  std::string text = own.text();
  if (view.vllm_names) {
    Families vllm({{"model_name", view.model}, {"engine", "0"}});
    add_vllm(vllm, view);
    text += vllm.text();
  }
  return text;
}

}  // namespace farthing
