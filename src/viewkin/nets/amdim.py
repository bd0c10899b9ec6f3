"""The AMDIM encoder: no padding, so that a feature has a small known receptive field, and hardly any BatchNorm."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from viewkin.nets.heads import Encoder
from viewkin.runtime.errors import UserError, require

AMDIM_SIDES = {"amdim32": 32, "amdim64": 64, "amdim128": 128}
"""Name -> side of its input images, pixels."""


def least_rkhs(name: str, width: int) -> int:
    """Smallest r: a block cannot reduce channels, and f5 has 4n channels (32 pixels) or 8n (64, 128)."""
    return (4 if name == "amdim32" else 8) * width


class ConvRes(nn.Module):
    """``conv1x1(ReLU(conv(x))) + pad_channels(avgpool(x))``: (B, n_in, h, w) -> (B, n_out, h', w').

    Convolution and pool have the same kernel and stride and no padding. Zeros are appended for the channels that the
    shortcut lacks. There is no activation after the sum. The second convolution starts at 0, so that a new block is an
    average pool.

    References:
        Bachman, Hjelm and Buchwalter, Learning representations by maximizing mutual information across views, 2019,
        and the released code.
    """

    def __init__(self, n_in: int, n_out: int, kernel: int, stride: int, norm: bool) -> None:
        super().__init__()
        self.kernel, self.stride, self.grow = kernel, stride, n_out - n_in
        self.conv1 = nn.Conv2d(n_in, n_out, kernel, stride, bias=False)
        self.norm = nn.BatchNorm2d(n_out) if norm else nn.Identity()
        self.conv2 = nn.Conv2d(n_out, n_out, 1, bias=False)
        nn.init.zeros_(self.conv2.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Add the residual to the pooled input."""
        shortcut = F.avg_pool2d(x, self.kernel, self.stride) if self.kernel > 1 else x
        if self.grow:
            shortcut = F.pad(shortcut, (0, 0, 0, 0, 0, self.grow))
        return self.conv2(F.relu(self.norm(self.conv1(x)))) + shortcut


def _block(n_in: int, n_out: int, kernel: int, stride: int, depth: int, norm: bool) -> nn.Sequential:
    """Build one ConvRes that changes the map, then ``depth - 1`` of kernel 1."""
    first = ConvRes(n_in, n_out, kernel, stride, norm)
    return nn.Sequential(first, *(ConvRes(n_out, n_out, 1, 1, norm) for _ in range(depth - 1)))


def _stem(n: int, sizes: str, channels: int, depth: int, norm: bool) -> tuple[list[nn.Module], int]:
    """Build all layers before f7's block, and return them with their number of output channels."""
    if sizes == "amdim32":
        first = nn.Conv2d(channels, n, 3)
        return [first, nn.ReLU(inplace=True), ConvRes(n, n, 1, 1, norm), _block(n, 2 * n, 4, 2, depth, norm)], 2 * n
    blocks = [_block(n, 2 * n, 4, 2, depth, norm), _block(2 * n, 4 * n, 4, 2, depth, norm)]
    if sizes == "amdim64":
        return [nn.Conv2d(channels, n, 3), nn.ReLU(inplace=True), *blocks], 4 * n
    first = nn.Conv2d(channels, n, 5, 2, 2, padding_mode="reflect")
    return [first, nn.ReLU(inplace=True), nn.Conv2d(n, n, 3), nn.ReLU(inplace=True), *blocks], 4 * n


