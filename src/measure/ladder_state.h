// What a ladder keeps between runs: the samples of every setting, in a JSON file.
#pragma once

#include <string>

#include "base/json.h"
#include "base/result.h"
#include "measure/ladder.h"

namespace farthing {

// {"schema": "farthing-ladder-state/1", "key": ..., "seconds", "settings": [{"rungs", "slice",
// "samples": [...]}]}. `key` says which ladder it is.
Json state_json(const LadderResult& result, const Json& key);

// Fills slices and samples; leaves what isn't in the file as it is. kBadInput if it is no such file
// or one of another ladder (it names what differs).
Status read_state(const std::string& path, const Json& key, LadderResult& result);
// Writes beside `path` and renames, so that no half file ever stands there.
Status write_state(const std::string& path, const Json& state);

}  // namespace farthing
