"""AMDIM: the vector of one view finds the parts of its own image, in another view, among the parts of all images."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from viewkin import losses
from viewkin.methods.base import Batch, Limit, Method, Step
from viewkin.nets.amdim import Mixture, Multiscale, MultiscaleEncoder
from viewkin.nets.norm import check_norm, convert_norm
from viewkin.runtime import distributed
from viewkin.runtime.draws import onto
from viewkin.runtime.errors import UserError, require
from viewkin.schedules import Progress

TASKS = ("1to5", "1to7", "5to5")
"""Which scale of one view is to find which scale of the other."""


@dataclass(frozen=True, kw_only=True)
class AMDIMConfig:
    """Settings of AMDIM."""

    kind: ClassVar[str] = "amdim"

    dim: int | None = None
    """r (``n_rkhs``), size of the space in which scales meet; None takes the backbone's feature size, which with
    AMDIM's own encoders is the only choice."""
    stage7: str | None = None
    """Map whose positions are the small parts; None takes f7 of AMDIM's own encoders, conv4 of a ResNet. A map larger
    than 7x7 is pooled to that."""
    stage5: str | None = None
    """Map whose positions are the large parts, pooled to 5x5 likewise; None takes f5, or conv5."""
    head_norm: bool = False
    """BatchNorm within the embedding heads too, not at their end only (``use_bn`` of the release)."""
    norm: str = "batch"
    """BatchNorm of network and heads: ``batch``, ``split:8``, or ``gathered`` over ranks."""
    clip: float = 20.0
    """C, scores are clipped to C tanh(score / C)."""
    penalty: float = 0.05
    """lambda, weight of the mean squared score: 0.05 in the release, 0.04 in the paper."""
    mixtures: int = 1
    """k, vectors that the whole image's is turned into; 1 is AMDIM without mixtures. The paper's k is not known to
    us; 4 to 16 are a guess."""
    sharpness: float = 1.0
    """tau of the mixtures: responsibilities are softmax(tau * score), so that a large one lets a single component
    answer. The paper's is not known to us."""

    def __post_init__(self) -> None:
        require(self.dim is None or self.dim >= 2, "method.dim", self.dim, "at least 2, or none")
        check_norm(self.norm, none=False)
        require(self.clip > 0, "method.clip", self.clip, "above 0")
        require(self.penalty >= 0, "method.penalty", self.penalty, "at least 0")
        require(self.mixtures >= 1, "method.mixtures", self.mixtures, "at least 1")
        require(self.sharpness > 0, "method.sharpness", self.sharpness, "above 0")

    def limits(self, count: int, batch_size: int) -> Mapping[str, Limit]:
        """Nothing depends on the data."""
        return {}

    def build(self, backbone: nn.Module, *, count: int) -> AMDIM:
        """Make the method; it keeps no memory of the images.

        Raises:
            UserError: the backbone has no such maps.
        """
        return AMDIM(self, backbone)

    def stages(self, backbone: nn.Module) -> tuple[str, str]:
        """Names of the backbone's maps to take as "7" and "5".

        Raises:
            UserError: it has no such maps.
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
            require(value is None or value in maps, f"method.{name}", value, f"one of {', '.join(maps)}, or none")
        return self.stage7 or default[0], self.stage5 or default[1]


class AMDIM(Method):
    """Three tasks in both directions: a view's vector finds its image's positions, and a position finds positions.

    ``1/2 sum over directions of L(1->5) + L(1->7) + L(5->5)``, ``L = -mean_{i,l} s[i, l]`` with the scores of
    :func:`viewkin.losses.infomax_scores`, and lambda times the mean squared raw score of each. Negatives are all
    positions of all other images of the global batch. The source of 5->5 is one position an image, drawn anew at every
    step for each view. Scores are dot products of raw vectors, not cosines.

    The release also trains classifiers on detached features while it learns: ``runtime.online_heads``, for any method.

    References:
        Bachman, Hjelm and Buchwalter, Learning representations by maximizing mutual information across views, 2019,
        and the released code; METHODS 4.
    """

    scale_free = False

    def __init__(self, config: AMDIMConfig, backbone: nn.Module) -> None:
        super().__init__()
        self.config = config
        self.view_spec = {"first": "first", "second": "second"}
        encoder = MultiscaleEncoder(backbone, config.stages(backbone), config.dim, config.head_norm)
        self.encoder: MultiscaleEncoder = convert_norm(  # pyright: ignore[reportIncompatibleVariableOverride]
            encoder, config.norm
        )
        self.dim = self.encoder.rkhs
        self.mixture = Mixture(self.dim, config.mixtures) if config.mixtures > 1 else None

    def forward(self, batch: Batch, at: Progress) -> Step:
        """Let each view find the parts of the other."""
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
        """Turn the images' vectors into those that look for parts: (B, r) -> (B, k, r)."""
        return vector.unsqueeze(1) if self.mixture is None else self.mixture(vector)

    def _part(self, batch: Batch, name: str, view: Multiscale) -> Tensor:
        """Draw one position of the coarse map an image: (b, 1, r)."""
        places = view.coarse.shape[1]
        drawn = batch.draw.rows(
            f"amdim position {name}", lambda n, generator: torch.randint(places, (n,), generator=generator)
        )
        rows = torch.arange(len(view.coarse), device=view.coarse.device)
        return view.coarse[rows, onto(drawn, rows.device)].unsqueeze(1)

    def _compare(self, source: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Score own sources against the maps of all ranks.

        Sources travel and maps, which are larger, stay: each rank scores everyone's sources against its own maps, and
        the ranks add up what the negatives come to.

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
        found = losses.infomax_match(everyone.flatten(0, 1), target, own, self.config.clip)
        rows = slice(start * k, (start + b) * k)
        negative = distributed.gather_with_grad(found.negative.unsqueeze(0))[:, rows].logsumexp(0)
        scores = losses.infomax_scores(found.positive[rows], negative).view(b, k, -1)
        return losses.mixture_objective(scores, self.config.sharpness), found.square

    def embed(self, x: Tensor) -> Tensor:
        """Embed whole images by f1, scaled to unit length for those who compare cosines: (B, C, H, W) -> (B, r)."""
        return losses.unit(self.encoder.whole(x))

    @torch.no_grad()
    def assignments(self, x: Tensor, other: Tensor | None = None, scale: Literal["5", "7"] = "7") -> Tensor:
        """Tell which mixture component answers for each part of an image: ``argmax_j q_j``, the emergent segmentation.

        Args:
            x: (B, C, H, W) images whose vectors are mixed. The others of the batch are the negatives.
            other: (B, C, H, W) views of the same images whose parts are assigned; None: ``x`` itself.
            scale: which parts.

        Returns:
            (B, h, w) int64, 0 to k - 1.

        Raises:
            UserError: a single image, to which nothing can be compared.
        """
        require(len(x) >= 2, "the number of images", len(x), "at least 2, as an image is told from the others")
        here = self.encoder(x)
        there = here if other is None else self.encoder(other)
        target, k = there.coarse if scale == "5" else there.fine, self.config.mixtures
        own = torch.arange(len(x), device=x.device).repeat_interleave(k)
        found = losses.infomax_match(self.components(here.vector).flatten(0, 1), target, own, self.config.clip)
        scores = losses.infomax_scores(found.positive, found.negative).view(len(x), k, -1)
        side = math.isqrt(target.shape[1])
        return losses.responsibilities(scores, self.config.sharpness).argmax(1).view(len(x), side, side)

    def explain(self, batch: Batch, at: Progress) -> dict[str, Tensor]:
        """Tell which component answers for which part of an image, where vectors are mixed."""
        x = batch.views["first"]
        return {} if self.mixture is None else {f"amdim/{n}": self.assignments(x, scale=n) for n in ("7", "5")}

    @property
    def last_weight(self) -> Tensor:
        """The last weight before the coarse map: every task looks at it, or at what follows from it."""
        net: Any = self.backbone
        return net.last_weight(self.encoder.stages[1])
