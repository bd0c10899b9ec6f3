"""Write the README's table of results from results/*.json.

    python scripts/results_table.py

Every ``results/<run>/evaluation-*.json`` gives its rows; ``versions.json`` beside it gives the machine.
"""

from __future__ import annotations

import json
from pathlib import Path

BEGIN, END = "<!-- results -->", "<!-- /results -->"


def rows(results: Path) -> list[str]:
    """One table row an evaluation."""
    lines: list[str] = []
    for file in sorted(results.glob("*/evaluation-*.json")):
        run = file.parent.name
        for one in json.loads(file.read_text()):
            values = ", ".join(f"{name} {value:.1f}" for name, value in one["values"].items())
            lines.append(f"| {run} | {one['model']} | {values} | {one['device']} | {one['commit'] or ''} |")
    return lines


def main() -> None:
    """Replace what stands between the markers."""
    root = Path(__file__).resolve().parent.parent
    readme = root / "README.md"
    text = readme.read_text()
    head, _, rest = text.partition(BEGIN)
    table = ["| run | features | % | device | commit |", "| --- | --- | --- | --- | --- |", *rows(root / "results")]
    readme.write_text(head + BEGIN + "\n" + "\n".join(table) + "\n" + END + rest.partition(END)[2])


if __name__ == "__main__":
    main()
