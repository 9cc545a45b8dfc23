#include "cli/version.h"

#include <fmt/format.h>

#include "farthing_commit.h"
#include "kernels/isa.h"

namespace farthing {

std::string version_line() {
  return fmt::format("farthing {} (commit {}, {}, kernels {})",
                     FARTHING_VERSION,
                     FARTHING_COMMIT,
                     FARTHING_COMPILER,
                     isa_name(best_isa()));
}

std::string commit_id() {
  return FARTHING_COMMIT;
}

}  // namespace farthing
