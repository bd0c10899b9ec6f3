"""Use a trained model: embed images, judge features."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor, nn

from viewkin import config
from viewkin.augment.policies import Policy, policy
from viewkin.augment.views import test_view
from viewkin.data.opening import open_source, survey
from viewkin.data.source import Source
from viewkin.draws import generator_for, seed_for
from viewkin.errors import UserError
from viewkin.evaluate.embeddings import write_embeddings
from viewkin.evaluate.features import extract
from viewkin.evaluate.knn import KnnConfig, knn
from viewkin.evaluate.linear import LinearConfig, linear
from viewkin.evaluate.results import Result, describe, print_table, write_results
from viewkin.nets.backbone import build_backbone
from viewkin.nets.stored import load_backbone
from viewkin.recipes.run import rebuilt, stored_size, versions
from viewkin.train.checkpoint import load_checkpoint

PROTOCOLS: dict[str, tuple[Any, Callable[..., Any]]] = {"knn": (KnnConfig, knn), "linear": (LinearConfig, linear)}
"""Protocol to its settings and its function."""


@dataclass(frozen=True)
class Model:
    """An encoder and how it wants to see images."""

    name: str
    """What a table calls it."""
    encoder: Callable[[Tensor], Tensor]
    """(B, 3, h, w) normalised -> (B, D)."""
    image_size: int
    """Side of the test view, pixels."""
    policy: Policy
    """Where the view's crop and normalisation come from."""

    def features(self, source: Source, device: torch.device) -> Tensor:
        """Encode every image once by the test view: (N, D) float32 on the CPU."""
        if isinstance(self.encoder, nn.Module):
            self.encoder.to(device)
        view = partial(test_view, size=self.image_size, policy=self.policy)
        return extract(self.encoder, source.blocks(512), view, device=device, total=len(source))


def open_model(path: str, features: str, device: torch.device) -> Model:
    """Open a run directory, backbone file or checkpoint.

    Args:
        path: where it is.
        features: ``backbone`` (pooled features) or ``embedding`` (with the run's head, unit norm).
        device: where to put it.

    Raises:
        UserError: it is missing or damaged, or an embedding is asked of a file without a head.
    """
    if features not in ("backbone", "embedding"):
        raise UserError(f"--features is {features!r}; it must be backbone or embedding.")
    if features == "backbone":
        backbone: Any = load_backbone(path)
        chosen = policy(backbone.extra.get("policy", "moco-v2"))
        return Model(f"backbone ({backbone.feature_dim}-d)", backbone.to(device), backbone.image_size, chosen)
    if not Path(path).is_dir():
        raise UserError(f"{path} is no run directory, so it has no head; use --features backbone.")
    state = load_checkpoint(Path(path) / "last.ckpt")
    recipe, method = rebuilt(Path(path), int(state["images"]["count"]))
    method.load_state_dict(state["method"])
    method.to(device).eval()
    name = f"embedding ({method.dim}-d)"
    return Model(name, method.embed, recipe.augment.image_size, policy(recipe.augment.policy))


def baselines(path: str) -> list[Model]:
    """Raw pixels and the untrained network of a model, to compare it with."""
    backbone: Any = load_backbone(path)
    chosen = policy(backbone.extra.get("policy", "moco-v2"))
    torch.manual_seed(seed_for(0, "init"))
    untrained = build_backbone(backbone.config)
    size = int(backbone.image_size)
    return [
        Model("raw pixels", lambda x: x.flatten(1), min(size, 32), chosen),
        Model(f"untrained network ({backbone.feature_dim}-d)", untrained, size, chosen),
    ]


