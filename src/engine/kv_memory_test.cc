// What keys and values of a real mix of requests take, paged and in fewer bits, against the classic
// cache: F16, contiguous, reserved at the longest sequence for each.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "cache/kv_store.h"
#include "kernels/kv_type.h"
#include "sched/scheduler.h"

namespace farthing {
namespace {

struct Lengths {
  int32_t prompt, answer;
};
// The first 64 requests of the Azure LLM inference trace 2023, conversations (Patel et al.,
// Splitwise, ISCA 2024; AzurePublicDataset, AzureLLMInferenceTrace_conv.csv, CC BY 4.0): the
// columns ContextTokens and GeneratedTokens.
constexpr Lengths kTrace[] = {
    {374, 44},   {396, 109}, {879, 55},  {91, 16},    {91, 16},    {381, 84},   {1313, 142},
    {388, 84},   {242, 14},  {209, 152}, {394, 124},  {394, 59},   {1315, 174}, {2221, 15},
    {389, 90},   {415, 106}, {120, 12},  {369, 74},   {206, 162},  {1353, 142}, {197, 152},
    {181, 154},  {388, 54},  {4085, 62}, {2584, 170}, {203, 147},  {126, 194},  {389, 87},
    {2548, 116}, {91, 16},   {4081, 74}, {181, 123},  {191, 217},  {27, 183},   {203, 217},
    {398, 81},   {126, 172}, {209, 181}, {209, 181},  {28, 175},   {437, 88},   {181, 104},
    {203, 138},  {200, 177}, {4073, 58}, {91, 16},    {1087, 401}, {382, 64},   {412, 102},
    {194, 217},  {203, 217}, {200, 217}, {64, 174},   {458, 123},  {1352, 158}, {874, 404},
    {378, 58},   {91, 16},   {4074, 50}, {389, 89},   {212, 183},  {1085, 394}, {407, 131},
    {396, 82},
};
constexpr int32_t kCount = static_cast<int32_t>(std::size(kTrace));
constexpr int32_t kMaxTokens = 512;  // that each request allows itself, and no answer takes

// SmolLM2's: 30 layers, 3 KV heads of 64 values.
int64_t block_bytes(KVTypes types) {
  const KVShape layer{3, kv_k_plane(types.k, 64).bytes, kv_v_plane(types.v, 64).bytes};
  return KVStore::bytes_needed(std::vector<KVShape>(30, layer), 1);
}

// The most blocks leased while all of them are answered, in steps of 512 tokens. What they store is
// each one's own.
int32_t most_leased(bool paged, int32_t context) {
  KVPool pool(kCount * blocks_for(context));
  Scheduler scheduler(
      {.context = context, .max_sequences = kCount, .max_step_tokens = 512, .paged = paged}, pool);
  std::vector<int32_t> left;
  for (int32_t i = 0; i < kCount; ++i) {
    Request request;
    request.prompt.assign(static_cast<size_t>(kTrace[i].prompt), i);
    request.max_tokens = kMaxTokens;
    scheduler.add(RequestId{static_cast<uint32_t>(i)}, request);
    left.push_back(kTrace[i].answer);
  }
  int32_t most = 0;
  while (!scheduler.idle()) {
    const Batch batch = scheduler.plan(TimePoint{});
    most = std::max(most, pool.n_leased());
    std::vector<Picked> picked;
    for (const Slice& slice : batch.slices) {
      if (slice.n_logits == 0) continue;
      const auto request = static_cast<size_t>(slice.sequence->request.v);
      picked.push_back({slice.sequence->id, 1, --left[request] == 0});
    }
    scheduler.commit(batch, picked);
  }
  EXPECT_EQ(std::accumulate(left.begin(), left.end(), 0), 0);
  EXPECT_EQ(pool.n_leased(), 0);
  EXPECT_EQ(scheduler.counts().preemptions, 0);
  return most;
}

TEST(KVMemory, ARealMixOfLengthsTakesAFractionOfAContiguousF16Cache) {
  // The least context that serves them all; a server's usual one makes the classic cache larger.
  int32_t context = 0;
  int32_t blocks_of_all = 0;
  for (const Lengths& l : kTrace) {
    context = std::max(context, l.prompt + kMaxTokens);
    blocks_of_all += blocks_for(l.prompt + l.answer);
  }
  const int32_t paged = most_leased(true, context), reserved = most_leased(false, context);
  EXPECT_LE(paged, blocks_of_all);  // not even all of them are at their longest at once
  EXPECT_LT(paged, reserved);
  const double classic =
      static_cast<double>(kCount * block_bytes(KVType::kF16)) * blocks_for(context);
  const auto share = [&](const char* what, int32_t blocks, KVTypes types) {
    const double bytes = static_cast<double>(block_bytes(types)) * blocks;
    fmt::print("{:<28} {:>8}: {:7.1f} MB, {:.3f}\n",
               what,
               kv_types_name(types),
               bytes * 1e-6,
               bytes / classic);
    return bytes / classic;
  };
  EXPECT_EQ(share("contiguous", kCount * blocks_for(context), KVType::kF16), 1);
  EXPECT_LE(share("prompt + max_tokens reserved", reserved, KVType::kF16), 0.4);
  EXPECT_LE(share("paged, all at their longest", blocks_of_all, KVType::kF16), 0.25);
  EXPECT_LE(share("paged, at the peak", paged, KVType::kF16), 0.25);
  EXPECT_LE(share("paged, at the peak", paged, KVType::kInt8), 0.13);
  EXPECT_LE(share("paged, at the peak", paged, {KVType::kInt8, KVType::kInt4}), 0.11);
  EXPECT_LE(share("paged, at the peak", paged, KVType::kInt4), 0.08);
}

}  // namespace
}  // namespace farthing
