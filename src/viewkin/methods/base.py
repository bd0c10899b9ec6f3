"""What a method is: ``forward`` reads memory and returns a :class:`Step`; ``update`` writes memory afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from viewkin import losses
from viewkin.nets.heads import Encoder, HeadConfig, build_head
from viewkin.nets.init import Init
from viewkin.runtime.draws import Draw
from viewkin.schedules import Progress

Encode = Callable[[str], Tensor]
"""``encode("embedding" | "target" | "features") -> (N, D)``: eval mode, test view, every image once, in index order.

``target`` is a view method's key side: of BYOL the slow network's projection, where the embedding is a prediction.
"""


@dataclass
class Batch:
    """One micro-batch. An ordinary dataclass: Fabric rejects frozen ones."""

    views: dict[str, Tensor]
    """Name to (B, C, h, w) float, normalised, as the method's ``view_spec`` asks."""
    index: Tensor
    """(B,) int64, position in the data set; an index occurs once in a global batch."""
    draw: Draw
    """Where this micro-batch's rows lie in the random numbers of the global batch."""


@dataclass
class Step:
    """What ``forward`` found. The loss is the sum of ``terms``."""

    terms: dict[str, Tensor]
    """Name to weighted scalar; logged under these names."""
    pairs: tuple[tuple[Tensor, Tensor], ...]
    """One (q, k) per direction: q (B, D) unit norm with gradient, k (B, D) its positive, without."""
    record: dict[str, Tensor] = field(default_factory=lambda: {})
    """Name to (B, ...) detached: all that ``update`` needs. ``index`` is always there, and so is ``embedding``, the
    unit vector that a memory keeps of each image."""
    found: dict[str, Tensor] = field(default_factory=lambda: {})
    """``term/what`` to (B, n) int64 images that a term took for kin of each anchor (``interclr/positives``,
    ``invp/hop2``) or for strangers (``negatives``); -1 fills up. What monitors and figures look at, never a loss."""

    @property
    def loss(self) -> Tensor:
        """Scalar sum of the terms."""
        return sum(self.terms.values(), start=next(iter(self.terms.values())).new_zeros(()))


def feature_dim(backbone: nn.Module) -> int:
    """F, size of the backbone's features."""
    return int(backbone.feature_dim)  # type: ignore[arg-type]


def projected(backbone: nn.Module, head: Literal["linear", "mlp"], dim: int, init: Init = "default") -> Encoder:
    """Put a head on a backbone: F -> D, or F -> F -> ReLU -> D without BatchNorm (NPID, MoCo; METHODS 2.2)."""
    width = feature_dim(backbone)
    layers = (width, dim) if head == "mlp" else (dim,)
    return Encoder(backbone, build_head(HeadConfig(layers=layers, init=init), width))


class Limit(NamedTuple):
    """The largest value of a setting that fits the data."""

    largest: int
    why: str
    """What it is limited by, as a noun phrase: "the other images of the set"."""
    instead: int | None = None
    """What a recipe's default beyond it becomes; None: the largest."""


