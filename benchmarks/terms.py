"""Sections of the page: what the terms cost, how they grow, and the searches around training."""

from __future__ import annotations

from machine import shown
from matplotlib import pyplot as plt
from writing import OURS, THEIRS, Report, save, source_of, table

STANDARD_ERROR = 0.5
"""Of an accuracy near a half on 10,000 images, points."""


def interclr(reports: list[Report]) -> str:
    """The price of inter-image terms."""
    text = "## The price of inter-image terms\n\n"
    for report in reports:
        branch, network = report["branch"], report.get("network")
        text += (
            f"InterCLR's branch at N = {report['images']:,}, D = 128, K = {report['negatives']:,}, pool 10 %,"
            f" {report['clusters']:,} clusters, B = {report['batch']}: **{shown(branch['seconds'], 0, 1e3)} ms** a"
            f" step, floor {1e3 * branch['floor_seconds']:.0f} ms."
        )
        if network:
            step = network["seconds_per_image"]["median"] * report["batch"]
            text += (
                f" A ResNet-50 takes {step:.1f} s for the same images at 224 px, forward and backward alone (measured"
                f" on {network['batch']} and scaled): the branch adds **{100 * report['share']:.1f} %**"
                " (the paper's: 92 %)."
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
        f"## k-means and the graph of neighbours\n\n{report['images']:,} x 128: {report['rounds']} rounds of k-means"
        f" into {report['clusters']:,} clusters, and the graph of the 4 nearest. Rounded products give"
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
        f" ({report['bytes_an_image'] / 1024:.0f} KiB each).\n\n" + table(head, rows) + "\n* " + source_of(report)
    )
