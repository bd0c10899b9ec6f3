"""ResNet-18, -34 and -50 for small and large images, without a classifier.

Parameters have torchvision's names and shapes, so ``load_state_dict`` can move weights between the two.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from viewkin.nets.init import Init, initialise_
from viewkin.runtime.errors import UserError

Stem = Literal["small", "imagenet"]
"""``small``: 3x3 convolution of stride 1, no max-pool. ``imagenet``: 7x7 of stride 2, then max-pool."""
Pool = Literal["global", "window7"]
"""``global``: mean over the last map. ``window7``: mean over its top-left 7x7 positions (ISIF on 96-pixel crops)."""


class Conv3x3(nn.Conv2d):
    """A 3x3 convolution with padding 1, without bias: (B, in_width, h, w) -> (B, width, h/stride, w/stride).

    Of a map of one position it uses the central weights alone, which is the same. There, oneDNN (torch 2.14) leaves the
    gradient of the outer weights of a strided convolution in bfloat16 at whatever lay in memory.
    """

    def __init__(self, in_width: int, width: int, stride: int) -> None:
        super().__init__(in_width, width, 3, stride, 1, bias=False)

    def forward(self, input: Tensor) -> Tensor:
        """Convolve."""
        if input.shape[2:] == (1, 1):
            return F.conv2d(input, self.weight[:, :, 1:2, 1:2])
        return super().forward(input)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut: (B, in_width, h, w) -> (B, width, h/stride, w/stride).

    References:
        He, Zhang, Ren and Sun, Deep residual learning, 2016, equation 2 and figure 5 (left).
    """

    expansion = 1

    def __init__(self, in_width: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = Conv3x3(in_width, width, stride)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = Conv3x3(width, width, 1)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(in_width, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Add the residual to the shortcut."""
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return self.relu(y.add_(x if self.downsample is None else self.downsample(x)))


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions and a shortcut: (B, in_width, h, w) -> (B, 4*width, h/stride, w/stride).

    The stride is in the 3x3 convolution, as in torchvision; the paper has it in the first 1x1.

    References:
        He, Zhang, Ren and Sun, Deep residual learning, 2016, figure 5 (right).
    """

    expansion = 4

    def __init__(self, in_width: int, width: int, stride: int) -> None:
        super().__init__()
        out_width = width * self.expansion
        self.conv1 = nn.Conv2d(in_width, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = Conv3x3(width, width, stride)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out_width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(in_width, out_width, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Add the residual to the shortcut."""
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return self.relu(y.add_(x if self.downsample is None else self.downsample(x)))


Block = type[BasicBlock] | type[Bottleneck]

RESNETS: dict[str, tuple[Block, tuple[int, int, int, int]]] = {
    "resnet18": (BasicBlock, (2, 2, 2, 2)),
    "resnet34": (BasicBlock, (3, 4, 6, 3)),
    "resnet50": (Bottleneck, (3, 4, 6, 3)),
}
"""Name -> block type and number of blocks per stage."""


class ResNet(nn.Module):
    """Trunk of a ResNet: (B, channels, H, W) -> (B, feature_dim).

    ``feature_dim`` is 8 * width * expansion: 512 for ResNet-18 and -34, 2048 for ResNet-50 at width 64.

    References:
        He, Zhang, Ren and Sun, Deep residual learning, 2016, table 1. Wu et al., NPID, 2018, for the small stem.
    """

    def __init__(
        self,
        name: str,
        *,
        stem: Stem = "small",
        width: int = 64,
        channels: int = 3,
        pool: Pool = "global",
        init: Init = "default",
        zero_init_residual: bool = False,
    ) -> None:
        super().__init__()
        block, blocks = RESNETS[name]
        self.pool: Pool = pool
        kernel, stride, padding = (3, 1, 1) if stem == "small" else (7, 2, 3)
        self.conv1 = nn.Conv2d(channels, width, kernel, stride, padding, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.Identity() if stem == "small" else nn.MaxPool2d(3, 2, 1)
        self.layer1 = _stage(block, width, width, blocks[0], 1)
        self.layer2 = _stage(block, width * block.expansion, 2 * width, blocks[1], 2)
        self.layer3 = _stage(block, 2 * width * block.expansion, 4 * width, blocks[2], 2)
        self.layer4 = _stage(block, 4 * width * block.expansion, 8 * width, blocks[3], 2)
        self.feature_dim = 8 * width * block.expansion
        self.stage_widths = {"conv1": width, **{f"conv{n + 2}": width * block.expansion * 2**n for n in range(4)}}
        initialise_(self, init)
        if zero_init_residual:
            self._zero_residuals_()

    def forward(self, x: Tensor) -> Tensor:
        """Pool the last map: (B, channels, H, W) -> (B, feature_dim)."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        return self._pooled(self.layer4(self.layer3(self.layer2(self.layer1(x)))))

    def stages(self, x: Tensor) -> dict[str, Tensor]:
        """Return the maps of all stages: ``conv1`` (the stem's, before max-pool) to ``conv5`` (the last).

        ``stage_widths`` has their channels: width and then width * expansion * (1, 2, 4, 8). Their sides are
        H * (1, 1, 1/2, 1/4, 1/8) with the small stem and H * (1/2, 1/4, 1/8, 1/16, 1/32) with ImageNet's.
        """
        maps = {"conv1": self.relu(self.bn1(self.conv1(x)))}
        x = self.maxpool(maps["conv1"])
        for number, layer in enumerate((self.layer1, self.layer2, self.layer3, self.layer4), start=2):
            x = maps[f"conv{number}"] = layer(x)
        return maps

    def blocks(self, x: Tensor) -> dict[str, Tensor]:
        """Return the map of every block: ``conv1``, then ``conv2.1``, ``conv2.2``, ... ``conv5.3``."""
        maps = {"conv1": self.relu(self.bn1(self.conv1(x)))}
        x = self.maxpool(maps["conv1"])
        for number, layer in enumerate((self.layer1, self.layer2, self.layer3, self.layer4), start=2):
            for place, block in enumerate(layer, start=1):
                x = maps[f"conv{number}.{place}"] = block(x)
        return maps

    def pooled(self, maps: dict[str, Tensor]) -> Tensor:
        """Turn the maps of :meth:`stages` into the feature vector: (B, feature_dim)."""
        return self._pooled(maps["conv5"])

    def last_weight(self, stage: str) -> Tensor:
        """Return the last weight before a map of :meth:`stages`."""
        module = self.conv1 if stage == "conv1" else getattr(self, f"layer{int(stage.removeprefix('conv')) - 1}")
        return [p for p in module.parameters() if p.ndim > 1][-1]

    def _pooled(self, x: Tensor) -> Tensor:
        if self.pool == "global":
            return x.mean((2, 3))
        if not all(7 <= side < 14 for side in x.shape[2:]):
            raise UserError(
                f"pool=window7 needs images whose last map is 7 to 13 positions a side, not {tuple(x.shape[2:])}: "
                "use 96-pixel images with the small stem, or pool=global."
            )
        return F.avg_pool2d(x, 7).flatten(1)

    def _zero_residuals_(self) -> None:
        """Start every block as the identity: the scale of its last norm is 0 (Goyal et al., 2017, section 5.1)."""
        for module in self.modules():
            if isinstance(module, Bottleneck):
                nn.init.zeros_(module.bn3.weight)
            elif isinstance(module, BasicBlock):
                nn.init.zeros_(module.bn2.weight)


def _shortcut(in_width: int, out_width: int, stride: int) -> nn.Sequential | None:
    if stride == 1 and in_width == out_width:
        return None
    return nn.Sequential(nn.Conv2d(in_width, out_width, 1, stride, bias=False), nn.BatchNorm2d(out_width))


def _stage(block: Block, in_width: int, width: int, blocks: int, stride: int) -> nn.Sequential:
    first = block(in_width, width, stride)
    return nn.Sequential(first, *(block(width * block.expansion, width, 1) for _ in range(blocks - 1)))