def device_named(name: str) -> torch.device:
    """Turn ``auto``, ``cpu`` or ``cuda`` into a device.

    Raises:
        UserError: it is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name not in ("cpu", "cuda") or (name == "cuda" and not torch.cuda.is_available()):
        raise UserError(f"--device is {name!r}; on this machine it must be auto or cpu.")
    return torch.device(name)


def embed(
    model: str,
    data: str,
    out: Path,
    *,
    split: str,
    features: str,
    normalise: bool,
    device: str,
    console: Console,
) -> None:
    """Write one embedding for every image of a split as Parquet."""
    if out.is_dir() or not out.parent.is_dir():
        raise UserError(f"--out {out} must be a file in a folder that exists, such as x.parquet.")
    where = device_named(device)
    opened = open_model(model, features, where)
    source = open_source(data, split=split, size=stored_size(data, opened.image_size))
    rows = opened.features(source, where)
    if normalise:
        rows = nn.functional.normalize(rows, dim=1)
    metadata = {"model": model, "features": opened.name, "normalised": str(normalise), **versions()}
    write_embeddings(out, rows, source.ids, labels=source.labels, classes=source.classes, metadata=metadata)
    for note in source.notes:
        console.print(note, highlight=False, markup=False, soft_wrap=True)
    console.print(f"{len(rows):,} embeddings of {rows.shape[1]} numbers in {out}", highlight=False, soft_wrap=True)


@dataclass(frozen=True, kw_only=True)
class EvaluateRequest:
    """What to judge, and how."""

    protocol: str
    """``knn`` or ``linear``."""
    model: str
    """Run directory, backbone file or checkpoint."""
    data: str
    """Labelled images."""
    out: Path | None = None
    """JSON to write; None: beside the model."""
    features: str = "backbone"
    """``backbone`` or ``embedding``."""
    train_split: str = "train"
    """Split that teaches."""
    test_split: str = "test"
    """Split that is judged."""
    holdout: float | None = None
    """Share of the training split to judge on instead of a test split, 0 to 1."""
    baselines: bool = True
    """Judge raw pixels and the untrained network as well."""
    settings: tuple[str, ...] = ()
    """``path=value`` of the protocol."""
    device: str = "auto"
    """Device."""


def evaluate(request: EvaluateRequest, console: Console) -> list[Result]:
    """Judge a model, print the table, write the JSON.

    Raises:
        UserError: an unknown protocol or setting, unlabelled data, or no split to judge on.
    """
    if request.protocol not in PROTOCOLS:
        raise UserError(f"There is no protocol {request.protocol!r}; it must be one of {', '.join(PROTOCOLS)}.")
    kind, function = PROTOCOLS[request.protocol]
    settings = kind()
    for setting in request.settings:
        settings = config.with_text(settings, setting)
    where = device_named(request.device)
    model = open_model(request.model, request.features, where)
    train, test = labelled_splits(request, stored_size(request.data, model.image_size))
    results: list[Result] = []
    for judged in [*(baselines(request.model) if request.baselines else []), model]:
        began = time.monotonic()
        taught, asked = judged.features(train, where), judged.features(test, where)
        found = function(settings, taught, _labels(train), asked, _labels(test))
        results.append(
            describe(
                request.protocol,
                settings,
                found.values(),
                model=judged.name,
                data=f"{request.data}: {len(train):,} {request.train_split}, {len(test):,} judged",
                seconds=time.monotonic() - began,
                device=where,
                notes=found.notes,
            )
        )
    print_table(results, console)
    base = Path(request.model) if Path(request.model).is_dir() else Path(request.model).parent
    target = request.out or base / f"evaluation-{request.protocol}-{request.features}.json"
    write_results(target, results)
    console.print(f"Written to {target}", highlight=False, soft_wrap=True)
    return results


def labelled_splits(request: EvaluateRequest, size: int | None) -> tuple[Source, Source]:
    """Open the split that teaches and the one that is judged, both labelled."""
    train = open_source(request.data, split=request.train_split, size=size)
    if train.labels is None:
        raise UserError(f"{request.data} has no labels, which {request.protocol} needs; put each class in its folder.")
    train = train.subset((train.labels >= 0).nonzero().squeeze(1))
    if request.holdout is not None:
        return held_out(train, request.holdout)
    if request.test_split not in survey(request.data).splits:
        raise UserError(f"{request.data} has no {request.test_split} split; judge on a part of it with --holdout 0.2.")
    test = open_source(request.data, split=request.test_split, size=size)
    if test.labels is None:
        raise UserError(f"The {request.test_split} split of {request.data} has no labels; name another --test-split.")
    return train, test.subset((test.labels >= 0).nonzero().squeeze(1))


def held_out(source: Source, share: float) -> tuple[Source, Source]:
    """Split a labelled source in two, class by class, always in the same way: (what teaches, what is judged)."""
    if not 0 < share < 1:
        raise UserError(f"--holdout is {share}; it must be a share between 0 and 1, such as 0.2.")
    labels, order = _labels(source), torch.randperm(len(source), generator=generator_for(0, "holdout"))
    taken: list[Tensor] = []
    for label in labels.unique():
        own = order[labels[order] == label]
        taken.append(own[: max(round(share * len(own)), 1)] if len(own) > 1 else own[:0])
    asked = torch.cat(taken).sort().values
    kept = torch.ones(len(source), dtype=torch.bool).index_fill_(0, asked, False)
    return source.subset(kept.nonzero().squeeze(1)), source.subset(asked)


def _labels(source: Source) -> Tensor:
    if source.labels is None:
        raise UserError(f"{source.name} has no labels.")
    return source.labels
