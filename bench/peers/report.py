"""From samples to tables: medians of ratios within a round, since the machine drifts between rounds.

samples: {model: {test: {program: [a figure or None for each round]}}}
"""

import re
import statistics


def median(values):
    known = [v for v in values if v is not None]
    return statistics.median(known) if known else None


def ratios(ours, theirs):
    """Round by round; a round in which either failed counts for nothing."""
    return [a / b for a, b in zip(ours, theirs) if a is not None and b]


def best_peer(by_program, ours="farthing", lower_is_better=False):
    """The peer with the best median, or None."""
    medians = {name: median(values) for name, values in by_program.items() if name != ours}
    known = {name: value for name, value in medians.items() if value is not None}
    if not known:
        return None
    return (min if lower_is_better else max)(known, key=known.get)


def geometric_mean(values):
    return statistics.geometric_mean(values) if values else None


def shown(value, digits=1):
    if value is None:
        return "-"
    return f"{value:.0f}" if value >= 1000 else f"{value:.{digits}f}"


def percent(value):
    return "-" if value is None else f"{100 * value:.0f} %"


def row_of_ratio(by_program, lower_is_better=False):
    peer = best_peer(by_program, lower_is_better=lower_is_better)
    found = ratios(by_program.get("farthing", []), by_program[peer]) if peer else []
    if not found:
        return None, "-"
    middle = statistics.median(found)
    spread = f" ({min(found):.2f} to {max(found):.2f})" if len(found) > 1 else ""
    return middle, f"{middle:.2f}{spread}"


def table(header, rows):
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def speed_table(results):
    programs = results["programs"]
    rows, prefills = [], []
    for model, tests in results["samples"].items():
        for test, by_program in tests.items():
            middle, text = row_of_ratio(by_program)
            if middle and test.startswith("pp"):
                prefills.append(middle)
            reached = results["reached"].get(model, {}).get(test, {})
            rows.append([model, test, *(shown(median(by_program.get(p, []))) for p in programs), text,
                         percent(median(reached.get("read_fraction", []))),
                         percent(median(reached.get("int8_fraction", [])))])
    header = ["model", "test", *programs, "ratio to the best peer", "of read bandwidth", "of int8 peak"]
    text = table(header, rows)
    if len(prefills) > 1:
        text += f"\nPrefill, geometric mean of the ratios: {geometric_mean(prefills):.2f}.\n"
    return text


def start_table(results):
    rows = []
    for model, kinds in results["starts"].items():
        for kind, by_program in kinds.items():
            for figure, name in (("first_token_s", "first token, s"), ("peak_mib", "peak memory, MiB")):
                values = {program: [None if s is None else s[figure] for s in samples]
                          for program, samples in by_program.items()}
                digits = 2 if figure == "first_token_s" else 0
                _, text = row_of_ratio(values, lower_is_better=True)
                rows.append([model, f"{kind}: {name}",
                             *(shown(median(values.get(p, [])), digits) for p in results["programs"]), text])
    if not rows:
        return ""
    return table(["model", "from start", *results["programs"], "ratio to the best peer"], rows)


def span(values, digits=1):
    return f"{median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def machine_text(results):
    seen = results["machines"]
    if not seen:
        return ""
    first = seen[0]
    threads = first["all_threads"]["threads"]

    def of(who, what):
        return [machine[who][what] for machine in seen]

    return (f"Machine: {first['cpu']}, {threads} threads, kernels {first['isa']}. Measured beside the tests "
            f"({len(seen)} times, median and range): memory read {span(of('one_thread', 'read_gb_per_s'))} GB/s with "
            f"one thread, {span(of('all_threads', 'read_gb_per_s'))} with {threads}; int8 dot "
            f"{span(of('all_threads', 'int8_gops'), 0)} Gop/s; f32 FMA {span(of('all_threads', 'f32_gflops'), 0)} "
            "Gflop/s.\n")


def markdown(results):
    """The section that `run` writes into docs/performance.md."""
    parts = [f"{machine_text(results)}Date: {results['date']}. {results['rounds_done']} rounds, the programs in turn "
             f"within each; others used at most {percent(max(results['busy'], default=None))} of the CPUs before a "
             f"model's tests. {'; '.join(results['versions'])}.\n"]
    if results["samples"]:
        parts.append("Tokens/s, medians of the rounds; the ratio is the median of the rounds' ratios, and their "
                     "range. Fractions are `farthing bench`'s: weights, keys and values read once a step, against "
                     "what plain loops did before and after each repetition.\n")
        parts.append(speed_table(results))
    if results["starts"]:
        parts.append("From the start of the program, the file in the page cache (a ratio below 1 is less):\n")
        parts.append(start_table(results))
    parts.append("```sh\n" + "\n".join(results["commands"]) + "\n```\n")
    if results["failures"]:
        parts.append("Failed: " + "; ".join(results["failures"]) + "\n")
    return "\n".join(parts)


def replace_section(document, name, text):
    """`document` with what stands between the marks of this section replaced, or added at the end."""
    begin, end = f"<!-- bench/peers/run {name}: begin -->", f"<!-- bench/peers/run {name}: end -->"
    block = f"{begin}\n{text}{end}"
    pattern = re.escape(begin) + ".*?" + re.escape(end)
    if re.search(pattern, document, re.DOTALL):
        return re.sub(pattern, lambda _: block, document, flags=re.DOTALL)
    return document.rstrip("\n") + f"\n\n{block}\n"
