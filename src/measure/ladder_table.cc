#include <algorithm>
#include <functional>
#include <limits>
#include <utility>
#include <vector>

#include "measure/ladder_format.h"
#include "measure/ladder_report.h"

namespace farthing {
namespace {

using Row = std::vector<std::string>;

// Characters, not bytes.
size_t width_of(std::string_view text) {
  return static_cast<size_t>(std::ranges::count_if(
      text, [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

std::string padded(const std::string& text, size_t width, bool left) {
  const std::string space(width - std::min(width, width_of(text)), ' ');
  return left ? text + space : space + text;
}

// A bar of eighths of a character; the length goes with the logarithm, since the rungs differ by
// orders of magnitude.
std::string bar(double value, double least, double most, int width) {
  static constexpr std::string_view kParts[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
  if (!(value > 0) || !(most > least)) return {};
  const double share = std::log(value / least) / std::log(most / least);
  const int eighths = std::clamp(static_cast<int>(share * width * 8), 1, width * 8);
  std::string out;
  for (int i = 0; i < eighths / 8; ++i) out += "█";
  return out + std::string(kParts[eighths % 8]);
}

// What is said of a rung, and where: a terminal has room for what matters most, with bars;
// Markdown for all.
enum class Where : uint8_t { kBoth, kTerminal, kMarkdown };
struct Column {
  std::string head;
  bool left = false;
  Where where = Where::kBoth;
  std::function<std::string(const Json& rung)> text;
};

std::vector<Column> columns_of(const Json& ladder, Where where) {
  double least = std::numeric_limits<double>::infinity(), most = 0;
  for (const Json& rung : ladder.at("rungs")) {
    const double rate = figure(rung, "/tokens_per_second/total").value_or(0);
    if (rate > 0) least = std::min(least, rate);
    most = std::max(most, rate);
  }
  const auto of = [](std::string (*format)(std::optional<double>), const char* pointer) {
    return [=](const Json& rung) { return format(figure(rung, pointer)); };
  };
  using enum Where;
  std::vector<Column> columns = {
      {"rung", true, kBoth, [](const Json& rung) { return rung.at("title").get<std::string>(); }},
      {"tokens/s",
       false,
       kBoth,
       [](const Json& rung) {
         const bool scaled = rung.at("measured") == true && rung.at("cumulative").at("scaled");
         return three_figures(figure(rung, "/tokens_per_second/total")) + (scaled ? "*" : "");
       }},
      {"",
       true,
       kTerminal,
       [=](const Json& rung) {
         return bar(figure(rung, "/tokens_per_second/total").value_or(0), least / 2, most, 12);
       }},
      {"TTFT p50", false, kBoth, of(as_time, "/cumulative/ttft_seconds/p50/value")},
      {"TTFT p99", false, kMarkdown, of(as_time, "/cumulative/ttft_seconds/p99/value")},
      {"TPOT p50", false, kBoth, of(as_time, "/cumulative/tpot_seconds/p50/value")},
      {"TPOT p99", false, kMarkdown, of(as_time, "/cumulative/tpot_seconds/p99/value")},
      {"pauses p99", false, kMarkdown, of(as_time, "/cumulative/itl_p99_seconds/value")},
      {"memory", false, kBoth, of(as_bytes, "/cumulative/memory_bytes")},
      {"KV/token", false, kMarkdown, of(as_bytes, "/cumulative/kv_bytes_per_token")},
      {ladder.at("machine").at("currency").get<std::string>() + "/M out",
       false,
       kBoth,
       of(three_figures, kReservedPrice)},
      {"used",
       false,
       kMarkdown,
       of(three_figures, "/cumulative/price_per_million_tokens/used/value")},
      {"J/token", false, kMarkdown, of(three_figures, "/cumulative/joules/per_output_token/value")},
      {"step", false, kBoth, of(as_times, "/factor/value")},
      {"alone", false, kBoth, of(as_times, "/alone/factor/value")},
      {"KLD", false, kMarkdown, of(three_figures, "/quality/kld_mean/value")},
      {"top-1", false, kBoth, of(as_percent, "/quality/top1_agreement/value")},
      {"bound by", true, kBoth, [](const Json& rung) -> std::string {
         if (rung.at("measured") != true) return "not measured";
         return rung.at("cumulative").at("bound").at("by");
       }}};
  std::erase_if(columns, [=](const Column& c) { return c.where != kBoth && c.where != where; });
  return columns;
}

// The head, and a row for each rung.
std::vector<Row> rows_of(const Json& ladder, const std::vector<Column>& columns) {
  std::vector<Row> rows(1);
  for (const Column& column : columns) rows[0].push_back(column.head);
  for (const Json& rung : ladder.at("rungs")) {
    Row& row = rows.emplace_back();
    for (const Column& column : columns) row.push_back(column.text(rung));
  }
  return rows;
}

std::string headline(const Json& ladder) {
  const Json *bottom = nullptr, *top = nullptr;
  for (const Json& rung : ladder.at("rungs")) {
    if (rung.at("measured") != true) continue;
    if (!bottom) bottom = &rung;
    top = &rung;
  }
  if (!bottom || bottom->at("id") != "naive") return "The bottom was not measured.";
  return fmt::format(
      "From {} to {} {} per million tokens of answers: {} cheaper; {} against "
      "float32: the same first choice at {} of places.",
      three_figures(figure(*bottom, kReservedPrice)),
      three_figures(figure(*top, kReservedPrice)),
      ladder.at("machine").at("currency").get<std::string>(),
      with_interval(*top, "/factor_from_bottom"),
      top->at("title").get<std::string>(),
      as_percent(figure(*top, "/quality/top1_agreement/value")));
}

std::string factors_line(const Json& ladder) {
  const Json& f = ladder.at("factors");
  return fmt::format(
      "Algorithms {} times systems {} = {}, measured as a whole {}; multiplied from alone {} times "
      "{} = {}. The machine, core for core against the {}: {} ({}).",
      as_times(figure(f, "/algorithm")),
      as_times(figure(f, "/system")),
      as_times(figure(f, "/product")),
      as_times(figure(f, "/whole")),
      as_times(figure(f, "/alone/algorithm")),
      as_times(figure(f, "/alone/system")),
      as_times(figure(f, "/alone/product")),
      f.at("machine").at("baseline").at("name").get<std::string>(),
      as_times(figure(f, "/machine/factor")),
      f.at("machine").at("by").get<std::string>());
}

std::string machine_line(const Json& ladder) {
  const Json& m = ladder.at("machine");
  return fmt::format(
      "{}, {} threads, {}: reads {} GB/s, {} Gop/s in int8, {} GFLOP/s in float32; "
      "{} {} an hour ({})",
      m.at("cpu").get<std::string>(),
      m.at("threads").get<int>(),
      m.at("isa").get<std::string>(),
      three_figures(figure(m, "/read_gb_per_s")),
      three_figures(figure(m, "/int8_gops")),
      three_figures(figure(m, "/f32_gflops")),
      three_figures(figure(m, "/price_per_hour")),
      m.at("currency").get<std::string>(),
      m.at("price_basis").get<std::string>());
}

std::string lines_above(const Json& ladder) {
  const Json& model = ladder.at("model");
  return fmt::format("{} ({})\n{}\n{}\n",
                     model.at("name").get<std::string>(),
                     model.at("description").get<std::string>(),
                     workload_line(ladder),
                     machine_line(ladder));
}

constexpr std::string_view kReading =
    "step: times as fast, and so as cheap, as the rung before; alone: the bottom with what the "
    "rung "
    "needs, with it against without it. Prices are per million tokens of answers, of all the time "
    "(reserved) and of the busy time (used).";

std::string markdown_row(const Row& row) {
  std::string line = "|";
  for (const std::string& cell : row) line += fmt::format(" {} |", cell);
  return line + "\n";
}

}  // namespace

std::vector<std::string> notes_of(const Json& ladder) {
  std::vector<std::string> notes;
  bool scaled = false;
  for (const Json& rung : ladder.at("rungs")) {
    for (const char* place : {"/cumulative", "/alone/with", "/alone/without"}) {
      const Json::json_pointer at{std::string(place)};
      if (rung.contains(at) && rung[at].is_object() && rung[at].at("scaled") == true) scaled = true;
    }
    if (const Json answers = rung.value("answers", Json());
        answers.is_object() && rung.at("changes_numbers") == false &&
        answers.at("same") != answers.at("compared")) {
      notes.push_back(
          fmt::format("{}: {} of {} answers differ from those without it, which should "
                      "not be: please report it.",
                      rung.at("title").get<std::string>(),
                      answers.at("compared").get<int>() - answers.at("same").get<int>(),
                      answers.at("compared").get<int>()));
    }
  }
  if (scaled)
    notes.push_back(
        "*: measured on a part of the workload and scaled to all of it by the tokens "
        "computed; attention's growth with length is left out, in favour of such rungs. "
        "Settings that a rung is measured alone in are mostly such.");
  if (const std::string note = ladder.at("model").at("note"); !note.empty())
    notes.push_back("Quality is against these weights in float32, and they are rounded already (" +
                    note + "): what that rounding lost is not seen here.");
  if (const double shrunk = ladder.at("workload").at("lengths_shrunk_to"); shrunk < 1)
    notes.push_back(
        fmt::format("Lengths are {:.2f} of the workload's, to fit the context.", shrunk));
  for (const Json& missing : ladder.at("missing"))
    notes.push_back(missing.at("title").get<std::string>() +
                    " was left out: " + missing.at("why").get<std::string>() + ".");
  for (const Json& rung : ladder.at("rungs")) {
    if (figure(rung, "/cumulative/joules/watts")) {
      notes.push_back("Joules are reckoned, not measured: " +
                      rung.at("cumulative").at("joules").at("model").get<std::string>() + ".");
      break;
    }
  }
  notes.push_back(
      fmt::format("Lengths: {}.", ladder.at("workload").at("source").get<std::string>()));
  if (ladder.at("interrupted") == true)
    notes.push_back("Interrupted: what was measured until then.");
  if (ladder.at("out_of_time") == true)
    notes.push_back("The budget did not suffice for all rounds: give a larger --budget.");
  return notes;
}

std::string ladder_table(const Json& ladder) {
  const std::vector<Column> columns = columns_of(ladder, Where::kTerminal);
  const std::vector<Row> rows = rows_of(ladder, columns);
  std::vector<size_t> widths(columns.size());
  for (const Row& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], width_of(row[i]));
  }
  std::string out = lines_above(ladder) + "\n";
  for (const Row& row : rows) {
    for (size_t i = 0; i < row.size(); ++i)
      out += padded(row[i], widths[i], columns[i].left) + (i + 1 < row.size() ? "  " : "\n");
  }
  out += fmt::format("\n{}\n{}\n{}\n", headline(ladder), factors_line(ladder), kReading);
  for (const std::string& note : notes_of(ladder)) out += note + "\n";
  return out;
}

std::string ladder_markdown(const Json& ladder) {
  const std::vector<Column> columns = columns_of(ladder, Where::kMarkdown);
  std::string out = "## What each optimisation is worth\n\n" + lines_above(ladder) + "\n";
  const std::vector<Row> rows = rows_of(ladder, columns);
  out += markdown_row(rows[0]) + markdown_row(Row(columns.size(), "---"));
  for (size_t i = 1; i < rows.size(); ++i) out += markdown_row(rows[i]);
  out += fmt::format("\n{}\n\n{}\n\n{}\n\n", headline(ladder), factors_line(ladder), kReading);
  for (const std::string& note : notes_of(ladder)) out += "- " + note + "\n";
  out +=
      "\n### The chapter's claims\n\n| claim | measured here | verdict | it would hold |\n"
      "| --- | --- | --- | --- |\n";
  for (const Json& claim : ladder.at("claims"))
    out += markdown_row(
        {claim.at("claim"), claim.at("measured_text"), claim.at("verdict"), claim.at("condition")});
  return out;
}

std::string claims_table(const Json& ladder) {
  std::string out = "The chapter's claims\n";
  for (const Json& claim : ladder.at("claims")) {
    const std::string measured = claim.at("measured_text");
    out += fmt::format("\n{} ({})\n  here:     {}\n  verdict:  {}\n  it holds: {}\n",
                       claim.at("claim").get<std::string>(),
                       claim.at("id").get<std::string>(),
                       measured.empty() ? "-" : measured,
                       claim.at("verdict").get<std::string>(),
                       claim.at("condition").get<std::string>());
  }
  return out;
}

}  // namespace farthing
