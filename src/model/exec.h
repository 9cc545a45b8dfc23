// Exec: what computing needs, passed in, never a singleton.
#pragma once

#include "base/thread_team.h"
#include "kernels/kernel_table.h"

namespace farthing {

struct Exec {
  const KernelTable* kernels = nullptr;
  ThreadTeam* team = nullptr;
};

}  // namespace farthing
