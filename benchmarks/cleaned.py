"""The page's sections on cleaning and on the page of a collection."""

from __future__ import annotations

import statistics

from machine import shown
from writing import Report, source_of, table

SETS = {"cars": "Cars-196", "mini": "mini-ImageNet", "cifar": "CIFAR-10"}


def cleaning(reports: list[Report]) -> str:
    """Write what was found of planted copies, with time and memory; the other tables are in docs/cleaning.md."""
    parts = ["## Cleaning\n"]
    for report in reports:
        found = report["parts"]["duplicates"]
        rows = [
            [
                SETS[name],
                finder,
                f"{100 * one['precision']:.1f}",
                f"{100 * min(one['recall'].values()):.1f}",
                f"{one['seconds']:.1f}",
                f"{one['processor seconds']:.1f}",
                f"{one['megabytes']:,.0f}",
            ]
            for name in SETS
            for finder, one in found[name]["finders"].items()
            if "error" not in one
        ]
        head = ["set", "by", "precision, %", "least recall of a kind of copy, %", "seconds", "processor seconds", "MiB"]
        said = (
            f"Planted copies of {found['copied']} of {found['images']:,} images: the same bytes, encoded anew, "
            "resized, cropped at random and at the centre. Ours is without embedding, which `embed` does once for all "
            "commands; imagededup's CNN embeds in its time. Outliers, quality, doubtful labels, labels passed on and "
            "selection are in [docs/cleaning.md](../../docs/cleaning.md).\n\n"
        )
        sources = {name: f"* {source_of(part['source'])}" for name, part in report["parts"].items()}
        parts += [said + table(head, rows), *(sources[name] for name in sorted(sources))]
    return "\n".join(parts)


def cleaning_aims(reports: list[Report]) -> list[list[str]]:
    """Aim, what was measured, and whether that meets it."""
    rows: list[list[str]] = []

    def add(aim: str, values: dict[str, float], limit: float, *, most: bool = False) -> None:
        met = [name for name, value in values.items() if (value <= limit if most else value >= limit)]
        said = ", ".join(f"{name} {value:.3f}" for name, value in values.items())
        verdict = "yes" if len(met) == len(values) else f"by {', '.join(met)}" if met else "no"
        rows.append([aim, said, verdict])

    for parts in (report["parts"] for report in reports):
        found = {SETS[name]: parts["duplicates"][name]["finders"]["ours"] for name in SETS}
        add("duplicates: precision 0.99", {name: one["precision"] for name, one in found.items()}, 0.99)
        for kinds, least in ((("jpeg", "resized"), 0.95), (("crop", "centre"), 0.8)):
            recall = {name: min(one["recall"][kind] for kind in kinds) for name, one in found.items()}
            add(f"duplicates: recall {least} {' and '.join(kinds)}", recall, least)
        cases = {
            f"{one['foreign']} among {one['set']}": statistics.mean(one["average precision"])
            for one in parts["outliers"]["cases"]
        }
        add("outliers: average precision 0.9 at 1 %", cases, 0.9)
        poor = {name: one["ours"] for name, one in parts["quality"].items() if isinstance(one, dict) and "ours" in one}
        add("quality: recall 0.9 of each fault", {name: min(one["recall"].values()) for name, one in poor.items()}, 0.9)
        alarms = {name: one["false alarms"] for name, one in poor.items()}
        add("quality: false alarms at most 0.02", alarms, 0.02, most=True)
        for name in ("cifar_train", "mini_train"):
            means = {one: statistics.mean(v) for one, v in parts["suspects"][name]["average precision"].items()}
            ours = means.pop("ours")
            add(
                f"suspects, {SETS[name[:-6]]}: the best of others, {max(means.values()):.3f}",
                {"ours": ours},
                max(means.values()),
            )
    return rows


def explore(reports: list[Report]) -> str:
    """Write how fast the page is."""
    parts = ["## The page of a collection\n"]
    for report in reports:
        rows = [
            [step, shown({"low": min(one["all"]), "median": one["median"], "high": max(one["all"])})]
            for step, one in report["seconds"].items()
        ]
        drawn = report["tsne"]
        said = (
            f"`viewkin explore` on {report['images']:,} images, drawn by software without a graphics card. Drawing the "
            f"map of {drawn['images']:,} images by t-SNE takes {drawn['seconds']:.0f} s, once.\n\n"
        )
        load = f"The machine's load was {report['load_average']:.1f} when it began.\n"
        parts += [said + table(["step", "seconds"], rows), f"* {source_of(report)}", load]
    return "\n".join(parts)


def explore_aims(reports: list[Report]) -> list[list[str]]:
    """Aim, what was measured, and whether that meets it."""
    rows: list[list[str]] = []
    for report in reports:
        value, limit = report["seconds"]["page can be used"]["median"], report["aim_seconds"]
        aim = f"the page of {report['images']:,} images can be used within {limit:g} s"
        rows.append([aim, f"{value:.2f}", "yes" if value <= limit else "no"])
    return rows
