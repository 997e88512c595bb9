"""Print the tables of results.jsonl as Markdown: mean and spread over seeds, and the share of the gap recovered."""

import argparse
import io
import math
import statistics
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.common import print_table
from benchmarks.downstream.rows import (
    AUGMENTED,
    BUDGETS,
    COMBINED,
    DISCRIMINATORS,
    GRID,
    TEXTURED,
    VARIATIONS,
    known_rows,
)
from benchmarks.downstream.run import RESULTS, read_results
from benchmarks.downstream.tasks import TASKS

CHOSEN = "combined, chosen"
"""Of each seed the variation of ``combined`` whose held-out images score best; no test image has a say."""

MAIN = ("source", AUGMENTED[1:], "pixel-distribution", GRID, TEXTURED, "default", "labelled", "real")
"""The rows of the summary; the second is the source with augmentation."""

_FEWEST, _LARGEST = 3, 3  # seeds, and the largest spread of the source over them in points

_BEGIN, _END = "<!-- tables -->", "<!-- end of tables -->"

Result = Mapping[str, Any]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table for each task that has results, or write the tables into a page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=RESULTS, help="(%(default)s)")
    parser.add_argument(
        "--into", type=Path, metavar="PAGE", help=f"write the tables into this page, between {_BEGIN} and {_END}"
    )
    parser.add_argument(
        "--against", metavar="ROW", help="print how much rows differ from this one, seed by seed, e.g. source"
    )
    parser.add_argument("--summary", action="store_true", help="print the main rows of all tasks in one table")
    parser.add_argument("--budget", choices=BUDGETS, default="cpu", help="(%(default)s)")
    options = parser.parse_args(arguments)
    every = read_results(options.results)
    results = [result for result in every if result["budget"] == options.budget]
    page = io.StringIO() if options.into else sys.stdout
    with redirect_stdout(page):
        if options.summary:
            print_summary(every)
        for task in () if options.summary else TASKS:
            if of_task := [result for result in results if result["task"] == task]:
                (print_results if not options.against else partial(print_differences, options.against))(task, of_task)
    if isinstance(page, io.StringIO):
        before, rest = options.into.read_text("utf-8").split(_BEGIN)
        _, after = rest.split(_END)
        lines = "\n".join(line.rstrip() for line in page.getvalue().strip().splitlines())
        options.into.write_text(f"{before}{_BEGIN}\n{lines}\n{_END}{after}", "utf-8")


def print_summary(results: Sequence[Result]) -> None:
    """Print the main rows of all tasks: the best result of one and five looks, alone and augmented, and the seeds.

    Each task has the budget that fills more of the rows; of two that fill as many, ``"steady"``. Tasks whose source
    differs by more than 3 points between seeds in every budget cannot tell rows apart: they are named below the table.
    """
    lines, left_out = [], []
    for task in TASKS:
        of_task = [result for result in results if result["task"] == task]
        of_budgets = [
            by_row([result for result in of_task if result["budget"] == budget]) for budget in ("steady", "cpu")
        ]
        sources = [[100 * result["score"] for result in rows.get("source", {}).values()] for rows in of_budgets]
        spreads = [statistics.stdev(scores) for scores in sources if len(scores) >= _FEWEST]
        if spreads and min(spreads) > _LARGEST:
            left_out.append(f"{task} ({min(spreads):.1f})")
            continue
        cells = max(([better(name, rows) for name in MAIN] for rows in of_budgets), key=lambda row: sum(map(bool, row)))
        if any(cells):
            lines.append([task, *cells])
    columns = ["task", *("augmentation" if name == AUGMENTED[1:] else name for name in MAIN)]
    print_table("What a task network is trained on, and what it scores on real images, per cent", columns, lines)
    if left_out:
        print(f"\nLeft out, as the source differs by more than {_LARGEST} points between seeds: {', '.join(left_out)}.")


def better(name: str, rows: Mapping[str, Mapping[int, Result]]) -> str:
    """Return the scores of a row, of one or five looks, alone or augmented, whichever have the best mean.

    Only those with the most seeds count. The source is always alone.
    """
    if name in {"source", AUGMENTED[1:]}:
        scored = {"": rows.get("source" if name == "source" else f"source{AUGMENTED}", {})}
    else:
        scored = {
            looks + mark: rows.get(f"{name}{looks}{ending}", {})
            for looks in ("", " x5")
            for ending, mark in (("", ""), (AUGMENTED, " a"))
        }
    most = max(map(len, scored.values()))
    scored = {mark: results for mark, results in scored.items() if results and len(results) == most}
    if not scored:
        return ""
    mark = max(scored, key=lambda each: statistics.mean(result["score"] for result in scored[each].values()))
    figures = [100 * result["score"] for result in scored[mark].values()]
    return f"{spread(figures)}{mark} ({len(figures)})"


