"""Turn ``results/benchmarks/*.json`` into a page with plots, ``results/benchmarks/README.md``.

    python benchmarks/page.py

No number of the page is typed by hand: what a file lacks is left out.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import matplotlib as mpl
from aims import adds_up, aims, most_images, over_step
from machine import RESULTS, shown

mpl.use("Agg")
from matplotlib import pyplot as plt

Report = dict[str, Any]
STANDARD_ERROR = 0.5
"""Of an accuracy near a half on 10,000 images, points."""
INK, OURS, THEIRS, PALE = "#333333", "#1b6ca8", "#c46b2b", "#9bbfd9"


def main() -> None:
    reports = {name: [json.loads(path.read_text()) for path in sorted(RESULTS.glob(name))] for name, _ in SECTIONS}
    parts = [HEAD, AIMS + table(["aim", "measured", "met"], aims(reports))]
    parts += [section(reports[name]) for name, section in SECTIONS if reports[name]]
    (RESULTS / "README.md").write_text("\n".join(parts))
    print(f"Written to {RESULTS / 'README.md'}")


HEAD = """# Benchmarks

Made from the JSON files beside this page by `python benchmarks/page.py`. Each section names the commands of its files:
`make bench` runs them, but for those of [earlier commits](#against-an-earlier-commit) (`make bench-parent`) and of the
[samplers' accuracy](#accuracy-of-candidate-sampling). A time is a median with the lowest and highest of its repeats;
peers ran in turn with ours. The *floor* is what the arithmetic and the traffic of memory need at the rates measured in
the same run: large bfloat16 products, and copies.
"""

AIMS = """## Aims

Each case with its width. Shares leave out the steps whose parts do not add up.

"""


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


def train_step(reports: list[Report]) -> str:
    """Whole steps beside the peer, and where ours goes."""
    cases = [case for report in reports for case in report["cases"]]
    rows, shares = [], []
    for case in cases:
        ours = case["ours"]
        row = [case["method"], str(case["width"]), str(case["batch"]), shown(ours["images_per_second"], 0)]
        bare = ours.get("bare_over_ours")
        row.append(shown(bare, 2) if bare else "")
        most = most_images(case)
        row.append(f"{most / ours['images_per_second']['median']:.2f}" if most else "")
        row.append(price(case, cases))
        for peer in ("documented", "given", "stable"):
            found = case.get(peer)
            row += [shown(found["images_per_second"], 0), shown(found["ours_over_it"], 2)] if found else ["", ""]
        rows.append(row)
        part = {name: f"{100 * one['share']:.1f}" for name, one in ours["parts"].items()}
        whole = f"{over_step(case):.2f}"
        shares.append([case["method"], str(case["width"]), *part.values(), whole if adds_up(case) else f"**{whole}**"])
    head = ["method", "width", "batch", "ours", "bare pass / ours", "floor / ours", "price of the term"]
    head += ["lightly", "ours / it", "given ours", "ours / it", "stable-pretraining", "ours / it"]
    lines = "\n".join(f"* {source_of(report)}" for report in reports)
    return (
        "## The training step\n\nResNet-18 on CIFAR-10, images a second, beside lightly as its documentation"
        " runs it and"
        " beside lightly lent our precision and memory format. stable-pretraining runs as documented too, which is in"
        " bfloat16; solo-learn does not install: its last release pins torch 1.9.1, torchvision 0.10.1 and"
        " pytorch-lightning 1.4.7, which no Python of today takes. *Bare pass / ours*: the passes of a step through its"
        " networks, forward and back, on inputs that are there already, and nothing else"
        + ("" if all("passes" in case["ours"] for case in cases) else " (cases without a floor: of two views, always)")
        + ". *Floor / ours*: the"
        " arithmetic of these passes at the rate of large bfloat16 products. *Price of the term*: the time of a step"
        " over that of the same method without it.\n\n"
        + table(head, rows)
        + "\nOur step, percent of its time; last, the sum of the parts over a step without timers (**bold**: more than"
        " a tenth off, so that its shares say little):\n\n"
        + table(["method", "width", *cases[0]["ours"]["parts"], "parts / step"], shares)
        + "\n"
        + beside(cases)
        + "\n"
        + lines
    )


def beside(cases: list[Report]) -> str:
    """Plot the peers' speed as a share of ours."""
    sides = ("ours", "given", "documented", "stable")
    bars = [(case, name) for case in cases if "documented" in case for name in sides if name in case]
    figure, axes = plt.subplots(figsize=(7, 0.33 * len(bars) + 0.6))
    names = {"ours": "ours", "given": "lightly, given bf16 and channels_last", "documented": "lightly as documented"}
    names["stable"] = "stable-pretraining as documented"
    for place, (case, name) in enumerate(reversed(bars)):
        ours = case["ours"]["images_per_second"]["median"]
        speed = {kind: case[name]["images_per_second"][kind] / ours for kind in ("median", "low", "high")}
        colour = OURS if name == "ours" else THEIRS
        axes.barh(place, speed["median"], color=colour, alpha=0.5 if name == "given" else 1)
        axes.plot([speed["low"], speed["high"]], [place, place], color=INK, linewidth=1)
    axes.set_yticks(
        range(len(bars)), [f"{c['method']} {c['width']}: {names[n]}" for c, n in reversed(bars)], fontsize=8
    )
    axes.set_xlabel("images a second, as a share of ours")
    return save(figure, "train_step")


def price(case: Report, cases: list[Report]) -> str:
    """Time of a step over that of its base, where it has one that was measured alike."""
    alike = [(case.get("base"), case["width"], case["batch"])]
    bases = [one for one in cases if (one["method"], one["width"], one["batch"]) in alike]
    speeds = [one["ours"]["images_per_second"]["median"] for one in (*bases, case)]
    return f"{speeds[0] / speeds[1]:.2f} of {case['base']}" if bases else ""


def parent(reports: list[Report]) -> str:
    """This commit against an earlier one."""
    text = "## Against an earlier commit\n"
    for report in reports:
        rows = []
        for case in report["cases"]:
            speeds = [shown(case[side], 0) for side in ("before", "now")]
            rows.append([case["method"], str(case["width"]), *speeds, shown(case["now_over_before"], 2)])
        text += f"\nImages a second of a whole step, B = {report['batch']}; before: {report['against']}.\n\n"
        text += table(["method", "width", "before", "now", "now / before"], rows) + "\n* " + source_of(report)
    return text


def interclr(reports: list[Report]) -> str:
    """The price of inter-image terms."""
    text = "## The price of inter-image terms\n\n"
    for report in reports:
        branch, network = report["branch"], report.get("network")
        text += (
            f"InterCLR's branch at N = {report['images']:,}, D = 128, K = {report['negatives']:,}, pool 10 %,"
            f" {report['clusters']:,} clusters, B = {report['batch']}: **{shown(branch['seconds'], 0, 1e3)}"
            f" ms** a step,"
            f" floor {1e3 * branch['floor_seconds']:.0f} ms."
        )
        if network:
            step = network["seconds_per_image"]["median"] * report["batch"]
            text += (
                f" A ResNet-50 takes {step:.1f} s for the same images at 224 px, forward and backward alone"
                f" (measured on"
                f" {network['batch']} and scaled): the branch adds **{100 * report['share']:.1f} %** (the"
                f" paper's: 92 %)."
            )
        if "exact_seconds" in branch:
            text += f" One draw of the exact sampler, which searches all images, takes {branch['exact_seconds']:.1f} s."
        rows = []
        for name, part in branch["parts"].items():
            least = part["floor"]
            rows.append([name, f"{1e3 * part['seconds']:.2f}", f"{1e3 * least['seconds']:.2f}" if least else ""])
        text += "\n\n" + table(["part", "ms", "floor, ms"], rows)
        if "small_cluster" in branch:
            exact, few = (1e3 * branch["small_cluster"][f"dissolve_{form}_"] for form in ("small", "few"))
            text += f"\nA small cluster to dissolve takes {exact:.1f} ms exactly, {few:.1f} ms in fixed shapes.\n"
        text += "\n* " + source_of(report)
    return text


def growth(reports: list[Report]) -> str:
    """Cost by the number of images."""
    report = reports[0]
    names = list(dict.fromkeys(name for size in report["sizes"] for name in size["terms"]))
    figure, axes = plt.subplots(figsize=(7, 4))
    for name, colour in zip(names, (OURS, "#4a9c6d", THEIRS, "#8a5aa8")):
        there = [size for size in report["sizes"] if name in size["terms"]]
        x = [size["count"] for size in there]
        spreads = [size["terms"][name]["seconds"] for size in there]
        axes.plot(x, [1e3 * one["median"] for one in spreads], color=colour, marker="o", markersize=4, label=name)
        axes.fill_between(
            x, [1e3 * one["low"] for one in spreads], [1e3 * one["high"] for one in spreads], color=colour, alpha=0.2
        )
        least = [1e3 * size["terms"][name]["floor"]["seconds"] for size in there]
        axes.plot(x, least, color=colour, linewidth=0.8, linestyle=":")
    axes.set(xscale="log", yscale="log", xlabel="images", ylabel="ms a step, forward, backward and update")
    place = {"loc": "upper left", "bbox_to_anchor": (1, 1)}
    axes.legend(frameon=False, fontsize=8, title="dotted: the floor", title_fontsize=8, **place)
    rows = []
    for size in report["sizes"]:
        found = [size["terms"].get(name) for name in names]
        terms = [
            f"{shown(one['seconds'], 0, 1e3)}, {1e3 * one['floor']['seconds']:.1f}" if one else "" for one in found
        ]
        kept = "a sparse file" if size["in_file"] else "memory"
        rows.append([f"{size['count']:,}", *terms, kept, f"{size['megabytes']:,.0f}"])
    touched = "".join(map(touches, report["sizes"]))
    return (
        f"## Growth\n\nOne step of the terms that read the bank, B = {report['batch']}, D = {report['dim']}, the"
        " bank in bfloat16, networks simulated. Terms that sample do not depend on N while the bank is in memory; from"
        " a file their rows are read at random, page by page. The full softmax and InvP's nearest rows read all of it,"
        f" in blocks. Each size ran in a process of its own, {', '.join(measured(report['sizes']))}.\n\n"
        + table(["images", *(f"{name}, ms, floor" for name in names), "bank in", "peak, MiB"], rows)
        + "\n"
        + save(figure, "growth")
        + touched
        + "\n* "
        + source_of(report)
    )


def measured(sizes: list[Report]) -> list[str]:
    """Say how often each size was measured, and at which rates its floor stands, where the file has them."""
    every = {len(one["seconds"]["all"]) for size in sizes for one in size["terms"].values()}
    said = [f"{min(every)} to {max(every)} repeats each" if len(every) > 1 else f"{max(every)} repeats each"]
    rates = [size["rates"]["bfloat16_gflops"] for size in sizes if "rates" in size]
    if len(rates) == len(sizes):
        said.append(f"its floor at the rate measured in it ({min(rates):,.0f} to {max(rates):,.0f} GFLOP/s)")
    else:
        said.append("in several calls, of which the last is named below")
    return said


def touches(size: Report) -> str:
    """Say what the first touch of a file's pages costs."""
    if not size.get("touches"):
        return ""
    (first, again), rows = (size["touches"][name] for name in ("first", "again")), 163_840
    faults = first["major_faults"] + first["minor_faults"] - again["major_faults"] - again["minor_faults"]
    slower = first["seconds"]["median"] - again["seconds"]["median"]
    return (
        f"\nAt {size['count']:,} images a step's {rows:,} candidates, each on a page of its own, took"
        f" {shown(first['seconds'], 0, 1e3)} ms with {faults:,.0f} page faults more than the second time, and"
        f" {shown(again['seconds'], 0, 1e3)} ms the second time: {1e6 * slower / max(faults, 1):.1f} us a fault.\n"
    )


def sampling(reports: list[Report]) -> str:
    """Accuracy by the form of the sampler."""
    parts = [
        "## Accuracy of candidate sampling\n\nInterCLR on images of CIFAR-10, ResNet-18 of width 16, pool 10 %; kNN of"
        " the backbone, four fifths of the training images voting on the rest (10,000: a standard error of"
        f" {STANDARD_ERROR} by chance alone). Short runs on busy cores."
    ]
    for report in reports:
        rows = []
        for form, found in report["forms"].items():
            over = found.get("over_exact")
            runs = [run for run in report["runs"] if run["form"] == form]
            seconds = sum(run["cpu_seconds"] for run in runs) / len(runs)
            difference = shown(over, 2) if over else ""
            rows.append([form, str(len(runs)), shown(found["knn"], 2), difference, f"{seconds:,.0f}"])
        head = ["negatives", "seeds", "kNN, percent", "minus the exact form's", "processor seconds a run"]
        said = f"`{report.get('base', 'simclr')}`, {report['images']:,} images, {report['epochs']} epochs,"
        below = table(head, rows) + chance(report["forms"]) + "\n* " + source_of(report)
        parts.append(f"{said} K = {report['negatives']}:\n\n" + below)
    return "\n\n".join(parts)


def chance(forms: Report) -> str:
    """Say so where random negatives do as well as the best that were chosen, within a difference's standard error."""
    medians = {name: found["knn"]["median"] for name, found in forms.items() if name != "the base alone"}
    random = medians.pop("random, shared", None)
    if random is None or not medians:
        return ""
    best = max(medians, key=lambda name: medians[name])
    error = 2**0.5 * STANDARD_ERROR
    if medians[best] - random > error:
        return ""
    return (
        f"\nRandom negatives do as well as chosen ones here: {random:.2f} beside {medians[best]:.2f} ({best}), where a"
        f" difference has a standard error of {error:.1f}.\n"
    )


def clusters(reports: list[Report]) -> str:
    """k-means and the graph."""
    report = reports[0]
    rows = []
    for name, found in report["kmeans"].items():
        if isinstance(found, dict) and "all_extrapolated" in found:
            rows.append(
                [f"k-means, {name}", f"{found['all_extrapolated'] / 60:.1f}", "extrapolated from a round of a slice"]
            )
    rows.append(["k-means, floor", f"{report['kmeans']['floor']['seconds'] / 60:.1f}", "bfloat16 products"])
    for name, found in report.get("graph", {}).items():
        if "all_extrapolated" in found:
            recall = f"recall {found['recall']:.3f}" if "recall" in found else ""
            slice_only = "extrapolated from a slice of queries" if "slice" in found else ""
            note = ", ".join(filter(None, (recall, slice_only)))
            rows.append([f"graph, {name}", f"{found['all_extrapolated'] / 60:.1f}", note])
    if "graph" in report:
        rows.append(
            ["graph, floor", f"{report['graph']['floor']['seconds'] / 60:.1f}", "bfloat16 products, every pair"]
        )
    return (
        f"## k-means and the graph of neighbours\n\n{report['images']:,} x 128: {report['rounds']} rounds of"
        f" k-means into"
        f" {report['clusters']:,} clusters, and the graph of the 4 nearest. Rounded products give"
        f" {100 * report['kmeans']['same_labels']:.1f} % of the points the label that exact ones do.\n\n"
        + table(["what", "minutes", ""], rows)
        + "\n* "
        + source_of(report)
    )


def knn(reports: list[Report]) -> str:
    """The kNN evaluation."""
    text = "## kNN evaluation\n\nLowest, median and highest.\n"
    for report in reports:
        rows = []
        for name, found in report["lowest_median_highest"].items():
            low, middle, high = found["seconds"]
            rows.append([name, f"{middle:.2f} ({low:.2f} to {high:.2f})", f"{found['megabytes'][1]:.0f}"])
        text += (
            f"\n{report['queries']:,} queries on {report['reference']:,} x {report['dim']}, k = {report['k']}:\n\n"
            + table(["", "seconds", "MiB above the inputs"], rows)
            + f"\n* `{report['command']}`, commit {report['commit']}, {report['device']}.\n"
        )
    return text


def decode(reports: list[Report]) -> str:
    """Decoding of photographs."""
    report = reports[0]
    rows = []
    for case in report["cases"]:
        speeds = [shown(values, 0) for values in case["images_per_second"].values()]
        rows.append([f"{case['size']} px", *speeds, shown(case["first_pass_over_torchvision"], 2)])
    width, height = report["shape"]
    head = ["stored side", *report["cases"][0]["images_per_second"], "first pass / torchvision"]
    return (
        f"## Decode\n\nImages a second of a folder of {width} x {height} JPEGs"
        f" ({report['bytes_an_image'] / 1024:.0f} KiB"
        " each).\n\n" + table(head, rows) + "\n* " + source_of(report)
    )


def start(reports: list[Report]) -> str:
    """The first seconds."""
    report = reports[0]
    rows = [[f"`{name}`", shown(values, 2)] for name, values in report["seconds"].items()]
    return "## Start\n\n" + table(["", "seconds"], rows) + "\n* " + source_of(report)


SECTIONS: list[tuple[str, Callable[[list[Report]], str]]] = [
    ("train_step*.json", train_step),
    ("parent*.json", parent),
    ("interclr*.json", interclr),
    ("sampling*.json", sampling),
    ("growth.json", growth),
    ("clusters.json", clusters),
    ("knn*.json", knn),
    ("decode.json", decode),
    ("start.json", start),
]
"""Files to the section that shows them, in the page's order."""


if __name__ == "__main__":
    main()
