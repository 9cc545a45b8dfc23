// The verb `imatrix`: how much each input of a model's matrices carries, on a text.
#include <fmt/format.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/new_file.h"
#include "cli/interrupts.h"
#include "cli/output.h"
#include "cli/scoring.h"
#include "cli/verb.h"
#include "cli/verbs.h"
#include "convert/importance.h"
#include "convert/quantize.h"
#include "measure/input_squares.h"

namespace farthing {
namespace {

struct ImatrixOptions {
  ScoringOptions scoring;
  std::string out;
};

Status imatrix(const ImatrixOptions& options) {
  const ScoringOptions& scoring = options.scoring;
  if (options.out.empty()) return usage_error("--out is missing: give the file to write");
  if (scoring.text.empty())
    return usage_error("--text is missing: give a text such as the model will be used on");
  std::error_code error;
  if (std::filesystem::equivalent(scoring.text, options.out, error))
    return usage_error("--out {}: is what is read: write to another file", options.out);
  FARTHING_TRY(const std::string path, resolve_model(scoring.model.model));
  FARTHING_TRY(Interrupts interrupts, Interrupts::create());
  FARTHING_TRY(const auto model, load_model(path, scoring.model.load));
  FARTHING_TRY_VOID(check_not_read(model->model->file, options.out));
  FARTHING_TRY_VOID(NewFile::check(options.out));
  FARTHING_TRY(const std::vector<TokenId> tokens, text_tokens(model->tokenizer, scoring.text));
  FARTHING_TRY(const Windows windows, windows_of(tokens, model->tokenizer, scoring));
  Result<ImportanceMatrix> matrix = ImportanceMatrix();
  {
    ScoringProgress progress(windows.count(), "chunk");
    matrix = measure_importance(
        *model->model, scoring_runner(scoring.model.engine), windows, [&](int32_t n_done) {
          progress.show(n_done, "");
          return !interrupts.take();
        });
  }
  if (!matrix) return std::move(matrix).error();
  matrix->texts = {std::filesystem::path(scoring.text).filename().string()};
  FARTHING_TRY_VOID(write_importance(*matrix, options.out));
  fmt::print(stderr,
             "{}: {} matrices, {} chunks of {} tokens\n",
             options.out,
             matrix->tensors.size(),
             matrix->chunks,
             matrix->chunk_size);
  return {};
}

}  // namespace

void add_imatrix(CLI::App& app, int& exit_code) {
  const auto options = std::make_shared<ImatrixOptions>();
  CLI::App* verb =
      add_verb(app,
               "imatrix",
               "How much each input of a model's matrices carries: for `quantize --imatrix`",
               exit_code,
               [options] { return imatrix(*options); });
  add_scoring_options(*verb, options->scoring);
  verb->add_option("--out", options->out, "The file to write, as llama.cpp's (GGUF)")
      ->type_name("FILE");
}

}  // namespace farthing
