// The JSON type of the project: objects keep the order of their keys.
#pragma once

#include <nlohmann/json.hpp>

namespace farthing {
using Json = nlohmann::ordered_json;
}
