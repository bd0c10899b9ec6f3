"""Write the tables of docs/cleaning.md from results/benchmarks/cleaning.json.

    python scripts/cleaning_tables.py

A table stands between ``<!-- NAME -->`` and ``<!-- end -->``; what stands there is replaced.
"""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PAGE, REPORT = ROOT / "docs" / "cleaning.md", ROOT / "results" / "benchmarks" / "cleaning.json"
SETS = {
    "cars": "Cars-196",
    "mini": "mini-ImageNet",
    "mini test": "mini-ImageNet, validation",
    "cifar": "CIFAR-10",
    "cifar, no cars": "CIFAR-10, no cars or trucks",
    "cifar_train": "CIFAR-10",
    "mini_train": "mini-ImageNet",
}
KINDS = ("exact", "jpeg", "resized", "crop", "centre")
FAULTS = ("blurred", "dark", "bright", "low information", "odd aspect", "tiny")


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows)]
    return "\n".join(lines) + "\n"


def percent(share: float, digits: int = 1) -> str:
    return f"{100 * share:.{digits}f}"


def mean(values: Sequence[float], digits: int = 3, scale: float = 1.0) -> str:
    """Mean, and the standard deviation where there are several."""
    spread = f" ± {scale * statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{scale * statistics.mean(values):.{digits}f}{spread}"


def source(part: dict[str, Any]) -> str:
    one = part["source"]
    peers = ", ".join(f"{name} {version}" for name, version in one["peers"].items())
    return (
        f"`{one['command']}`, commit {one['commit']}, {one['device']}, {one['threads']} thread, "
        f"seed {one['seed']}, load of the machine {one['load_average']:.1f}, torch {one['torch']}, {peers}.\n"
    )


def duplicates(part: dict[str, Any]) -> str:
    rows: list[list[str]] = []
    for name in ("cars", "mini", "cifar"):
        for finder, one in part[name]["finders"].items():
            if "error" in one:
                rows.append([SETS[name], finder, *["-"] * 9])
                continue
            spent = [f"{one['processor seconds']:.0f}", f"{one['megabytes']:.0f}"]
            recall = [percent(one["recall"][kind]) for kind in KINDS]
            rows.append(
                [
                    SETS[name],
                    finder,
                    percent(one["precision"]),
                    str(one["wrong"]),
                    *recall,
                    *spent,
                ]
            )
    head = ["set", "by", "precision, %", "wrong pairs", "exact", "JPEG", "resized", "crop", "central crop"]
    return table([*head, "processor, s", "memory, MiB"], rows)


def outliers(part: dict[str, Any]) -> str:
    rows = [[SETS[one["set"]], SETS[one["foreign"]], mean(one["average precision"])] for one in part["cases"]]
    return table(["2,000 images of", "20 planted of", "average precision"], rows)


def quality(part: dict[str, Any]) -> str:
    rows = [
        [
            SETS[name],
            by,
            *(percent(one["recall"][fault], 0) for fault in FAULTS),
            percent(one["false alarms"]),
            str(one["flat called blurred"]),
            f"{one['seconds']:.0f}",
        ]
        for name in ("mini", "cars", "mini test")
        for by, one in part[name].items()
    ]
    return table(["set", "by", *FAULTS, "false alarms, %", "flat called blurred", "seconds"], rows)


def suspects(part: dict[str, Any]) -> str:
    names = ("cifar_train", "mini_train")
    rankings = dict.fromkeys(one for name in names for one in part[name]["average precision"])
    rows = [
        [
            one,
            *(mean(part[name]["average precision"][one]) for name in names),
            str(len(part[names[0]]["average precision"][one])),
        ]
        for one in rankings
    ]
    return table(["ranking by", *(SETS[name] for name in names), "draws"], rows)


def label(part: dict[str, Any]) -> str:
    rows = []
    for name, values in part.items():
        if " labels" in name:
            which, count = name.split(", ")
            rows.append([SETS[which], count.removesuffix(" labels"), *map(percent, values)])
    return table(["set", "labels", *(f"{percent(c, 0)} % labelled" for c in part["coverages"])], rows)


def select(part: dict[str, Any]) -> str:
    rows: dict[tuple[str, str], list[str]] = {}
    methods: list[str] = []
    for name, values in part["accuracy"].items():
        which, count, method = name.split(", ")
        rows.setdefault((which, count), []).append(mean(values, 1, 100))
        methods = [*dict.fromkeys([*methods, method])]
    return table(["set", "images", *methods], [[SETS[which], count, *cells] for (which, count), cells in rows.items()])


def main() -> None:
    parts, page = json.loads(REPORT.read_text())["parts"], PAGE.read_text()
    for write in (duplicates, outliers, quality, suspects, label, select):
        name = write.__name__
        made = f"<!-- {name} -->\n{write(parts[name])}\n{source(parts[name])}<!-- end -->"
        page, count = re.subn(rf"<!-- {name} -->.*?<!-- end -->", lambda _, text=made: text, page, flags=re.DOTALL)
        if count != 1:
            raise SystemExit(f"{PAGE} has {count} places for the table {name}; it must have one.")
    PAGE.write_text(page)
    print(f"Written to {PAGE}")


if __name__ == "__main__":
    main()