class AMDIMNet(nn.Module):
    """Trunk of AMDIM: (B, channels, S, S) -> (B, r), for S of 32, 64 or 128 pixels.

    Its maps are f7 (B, C, 7, 7) and f5 (B, C, 5, 5) with C = 4n (32 pixels) or 8n, and f1 (B, r, 1, 1) after its
    BatchNorm, the only one unless ``norm``. Receptive field and stride of f7 and f5, in pixels: 8/4 and 16/4 (32
    pixels), 16/8 and 32/8 (64), 35/16 and 67/16 (128).

    References:
        Bachman, Hjelm and Buchwalter, 2019, and the released code.
    """

    def __init__(self, name: str, *, width: int, rkhs: int, depth: int, channels: int = 3, norm: bool = False) -> None:
        """Build the trunk for images of one size.

        Args:
            name: ``amdim32``, ``amdim64`` or ``amdim128``.
            width: n (``ndf``), channels of the stem.
            rkhs: r (``n_rkhs``), channels of f1, at least :func:`least_rkhs`.
            depth: number of convolution blocks at each map size (``n_depth``).
            channels: channels of the image.
            norm: whether every block has a BatchNorm, and f7 too (``use_bn``).
        """
        super().__init__()
        self.name, self.side, wide = name, AMDIM_SIDES[name], least_rkhs(name, width)
        stem, before = _stem(width, name, channels, depth, norm)
        after = [nn.BatchNorm2d(wide)] if norm else []
        self.to7 = nn.Sequential(*stem, _block(before, wide, 2, 2, depth, norm), *after)
        self.to5 = _block(wide, wide, 3, 1, depth, norm)
        self.to1 = nn.Sequential(_block(wide, wide, 3, 1, depth, norm), ConvRes(wide, rkhs, 3, 1, norm))
        self.norm1 = nn.BatchNorm2d(rkhs)
        self.feature_dim = rkhs
        self.stage_widths = {"f7": wide, "f5": wide, "f1": rkhs}

    def forward(self, x: Tensor) -> Tensor:
        """Return f1: (B, channels, S, S) -> (B, r)."""
        return self.pooled(self.stages(x))

    def stages(self, x: Tensor) -> dict[str, Tensor]:
        """Return the maps ``f7``, ``f5`` and ``f1``.

        Raises:
            UserError: images of another size than the network's.
        """
        if tuple(x.shape[2:]) != (self.side, self.side):
            size = "x".join(str(side) for side in x.shape[2:])
            raise UserError(
                f"{self.name} takes views of {self.side} px only, not {size}; set --image-size, or view_size, or take "
                f"another of {', '.join(AMDIM_SIDES)}."
            )
        f7 = self.to7(x)
        f5 = self.to5(f7)
        return {"f7": f7, "f5": f5, "f1": self.norm1(self.to1(f5))}

    def pooled(self, maps: dict[str, Tensor]) -> Tensor:
        """Turn the maps of :meth:`stages` into the feature vector: (B, r)."""
        return maps["f1"].flatten(1)

    def last_weight(self, stage: str) -> Tensor:
        """Return the last weight before the map ``f7`` or ``f5``."""
        module = {"f7": self.to7, "f5": self.to5}[stage]
        return [p for p in module.parameters() if p.ndim > 1][-1]