def print_results(task: str, results: Sequence[Result]) -> None:
    """Print the table of a task, and that of its discriminators."""
    rows = by_row(results)
    metric, tested = results[0]["metric"], results[0]["tested"]
    columns = ["trained on", "alone", "gap recovered", "with augmentation", "gap recovered", "seeds", "held-out score"]
    lines = {name: line(name, rows) for name in rows if not name.endswith(AUGMENTED)}
    print_table(f"{task}: {metric} on {tested} real images, in per cent", columns, lines.values())
    discriminators = [lines[name] for name in (*DISCRIMINATORS, COMBINED) if name in lines]
    if len(discriminators) > 1:
        print_table(f"{task}: patch and global discriminators, and both ({COMBINED})", columns, discriminators)


def print_differences(against: str, task: str, results: Sequence[Result]) -> None:
    """Print how much each row differs from another, alone and with augmentation, over their common seeds."""
    rows = by_row(results)
    lines = []
    for name in rows:
        cells = []
        for ending in ("", AUGMENTED):
            found, other = rows.get(name + ending, {}), rows.get(against + ending, {})
            seeds = sorted(found.keys() & other.keys())
            cells += [
                difference([100 * (found[seed]["score"] - other[seed]["score"]) for seed in seeds]),
                str(len(seeds)),
            ]
        if not name.endswith((AUGMENTED, against)) and cells[0] + cells[2]:
            lines.append([name, *cells])
    columns = ["trained on", "alone", "seeds", "with augmentation", "seeds"]
    print_table(
        f"{task}: difference from {against}, paired over seeds, in points, with its 95 % interval", columns, lines
    )


def difference(steps: Sequence[float]) -> str:
    """Return the mean of paired differences as text, and whether it exceeds their spread, from three differences on."""
    if not steps:
        return ""
    mean = statistics.mean(steps)
    if (reach := interval(steps)) is None:
        return f"{mean:+.1f}"
    verdict = "better" if mean > reach else "worse" if mean < -reach else "within the spread"
    return f"{mean:+.1f} ± {reach:.1f} {verdict}"


_T = {2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}
"""Degrees of freedom -> the 97.5 % point of Student's t distribution."""


def interval(figures: Sequence[float]) -> float | None:
    """Return half the width of the 95 % interval of a mean; None for fewer than three values."""
    freedom = len(figures) - 1
    if freedom < min(_T):
        return None
    return _T.get(freedom, 2.262) * float(statistics.stdev(figures)) / math.sqrt(len(figures))


def by_row(results: Sequence[Result]) -> dict[str, dict[int, Result]]:
    """Return the results by row, in the order of the tables, and seed; with the chosen variant of each seed."""
    found: dict[str, dict[int, Result]] = defaultdict(dict)
    for result in results:
        found[result["row"]][result["seed"]] = result
    for ending in ("", AUGMENTED):
        variations = [found[name + ending] for name in VARIATIONS if name + ending in found]
        if len(variations) == len(VARIATIONS):
            for seed in set.intersection(*map(set, variations)):
                found[CHOSEN + ending][seed] = min((variation[seed] for variation in variations), key=held_out_score)
    *order, ceiling = known_rows()
    return {name: found[name] for name in (*order, CHOSEN, CHOSEN + AUGMENTED, ceiling) if name in found}


def held_out_score(result: Result) -> float:
    """Return the held-out score of the training; lower is better."""
    return float(result["translation"]["held_out"]["score"])


def line(name: str, rows: Mapping[str, Mapping[int, Result]]) -> list[str]:
    """Return a line of a table."""
    cells, seeds = [name], []
    for results in (rows.get(name, {}), rows.get(name + AUGMENTED, {})):
        cells += [spread([100 * result["score"] for result in results.values()]), gap(results, rows)]
        seeds.append(str(len(results)))
    held_out = [held_out_score(result) for result in rows.get(name, {}).values() if "translation" in result]
    return [*cells, " / ".join(seeds), spread(held_out, digits=2)]


def spread(figures: Sequence[float], digits: int = 1) -> str:
    """Return mean and standard deviation of a sample, as text."""
    if not figures:
        return ""
    mean = f"{statistics.mean(figures):.{digits}f}"
    return f"{mean} ± {statistics.stdev(figures):.{digits}f}" if len(figures) > 1 else mean


def gap(results: Mapping[int, Result], rows: Mapping[str, Mapping[int, Result]]) -> str:
    """Return the gap recovered in per cent; each seed uses its own source and real rows."""
    source, real = (
        {seed: result["score"] for seed, result in rows.get(name, {}).items()} for name in ("source", "real")
    )
    if results in (rows.get("source"), rows.get("real")):
        return ""
    recovered = [
        100 * (result["score"] - source[seed]) / (real[seed] - source[seed])
        for seed, result in results.items()
        if seed in source and seed in real and real[seed] > source[seed]
    ]
    return spread(recovered, digits=0)


if __name__ == "__main__":
    main()
