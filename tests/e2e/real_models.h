// Where tools/fetch_model.sh keeps the real models.
#pragma once

#include <cstdlib>
#include <string>

namespace farthing::testing {

inline std::string real_model(const std::string& file) {
  std::string folder;
  if (const char* models = std::getenv("FARTHING_MODELS_DIR")) {
    folder = models;
  } else if (const char* cache = std::getenv("XDG_CACHE_HOME")) {
    folder = cache + std::string("/farthing/models");
  } else if (const char* home = std::getenv("HOME")) {
    folder = home + std::string("/.cache/farthing/models");
  }
  return folder + "/" + file;
}

}  // namespace farthing::testing