class EmbeddingHead(nn.Module):
    """Embed every position of a map: ``BN(conv(ReLU(conv(f))) + shortcut(f))``, (B, C, h, w) -> (B, r, h, w).

    All convolutions are 1x1. The last convolution of the residual starts at 0, and the shortcut with ones on the
    diagonal, so that a new head is nearly the identity.

    References:
        Bachman, Hjelm and Buchwalter, 2019, and the released code.
    """

    def __init__(self, width: int, rkhs: int, norm: bool = False) -> None:
        """Build the head.

        Args:
            width: channels of the map.
            rkhs: r, channels of the embedding.
            norm: whether there is also a BatchNorm after the first convolution.
        """
        super().__init__()
        self.conv1 = nn.Conv2d(width, rkhs, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(rkhs) if norm else nn.Identity()
        self.conv2 = nn.Conv2d(rkhs, rkhs, 1, bias=False)
        self.shortcut = nn.Conv2d(width, rkhs, 1)
        self.norm = nn.BatchNorm2d(rkhs)
        nn.init.zeros_(self.conv2.weight)
        nn.init.uniform_(self.shortcut.weight, -0.01, 0.01)
        with torch.no_grad():
            self.shortcut.weight.flatten(1).fill_diagonal_(1.0)

    def forward(self, x: Tensor) -> Tensor:
        """Embed the map, not normalised to unit length."""
        return self.norm(self.conv2(F.relu(self.norm1(self.conv1(x)))) + self.shortcut(x))


class Mixture(nn.Module):
    """Turn a vector into k mixture components: ``f^j = f + W2_j ReLU(W1 f)``, (B, r) -> (B, k, r).

    The W2_j are initialised differently; equal components would get equal gradients and stay equal.

    References:
        Bachman, Hjelm and Buchwalter, 2019.
    """

    def __init__(self, rkhs: int, components: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(rkhs, rkhs)
        self.out = nn.Linear(rkhs, components * rkhs)

    def forward(self, x: Tensor) -> Tensor:
        """Return the components."""
        return x.unsqueeze(1) + self.out(F.relu(self.hidden(x))).view(len(x), -1, x.shape[1])


class Multiscale(NamedTuple):
    """Embeddings of images at three scales, in one space of r dimensions."""

    vector: Tensor
    """(B, r) the whole image, "1"."""
    coarse: Tensor
    """(B, L, r) large parts of it, "5": at most 5x5 positions."""
    fine: Tensor
    """(B, L, r) small parts, "7": at most 7x7 positions."""


class MultiscaleEncoder(Encoder):
    """A backbone, and a head for each of three scales.

    The f1 of AMDIM's own encoders is used as it is. Feature vectors of other networks, and all maps, pass through an
    :class:`EmbeddingHead`; larger maps are first pooled to 7x7 or 5x5.
    """

    def __init__(self, backbone: nn.Module, stages: tuple[str, str], dim: int | None, norm: bool) -> None:
        """Add the heads.

        Args:
            backbone: with ``stages``, ``pooled`` and ``stage_widths``.
            stages: names of the maps to take as "7" and as "5".
            dim: r; None: the backbone's feature size.
            norm: whether the heads have BatchNorm inside, see :class:`EmbeddingHead`.

        Raises:
            UserError: ``dim`` differs from the r of an AMDIM encoder.
        """
        net: Any = backbone
        rkhs = dim or int(net.feature_dim)
        own = isinstance(backbone, AMDIMNet)
        if own:
            should = f"{net.feature_dim}, the size of {net.name}'s features; set backbone.rkhs for another"
            require(rkhs == net.feature_dim, "dim", rkhs, should)
        heads = {"1": nn.Identity() if own else EmbeddingHead(net.feature_dim, rkhs, norm)}
        heads |= {scale: EmbeddingHead(net.stage_widths[s], rkhs, norm) for scale, s in zip("75", stages)}
        super().__init__(backbone, nn.ModuleDict(heads))
        self.stages, self.rkhs = stages, rkhs

    def whole(self, x: Tensor) -> Tensor:
        """Embed whole images: (B, C, H, W) -> (B, r), not normalised."""
        return self._vector(self.features(self.backbone(x)))

    def forward(self, x: Tensor) -> Multiscale:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Embed images (B, C, H, W) at all three scales, not normalised."""
        net: Any = self.backbone
        maps: dict[str, Tensor] = net.stages(x)
        fine, coarse = (
            self._head(scale)(_at_most(maps[stage], int(scale))).flatten(2).transpose(1, 2)
            for scale, stage in zip("75", self.stages)
        )
        return Multiscale(self._vector(self.features(net.pooled(maps))), coarse, fine)

    def _vector(self, x: Tensor) -> Tensor:
        return self._head("1")(x[:, :, None, None]).flatten(1)

    def _head(self, scale: str) -> nn.Module:
        heads: Any = self.head
        return heads[scale]


def _at_most(x: Tensor, side: int) -> Tensor:
    """Pool a map to ``side`` x ``side`` positions if it is larger."""
    return x if max(x.shape[2:]) <= side else F.adaptive_avg_pool2d(x, side)
