"""The page of a collection: seconds until 100,000 points can be used, and what a click, a lasso and a search then take.

    python scripts/bundle_explore.py
    python benchmarks/explore.py

A headless Chromium draws by software (SwiftShader), without a graphics card. The files are hard links to 1,000 pictures
and the vectors are drawn around 40 centres: the time of the page does not hang on what the images show. The network is
a ResNet-18 of width 8. The map is that of an earlier opening, as it is from the second time on; drawing one by t-SNE is
measured apart, on ``--tsne`` images.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from threading import Thread

import numpy as np
import torch
from machine import RESULTS, ROOT, origin, write
from PIL import Image

from viewkin.collection.manifest import ImageSet, Manifest, Origin
from viewkin.collection.store import Change, Store
from viewkin.commands.embed_collection import origin_of
from viewkin.explorer.jobs import Job
from viewkin.explorer.projection import project
from viewkin.explorer.server import ExploreRequest, Page
from viewkin.nets.backbone import BackboneConfig, build_backbone
from viewkin.nets.backbone_file import save_backbone
from viewkin.runs.models import open_model

sys.path.insert(0, str(ROOT / "tests"))
from browser import Browser

PICTURES, CENTRES, PART, VIEW = 1000, 40, 4096, 32
AIM = 4.0
"""Seconds until the page can be used."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--tsne", type=int, default=10_000, help="images of the map that is drawn (0: none)")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=RESULTS / "explore.json")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        vectors = collection(place, options.images)
        measured = [visit(place, number) for number in range(options.repeats)]
    report = origin("explore", torch.get_num_threads(), torch.device("cpu"))
    report |= {"images": options.images, "aim_seconds": AIM}
    report["seconds"] = {
        what: {"median": statistics.median(one[what] for one in measured), "all": [one[what] for one in measured]}
        for what in measured[0]
    }
    if options.tsne:
        began = time.perf_counter()
        project(vectors[: options.tsne], "tsne", Job(lambda _: None, ""))
        report["tsne"] = {"images": options.tsne, "seconds": time.perf_counter() - began}
    write(options.out, report)
    for what, seconds in report["seconds"].items():
        print(f"{what}: {seconds['median']:.2f} s")


def collection(place: Path, count: int) -> np.ndarray:
    """Make files, a network and a collection of it; gives the vectors."""
    random = np.random.default_rng(0)
    config = BackboneConfig(width=8)
    weights = place / "network.safetensors"
    save_backbone(weights, build_backbone(config), config, mean=(0.5,) * 3, std=(0.25,) * 3, size=VIEW)
    model = open_model(str(weights), "backbone", torch.device("cpu"))
    given = origin_of(model, str(weights), "backbone")
    with torch.no_grad():
        width = model.encoder(torch.zeros(1, 3, VIEW, VIEW)).shape[1]
    files(place, count, random)
    centres = random.normal(size=(CENTRES, width))
    vectors = centres[np.arange(count) % CENTRES] + random.normal(scale=0.7, size=(count, width))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    whose = Origin(given.fingerprint, given.name, given.place, "backbone", VIEW, width)
    images = ImageSet("photos", str(place / "photos"), str(place / "photos"))
    classes = tuple(f"class {number}" for number in range(CENTRES))
    store = Store.create(place / "c", Manifest(whose, images, classes=classes))
    for start in range(0, count, PART):
        rows = range(start, min(start + PART, count))
        columns = {
            "key": [key_of(row) for row in rows],
            "path": [key_of(row) for row in rows],
            "split": ["train"] * len(rows),
            "size": [1000] * len(rows),
            "content": [f"{row:032x}" for row in rows],
            "whole": [None] * len(rows),
            "width": [48] * len(rows),
            "height": [36] * len(rows),
            "label": [row % CENTRES for row in rows],
            "class_name": [classes[row % CENTRES] for row in rows],
        }
        store.commit(Change(store.table(columns, vectors[start : start + PART])))
    return vectors


def key_of(row: int) -> str:
    return f"{row % CENTRES:02d}/{row:06d}.jpg"


def files(place: Path, count: int, random: np.random.Generator) -> None:
    """Write some pictures, and links to them."""
    for folder in range(CENTRES):
        (place / "photos" / f"{folder:02d}").mkdir(parents=True)
    for row in range(count):
        path = place / "photos" / key_of(row)
        if row < PICTURES:
            coarse = random.integers(0, 255, (5, 6, 3), dtype=np.uint8)
            Image.fromarray(coarse).resize((48, 36), Image.Resampling.BICUBIC).save(path)
        else:
            os.link(place / "photos" / key_of(row % PICTURES), path)


def visit(place: Path, number: int) -> dict[str, float]:
    """Open the page once, and use it."""
    found: dict[str, float] = {}
    began = time.perf_counter()
    page = Page(ExploreRequest(collections=[place / "c"], map="pca", port=0, device="cpu"))
    thread = Thread(target=page.run)
    thread.start()
    page.collections[0].map.job.wait()
    found["collection opened"] = time.perf_counter() - began
    browser = Browser(place / f"profile{number}")

    def timed(what: str, act: Callable[[], object], done: str) -> None:
        before = time.perf_counter()
        act()
        browser.until(done)
        found[what] = time.perf_counter() - before

    try:
        timed("page can be used", lambda: browser.open(page.address), "document.body.dataset.ready")
        left, top, width, height = browser.box("#map")
        middle = (left + width / 2, top + height / 2)

        def zoom() -> None:
            for _ in range(20):
                browser.click("#zoom-in")
                if browser.run("document.querySelectorAll('#pictures img').length"):
                    return

        timed("zoom to pictures", zoom, "[...document.querySelectorAll('#pictures img')].some(e => e.naturalWidth)")
        browser.click("#whole")
        browser.run("document.querySelector('#find-text').value = '000123.jpg'")
        timed("found by text", lambda: browser.click("#find button"), "document.querySelector('#view-selection .card')")
        card = "#view-selection .card"
        timed("neighbours", lambda: browser.click(card), "document.querySelectorAll('#view-image .card').length === 12")
        browser.click("#lasso")
        corners = [(-0.2, -0.2), (0.2, -0.2), (0.2, 0.2), (-0.2, 0.2), (-0.2, -0.18)]
        path = [(middle[0] + x * width, middle[1] + y * height) for x, y in corners]
        many = "Number(document.querySelector('#view-selection h2')?.textContent.split(' ')[0].replace(',', '')) > 100"
        timed("lasso", lambda: browser.drag(path), many)
        photo = place / "photos" / key_of(7)
        searched = "document.querySelector('#status').textContent.startsWith('Searched')"
        timed("search by an image (first)", lambda: browser.choose_file("#upload", photo), searched)
        browser.run("document.querySelector('#status').textContent = ''")
        timed("search by an image", lambda: browser.choose_file("#upload", photo), searched)
    finally:
        browser.close()
        page.stop()
        thread.join()
    return found


if __name__ == "__main__":
    main()
