"""What the sections of the page are written with: tables, plots, and where numbers come from."""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
from machine import RESULTS

mpl.use("Agg")
from matplotlib import pyplot as plt

Report = dict[str, Any]
INK, OURS, THEIRS = "#333333", "#1b6ca8", "#c46b2b"
"""Colours of plots."""


def source_of(report: Report) -> str:
    """Say where a section's numbers come from."""
    lines = [f"`{report['command']}`, commit {report['commit']}, {report['device']}, {report['threads']} threads"]
    if "rates" in report:
        rate = report["rates"]
        lines.append(
            f"products {rate['bfloat16_gflops']:,.0f} GFLOP/s in bfloat16, {rate['float32_gflops']:,.0f} in float32, "
            f"copies {rate['copy_gbytes']:.0f} GB/s"
        )
    return "; ".join(lines) + ".\n"


def table(head: list[str], rows: list[list[str]]) -> str:
    """Write a table of Markdown, without columns that no row fills."""
    lines = [head, ["---"] * len(head), *rows]
    kept = [column for column in range(len(head)) if any(row[column] for row in rows)]
    return "\n".join("| " + " | ".join(line[column] for column in kept) + " |" for line in lines) + "\n"


def save(figure: Any, name: str) -> str:
    """Write a plot beside the page; return the line that shows it."""
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(RESULTS / f"{name}.png", dpi=110, bbox_inches="tight", metadata={"Software": None})
    plt.close(figure)
    return f"![{name.replace('_', ' ')}]({name}.png)\n"
