"""Turn ``results/benchmarks/*.json`` into a page with plots, ``results/benchmarks/README.md``.

    python benchmarks/page.py

No number of the page is typed by hand: what a file lacks is left out.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from aims import aims
from cleaned import cleaning, cleaning_aims, explore, explore_aims
from machine import RESULTS
from searches import collection_aims, collections, forms
from steps import parent, start, train_step
from terms import clusters, decode, growth, interclr, knn, sampling
from writing import Report, table


def main() -> None:
    reports = {name: [json.loads(path.read_text()) for path in sorted(RESULTS.glob(name))] for name, _ in SECTIONS}
    rows = aims(reports) + collection_aims(reports["collection*.json"])
    rows += cleaning_aims(reports["cleaning.json"]) + explore_aims(reports["explore.json"])
    parts = [HEAD, AIMS + table(["aim", "measured", "met"], rows)]
    parts += [section(reports[name]) for name, section in SECTIONS if reports[name]]
    (RESULTS / "README.md").write_text("\n".join(parts))
    print(f"Written to {RESULTS / 'README.md'}")


HEAD = """# Benchmarks

Made from the JSON files beside this page by `python benchmarks/page.py`. Each section names the commands of its files:
`make bench` runs them, but for those of [earlier commits](#against-an-earlier-commit) (`make bench-parent`), of the
[samplers' accuracy](#accuracy-of-candidate-sampling), of [collections](#collections), of
[forms of a network](#forms-of-a-network), of [cleaning](#cleaning) and of
[the page](#the-page-of-a-collection). A time is a median with the
lowest and highest of its repeats; peers ran in turn with ours. The *floor* is what the arithmetic and the traffic of
memory need at the rates measured in the same run: large bfloat16 products, and copies.
"""

AIMS = """## Aims

Each case with its width. Shares leave out the steps whose parts do not add up.

"""

SECTIONS: list[tuple[str, Callable[[list[Report]], str]]] = [
    ("train_step*.json", train_step),
    ("parent*.json", parent),
    ("interclr*.json", interclr),
    ("sampling*.json", sampling),
    ("growth.json", growth),
    ("clusters.json", clusters),
    ("knn*.json", knn),
    ("decode.json", decode),
    ("collection*.json", collections),
    ("forms.json", forms),
    ("cleaning.json", cleaning),
    ("explore.json", explore),
    ("start.json", start),
]
"""Files to the section that shows them, in the page's order."""


if __name__ == "__main__":
    main()
