"""The aims of speed against what was measured: the rows of the page's first table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from machine import shown

Report = dict[str, Any]
Reports = Mapping[str, list[Report]]
"""Pattern of the files' names to what is in them."""

PEERS = {"documented": "lightly", "stable": "stable-pretraining"}
"""Sides that run as their documentation says, and their names."""
FULL, NARROW, IMAGES = 64, 16, 50_000
TIMES_A_PEER, OVER_BARE, VIEWS, MEMORY, BRANCH, HELP, FIRST_STEP = 2.0, 1.15, 0.10, 0.05, 0.10, 0.3, 5.0
APART = 0.10
"""How far the parts of a step may be off the step, as a share of it."""


def aims(reports: Reports) -> list[list[str]]:
    """Aim, what was measured, and whether that meets it; an aim whose file is not there is left out."""
    steps = reports["train_step*.json"]
    cases = [case for report in steps for case in report["cases"]]
    rows = [row for case in cases for row in beside_peers(case)]
    full = {name_of(case): case["ours"]["bare_over_ours"]["median"] for case in cases if case["width"] == FULL}
    rows += each(f"a step at most {OVER_BARE} times the bare pass", full, OVER_BARE)
    narrow = {name_of(case): share(case, "views") for case in cases if case["width"] == NARROW and adds_up(case)}
    rows += each(f"views at most {percent(VIEWS)} of a step", narrow, VIEWS, percent)
    rows += memory(steps, reports["growth.json"])
    for report in reports["interclr*.json"]:
        aim = f"InterCLR's branch at most {percent(BRANCH)} of a ResNet-50 step"
        found = {f"N = {report['images']:,}:": report["share"]} if "share" in report else {}
        rows += each(aim, found, BRANCH, percent)
    for report in reports["start.json"]:
        for name, most in (("viewkin --help", HELP), ("train, first step", FIRST_STEP)):
            rows += each(f"`{name}` within {most:g} s", {"seconds:": report["seconds"][name]["median"]}, most)
    return rows


def beside_peers(case: Report) -> list[list[str]]:
    """The aim beside the fastest peer, where there is one; out of reach where the floor is slower than the aim."""
    peers = {name: case[name] for name in PEERS if name in case}
    if not peers:
        return []
    fastest = max(peers, key=lambda name: peers[name]["images_per_second"]["median"])
    ratio = peers[fastest]["ours_over_it"]
    said = "yes" if ratio["median"] >= TIMES_A_PEER else "no"
    wanted = TIMES_A_PEER * peers[fastest]["images_per_second"]["median"]
    most = most_images(case)
    if most is not None and most < wanted:
        said += f", and out of reach: it asks for {wanted:,.0f} images/s, the floor allows {most:,.0f}"
    aim = f"{TIMES_A_PEER:g} times the fastest peer as documented"
    return [[aim, f"{name_of(case)}: {shown(ratio)} times {PEERS[fastest]}", said]]


def memory(steps: list[Report], growth: list[Report]) -> list[list[str]]:
    """The aim of loss and memory, a row a width; what the products of NPID's softmax alone take stands beside it."""
    cases = [case for report in steps if report["data"]["images"] == IMAGES for case in report["cases"]]
    cases = [case for case in cases if adds_up(case)]
    floors = {
        report["batch"]: size["terms"]["full softmax"]["floor"]["seconds"]
        for report in growth
        for size in report["sizes"]
        if size["count"] == IMAGES
    }
    rows: list[list[str]] = []
    for width in sorted({case["width"] for case in cases}):
        alike = [case for case in cases if case["width"] == width]
        found = {name_of(case): share(case, "loss", "memory") for case in alike}
        aim = f"loss and memory at most {percent(MEMORY)} of a step at N = {IMAGES:,}"
        (row,) = each(aim, found, MEMORY, percent)
        for case in alike:
            if case["method"] == "npid" and case["batch"] in floors:
                least = 1e3 * floors[case["batch"]] / sum(part["ms"] for part in case["ours"]["parts"].values())
                row[2] += f"; the floor of {name_of(case)} is {percent(least)}" + ", out of reach" * (least > MEMORY)
        rows.append(row)
    return rows


def each(
    aim: str, found: Mapping[str, float], most: float, form: Callable[[float], str] = "{:.2f}".format
) -> list[list[str]]:
    """One row for an aim that asks every value to be at most ``most``; none without values."""
    over = [name for name, value in found.items() if value > most]
    said = "yes" if not over else "no" if len(over) == len(found) else f"not by {', '.join(over)}"
    return [[aim, ", ".join(f"{name} {form(value)}" for name, value in found.items()), said]] if found else []


def percent(value: float) -> str:
    """Format a share."""
    return f"{100 * value:.1f}".removesuffix(".0") + " %"


def name_of(case: Report) -> str:
    """Name a case."""
    return f"{case['method']} {case['width']}"


def share(case: Report, *parts: str) -> float:
    """Share of our step that some of its parts take."""
    return sum(case["ours"]["parts"][part]["share"] for part in parts)


def over_step(case: Report) -> float:
    """Sum of the parts' times over the time of a step without timers."""
    step = 1e3 * case["batch"] / case["ours"]["images_per_second"]["median"]
    return sum(part["ms"] for part in case["ours"]["parts"].values()) / step


def adds_up(case: Report) -> bool:
    """Whether the parts' times speak for the step."""
    return abs(over_step(case) - 1) <= APART


def most_images(case: Report) -> float | None:
    """Images a second that the floor allows; none where it was not measured."""
    floor = case["ours"].get("floor")
    return case["batch"] / floor["seconds"] if floor else None
