// Micro-benchmarks of the kernels, one thread, and of loading: farthing_micro
// --benchmark_filter=avx512vnni
#include "micro/roofs.h"

int main(int argc, char** argv) {
  for (farthing::Isa isa : farthing::supported_isas()) {
    if (isa == farthing::Isa::kRef) continue;
    farthing::micro::register_rows(isa);
    farthing::micro::register_matmul(isa);
    farthing::micro::register_attention(isa);
  }
  farthing::micro::register_load();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
}
