"""Every way to judge features: its settings, its function, and the images it asks for."""

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
from viewkin.evaluation.retrieval import RetrievalConfig, by_chance, retrieval
from viewkin.evaluation.svms import solver
from viewkin.evaluation.svms.lowshot import LowshotConfig, lowshot
from viewkin.evaluation.svms.svm import SvmConfig, svm
from viewkin.runtime.errors import UserError
from viewkin.settings import read_assignment, with_values

Chance = Callable[[Result, Any, Tensor, Tensor], dict[str, float]]
"""(a result with the same measures, settings, training labels, test labels) -> percent."""


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """One way to judge features."""

    settings: Callable[[], Any]
    """Its settings at their defaults."""
    function: Callable[..., Any]
    """(settings, train, labels, test, labels), or (settings, test, labels) where nothing is taught, to a result;
    (settings, network, train source, test source) where it ``sees`` images."""
    teaches: bool = True
    """Whether it needs a split that teaches."""
    several: bool = False
    """Whether it takes images that show several classes."""
    squash: bool = False
    """Whether whole images are squashed to the test view, instead of cut to their centre."""
    sees: bool = False
    """Whether it takes the network and the images instead of features."""
    presets: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Whole settings by name, which ``preset=name`` starts from."""
    chance: Chance | None = None
    """What knowing nothing gives, where that can be said."""


def settings_of(protocol: Protocol, texts: Sequence[str]) -> Any:
    """Read a protocol's settings from ``path=value`` texts; ``preset=name``, where it has some, comes first.

    Raises:
        UserError: an unknown setting or preset, or a value that the settings refuse.
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
    return dict.fromkeys(like.values, 100 * solver.by_chance(test))


PROTOCOLS = {
    "knn": Protocol(settings=KnnConfig, presets=KNN_PRESETS, function=knn, chance=commonest),
    "linear": Protocol(settings=LinearConfig, presets=LINEAR_PRESETS, function=linear, chance=commonest),
    "mlp": Protocol(settings=MlpConfig, presets=MLP_PRESETS, function=mlp, chance=commonest),
    "finetune": Protocol(
        settings=FinetuneConfig, presets=FINETUNE_PRESETS, function=finetune, sees=True, chance=commonest
    ),
    "semi": Protocol(settings=SemiConfig, presets=SEMI_PRESETS, function=semi, sees=True, chance=commonest),
    "stages": Protocol(settings=StagesConfig, presets=STAGES_PRESETS, function=stages, sees=True, chance=commonest),
    "retrieval": Protocol(settings=RetrievalConfig, function=retrieval, teaches=False, chance=random_order),
    "cluster": Protocol(settings=ClusterConfig, function=cluster, teaches=False),
    "svm": Protocol(settings=SvmConfig, function=svm, several=True, squash=True, chance=prevalence),
    "lowshot": Protocol(settings=LowshotConfig, function=lowshot, several=True, squash=True, chance=prevalence),
    "multilabel": Protocol(
        settings=MultilabelConfig, function=multilabel, several=True, squash=True, sees=True, chance=prevalence
    ),
}
"""Name on the command line to the protocol."""
