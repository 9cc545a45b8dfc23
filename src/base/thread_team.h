// Owns: n - 1 worker threads; the caller is the n-th. Does not know: what they compute.
// Workers spin for a moment between jobs, then park. Invariant: run() returns only when every part
// is done.
#pragma once

#include <cstdint>
#include <memory>
#include <type_traits>

namespace farthing {

class ThreadTeam {
 public:
  explicit ThreadTeam(int32_t n_threads);
  ~ThreadTeam();
  ThreadTeam(const ThreadTeam&) = delete;
  ThreadTeam& operator=(const ThreadTeam&) = delete;

  int32_t size() const;

  // Calls fn(begin, end) on disjoint ranges that cover [0, n), each a multiple of `grain` long
  // except the last. Which thread computes which range is not fixed: results must not depend on it.
  template <class Fn>
  void parallel_for(int64_t n, int64_t grain, Fn&& fn) {
    run(
        n,
        grain,
        [](void* f, int64_t begin, int64_t end) {
          (*static_cast<std::remove_reference_t<Fn>*>(f))(begin, end);
        },
        const_cast<void*>(static_cast<const void*>(&fn)));
  }

 private:
  using Body = void (*)(void* context, int64_t begin, int64_t end);
  void run(int64_t n, int64_t grain, Body body, void* context);

  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace farthing
