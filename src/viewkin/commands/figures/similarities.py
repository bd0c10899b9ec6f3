"""How alike positives are, against any two images."""

from __future__ import annotations

from viewkin.commands.figures.evidence import evidence_pairs
from viewkin.commands.figures.inputs import Drawing, FigureInputs, FigureRequest
from viewkin.figures.histograms import Panel, cosines, draw_histograms, nearest_cosines, positive_pairs, random_pairs
from viewkin.runtime.errors import UserError, require


def draw_similarities(request: FigureRequest, of: str, nearest: float | None) -> Drawing:
    """Draw how alike positives are, against any two images and each image's nearest, by each model side by side.

    Args:
        request: models and images.
        of: what positives are, ``label`` or ``evidence``.
        nearest: share of all images that count as the nearest of one, 0 to 1; None: these are not drawn.

    Raises:
        UserError: no labels, or no evidence, to say what positives are.
    """
    require(nearest is None or 0 < nearest < 1, "--nearest", nearest, "a share between 0 and 1, such as 0.01")
    require(of in ("label", "evidence"), "--of", of, "label or evidence")
    if of == "evidence":
        look, pairs = evidence_pairs(request)
    else:
        look = FigureInputs(request)
        if look.labels is None:
            raise UserError(f"{look.place} has no labels to say what positives are; take --of evidence.")
        pairs = positive_pairs(look.labels)
    if not len(pairs):
        raise UserError(f"No two of the {look.about} are positives of each other; take more with --most.")
    panels: list[Panel] = []
    for title, model in look.models:
        rows = look.rows(model)
        kinds = [cosines(rows, pairs), cosines(rows, random_pairs(len(rows)))]
        panels.append((title, kinds if nearest is None else [*kinds, nearest_cosines(rows, nearest)]))
    positives = "two images of one class" if of == "label" else "anchor and positive"
    figure = draw_histograms(panels, positives, "" if nearest is None else f"an image and its nearest {nearest:.2g}")
    return Drawing(figure, "similarities", f"Cosines of positives and of any two of {look.about}", request.models)
