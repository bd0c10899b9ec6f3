"""Trained models and what to compare them with, as encoders that know how they want to see images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from viewkin.augment.policies import Policy
from viewkin.augment.views import ViewMaker, test_view
from viewkin.data.source import Source
from viewkin.encode.features import extract, frozen
from viewkin.evaluation.network import Network
from viewkin.nets.backbone import build_backbone
from viewkin.nets.backbone_file import load_backbone
from viewkin.runs.run_settings import read_run_settings, rebuilt
from viewkin.runtime.draws import generator_for, seed_for
from viewkin.runtime.errors import UserError
from viewkin.training.checkpoint import fingerprint, load_checkpoint, load_method
from viewkin.training.config import AugmentConfig

BLOCK = 512
"""Images encoded at once."""


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
    memory: Callable[[Source], Tensor] | None = None
    """Training images -> their rows of the run's bank (N, D); None: there is none."""

    def features(self, source: Source, device: torch.device) -> Tensor:
        """Encode every image once by the test view: (N, D) float32 on the CPU."""
        self._send(device)
        view = partial(test_view, size=self.image_size, policy=self.policy)
        return extract(self.encoder, source.blocks(BLOCK), view, device=device, total=len(source))

    def augmented(self, source: Source, device: torch.device, seed: int, epoch: int) -> Tensor:
        """Encode a random view of every image, a function of (seed, epoch): (N, D) float32 on the CPU.

        Views are cut and coloured as in training, at the size that the model is judged at.
        """
        self._send(device)
        maker = ViewMaker(self.policy, self.image_size, {"view": "first"})
        draws = maker.sample(len(source), generator_for(seed, "views of heads", epoch), source.size)

        def blocks() -> Iterator[tuple[Tensor, Tensor]]:
            for index, images in source.blocks(BLOCK):
                rows = draws.rows(int(index[0]), int(index[-1]) + 1)
                # Views come in channels_last, which narrow networks cannot always take.
                yield index, maker(images.to(device), rows)["view"].contiguous()

        return extract(self.encoder, blocks(), lambda views: views, device=device, total=len(source), progress=False)

    def views(self, source: Source, device: torch.device, batch: int, most: int) -> Iterator[Tensor]:
        """The test views of the first ``most`` batches of a fixed random order, each (batch, 3, h, w)."""
        self._send(device)
        order = torch.randperm(len(source), generator=generator_for(0, "views of a model"))
        for index in order.split(min(batch, len(source)))[:most]:
            if len(index) > 1:  # of one row there are no statistics
                yield test_view(source.images(index).to(device), size=self.image_size, policy=self.policy)

    def encode(self, views: Tensor, device: torch.device) -> Tensor:
        """Encode views as they are: (B, 3, h, w) -> (B, D)."""
        self._send(device)
        with frozen(self.encoder):
            return self.encoder(views.to(device))

    def network(self, device: torch.device) -> Network:
        """Give the network itself, for protocols that show it images.

        Raises:
            UserError: this is none.
        """
        if not isinstance(self.encoder, nn.Module):
            raise UserError(f"{self.name} has no network to show images to.")
        return Network(encoder=self.encoder, policy=self.policy, image_size=self.image_size, device=device)

    def _send(self, device: torch.device) -> None:
        if isinstance(self.encoder, nn.Module):
            self.encoder.to(device)


def open_model(path: str, features: str, device: torch.device) -> Model:
    """Open a run directory, backbone file or checkpoint.

    Args:
        path: where it is.
        features: ``backbone`` (pooled features) or ``embedding`` (with the run's head, unit norm).
        device: where to put it.

    Raises:
        UserError: it is missing, damaged or another run's, or an embedding is asked of a file without a head.
    """
    if features not in ("backbone", "embedding"):
        raise UserError(f"--features is {features!r}; it must be backbone or embedding.")
    run = Path(path)
    if features == "backbone":
        # A run that was killed has a checkpoint and no backbone file yet.
        killed = (run / "last.ckpt").is_file() and not (run / "backbone.safetensors").is_file()
        backbone: Any = load_backbone(run / "last.ckpt" if killed else run)
        said = {name: backbone.extra[name] for name in ("policy", "least_area") if name in backbone.extra}
        chosen = AugmentConfig(**said).chosen()
        return Model(f"backbone, {backbone.feature_dim}-d", backbone.to(device), backbone.image_size, chosen)
    if not run.is_dir():
        raise UserError(f"{path} is no run directory, so it has no head; use --features backbone.")
    recipe = read_run_settings(run).recipe
    state = load_checkpoint(run / "last.ckpt")
    method = rebuilt(recipe, int(state["images"]["count"]))
    load_method(run / "last.ckpt", state, method)
    method.to(device).eval()
    views, name = recipe.augment, f"embedding, {method.dim}-d"
    memory = partial(bank_rows, method, state["images"]) if getattr(method, "bank", None) is not None else None
    return Model(name, method.embed, views.image_size, views.chosen(), memory)


def bank_rows(method: Any, images: Mapping[str, Any], source: Source) -> Tensor:
    """Give a bank's rows (N, D) float32, in the order of a run's training images.

    Raises:
        UserError: these are others.
    """
    if images != {"count": len(source), "fingerprint": fingerprint(source)}:
        raise UserError(
            f"reference=bank needs the {images['count']:,} images that the run was trained on, all of them; "
            f"these are {len(source):,} of {source.name}."
        )
    return method.bank.everything().detach().float().cpu()


def baselines(path: str) -> list[Model]:
    """Raw pixels and the untrained network of a model, to compare it with."""
    trained = open_model(path, "backbone", torch.device("cpu"))
    backbone: Any = trained.encoder
    torch.manual_seed(seed_for(0, "init"))
    untrained = build_backbone(backbone.config)
    size = trained.image_size
    return [
        Model("raw pixels", lambda x: x.flatten(1), min(size, 32), trained.policy),
        Model(f"untrained, {backbone.feature_dim}-d", untrained, size, trained.policy),
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
