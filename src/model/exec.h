// Exec: what computing needs, passed in, never a singleton.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>

#include "base/matrix.h"
#include "base/thread_team.h"
#include "kernels/kernel_table.h"

namespace farthing {

struct WeightMatrix;

// Sees what goes into each matrix product, [n_tokens][cols] in f32, before it is packed: called by
// the thread that runs the forward pass, once per matrix and step, in the order of the model.
using InputObserver = std::function<void(const WeightMatrix& weight, Matrix<const float> input)>;

struct Exec {
  const KernelTable* kernels = nullptr;
  ThreadTeam* team = nullptr;
  const InputObserver* observer = nullptr;  // usually none
};

// Calls fn(task, thread) for each of n tasks, in order, each taken by a thread that is free:
// `thread` is below the team's size and no other's meanwhile. A thread's tasks go up.
template <class Fn>
void for_tasks(const Exec& exec, int64_t n, Fn&& fn) {
  if (n == 1) return fn(int64_t{0}, int64_t{0});
  std::atomic<int64_t> next{0};
  exec.team->parallel_for(exec.team->size(), 1, [&](int64_t begin, int64_t end) {
    for (int64_t thread = begin; thread < end; ++thread) {
      for (int64_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < n;) fn(i, thread);
    }
  });
}

}  // namespace farthing
