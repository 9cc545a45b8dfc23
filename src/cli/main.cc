// farthing: one program, many verbs. What the command line means stands in the verbs; here is only
// the way in.
#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <exception>
#include <new>

#include "base/lost_pages.h"
#include "base/nearest.h"
#include "base/utf8.h"
#include "cli/output.h"
#include "cli/verbs.h"
#include "cli/version.h"

namespace farthing {
namespace {

std::vector<std::string> verb_names(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* verb : app.get_subcommands({})) names.push_back(verb->get_name());
  return names;
}

std::vector<std::string> flag_names(const CLI::App& verb) {
  std::vector<std::string> names;
  for (const CLI::Option* option : verb.get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  }
  return names;
}

std::string did_you_mean(std::string_view word, const std::vector<std::string>& candidates) {
  const std::string best = nearest(word, candidates);
  return best.empty() ? "" : fmt::format(": did you mean {}?", best);
}

int usage(std::string_view message, std::string_view help) {
  return report(usage_error("{} (see: {} --help)", message, help), stderr);
}

// The parser's complaint in our words: it names what was wrong, and the nearest verb or flag.
int explain(const CLI::App& app, const CLI::ParseError& error) {
  const CLI::App* deepest = &app;
  std::string help = "farthing";
  while (!deepest->get_subcommands().empty()) {
    deepest = deepest->get_subcommands().front();
    help += " " + deepest->get_name();
  }
  const CLI::App& scope = *deepest;
  const bool chosen = deepest != &app;
  const std::vector<std::string> unknown = app.remaining(true);
  if (!unknown.empty()) {
    const std::string& word = unknown.front();
    const bool is_flag = word.starts_with('-');
    const std::string flag = word.substr(0, word.find('='));
    const std::string shown = printable(is_flag ? flag : word);
    if (is_flag)
      return usage("unknown flag " + shown + did_you_mean(flag, flag_names(scope)), help);
    if (const std::vector<std::string> verbs = verb_names(scope); !verbs.empty())
      return usage("unknown verb " + shown + did_you_mean(word, verbs), help);
    return usage("unexpected argument " + shown, help);
  }
  if (!chosen) return usage("a verb is missing", help);
  return usage(printable(error.what(), 400), help);
}

int run(int argc, char** argv) {
  CLI::App app("farthing: large language models on CPUs, and what their tokens cost", "farthing");
  int exit_code = 0;
  app.require_subcommand(1);
  app.set_version_flag(
      "--version", [] { return version_line(); }, "Version, commit, compiler and kernels in use");
  add_check(app, exit_code);
  add_doctor(app, exit_code);
  add_inspect(app, exit_code);
  add_serve(app, exit_code);
  add_run(app, exit_code);
  add_perplexity(app, exit_code);
  add_quality(app, exit_code);
  add_quantize(app, exit_code);
  add_imatrix(app, exit_code);
  add_bench(app, exit_code);
  add_econ(app, exit_code);
  add_ladder(app, exit_code);
  add_tokenize(app, exit_code);
  add_detokenize(app, exit_code);
  add_apply_template(app, exit_code);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& wanted) {  // --help, --version
    app.exit(wanted);
    return finish(stdout, stderr);
  } catch (const CLI::ParseError& error) {
    return explain(app, error);
  }
  return exit_code;
}

}  // namespace
}  // namespace farthing

int main(int argc, char** argv) {
  farthing::explain_lost_pages();
  std::signal(SIGXFSZ, SIG_IGN);  // a file that may not grow is an error, as a full disk is
  // The last net: whatever a verb forgot still ends in one line and the right exit code.
  try {
    return farthing::run(argc, argv);
  } catch (const std::bad_alloc&) {
    return farthing::report(farthing::no_resource("out of memory"), stderr);
  } catch (const std::exception& error) {
    return farthing::report(farthing::runtime_failure("unexpected: {}", error.what()), stderr);
  }
}
