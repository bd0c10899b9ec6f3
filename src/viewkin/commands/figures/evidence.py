"""Figures of the evidence that runs leave: negatives, positives, and how images were divided."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from viewkin.commands.figures.inputs import Drawing, FigureInputs, FigureRequest, training_images
from viewkin.figures.evidence import ASSIGNMENTS_FILE, EVIDENCE_FILE, RelatedImages, read_assignments, read_related
from viewkin.figures.image_grid import Tile, draw_grid, negative_tile, positive_tile
from viewkin.figures.segments import draw_segments
from viewkin.runs.run_settings import read_run_settings
from viewkin.runtime.draws import generator_for
from viewkin.runtime.errors import UserError, require

STRANGERS = 5
"""Negatives of each anchor that are shown, as in InterCLR's figure."""
KIN = 5
"""Easiest and hardest positives of each anchor that are shown."""


def draw_negatives(runs: Sequence[str], anchors: int) -> Drawing:
    """Draw some negatives of a few anchors, runs side by side; those of the anchor's class are framed.

    Raises:
        UserError: a run without evidence of negatives.
    """
    require(1 <= anchors <= 40, "--anchors", anchors, "1 to 40")
    sheet = Sheet(runs, anchors, lambda find: find.negatives, "negatives")
    blocks = [
        (sheet.title(run, find_of), [sheet.tiles(find_of[a], some, negative_tile) for a in sheet.anchors])
        for run, find_of in sheet.finds
    ]
    note = f"{STRANGERS} of each anchor's negatives, at random; red and x: false ones, of the anchor's class."
    board = draw_grid(sheet.first_column(), blocks, note)
    return Drawing(board.figure(), "negatives", f"Negatives of {', '.join(runs)}", tuple(runs))


def draw_positives(runs: Sequence[str], anchors: int) -> Drawing:
    """Draw the most and the least similar positives of a few anchors, runs side by side.

    Raises:
        UserError: a run without evidence of positives.
    """
    require(1 <= anchors <= 40, "--anchors", anchors, "1 to 40")
    sheet = Sheet(runs, anchors, lambda find: not find.negatives, "positives")
    blocks: list[tuple[str, list[list[Tile]]]] = []
    for run, find_of in sheet.finds:
        few = all(len(distinct(find_of[anchor])) <= KIN for anchor in sheet.anchors)
        for name, order in (("all", distinct),) if few else (("easy", easiest), ("hard", hardest)):
            rows = [sheet.tiles(find_of[anchor], order, positive_tile) for anchor in sheet.anchors]
            blocks.append((f"{sheet.title(run, find_of)}, {name}", rows))
    note = "Positives most (easy) or least (hard) like the anchor"
    note += "." if sheet.source.labels is None else "; green: of its class, red and x: of another."
    board = draw_grid(sheet.first_column(), blocks, note)
    return Drawing(board.figure(), "positives", f"Easy and hard positives of {', '.join(runs)}", tuple(runs))


class Sheet:
    """Anchors and what some runs, trained on the same images, found for them."""

    def __init__(self, runs: Sequence[str], anchors: int, wanted: Callable[[RelatedImages], bool], noun: str) -> None:
        """Read the evidence of one kind.

        Raises:
            UserError: none there, or runs on different images.
        """
        left = [(run, finds_of(run)) for run in runs]
        opened = [(run, finds, training_images(run, finds)) for run, finds in left]
        self.source = opened[0][2]
        self.finds: list[tuple[str, dict[int, RelatedImages]]] = []
        for run, finds, source in opened:
            if list(source.keys) != list(self.source.keys):
                raise UserError(f"{run} and {runs[0]} were trained on different images; show them one by one.")
            # Of several finds of an anchor (hops of a graph, then the positives chosen among them) the last counts.
            related_by_anchor = {find.anchor: find for find in finds if wanted(find) and distinct(find)}
            if not related_by_anchor:
                raise UserError(f"The method of {run} has no {noun} to show; its terms compare no other images.")
            self.finds.append((run, related_by_anchor))
        common = sorted(set.intersection(*(set(related_by_anchor) for _, related_by_anchor in self.finds)))
        if not common:
            raise UserError(f"{' and '.join(runs)} have no anchor in common.")
        chosen = torch.linspace(0, len(common) - 1, min(anchors, len(common))).long().unique()
        self.anchors = [common[i] for i in chosen.tolist()]

    def title(self, run: str, finds: dict[int, RelatedImages]) -> str:
        """Name a run and the term that found."""
        return f"{Path(run).resolve().name}: {next(iter(finds.values())).what}"

    def label(self, image: int) -> int:
        """Label of an image, -1 where it has none."""
        return -1 if self.source.labels is None else int(self.source.labels[image])

    def tiles(
        self,
        find: RelatedImages,
        order: Callable[[RelatedImages], list[int]],
        tile: Callable[[Tensor, int, int, float | None], Tile],
    ) -> list[Tile]:
        """Tiles of what was found for one anchor, chosen and ordered by ``order``."""
        places = order(find)
        images = self.source.images(torch.tensor([find.images[place] for place in places])) if places else []
        cosine = find.similarities
        own = self.label(find.anchor)
        return [
            tile(image.cpu(), own, self.label(find.images[place]), None if cosine is None else cosine[place])
            for image, place in zip(images, places)
        ]

    def first_column(self) -> list[Tile]:
        """The anchors, with their classes where these are known."""
        images = self.source.images(torch.tensor(self.anchors))
        classes = self.source.classes
        names = [classes[self.label(a)] if 0 <= self.label(a) < len(classes) else "" for a in self.anchors]
        return [Tile(image.cpu(), name) for image, name in zip(images, names)]