def queue_limit(count: int, batch_size: int) -> Limit:
    """The limit of a queue of keys: a key of each image, in whole batches.

    A default beyond it becomes half of that, so that an image seldom meets its own key of the epoch before.
    """
    whole, half = (max(part // batch_size, 1) * batch_size for part in (count, count // 2))
    return Limit(whole, "the images of the set, in whole batches,", half)


class Choice(NamedTuple):
    """A setting left open (None, ``auto``) and what it becomes for the data at hand."""

    value: Any
    why: str
    """What speaks for it, to follow "as"."""


class MethodConfig(Protocol):
    """A frozen, keyword-only dataclass beside its method: the only home of the method's defaults."""

    kind: ClassVar[str]
    """The method's name in recipes and on the command line."""

    def limits(self, count: int, batch_size: int) -> Mapping[str, Limit]:
        """Field, or path from here, to its limit for ``count`` images.

        Recipe defaults shrink to it; explicit values beyond are refused; None, "chosen at start", passes.
        """
        ...

    def build(self, backbone: nn.Module, *, count: int) -> Method:
        """Make the method for ``count`` images around a network with a ``feature_dim``."""
        ...


class Method(nn.Module):
    """A self-supervised learner.

    Its laws: evaluating ``forward`` changes nothing but BatchNorm statistics; ``update`` runs once per optimiser step
    on the bare module with the records of all micro-batches and ranks joined in global batch order, and never
    communicates; ``state_dict`` is the checkpoint.
    """

    view_spec: Mapping[str, str]
    """View name to the role it plays in the augmentation policy: ``first``, ``second`` or ``weak``."""
    encoder: Encoder
    """The online network: backbone, then head."""
    dim: int
    """D, size of :meth:`embed`'s and the record's embeddings."""
    scale_free: ClassVar[bool] = True
    """Whether the loss compares unit vectors, so that the length of an embedding means nothing to it."""

    @property
    def backbone(self) -> nn.Module:
        """The network that is kept: (B, C, H, W) -> (B, F)."""
        return self.encoder.backbone

    def forward(self, batch: Batch, at: Progress) -> Step:
        """Read the batch and the memory; return the loss terms and what ``update`` needs."""
        raise NotImplementedError

    def update(self, record: Mapping[str, Tensor], at: Progress) -> None:
        """Write memory and EMA copies from the joined record, after the optimiser step. Default: nothing."""

    def start(self, encode: Encode, at: Progress) -> None:
        """Prepare memory once in a new run, not after a resume. Default: nothing."""

    def epoch(self, encode: Encode, at: Progress) -> Iterable[str]:
        """Run before each epoch's first step; name the parameters re-initialised, whose optimiser state is cleared."""
        return ()

    def shown(self, index: Tensor, draw: Draw) -> Mapping[str, Tensor]:
        """Say which views show other images than the batch's own: view name to (B,) int64 images. Default: none."""
        return {}

    def embed(self, x: Tensor) -> Tensor:
        """Embed images as the loss sees them: (B, C, H, W) -> (B, D) unit norm."""
        raise NotImplementedError

    @torch.no_grad()
    def explain(self, batch: Batch, at: Progress) -> dict[str, Tensor]:
        """Give what figures show: images (B, n) as in ``Step.found`` (the default), components of parts (B, h, w)."""
        return self(batch, at).found

    def gauges(self) -> dict[str, float]:
        """Read what a log should show of the state: cluster sizes, label churn. Default: nothing."""
        return {}

    @property
    def last_weight(self) -> Tensor:
        """The last weight that every term's gradient passes through; each term's share is measured at it."""
        return [p for p in self.encoder.parameters() if p.ndim > 1][-1]

    def param_groups(self) -> list[dict[str, Any]]:
        """Optimiser groups: dicts with ``named`` (list of (name, parameter)) and optional ``lr_scale``.

        Default: one group of every trainable parameter.
        """
        return [{"named": [(n, p) for n, p in self.named_parameters() if p.requires_grad]}]


class ViewMethod(Method):
    """A method that relates views of one image, and lends its parts to the terms that wrap it."""

    temperature: float
    """Softmax temperature tau of its loss, dimensionless (1 where the loss has none)."""
    contrastive: bool
    """Whether its loss has negatives."""
    bank: Any
    """Its :class:`FeatureBank`, a memory of all images, or None. A wrapper uses this one and never writes it twice."""

    def __init__(self) -> None:
        super().__init__()
        self.bank = None  # on the instance: a class attribute would hide the module that a method assigns

    def query(self, x: Tensor) -> Tensor:
        """Online embedding with gradient: (B, C, H, W) -> (B, D) unit norm."""
        return losses.unit(self.encoder(x))

    @torch.no_grad()
    def target(self, x: Tensor) -> Tensor:
        """Embedding of the key side, without gradient: (B, C, H, W) -> (B, D) unit norm. Default: the query's."""
        return self.query(x)

    def key(self, batch: Batch) -> Tensor:
        """The key of every image of the batch, without gradient: (B, D) unit norm."""
        raise NotImplementedError

    def remember(self, step: Step) -> Tensor:
        """What a memory of this method stores for each image of the batch: (B, D) unit norm, detached."""
        return step.record["embedding"]

    def pair_loss(self, q: Tensor, k: Tensor, index: Tensor) -> Tensor:
        """This method's loss of a query against a positive, both (B, D) unit norm: per-row losses (B,).

        Default, of a method with a bank: cross-entropy over the bank, with k in the own row's place.
        """
        return self.bank.pair_loss(q, k, index, self.temperature)

    def embed(self, x: Tensor) -> Tensor:
        """Embed by :meth:`query`."""
        return self.query(x)
