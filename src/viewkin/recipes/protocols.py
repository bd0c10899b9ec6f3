"""Every way to judge features: its settings, its function, and the images it asks for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from viewkin.evaluate import machines
from viewkin.evaluate.cluster import ClusterConfig, cluster
from viewkin.evaluate.knn import KnnConfig, knn
from viewkin.evaluate.linear import LinearConfig, linear
from viewkin.evaluate.lowshot import LowshotConfig, lowshot
from viewkin.evaluate.mlp import MlpConfig, mlp
from viewkin.evaluate.results import Result
from viewkin.evaluate.retrieval import RetrievalConfig, by_chance, retrieval
from viewkin.evaluate.svm import SvmConfig, svm

Chance = Callable[[Result, Any, Tensor, Tensor], dict[str, float]]
"""(a result with the same measures, settings, training labels, test labels) -> percent."""


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """One way to judge features."""

    settings: Callable[[], Any]
    """Its settings at their defaults."""
    function: Callable[..., Any]
    """(settings, train, labels, test, labels), or (settings, test, labels) where nothing is taught, to a result."""
    teaches: bool = True
    """Whether it needs a split that teaches."""
    several: bool = False
    """Whether it takes images that show several classes."""
    squash: bool = False
    """Whether whole images are squashed to the test view, instead of cut to their centre."""
    chance: Chance | None = None
    """What knowing nothing gives, where that can be said."""


def commonest(like: Result, _settings: Any, train: Tensor, test: Tensor) -> dict[str, float]:
    """What naming always the k commonest classes of the training labels gives, for every top-k measure of ``like``."""
    labels, counts = train.unique(return_counts=True)
    ranked = labels[counts.argsort(descending=True, stable=True)]
    values: dict[str, float] = {}
    for name in like.values:
        tried = 5 if name.endswith("top-5") else 1
        values[name] = 100 * float(torch.isin(test, ranked[:tried]).float().mean())
    return values


def random_order(_like: Result, settings: Any, _train: Tensor, test: Tensor) -> dict[str, float]:
    """What neighbours in a random order give."""
    return by_chance(settings, test)


def prevalence(like: Result, _settings: Any, _train: Tensor, test: Tensor) -> dict[str, float]:
    """Average precision of scores that know nothing."""
    return dict.fromkeys(like.values, 100 * machines.by_chance(test))


PROTOCOLS = {
    "knn": Protocol(settings=KnnConfig, function=knn, chance=commonest),
    "linear": Protocol(settings=LinearConfig, function=linear, chance=commonest),
    "mlp": Protocol(settings=MlpConfig, function=mlp, chance=commonest),
    "retrieval": Protocol(settings=RetrievalConfig, function=retrieval, teaches=False, chance=random_order),
    "cluster": Protocol(settings=ClusterConfig, function=cluster, teaches=False),
    "svm": Protocol(settings=SvmConfig, function=svm, several=True, squash=True, chance=prevalence),
    "lowshot": Protocol(settings=LowshotConfig, function=lowshot, several=True, squash=True, chance=prevalence),
}
"""Name on the command line to the protocol."""
