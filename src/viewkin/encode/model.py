"""An encoder that knows how it wants to see images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from viewkin.augment.policies import Policy, policy, with_least_area
from viewkin.augment.views import ViewMaker, test_view
from viewkin.data.dataset import Survey
from viewkin.data.source import Source
from viewkin.encode.features import extract, frozen
from viewkin.runtime.draws import generator_for

LARGEST_STORED = 1024
"""Side of the largest images that a source keeps, pixels."""
DEFAULT_POLICY = "moco-v2"
"""Policy of a backbone file that names none."""
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
    value_range: tuple[float, float] | None = None
    """Values that become black and white in images of more than 8 bits, as in training; None: chosen by the images."""

    def features(self, source: Source, device: torch.device) -> Tensor:
        """Encode every image once by the test view: (N, D) float32 on the CPU."""
        self.to(device)
        view = partial(test_view, size=self.image_size, policy=self.policy)
        return extract(self.encoder, source.blocks(BLOCK), view, device=device, total=len(source))

    def augmented(self, source: Source, device: torch.device, seed: int, epoch: int) -> Tensor:
        """Encode a random view of every image, a function of (seed, epoch): (N, D) float32 on the CPU.

        Views are cut and coloured as in training, at the size that the model is judged at.
        """
        self.to(device)
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
        self.to(device)
        order = torch.randperm(len(source), generator=generator_for(0, "views of a model"))
        for index in order.split(min(batch, len(source)))[:most]:
            if len(index) > 1:  # of one row there are no statistics
                yield test_view(source.images(index).to(device), size=self.image_size, policy=self.policy)

    def encode(self, views: Tensor, device: torch.device) -> Tensor:
        """Encode views as they are: (B, 3, h, w) -> (B, D)."""
        self.to(device)
        with frozen(self.encoder):
            return self.encoder(views.to(device))

    def to(self, device: torch.device) -> None:
        """Send the network, where there is one, to a device."""
        if isinstance(self.encoder, nn.Module):
            self.encoder.to(device)


def model_of(backbone: Callable[[Tensor], Tensor]) -> Model:
    """Make a model of a backbone that was read from a file: its facts say how it wants to see images."""
    facts: Any = backbone
    chosen = policy(facts.extra.get("policy", DEFAULT_POLICY))
    least_area = facts.extra.get("least_area")
    chosen = chosen if least_area is None else with_least_area(chosen, least_area)
    mean, std = ((float(a), float(b), float(c)) for a, b, c in (facts.mean, facts.std))
    chosen = replace(chosen, mean=mean, std=std, squash=bool(facts.extra.get("squash", chosen.squash)))
    stored: Any = facts.extra.get("value_range")
    value_range = None if stored is None else (float(stored[0]), float(stored[1]))
    return Model(f"backbone, {facts.feature_dim}-d", backbone, facts.image_size, chosen, value_range=value_range)


def stored_size(survey: Survey, image_size: int) -> int | None:
    """Side at which photographs are kept: a margin of 256/224 around the view; their own side when that is smaller."""
    wanted = min(round(image_size * 256 / 224), LARGEST_STORED)
    return None if survey.uniform and survey.shorter_side <= wanted else wanted
