"""AMDIM: match the vector of one view with the parts of its image in the other view, among the parts of all images."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from viewkin import losses
from viewkin.augment.views import ViewSpec
from viewkin.methods.base import Batch, Method, MethodConfig, Step
from viewkin.nets.amdim import Mixture, Multiscale, MultiscaleEncoder
from viewkin.nets.norm import check_norm, convert_norm
from viewkin.runtime import distributed
from viewkin.runtime.draws import onto
from viewkin.runtime.errors import UserError, require
from viewkin.schedules import Progress
from viewkin.settings import Count, Dimension, NotNegative, Positive

TASKS = ("1to5", "1to7", "5to5")
"""Scale of the source in one view, to scale of the target in the other view."""


@dataclass(frozen=True, kw_only=True)
class AMDIMConfig(MethodConfig):
    """Settings of AMDIM."""

    kind: ClassVar[str] = "amdim"
    good_for: ClassVar[str] = "features of parts, with its own encoder"

    dim: Dimension | None = None
    """r (``n_rkhs``), size of the common space of all scales; None: the backbone's feature size, which is the only
    choice for AMDIM's own encoders."""
    stage7: str | None = None
    """Map whose positions are the small parts; None: f7 of AMDIM's own encoders, conv4 of a ResNet. A larger map is
    pooled to 7x7."""
    stage5: str | None = None
    """Map whose positions are the large parts; None: f5, or conv5. A larger map is pooled to 5x5."""
    head_norm: bool = False
    """Whether embedding heads have BatchNorm inside, not only at their end (``use_bn`` of the release)."""
    norm: str = "batch"
    """BatchNorm of network and heads: ``batch``, ``split:8``, or ``gathered`` over ranks."""
    clip: Positive = 20.0
    """C, scores are clipped to C tanh(score / C)."""
    penalty: NotNegative = 0.05
    """lambda, weight of the mean squared score: 0.05 in the release, 0.04 in the paper."""
    mixtures: Count = 1
    """k, number of mixture components of an image's vector; 1 is AMDIM without mixtures. The paper's k is not known;
    4 to 16 are a guess."""
    sharpness: Positive = 1.0
    """tau of the mixtures: responsibilities are softmax(tau * score), so a large tau selects a single component. The
    paper's value is not known."""

    def _check(self) -> None:
        check_norm(self.norm, none=False)

    def build(self, backbone: nn.Module, *, count: int) -> AMDIM:
        """Make the method; it keeps no memory of the images.

        Raises:
            UserError: the backbone has no such maps.
        """
        return AMDIM(self, backbone)

    def stages(self, backbone: nn.Module) -> tuple[str, str]:
        """Names of the backbone's maps that are used as "7" and "5".

        Raises:
            UserError: the backbone has no such maps.
        """
        known: Mapping[str, int] = getattr(backbone, "stage_widths", {})
        if not known:
            raise UserError(
                f"amdim compares maps of a network at two stages, which {type(backbone).__name__} does not lend; "
                "take --backbone amdim32, amdim64, amdim128 or a resnet."
            )
        default = ("f7", "f5") if "f7" in known else ("conv4", "conv5")
        maps = [name for name in known if name != "f1"]
        for name, value in (("stage7", self.stage7), ("stage5", self.stage5)):
            require(value is None or value in maps, name, value, f"one of {', '.join(maps)}, or none")
        return self.stage7 or default[0], self.stage5 or default[1]


