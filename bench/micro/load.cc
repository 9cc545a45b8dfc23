// Loading a model (file, tokenizer, weights) beside reading its file from end to end and beside
// getting that much memory, with the file in the page cache ("warm") and dropped from it ("cold":
// what lies below, a hypervisor's cache, keeps what it has).
// Random interleaving puts them in turn:
//   FARTHING_BENCH_MODELS=a.gguf,b.gguf farthing_micro --benchmark_filter=^load/
//     --benchmark_repetitions=5 --benchmark_enable_random_interleaving=true
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <ranges>
#include <string>
#include <string_view>

#include "base/buffer.h"
#include "base/check.h"
#include "engine/loaded_model.h"
#include "micro/roofs.h"

namespace farthing::micro {
namespace {

int open_for_reading(const std::string& path) {
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  CHECK(file >= 0);
  return file;
}

void drop_from_page_cache(const std::string& path) {
  const int file = open_for_reading(path);
  CHECK(::fdatasync(file) == 0);
  CHECK(::posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED) == 0);
  ::close(file);
}

int64_t read_whole(const std::string& path) {
  auto piece =
      Buffer::allocate(size_t{1} << 20);  // of whole pages: copies to other places are slower
  CHECK(piece);
  const int file = open_for_reading(path);
  int64_t total = 0;
  for (ssize_t n = 1; n > 0; total += n) n = ::read(file, piece->data(), piece->size());
  ::close(file);
  return total;
}

// What the kernel takes to give as much memory as the file has bytes, in huge pages where it can: a
// load can't have its tiles for less.
Buffer touch(const std::string& path) {
  auto memory = Buffer::allocate(std::filesystem::file_size(path));
  CHECK(memory);
  for (size_t i = 0; i < memory->size(); i += 4096) memory->data()[i] = std::byte{1};
  return *std::move(memory);
}

template <class Step>
void run(benchmark::State& state, const std::string& path, bool warm, const Step& step) {
  for (auto _ : state) {
    state.PauseTiming();
    if (warm) {
      read_whole(path);
    } else {
      drop_from_page_cache(path);
    }
    state.ResumeTiming();
    const auto made = step();
    state.PauseTiming();  // what it made goes
    state.ResumeTiming();
  }
  state.SetBytesProcessed(state.iterations() *
                          static_cast<int64_t>(std::filesystem::file_size(path)));
}

}  // namespace

void register_load() {
  const char* models = std::getenv("FARTHING_BENCH_MODELS");
  if (models == nullptr) return;
  for (const auto part : std::views::split(std::string_view(models), ',')) {
    const std::string path(part.begin(), part.end());
    for (const bool warm : {true, false}) {
      const auto add = [&](const char* what, auto step) {
        benchmark::RegisterBenchmark(
            fmt::format("load/{}/{}/{}", model_name(path), warm ? "warm" : "cold", what).c_str(),
            [=](benchmark::State& state) { run(state, path, warm, [&] { return step(path); }); })
            ->Unit(benchmark::kMillisecond)
            ->UseRealTime()
            ->Iterations(1);
      };
      add("read", read_whole);
      if (warm) add("memory", touch);
      add("load", [](const std::string& p) {
        auto model = load_model(p, {});
        CHECK(model);
        return model;
      });
    }
  }
}

}  // namespace farthing::micro
