"""The other side of the training-step benchmark: ``lightly``, as its documentation runs it.

Same network, same batch, same images; its own transforms (PIL, in the workers of a DataLoader), head, loss and loop.
"""

from __future__ import annotations

import copy
from contextlib import nullcontext
from importlib.util import find_spec
from typing import Any

import torch
from ours import QUEUE, Case, now
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from viewkin.data.dataset import open_source
from viewkin.data.source import Source
from viewkin.nets.backbone import BackboneConfig, build_backbone

WORKERS = 2
"""Processes of the DataLoader: one a core of the machine the numbers are for."""
METHODS = ("simclr", "moco")
"""What is compared."""


def available() -> bool:
    """Whether lightly is installed."""
    return find_spec("lightly") is not None


class Pictures(Dataset[Any]):
    """The images of a source as torchvision's CIFAR-10 gives them: PIL, from an array in memory."""

    def __init__(self, source: Source, transform: Any) -> None:
        self.pixels = source.images(torch.arange(len(source))).permute(0, 2, 3, 1).contiguous().numpy()
        self.transform = transform

    def __len__(self) -> int:
        return len(self.pixels)

    def picture(self, index: int) -> Image.Image:
        """One image."""
        return Image.fromarray(self.pixels[index])

    def __getitem__(self, index: int) -> Any:
        return self.transform(self.picture(index)), 0


class PeerSimCLR(nn.Module):
    """SimCLR of lightly's examples."""

    def __init__(self, backbone: nn.Module, width: int) -> None:
        super().__init__()
        from lightly.loss import NTXentLoss
        from lightly.models.modules import SimCLRProjectionHead

        self.backbone = backbone
        self.head = SimCLRProjectionHead(8 * width, 8 * width, 128)
        self.criterion = NTXentLoss()

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Find each view's partner in the batch."""
        return self.criterion(self.head(self.backbone(first)), self.head(self.backbone(second)))

    def follow(self) -> None:
        """Nothing follows."""


class PeerMoCo(nn.Module):
    """MoCo v2 of lightly's examples."""

    def __init__(self, backbone: nn.Module, width: int) -> None:
        super().__init__()
        from lightly.loss import NTXentLoss
        from lightly.models.modules import MoCoProjectionHead

        self.backbone, self.head = backbone, MoCoProjectionHead(8 * width, 8 * width, 128)
        self.slow_backbone, self.slow_head = copy.deepcopy(self.backbone), copy.deepcopy(self.head)
        self.slow_backbone.requires_grad_(False)
        self.slow_head.requires_grad_(False)
        self.criterion = NTXentLoss(memory_bank_size=(QUEUE, 128))

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Compare queries with keys and queue."""
        query = self.head(self.backbone(first))
        with torch.no_grad():
            key = self.slow_head(self.slow_backbone(second))
        return self.criterion(query, key)

    def follow(self) -> None:
        """Move the slow copies, first thing in a step."""
        from lightly.models.utils import update_momentum

        update_momentum(self.backbone, self.slow_backbone, m=0.996)
        update_momentum(self.head, self.slow_head, m=0.996)


class Peer:
    """lightly's loop; ``given`` lends it our precision and memory format."""

    def __init__(self, case: Case, source: Source, device: torch.device, seed: int, *, given: bool) -> None:
        from lightly.transforms import MoCoV2Transform, SimCLRTransform

        torch.manual_seed(seed)
        kinds = {"simclr": (PeerSimCLR, SimCLRTransform), "moco": (PeerMoCo, MoCoV2Transform)}
        model, transform = kinds[case.method]
        self.given, self.device, self.batch = given, device, case.batch
        self.model = model(build_backbone(BackboneConfig(width=case.width)), case.width).to(device).train()
        if given:
            self.model = self.model.to(memory_format=torch.channels_last)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.06)
        views = transform(input_size=case.size, gaussian_blur=0.0, cj_strength=0.5)
        self.data = Pictures(source, views)

    def run(self, steps: int, warmup: int = 2) -> tuple[float, float]:
        """Train ``warmup`` and then ``steps`` steps; return the seconds of the latter, and those waited for images.

        The workers start anew and end with each call, so that they take no time from another run.
        """
        loader = DataLoader(self.data, self.batch, shuffle=True, drop_last=True, num_workers=WORKERS)
        batches = _endless(loader)
        began, waited = 0.0, 0.0
        for step in range(warmup + steps):
            if step == warmup:
                began, waited = now(self.device), 0.0
            asked = now(self.device)
            (first, second), _ = next(batches)
            waited += now(self.device) - asked
            self._step(first.to(self.device), second.to(self.device))
        seconds = now(self.device) - began
        batches.close()
        return seconds, waited

    def _step(self, first: Tensor, second: Tensor) -> None:
        self.model.follow()
        if self.given:
            first, second = (x.contiguous(memory_format=torch.channels_last) for x in (first, second))
        with torch.autocast(self.device.type, torch.bfloat16) if self.given else nullcontext():
            loss = self.model(first, second)
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()


def peer_of(case: Case, data: str, device: torch.device, seed: int, threads: int, given: bool) -> Peer:
    """Make a peer in the process that runs it."""
    torch.set_num_threads(threads)
    return Peer(case, open_source(data), device, seed, given=given)


def _endless(loader: DataLoader[Any]) -> Any:
    while True:
        yield from loader
