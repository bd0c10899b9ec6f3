"""Judge models, and set runs side by side."""

from __future__ import annotations

from pathlib import Path

from viewkin.api.embedding import name_of
from viewkin.api.notebook import progress_where_seen
from viewkin.api.run import Run, Settings, as_texts
from viewkin.campaigns.comparison_table import Lines
from viewkin.commands.compare import compare as compare_runs
from viewkin.commands.evaluate import EvaluateRequest
from viewkin.commands.evaluate import evaluate as run_evaluation
from viewkin.data.dataset import Dataset, Images
from viewkin.data.reading import Reading
from viewkin.evaluation.results import Results


def evaluate(
    protocol: str,
    model: Run | Path | str,
    images: Images | None = None,
    *,
    features: str = "backbone",
    train_split: str = "train",
    test_split: str = "test",
    holdout: float | None = None,
    classes: str | None = None,
    image_size: int | None = None,
    baselines: bool = True,
    image_column: str | None = None,
    label_column: str | None = None,
    settings: Settings = (),
    save: bool | None = None,
    device: str = "auto",
) -> Results:
    """Judge features with labels.

    Args:
        protocol: ``knn``, ``linear``, ``mlp``, ``retrieval``, ``cluster``, ``finetune``, ``semi``, ``stages``,
            ``svm``, ``lowshot``, ``multilabel`` or ``detection``; ``docs/evaluation.md`` describes them.
        model: a run, its directory, a backbone file or a checkpoint.
        images: labelled images; None: those that the run was trained on.
        features: ``backbone``, or ``embedding`` (through the run's head as well).
        train_split: split that teaches the classifier.
        test_split: split that is judged.
        holdout: share of the training split to judge on instead of a test split, 0 to 1.
        classes: judge on these classes only: labels, a range such as ``98:196``, or names.
        image_size: side of the images, pixels; None: the model's own.
        baselines: judge raw pixels and the untrained network too.
        image_column: column of Parquet files that holds the images; None: found by its name or type.
        label_column: column of Parquet files that holds the labels; None: found by its name or type.
        settings: settings of the protocol, such as ``{"k": (5, 20)}``.
        save: keep the results in the run's directory, where ``compare`` finds them; None: if the model is a run.
        device: ``cpu``, ``cuda`` or ``auto``.

    Returns:
        One :class:`Result` a model: chance and the baselines first; accuracies in percent.

    Raises:
        UserError: an unknown protocol or setting, unlabelled images, or no split to judge on.
    """
    data = _images_of(model) if images is None else images
    request = EvaluateRequest(
        protocol=protocol,
        model=name_of(model),
        data=data,
        features=features,
        train_split=train_split,
        test_split=test_split,
        holdout=holdout,
        classes=classes,
        image_size=image_size,
        baselines=baselines,
        reading=Reading(image_column=image_column, label_column=label_column),
        settings=as_texts(settings),
        device=device,
    )
    with progress_where_seen():
        return Results(run_evaluation(request, write=isinstance(model, Run) if save is None else save).results)


def compare(*runs: Run | Path | str, baselines: bool = False) -> Lines:
    """Set what was measured of several runs side by side: mean and spread over seeds, and what the papers print.

    Args:
        runs: runs or their directories; those that differ in their seed only are one line.
        baselines: list raw pixels and the untrained network too.

    Raises:
        UserError: no run there, or nothing was measured.
    """
    return Lines(compare_runs([name_of(run) for run in runs], baselines=baselines))


def _images_of(model: Run | Path | str) -> Dataset:
    return (model if isinstance(model, Run) else Run(model)).settings.images_from()
