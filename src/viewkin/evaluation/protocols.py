"""The evaluation protocols: for each its settings, its function, and what images it needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from viewkin.evaluation.clustering import ClusterConfig, cluster
from viewkin.evaluation.finetuning.finetune import finetune, semi
from viewkin.evaluation.network_presets import (
    FINETUNE_PRESETS,
    SEMI_PRESETS,
    STAGES_PRESETS,
    FinetuneConfig,
    SemiConfig,
    StagesConfig,
)
from viewkin.evaluation.probes.knn import KNN_PRESETS, KnnConfig, knn
from viewkin.evaluation.probes.linear import LINEAR_PRESETS, LinearConfig, linear
from viewkin.evaluation.probes.mlp import MLP_PRESETS, MlpConfig, mlp
from viewkin.evaluation.probes.multilabel import MultilabelConfig, multilabel
from viewkin.evaluation.probes.stages import stages
from viewkin.evaluation.results import Result
from viewkin.evaluation.retrieval import RetrievalConfig, chance_level, retrieval
from viewkin.evaluation.svms import solver
from viewkin.evaluation.svms.lowshot import LowshotConfig, lowshot
from viewkin.evaluation.svms.svm import SvmConfig, svm
from viewkin.runtime.errors import UserError
from viewkin.settings import read_assignment, with_values

Chance = Callable[[Result, Any, Tensor, Tensor], dict[str, float]]
"""(a result with the same measures, settings, training labels, test labels) -> chance level, percent."""


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """One evaluation protocol."""

    settings: Callable[[], Any]
    """Makes its default settings."""
    function: Callable[..., Any]
    """(settings, train, labels, test, labels) -> result; without training data (settings, test, labels); if it
    ``takes_images`` (settings, network, train source, test source)."""
    needs_train: bool = True
    """Whether it needs a training split."""
    multilabel: bool = False
    """Whether it accepts images with several classes."""
    squash: bool = False
    """Whether the test view squashes the whole image instead of cropping its centre."""
    takes_images: bool = False
    """Whether it takes the network and the images instead of features."""
    presets: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Name to complete settings, chosen by ``preset=name``."""
    chance: Chance | None = None
    """Computes the chance level; None if there is none."""


def settings_of(protocol: Protocol, texts: Sequence[str]) -> Any:
    """Read a protocol's settings from ``path=value`` texts; ``preset=name`` is applied before the others.

    Raises:
        UserError: a setting or preset is unknown, or a value is not allowed.
    """
    settings = protocol.settings()
    rest: list[str] = []
    for text in texts:
        name, _, value = (part.strip() for part in text.partition("="))
        if name != "preset" or not protocol.presets:
            rest.append(text)
            continue
        if value not in protocol.presets:
            raise UserError(f"preset is {value!r}; it must be one of {', '.join(protocol.presets)}.")
        settings = protocol.presets[value]
    return with_values(settings, dict(read_assignment(settings, text) for text in rest))


def majority_class(like: Result, _settings: Any, train: Tensor, test: Tensor) -> dict[str, float]:
    """Accuracy of always predicting the k most common training classes, for every top-k measure of ``like``."""
    labels, counts = train.unique(return_counts=True)
    by_count = labels[counts.argsort(descending=True, stable=True)]
    values: dict[str, float] = {}
    for name in like.values:
        k = 5 if name.endswith("top-5") else 1
        values[name] = 100 * float(torch.isin(test, by_count[:k]).float().mean())
    return values


def random_ranking(_like: Result, settings: Any, _train: Tensor, test: Tensor) -> dict[str, float]:
    """Retrieval measures of neighbours in a random order."""
    return chance_level(settings, test)


def prevalence(like: Result, _settings: Any, _train: Tensor, test: Tensor) -> dict[str, float]:
    """Average precision of random scores."""
    return dict.fromkeys(like.values, 100 * solver.chance_level(test))


PROTOCOLS = {
    "knn": Protocol(settings=KnnConfig, presets=KNN_PRESETS, function=knn, chance=majority_class),
    "linear": Protocol(settings=LinearConfig, presets=LINEAR_PRESETS, function=linear, chance=majority_class),
    "mlp": Protocol(settings=MlpConfig, presets=MLP_PRESETS, function=mlp, chance=majority_class),
    "finetune": Protocol(
        settings=FinetuneConfig, presets=FINETUNE_PRESETS, function=finetune, takes_images=True, chance=majority_class
    ),
    "semi": Protocol(
        settings=SemiConfig, presets=SEMI_PRESETS, function=semi, takes_images=True, chance=majority_class
    ),
    "stages": Protocol(
        settings=StagesConfig, presets=STAGES_PRESETS, function=stages, takes_images=True, chance=majority_class
    ),
    "retrieval": Protocol(settings=RetrievalConfig, function=retrieval, needs_train=False, chance=random_ranking),
    "cluster": Protocol(settings=ClusterConfig, function=cluster, needs_train=False),
    "svm": Protocol(settings=SvmConfig, function=svm, multilabel=True, squash=True, chance=prevalence),
    "lowshot": Protocol(settings=LowshotConfig, function=lowshot, multilabel=True, squash=True, chance=prevalence),
    "multilabel": Protocol(
        settings=MultilabelConfig,
        function=multilabel,
        multilabel=True,
        squash=True,
        takes_images=True,
        chance=prevalence,
    ),
}
"""Name on the command line to the protocol."""
