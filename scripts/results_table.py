"""Write the tables of docs/results.md and docs/evaluation.md from results/.

    python scripts/results_table.py

In docs/results.md, every ``results/<run>`` gives a row of the first table. ``results/twelve-epochs/table.csv``, which
``viewkin reproduce twelve-epochs`` writes, gives that of all methods: the mean over seeds, and the standard deviation
where there are several. The runs in ``results/mini`` give the table and the claims of that campaign, as ``viewkin
reproduce mini`` writes them. ``results/starts/*.csv``, which ``scripts/compare_starts.py`` writes, give the tables of
training from weights.
``results/evaluations.csv``, which ``scripts/evaluate_all.py`` writes, gives the table of docs/evaluation.md.
"""

from __future__ import annotations

import csv
import json
import statistics
from pathlib import Path
from typing import Any

from viewkin.campaigns.catalogue import CAMPAIGNS
from viewkin.campaigns.claims import summed
from viewkin.campaigns.measured import read_all
from viewkin.campaigns.report import NOT_RUN, Report, cells, claim_lines, header, table_lines

MODELS = ("chance", "raw pixels", "untrained", "backbone", "embedding")
"""Columns of results; what a model is called before its dimension."""
STARTS = ("cars196", "cifar100")
"""Sets on which training from weights was compared."""
MARKERS = {
    "docs/results.md": ("results", "mini", "mini-claims", *(f"starts-{name}" for name in STARTS), "methods"),
    "docs/evaluation.md": ("evaluations",),
}
"""Page to the names of its tables."""


def by_model(results: list[dict[str, Any]], measure: str) -> list[str]:
    """One measure of every model, in percent."""
    found = {one["model"].split(",")[0]: one["values"][measure] for one in results}
    return [f"{found[name]:.1f}" if name in found else "" for name in MODELS]


def run_rows(results: Path) -> list[str]:
    """One table row a run."""
    lines: list[str] = []
    for file in sorted(results.glob("*/evaluation-knn.json")):
        run = file.parent
        found = json.loads(file.read_text())
        facts, recipe = (json.loads((run / name).read_text()) for name in ("versions.json", "recipe.json"))
        recipe = recipe["recipe"]
        (measure,) = found[0]["values"]
        row = [
            run.name,
            recipe["name"],
            str(recipe["seed"]),
            str(recipe["schedule"]["epochs"]),
            f"{took(run, recipe):.0f}",
        ]
        row += [measure, *by_model(found, measure), f"{found[0]['device']}", facts["commit"], f"`{facts['command']}`"]
        lines.append(f"| {' | '.join(row)} |")
    return lines


def took(run: Path, recipe: dict[str, Any]) -> float:
    """Minutes of training, from the speed in the log."""
    batch, minutes, before = recipe["data"]["batch_size"], 0.0, 0
    for line in (run / "metrics.jsonl").read_text().splitlines():
        one = json.loads(line)
        minutes += (one["step"] - before) * batch / one["images_per_second"] / 60
        before = one["step"]
    return minutes


def method_rows(table: Path) -> list[str]:
    """One table row a method."""
    runs: dict[str, list[dict[str, str]]] = {}
    if table.exists():
        for run in csv.DictReader(table.read_text().splitlines()):
            runs.setdefault(run["row"], []).append(run)
    return [
        f"| {name} | {spread(ours, 'knn200')} | {spread(ours, 'linear')} | {len(ours)} | {ours[0]['views']} "
        f"| {ours[0]['epochs']} | {minutes(ours)} | {', '.join(sorted({run['commit'] for run in ours}))} |"
        for name, ours in runs.items()
    ]


def minutes(runs: list[dict[str, str]]) -> str:
    """Processor time of a run, mean over seeds."""
    return f"{statistics.mean(float(run['cpu_seconds']) for run in runs) / 60:.0f}"


def spread(runs: list[dict[str, str]], field: str, digits: int = 1) -> str:
    """Mean over seeds, with the standard deviation where there are several."""
    values = [float(run[field]) for run in runs]
    mean = f"{statistics.mean(values):.{digits}f}"
    return f"{mean} ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else mean


