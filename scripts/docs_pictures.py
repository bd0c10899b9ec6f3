"""Make the pictures of the tutorial and of the page on concepts.

    python scripts/docs_pictures.py views                    # docs/figures/views.png, of rendered images
    python scripts/docs_pictures.py cells data/cells         # only write the tutorial's images
    python scripts/docs_pictures.py tutorial data/cells      # write them, train, draw docs/figures/cells-*.png

The tutorial's images are blood cells, cut out of the photographs of BCCD (github.com/Shenggan/BCCD_Dataset, MIT
licence). They are read from $VIEWKIN_DATA/bccd/bccd-320.parquet (default ../shared/data).
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import torch
from matplotlib.figure import Figure
from PIL import Image

import viewkin
from viewkin.augment.policies import policy
from viewkin.augment.views import ViewMaker
from viewkin.data.formats.generated import generated_config, open_generated
from viewkin.figures.contact_sheet import contact_sheet
from viewkin.figures.image_sheet import ImageSheet, to_pil
from viewkin.figures.style import write_figure

FIGURES = Path(__file__).parents[1] / "docs" / "figures"
SHARED = Path(__file__).parents[2] / "shared" / "data"
NAMES = ("red", "white", "platelet")
MOST = 300
"""Cells of each kind."""
SIDE, GAP, MARGIN = 88, 8, 16


def write_small(figure: Figure, name: str) -> None:
    """Write a figure with 256 colours, which takes a third of the bytes."""
    path = FIGURES / name
    write_figure(figure, path)
    Image.open(path).convert("RGB").quantize(256).save(path, optimize=True)


def draw_views() -> None:
    """Draw four rendered images, each with six views."""
    images = open_generated(generated_config("generated:images=40,size=64")).images(torch.arange(4))
    names = [f"v{number}" for number in range(6)]
    simclr = policy("simclr")
    maker = ViewMaker(simclr, 64, dict.fromkeys(names, "first"))
    views = maker(images, maker.sample(len(images), torch.Generator().manual_seed(0), 64))
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (simclr.mean, simclr.std))
    sheet = ImageSheet(2 * MARGIN + 7 * (SIDE + GAP) + GAP, 2 * MARGIN + 24 + len(images) * (SIDE + GAP))
    sheet.write(MARGIN, MARGIN + 6, "image")
    sheet.write(MARGIN + SIDE + 3 * GAP, MARGIN + 6, "six views of it")
    for row, image in enumerate(images):
        y = MARGIN + 24 + row * (SIDE + GAP)
        sheet.paste(to_pil(image), MARGIN, y, SIDE)
        for column, name in enumerate(names):
            pixels = ((views[name][row] * std + mean) * 255).clamp(0, 255)
            sheet.paste(to_pil(pixels), MARGIN + (column + 1) * (SIDE + GAP) + 2 * GAP, y, SIDE)
    write_small(sheet.figure(), "views.png")


def write_cells(out: Path) -> None:
    """Cut cells out of the photographs: ``OUT/<kind>/<photograph>-<number>.jpg``."""
    data = Path(os.environ.get("VIEWKIN_DATA", SHARED))
    counts: Counter[str] = Counter()
    for row in pq.read_table(data / "bccd" / "bccd-320.parquet").to_pylist():
        photo = Image.open(io.BytesIO(row["image"])).convert("RGB")
        for number, (box, label) in enumerate(zip(row["boxes"], row["labels"], strict=True)):
            kind = NAMES[label]
            side = max(32, round(1.2 * max(box[2] - box[0], box[3] - box[1])))
            left, top = round((box[0] + box[2] - side) / 2), round((box[1] + box[3] - side) / 2)
            inside = left >= 0 and top >= 0 and left + side <= photo.width and top + side <= photo.height
            if not inside or counts[kind] == MOST:
                continue
            counts[kind] += 1
            (out / kind).mkdir(parents=True, exist_ok=True)
            cell = photo.crop((left, top, left + side, top + side)).resize((96, 96))
            cell.save(out / kind / f"{Path(row['name']).stem}-{number}.jpg", quality=90)
    print(dict(counts))


def draw_tutorial(cells: Path) -> None:
    """Train on the cells as the tutorial does, and draw what it shows."""
    run_folder, folder = cells.with_name("cells-run"), cells.with_name("cells.collection")
    for old in (run_folder, folder):
        shutil.rmtree(old, ignore_errors=True)
    run = viewkin.train(cells, init="efficientnet_lite0", epochs=5, image_size=64, out=run_folder)
    print(run)
    write_small(viewkin.plot.neighbours(run, queries=6), "cells-neighbours.png")
    write_small(viewkin.plot.map(run), "cells-map.png")
    collection = viewkin.embed(run, cells, to=folder)
    for name, title, found in (
        ("outliers", "Least like the others", collection.outliers(20)),
        ("select", "Twenty to label first", collection.select(20)),
    ):
        pictures = [Image.open(cells / str(key)).convert("RGB") for key in found["key"][:20]]
        write_small(contact_sheet(title, pictures).figure(), f"cells-{name}.png")


def main() -> None:
    """Read the command line and make what it asks for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("what", choices=("views", "cells", "tutorial"))
    parser.add_argument("folder", type=Path, nargs="?", default=Path("data/cells"), help="where the cells are written")
    options = parser.parse_args()
    if options.what == "views":
        draw_views()
        return
    write_cells(options.folder)
    if options.what == "tutorial":
        draw_tutorial(options.folder)


if __name__ == "__main__":
    main()
