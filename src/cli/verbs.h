// The verbs of the command line. Each add_* gives the app one subcommand whose callback does the
// work and sets exit_code (see ErrorKind in base/result.h: 0 ok, 1 failure, 2 usage, 3 bad input, 4
// no resource, 5 unreachable).
#pragma once

namespace CLI {
class App;
}

namespace farthing {

void add_bench(CLI::App& app, int& exit_code);
void add_bench_serve(CLI::App& bench, int& exit_code);  // beneath bench
void add_bench_speculation(CLI::App& bench, int& exit_code);
void add_ladder(CLI::App& app, int& exit_code);
void add_check(CLI::App& app, int& exit_code);
void add_doctor(CLI::App& app, int& exit_code);
void add_econ(CLI::App& app, int& exit_code);
void add_inspect(CLI::App& app, int& exit_code);
void add_serve(CLI::App& app, int& exit_code);
void add_run(CLI::App& app, int& exit_code);
void add_perplexity(CLI::App& app, int& exit_code);
void add_quality(CLI::App& app, int& exit_code);
void add_quantize(CLI::App& app, int& exit_code);
void add_imatrix(CLI::App& app, int& exit_code);
void add_tokenize(CLI::App& app, int& exit_code);
void add_detokenize(CLI::App& app, int& exit_code);
void add_apply_template(CLI::App& app, int& exit_code);

}  // namespace farthing
