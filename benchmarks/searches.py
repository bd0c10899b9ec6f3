"""The page's sections on collections and on the forms of a network, and what collections add to the aims."""

from __future__ import annotations

from machine import shown
from writing import Report, source_of, table


def collections(reports: list[Report]) -> str:
    """Write what a query, an index and a second embed take."""
    parts = ["## Collections\n"]
    for report in reports:
        parts += [searched(report["search"])] if "search" in report else []
        parts += [second_embed(report["unchanged"])] if "unchanged" in report else []
        load = f"The machine's load was {report['load_average']:.1f} when it began.\n"
        parts += [f"* {source_of(report)}", load]
    return "\n".join(parts)


def searched(found: Report) -> str:
    """Write the table of queries."""
    index, recall = found["index"], found["recall@10"]
    head = ["one query in process, warm", "p50, ms", "p5 to p95, ms", "processor, ms", "recall@10"]
    rows = [
        [name, f"{one['p50']:.2f}", f"{one['p5']:.2f} to {one['p95']:.2f}", f"{one['processor']:.2f}", said]
        for name, one, said in (
            ("index", found["query_ms"]["ivf"], f"{recall['training images']:.4f}"),
            ("index, half of the images count", found["filtered_query_ms"], ""),
            ("exact", found["query_ms"]["exact"], "1"),
        )
    ]
    said = [
        f"{found['rows']:,} x {found['width']} features of CIFAR images through EfficientNet-Lite0, reduced by PCA;",
        f"{found['queries']} queries by key through `Searcher.search`, the ten nearest.",
        f"A query looks into {index['looked_at']} of the index's {index['cells']} cells.",
        f"It was built in {index['seconds']:.1f} s; on rows that it held out it measured",
        f"a recall@10 of {index['recall@10']:.4f}.",
        f"On 1,000 test images, which are in no collection, recall@10 is {recall['test images']:.4f}.",
        f"An exact query takes {found['exact_over_ivf']:.1f} times as long as one by the index.",
        f"Opening the collection takes {found['open_seconds']:.1f} s, and reading the index from its cache",
        f"{found['index_from_cache_seconds']:.1f} s.\n\n",
    ]
    return " ".join(said) + table(head, rows)


def second_embed(found: Report) -> str:
    """Write the table of embedding a folder again."""
    rows = [
        ["at first, every image computed", *both(found["first"])],
        ["unchanged", *both(found["unchanged"])],
        ["unchanged, without stamps: every file is read", *both(found["unchanged_without_stamps"])],
        ["a command that does nothing but import the same", *both(found["imports"])],
        ["a walk that asks for the facts of each file", *both(found["walk"])],
    ]
    return (
        f"`viewkin embed --to` on {found['files']:,} PNG files, a whole command with imports and the network "
        f"(ResNet-18 of width 8):\n\n" + table(["folder", "seconds", "processor seconds"], rows)
    )


def both(times: Report) -> list[str]:
    """Write wall and processor seconds."""
    return [shown(times["seconds"]), shown(times["processor_seconds"])]


def collection_aims(reports: list[Report]) -> list[list[str]]:
    """Aim, what was measured, and whether that meets it."""
    rows: list[list[str]] = []

    def add(aim: str, value: float, limit: float, *, least: bool = False) -> None:
        rows.append([aim, f"{value:,.4g}", "yes" if (value >= limit if least else value <= limit) else "no"])

    for report in reports:
        limits = report["aims"]
        if "search" in report:
            found = report["search"]
            add(
                f"a query on 100,000 x 512, p50 within {limits['query_p50_ms']:g} ms",
                found["query_ms"]["ivf"]["p50"],
                limits["query_p50_ms"],
            )
            add(
                f"its recall@10 at least {limits['recall@10']:g}",
                found["recall@10"]["training images"],
                limits["recall@10"],
                least=True,
            )
            add(f"the index within {limits['index_seconds']:g} s", found["index"]["seconds"], limits["index_seconds"])
        if "unchanged" in report:
            add(
                f"embedding 50,000 unchanged files again within {limits['unchanged_seconds']:g} s",
                report["unchanged"]["unchanged"]["seconds"]["median"],
                limits["unchanged_seconds"],
            )
    return rows


def forms(reports: list[Report]) -> str:
    """Write how fast a frozen network is in each form, alone and in the whole of an embedding."""
    parts = ["## Forms of a network\n"]
    for report in reports:
        rows = [
            [f"{case['network']}, {case['size']} px", what, form, shown(one["ratio"])]
            for case in report["cases"]
            for what, field in (("network alone", "passes"), ("embed, from JPEG files to vectors", "embed"))
            for form, one in case[field].items()
        ]
        said = (
            f"Images a second over those of the first form, in turns, on {report['images']:,} images. `embed` has the "
            "start of the form in it: int8 is exported and calibrated first, so it pays for many images only.\n\n"
        )
        head = ["network", "what", "form", "times the first"]
        parts += [said + table(head, rows), f"* {source_of(report)}"]
    return "\n".join(parts)