def start_rows(table: Path) -> list[str]:
    """One table row a way of training from weights, with the seeds in which it is ahead of plain SimCLR."""
    runs: dict[str, dict[str, dict[str, str]]] = {}
    if table.exists():
        for run in csv.DictReader(table.read_text().splitlines()):
            runs.setdefault(run["row"], {})[run["seed"]] = run
    lines: list[str] = []
    for name, by_seed in runs.items():
        ours = list(by_seed.values())
        trained, plain = bool(ours[0]["commit"]), runs.get("simclr", {})
        both = [seed for seed in by_seed if seed in plain] if trained and name != "simclr" else []
        ahead = sum(float(by_seed[seed]["unseen_r1"]) > float(plain[seed]["unseen_r1"]) for seed in both)
        each = ", ".join(f"{float(run['unseen_r1']):.2f}" for run in ours)
        row = [name, spread(ours, "unseen_r1"), each, f"{ahead} of {len(both)}" if both else ""]
        row += [spread(ours, field) for field in ("unseen_r8", "seen_r1")]
        row += [
            ours[0]["epochs"],
            f"{statistics.mean(float(run['cpu_seconds']) for run in ours):.0f}" if trained else "",
        ]
        lines.append(f"| {' | '.join([*row, ', '.join(sorted({run['commit'] for run in ours}))])} |")
    return lines


def protocol_rows(table: Path) -> list[str]:
    """One table row a measure, one column a model, in the order of the file."""
    found: dict[tuple[str, str], dict[str, str]] = {}
    if table.exists():
        for one in csv.DictReader(table.read_text().splitlines()):
            model = one["model"].split(",")[0]
            found.setdefault((one["row"], one["measure"]), {})[model] = f"{float(one['value'] or 'nan'):.1f}"
    return [
        f"| {row} | {measure} | {' | '.join(values.get(model, '') for model in MODELS[:4])} |"
        for (row, measure), values in found.items()
    ]


def put(text: str, name: str, header: str, rows: list[str]) -> str:
    """Replace what stands between the markers of a table.

    Raises:
        ValueError: the page has no such markers.
    """
    rule = "| " + " | ".join("---" for _ in header.strip("| ").split("|")) + " |"
    return put_lines(text, name, [header, rule, *rows] if rows else ["No run has ended yet."])


def put_lines(text: str, name: str, lines: list[str]) -> str:
    """Replace what stands between two markers.

    Raises:
        ValueError: the page has no such markers.
    """
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    if begin not in text or end not in text:
        raise ValueError(f"the page has no {begin} ... {end}")
    head, _, rest = text.partition(begin)
    return head + begin + "\n" + "\n".join(lines) + "\n" + end + rest.partition(end)[2]


def with_campaign(text: str, name: str, results: Path) -> str:
    """Put the table of a campaign and what became of its claims on a page; rows that were not run are named below."""
    campaign = CAMPAIGNS[name]
    runs, faults = read_all(results / name, campaign.editions[0])
    report = Report(campaign, campaign.editions[0], tuple(runs), tuple(faults))
    lines = table_lines(header(report), [row for row in cells(report) if row[1] != NOT_RUN])
    missing = ["", f"Not run: {', '.join(report.missing)}."] if report.missing else []
    text = put_lines(text, name, [*lines, *missing])
    return put_lines(text, f"{name}-claims", [summed(report.decisions), "", *claim_lines(report)])


def main() -> None:
    """Write all tables."""
    root = Path(__file__).resolve().parent.parent
    page, results = root / "docs" / "results.md", root / "results"
    head = "| run | recipe | seed | epochs | minutes | % | chance | raw pixels | untrained | backbone | embedding "
    head += "| device | commit | command |"
    text = put(page.read_text(), "results", head, run_rows(results))
    text = with_campaign(text, "mini", results)
    head = "| row | Recall@1 unseen | each seed | ahead of simclr | Recall@8 unseen | Recall@1 seen | epochs "
    head += "| CPU seconds | commit |"
    for name in STARTS:
        text = put(text, f"starts-{name}", head, start_rows(results / "starts" / f"{name}.csv"))
    head = "| method | kNN (200) | linear | seeds | views | epochs | CPU minutes | commit |"
    page.write_text(put(text, "methods", head, method_rows(results / "twelve-epochs" / "table.csv")))
    page = root / "docs" / "evaluation.md"
    head = "| row | measure | chance | raw pixels | untrained | trained |"
    page.write_text(put(page.read_text(), "evaluations", head, protocol_rows(results / "evaluations.csv")))


if __name__ == "__main__":
    main()
