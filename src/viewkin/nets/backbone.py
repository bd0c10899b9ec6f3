"""Backbones by name: this library's ResNets and AMDIM encoders, and any model of timm."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from torch import nn

from viewkin.nets.amdim import AMDIM_SIDES, AMDIMNet, least_rkhs
from viewkin.nets.init import Init
from viewkin.nets.norm import check_norm, convert_norm
from viewkin.nets.pretrained_names import TIMM
from viewkin.nets.resnet import RESNETS, Pool, ResNet, Stem
from viewkin.runtime.errors import UserError, require
from viewkin.settings import Count, Range, Settings


@dataclass(frozen=True, kw_only=True)
class BackboneConfig(Settings):
    """Settings of the backbone; a field is for ResNets unless it names other networks."""

    name: str = "resnet18"
    """``resnet18``, ``resnet34``, ``resnet50``; ``amdim32``, ``amdim64``, ``amdim128`` (views of that many pixels);
    or ``timm/<model>`` with the timm extra installed."""
    stem: Stem = "small"
    """``small`` (3x3 stride 1, no max-pool; for 32 to 96 pixels) or ``imagenet`` (7x7 stride 2, max-pool)."""
    width: Count = 64
    """Channels of the first stage; n (``ndf``) of AMDIM's encoders."""
    rkhs: int = 1024
    """r (``n_rkhs``), size of the features of AMDIM's encoders; at least 4n with ``amdim32``, 8n with the others."""
    depth: Annotated[int, Range(least=1, most=1000)] = 3
    """Number of convolution blocks at each map size of AMDIM's encoders (``n_depth``)."""
    trunk_norm: bool = False
    """Whether AMDIM's encoders have BatchNorm throughout instead of only at the end (``use_bn``)."""
    channels: Count = 3
    """Channels of the image, for any network."""
    pool: Pool = "global"
    """``global`` average, or ``window7``: only the last map's top-left 7x7 positions (ISIF on STL-10)."""
    init: Init = "default"
    """PyTorch's own initialisation, or ``kaiming`` (normal, fan-out)."""
    zero_init_residual: bool = False
    """Whether the last norm of every block starts at 0 (SimSiam, Barlow Twins)."""
    any_size: bool = False
    """Whether a transformer of timm takes images of any size, which multi-crop needs (timm's ``dynamic_img_size``)."""
    norm: str = "batch"
    """``batch``, ``split:<groups>``, ``gathered`` (over all ranks) or ``none``; for any network."""
    dropped: ClassVar[Mapping[str, str]] = {"pretrained": "name the weights to start from: --init timm/NAME"}

    def _check(self) -> None:
        check_norm(self.norm)
        timm, own = self.name.startswith(TIMM), [*RESNETS, *AMDIM_SIDES]
        require(timm or not self.any_size, "any_size", True, "false unless {here}name is a model of timm")
        if not timm and self.name not in own:
            raise UserError(f"There is no backbone {self.name!r}{_nearest(self.name, own)}.")
        if self.name in AMDIM_SIDES:
            least = least_rkhs(self.name, self.width)
            should = f"at least {least}, {least // self.width} times {{here}}width"
            require(self.rkhs >= least, "rkhs", self.rkhs, should)


def build_backbone(config: BackboneConfig, *, download: bool = False) -> nn.Module:
    """Build a backbone (B, channels, H, W) -> (B, F) with F in its attribute ``feature_dim``.

    Weights are drawn from torch's global generator.

    Args:
        config: its settings.
        download: take the weights that timm has for a model of timm; it downloads them where its cache lacks them.

    Raises:
        UserError: timm is missing or cannot be imported, has no such model, or cannot get its weights.
    """
    if config.name.startswith(TIMM):
        return convert_norm(_from_timm(config, download), config.norm)
    if config.name in AMDIM_SIDES:
        return convert_norm(_amdim(config), config.norm)
    backbone = ResNet(
        config.name,
        stem=config.stem,
        width=config.width,
        channels=config.channels,
        pool=config.pool,
        init=config.init,
        zero_init_residual=config.zero_init_residual,
    )
    return convert_norm(backbone, config.norm)


def _amdim(config: BackboneConfig) -> AMDIMNet:
    return AMDIMNet(
        config.name,
        width=config.width,
        rkhs=config.rkhs,
        depth=config.depth,
        channels=config.channels,
        norm=config.trunk_norm,
    )


def _from_timm(config: BackboneConfig, download: bool) -> nn.Module:
    name = config.name.removeprefix(TIMM)
    try:
        import timm
    except (ImportError, RuntimeError) as error:
        raise UserError(f"{config.name} needs timm, which does not load here: pip install 'viewkin[timm]'.") from error
    models: Any = timm
    if not models.is_model(name):
        raise UserError(f"timm has no model {name!r}{_nearest(name, models.list_models(), TIMM)}.")
    try:
        sizes = {"dynamic_img_size": True} if config.any_size else {}
        model: nn.Module = models.create_model(
            name, pretrained=download, num_classes=0, in_chans=config.channels, **sizes
        )
    except Exception as error:  # the download and the model's own code may raise any error
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200].rstrip(".")
        if not download:
            raise UserError(f"timm cannot build {name} ({reason}); choose another.") from error
        raise UserError(
            f"timm cannot get the weights of {name} ({reason}); name a file that has them: {config.name}:FILE."
        ) from error
    model.feature_dim = int(getattr(model, "head_hidden_size", None) or model.num_features)  # pyright: ignore
    return model


def _nearest(name: str, names: Sequence[str], prefix: str = "") -> str:
    near = [prefix + match for match in difflib.get_close_matches(name, names, n=3, cutoff=0.4)]
    return f"; the nearest are {', '.join(near)}" if near else f"; there are {', '.join(names[:6])} and timm/<model>"
