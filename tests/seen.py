"""Small labelled images and networks for protocols that see images."""

import torch
from torch import Tensor, nn

from viewkin.augment.policies import policy
from viewkin.data.source import ResidentSource, SourceInfo
from viewkin.evaluation.network import Network

SIDE = 16


def coloured(count: int, seed: int, classes: int = 3, side: int = SIDE) -> ResidentSource:
    """Images whose class is their colour, under noise."""
    draw = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % classes
    colours = torch.randint(40, 216, (classes, 3), generator=torch.Generator().manual_seed(5)).float()
    noise = 20 * torch.randn(count, 3, side, side, generator=draw)
    pixels = (colours[labels][:, :, None, None] + noise).clamp(0, 255).byte()
    ids = [f"{label}/{row}.png" for row, label in enumerate(labels.tolist())]
    return ResidentSource(SourceInfo(name="colours", size=side, keys=ids, labels=labels), pixels)


class Sealed(ResidentSource):
    """A source whose labels must not be read before all of its images were."""

    seen = 0

    @property
    def labels(self) -> Tensor | None:
        """Labels, once every image was given."""
        assert self.seen >= len(self), "a test label was read before the last test image was classified"
        return super().labels

    def images(self, index: Tensor) -> Tensor:
        """Count and give images."""
        self.seen += len(index)
        return super().images(index)


def sealed(source: ResidentSource) -> Sealed:
    return Sealed(source.facts, source.images(torch.arange(len(source))))


class TinyNet(nn.Module):
    """A convolution and a BatchNorm: two maps and a vector."""

    feature_dim = 6

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, 2, 1)
        self.norm = nn.BatchNorm2d(6)

    def stages(self, x: Tensor) -> dict[str, Tensor]:
        """Two maps."""
        first = self.conv(x)
        return {"conv1": first, "conv2": self.norm(first).relu()}

    blocks = stages

    def forward(self, x: Tensor) -> Tensor:
        """Pool the second."""
        return self.stages(x)["conv2"].mean((2, 3))


def tiny(seed: int = 0) -> Network:
    torch.manual_seed(seed)
    return Network(encoder=TinyNet(), policy=policy("moco-cifar"), image_size=SIDE, device=torch.device("cpu"))