def finds_of(run: str) -> list[RelatedImages]:
    """Evidence of a run.

    Raises:
        UserError: no run, or it has none.
    """
    read_run_settings(Path(run))
    path = Path(run) / EVIDENCE_FILE
    if not path.is_file():
        raise UserError(
            f"{run} has no {EVIDENCE_FILE}; a run of a method that relates images, such as interclr or invp, writes it "
            "when it ends."
        )
    return read_related(path)


def some(find: RelatedImages) -> list[int]:
    """Places of a few finds at random, always the same, each image once."""
    places = sorted(distinct(find))
    order = torch.randperm(len(places), generator=generator_for(0, "shown", find.anchor))
    return [places[i] for i in order[:STRANGERS].tolist()]


def distinct(find: RelatedImages) -> list[int]:
    """Places of the finds but the anchor itself, each image once, most similar first where that is known."""
    places: dict[int, int] = {}
    for place, image in enumerate(find.images):
        if image != find.anchor:
            places.setdefault(image, place)
    similar = find.similarities
    return list(places.values()) if similar is None else sorted(places.values(), key=lambda place: -similar[place])


def easiest(find: RelatedImages) -> list[int]:
    """Places of the most similar, of the more similar half at most, so that none is easy and hard."""
    places = distinct(find)
    return places[: min(-(-len(places) // 2), KIN)]


def hardest(find: RelatedImages) -> list[int]:
    """Places of the least similar, the least first, of the less similar half at most."""
    places = distinct(find)
    return places[::-1][: min(len(places) // 2, KIN)]


def evidence_pairs(request: FigureRequest) -> tuple[FigureInputs, Tensor]:
    """The images that evidence speaks of, and which of them are positives: pairs of rows (P, 2).

    Raises:
        UserError: the first model is no run with positives.
    """
    run = request.models[0]
    finds = [find for find in finds_of(run) if not find.negatives]
    pairs = [(find.anchor, image) for find in finds for image in find.images if image != find.anchor]
    if not pairs:
        raise UserError(f"The method of {run} has no positives to show; take --of label.")
    source = training_images(run, finds)
    look = FigureInputs(dataclasses.replace(request, most=2))  # opens the models; the images are the run's own
    images, places = torch.tensor(pairs).unique(return_inverse=True)
    look.sources, look.splits, look.place = [source.subset(images)], ["train"] * len(images), source.name
    return look, places


def draw_segments_of(run: str, anchors: int, scale: str) -> Drawing:
    """Draw which component of AMDIM's mixture answers for which part of a few images.

    Raises:
        UserError: the run has no mixture.
    """
    require(1 <= anchors <= 64, "--anchors", anchors, "1 to 64")
    require(scale in ("5", "7"), "--scale", scale, "5 or 7")
    path = Path(run) / ASSIGNMENTS_FILE
    read_run_settings(Path(run))
    if not path.is_file():
        raise UserError(f"{run} has no {ASSIGNMENTS_FILE}; a run of amdim with method.mixtures above 1 writes it.")
    parts = [part for part in read_assignments(path) if part.what.endswith(f"/{scale}")]
    source = training_images(run, parts)
    chosen = torch.linspace(0, len(parts) - 1, min(anchors, len(parts))).long().unique().tolist()
    images = source.images(torch.tensor([parts[i].anchor for i in chosen]))
    board = draw_segments(
        [image.cpu() for image in images], [parts[i].components for i in chosen], f"map {parts[0].what}"
    )
    return Drawing(board.figure(), "segments", f"Mixture components of {run}", (run,))