class AMDIM(Method):
    """Three tasks in both directions: match a view's vector with positions of the other view, and positions with them.

    ``1/2 sum over directions of L(1->5) + L(1->7) + L(5->5)``, ``L = -mean_{i,l} s[i, l]`` with the scores of
    :func:`viewkin.losses.infomax_scores`, and lambda times the mean squared raw score of each. Negatives are all
    positions of all other images of the global batch. The source of 5->5 is one random position per image, drawn for
    each view at every step. Scores are dot products of raw vectors, not cosines.

    The release also trains classifiers on detached features; ``runtime.online_heads`` does so for any method.

    References:
        Bachman, Hjelm and Buchwalter, Learning representations by maximizing mutual information across views, 2019,
        and the released code.
    """

    scale_free = False

    def __init__(self, config: AMDIMConfig, backbone: nn.Module) -> None:
        super().__init__()
        self.config = config
        self.view_spec = {"first": ViewSpec("first"), "second": ViewSpec("second")}
        encoder = MultiscaleEncoder(backbone, config.stages(backbone), config.dim, config.head_norm)
        self.encoder: MultiscaleEncoder = convert_norm(  # pyright: ignore[reportIncompatibleVariableOverride]
            encoder, config.norm
        )
        self.dim = self.encoder.rkhs
        self.mixture = Mixture(self.dim, config.mixtures) if config.mixtures > 1 else None

    def forward(self, batch: Batch, at: Progress) -> Step:
        """Match each view with the parts of the other."""
        views = {name: self.encoder(batch.views[name]) for name in self.view_spec}
        terms: dict[str, list[Tensor]] = {f"amdim/{name}": [] for name in (*TASKS, "penalty")}
        for name, other in (("first", views["second"]), ("second", views["first"])):
            whole, part = self.components(views[name].vector), self._part(batch, name, views[name])
            sources = {"1to5": (whole, other.coarse), "1to7": (whole, other.fine), "5to5": (part, other.coarse)}
            for task, (source, target) in sources.items():
                objective, square = self._compare(source, target)
                terms[f"amdim/{task}"].append(-objective.mean())
                terms["amdim/penalty"].append(self.config.penalty * square)
        first, second = (losses.unit(view.vector) for view in views.values())
        return Step(
            terms={name: torch.stack(parts).sum() / 2 for name, parts in terms.items()},
            pairs=((first, second.detach()), (second, first.detach())),
            record={"index": batch.index, "embedding": first.detach()},
        )

    def components(self, vector: Tensor) -> Tensor:
        """Turn the vector of each image into its k mixture components: (B, r) -> (B, k, r)."""
        return vector.unsqueeze(1) if self.mixture is None else self.mixture(vector)

    def _part(self, batch: Batch, name: str, view: Multiscale) -> Tensor:
        """Draw one position of each image's coarse map: (b, 1, r)."""
        places = view.coarse.shape[1]
        drawn = batch.draw.rows(
            f"amdim position {name}", lambda n, generator: torch.randint(places, (n,), generator=generator)
        )
        rows = torch.arange(len(view.coarse), device=view.coarse.device)
        return view.coarse[rows, onto(drawn, rows.device)].unsqueeze(1)

    def _compare(self, source: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Score this rank's sources against the maps of all ranks.

        Sources are gathered, while maps, which are larger, stay on their rank. Each rank scores all sources against its
        own maps; then the ranks' sums over negatives are added.

        Args:
            source: (b, k, r) of one view.
            target: (b, L, r) of the other.

        Returns:
            (b, L) mixture objective, or plain score with one component; () mean square of this rank's raw scores.
        """
        b, k, _ = source.shape
        start = distributed.rank() * b
        everyone = distributed.gather_with_grad(source)
        own = torch.arange(len(everyone), device=source.device).repeat_interleave(k) - start
        match = losses.infomax_match(everyone.flatten(0, 1), target, own, self.config.clip)
        rows = slice(start * k, (start + b) * k)
        negative = distributed.gather_with_grad(match.negative.unsqueeze(0))[:, rows].logsumexp(0)
        scores = losses.infomax_scores(match.positive[rows], negative).view(b, k, -1)
        return losses.mixture_objective(scores, self.config.sharpness), match.square

    def embed(self, x: Tensor) -> Tensor:
        """Embed whole images by f1, scaled to unit length for cosines: (B, C, H, W) -> (B, r)."""
        return losses.unit(self.encoder.whole(x))

    @torch.no_grad()
    def assignments(self, x: Tensor, other: Tensor | None = None, scale: Literal["5", "7"] = "7") -> Tensor:
        """Assign each part of an image to a mixture component: ``argmax_j q_j``, the emergent segmentation.

        Args:
            x: (B, C, H, W) images whose vectors are mixed. The other images of the batch are the negatives.
            other: (B, C, H, W) views of the same images whose parts are assigned; None: ``x`` itself.
            scale: size of the parts.

        Returns:
            (B, h, w) int64, 0 to k - 1.

        Raises:
            UserError: there is a single image, so there are no negatives.
        """
        require(len(x) >= 2, "the number of images", len(x), "at least 2, as an image is told from the others")
        here = self.encoder(x)
        there = here if other is None else self.encoder(other)
        target, k = there.coarse if scale == "5" else there.fine, self.config.mixtures
        own = torch.arange(len(x), device=x.device).repeat_interleave(k)
        match = losses.infomax_match(self.components(here.vector).flatten(0, 1), target, own, self.config.clip)
        scores = losses.infomax_scores(match.positive, match.negative).view(len(x), k, -1)
        side = math.isqrt(target.shape[1])
        return losses.responsibilities(scores, self.config.sharpness).argmax(1).view(len(x), side, side)

    def explain(self, batch: Batch, at: Progress) -> dict[str, Tensor]:
        """Return the mixture component of each part of an image; nothing if there is no mixture."""
        x = batch.views["first"]
        return {} if self.mixture is None else {f"amdim/{n}": self.assignments(x, scale=n) for n in ("7", "5")}

    @property
    def last_weight(self) -> Tensor:
        """The last weight before the coarse map, which every task depends on."""
        net: Any = self.backbone
        return net.last_weight(self.encoder.stages[1])
