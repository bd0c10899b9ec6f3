"""Sections of the page: a whole step beside peers and earlier commits, and a command's first seconds."""

from __future__ import annotations

from aims import adds_up, most_images, over_step
from machine import shown
from matplotlib import pyplot as plt
from writing import INK, OURS, THEIRS, Report, save, source_of, table


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
        "## The training step\n\nResNet-18 on CIFAR-10, images a second, beside lightly as its documentation runs it"
        " and beside lightly lent our precision and memory format. stable-pretraining runs as documented too, which is"
        " in bfloat16; solo-learn does not install: its last release pins torch 1.9.1, torchvision 0.10.1 and"
        " pytorch-lightning 1.4.7, which no Python of today takes. *Bare pass / ours*: the passes of a step through its"
        " networks, forward and back, on inputs that are there already, and nothing else. *Floor / ours*: the"
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


def start(reports: list[Report]) -> str:
    """The first seconds."""
    report = reports[0]
    rows = [[f"`{name}`", shown(values, 2)] for name, values in report["seconds"].items()]
    return "## Start\n\n" + table(["", "seconds"], rows) + "\n* " + source_of(report)
