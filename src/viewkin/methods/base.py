"""The method contract: ``forward`` reads memory and returns a :class:`Step`; ``update`` writes memory afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol, Self

import torch
from torch import Tensor, nn

from viewkin import losses
from viewkin.augment.views import ViewSpec
from viewkin.nets.heads import Encoder, HeadConfig, build_head
from viewkin.nets.held import apply_held
from viewkin.nets.init import Init
from viewkin.runtime.draws import Draw
from viewkin.schedules import Progress
from viewkin.settings import Choice, Limit, Settings


class Encode(Protocol):
    """Encodes every image of the set once, in index order: eval mode, test view."""

    def __call__(self, what: str, size: int | None = None) -> Tensor:
        """Encode all images: (N, D).

        Args:
            what: ``embedding``, ``target`` or ``features``. ``target`` is the embedding of a view method's key side.
                For BYOL it is the projection of the EMA network, while ``embedding`` is the online network's
                prediction. ``features`` are the backbone's.
            size: least side of the test view, pixels; None or less than it: ``augment.image_size``.
        """
        ...


Group = Literal["instance", "redundancy", "distillation", "clustering", "inter-image"]
"""Kinds of learners.

``instance``: each image is told from all others. ``redundancy``: features agree between views and do not repeat each
other. ``distillation``: a view predicts what a network says of another view, without negatives. ``clustering``: views
agree on a cluster. ``inter-image``: other images are positives too.
"""


@dataclass
class Batch:
    """One micro-batch. An ordinary dataclass: Fabric rejects frozen ones."""

    views: dict[str, Tensor]
    """Name to (B, C, h, w) float, normalised, as the method's ``view_spec`` asks."""
    index: Tensor
    """(B,) int64, position in the data set; an index occurs once in a global batch."""
    draw: Draw
    """Gives this micro-batch its part of the global batch's random numbers."""


@dataclass
class Step:
    """The result of ``forward``. The loss is the sum of ``terms``."""

    terms: dict[str, Tensor]
    """Name to weighted scalar; logged under these names."""
    pairs: tuple[tuple[Tensor, Tensor], ...] = ()
    """One (q, k) per direction: q (B, D) unit norm with gradient, k (B, D) its positive, without. Empty for a method
    that does not compare views."""
    record: dict[str, Tensor] = field(default_factory=lambda: {})
    """Name to (B, ...) detached: everything that ``update`` needs. It always contains ``index`` and ``embedding``, the
    unit vector that a memory keeps of each image."""
    related: dict[str, Tensor] = field(default_factory=lambda: {})
    """``term/what`` to (B, n) int64: images that a term related to each anchor, as positives (``interclr/positives``,
    ``invp/hop2``) or as negatives (``what`` begins with ``negatives``); -1 is padding. Only monitors and figures use
    it, never a loss."""

    @property
    def loss(self) -> Tensor:
        """Scalar sum of the terms."""
        return sum(self.terms.values(), start=next(iter(self.terms.values())).new_zeros(()))


def feature_dim(backbone: nn.Module) -> int:
    """Return F, the size of the backbone's features."""
    return int(backbone.feature_dim)  # type: ignore[arg-type]


def with_projection(backbone: nn.Module, head: Literal["linear", "mlp"], dim: int, init: Init = "default") -> Encoder:
    """Add a projection head to a backbone: F -> D, or F -> F -> ReLU -> D without BatchNorm."""
    width = feature_dim(backbone)
    layers = (width, dim) if head == "mlp" else (dim,)
    return Encoder(backbone, build_head(HeadConfig(layers=layers, init=init), width))


def centred_features(encode: Encode, size: int | None) -> Tensor:
    """Encode the features of all images less their mean: (N, F) unit norm, purer in kin than the features themselves.

    Args:
        encode: of the loop.
        size: least side of the images, pixels.
    """
    rows = losses.unit(encode("features", size))
    return losses.unit(rows - rows.mean(0))


def per_size(network: Callable[[Tensor], Tensor], views: Sequence[Tensor]) -> list[Tensor]:
    """Pass views through a network, all of one size together: one forward a size, in the order of the sizes.

    Args:
        network: (B, C, h, w) -> (B, ...).
        views: each (B, C, h, w); sides may differ (multi-crop).

    Returns:
        The network's output of each view.
    """
    outputs: dict[int, Tensor] = {}
    for shape in dict.fromkeys(view.shape[1:] for view in views):
        places = [place for place, view in enumerate(views) if view.shape[1:] == shape]
        together = network(torch.cat([views[place] for place in places]))
        outputs |= dict(zip(places, together.split([len(views[place]) for place in places])))
    return [outputs[place] for place in range(len(views))]


def queue_limit(count: int, batch_size: int) -> Limit:
    """Limit of a queue of keys: one key per image, in whole batches.

    A recipe's default above the limit becomes half of it, so that an image seldom meets its own key of the previous
    epoch.
    """
    whole, half = (max(part // batch_size, 1) * batch_size for part in (count, count // 2))
    return Limit(whole, "the images of the set, in whole batches,", half)


@dataclass(frozen=True, kw_only=True)
class MethodConfig(Settings):
    """Settings of a method: a frozen, keyword-only dataclass beside it, the only home of its defaults.

    Every name of a setting is relative to this object: ``temperature``, ``graph.hops``, ``base.temperature``.
    """

    kind: ClassVar[str]
    """The method's name in recipes and on the command line."""
    group: ClassVar[Group] = "instance"
    """Kind of learner, by which ``viewkin recipes`` sorts."""
    good_for: ClassVar[str] = ""
    """In half a line: when to take it."""
    one_view: ClassVar[bool] = False
    """Whether a step sees each image once."""

    def build(self, backbone: nn.Module, *, count: int) -> Method:
        """Build the method for ``count`` images on a network with a ``feature_dim``.

        Raises:
            UserError: a setting does not suit the network, the base, or the number of images.
        """
        raise NotImplementedError

    def wrapped(self) -> MethodConfig | None:
        """Settings of the method that this one is a term around. Default: none, it is a learner of its own."""
        return None

    def has_negatives(self) -> bool:
        """Tell whether the loss of the innermost method has negatives. Default: it has."""
        return True

    def passes(self, side: int) -> tuple[float, float]:
        """Views of an image that one step passes through the network, with and without gradient.

        Default: one or two, and none. A small crop counts by its share of the pixels.

        Args:
            side: of the views that have none of their own, pixels.
        """
        return (1.0 if self.one_view else 2.0), 0.0

    def limits(self, count: int, batch_size: int) -> Mapping[str, Limit]:
        """Largest values of settings for ``count`` images. Default: no setting depends on the data.

        A recipe's default above the limit is lowered. An explicit value above it is an error. None ("chosen at start")
        is allowed.
        """
        return {}

    def lasting(self, epochs: int, rounds: int) -> Mapping[str, Limit]:
        """Largest values of settings for so many epochs. Default: no setting depends on them."""
        return {}

    def choices(self, count: int) -> Mapping[str, Choice]:
        """Values of settings that are left open, chosen by the number of images. Default: none."""
        return {}

    def sizes(self) -> Mapping[str, int]:
        """Settings by which it encodes images of another side than views and ``augment.image_size``, and these sides.

        In pixels. Default: none.
        """
        return {}

    def delays(self, at: Progress) -> Mapping[str, float]:
        """Epochs of this round for which a setting keeps a term out. Default: every term acts at once."""
        return {}


class Method(nn.Module):
    """A self-supervised learner.

    Rules for every method: ``forward`` changes nothing except BatchNorm statistics. ``update`` runs once per optimiser
    step on the bare module, with the records of all micro-batches and ranks joined in global batch order; it never
    communicates. ``state_dict`` is the checkpoint.
    """

    view_spec: Mapping[str, ViewSpec]
    """View name to what it is: its role in the augmentation policy, its size, its form."""
    encoder: Encoder
    """The online network: backbone, then head."""
    dim: int
    """D, size of the embeddings of :meth:`embed` and of the record."""
    bank: Any
    """A :class:`FeatureBank`, a memory of all images that monitors and figures read, or None."""
    scale_free: ClassVar[bool] = True
    """Whether the loss compares unit vectors, so that the length of an embedding does not affect it."""

    def __init__(self) -> None:
        super().__init__()
        self.bank = None  # on the instance: a class attribute would hide the module that a method assigns

    @property
    def backbone(self) -> nn.Module:
        """The network that is kept after training: (B, C, H, W) -> (B, F)."""
        return self.encoder.backbone

    def train(self, mode: bool = True) -> Self:
        """Set the mode of every module; statistics that are held stay as they are in training too."""
        super().train(mode)
        apply_held(self)
        return self

    def forward(self, batch: Batch, at: Progress) -> Step:
        """Compute the loss terms of a batch from the memory, and the record for ``update``."""
        raise NotImplementedError

    def update(self, record: Mapping[str, Tensor], at: Progress) -> None:
        """Write memory and EMA copies from the joined record, after the optimiser step. Default: nothing."""

    def start(self, encode: Encode, at: Progress) -> None:
        """Prepare memory once in a new run, not after a resume. Default: nothing."""

    def epoch(self, encode: Encode, at: Progress) -> Iterable[str]:
        """Run before each epoch's first step.

        Returns:
            Names of the parameters that were re-initialised; their optimiser state is cleared. Default: none.
        """
        return ()

    def shown(self, index: Tensor, draw: Draw) -> Mapping[str, Tensor]:
        """Choose images for views that do not show the batch's own: view name to (B,) int64 images. Default: none."""
        return {}

    def embed(self, x: Tensor) -> Tensor:
        """Embed images as for the loss: (B, C, H, W) -> (B, D) unit norm."""
        raise NotImplementedError

    def target(self, x: Tensor) -> Tensor:
        """Embed images as the key side does, without gradient: (B, C, H, W) -> (B, D) unit norm. Default: alike."""
        return self.embed(x)

    @torch.no_grad()
    def explain(self, batch: Batch, at: Progress) -> dict[str, Tensor]:
        """Return what figures show: related images (B, n) as in :attr:`Step.related`, or components of parts (B, h, w).

        Default: the related images of a forward pass.
        """
        return self(batch, at).related

    def gauges(self) -> dict[str, float]:
        """Return values of the state for the log, such as cluster sizes and label churn. Default: none."""
        return {}

    def waits(self, at: Progress) -> bool:
        """Tell whether a term that would have begun by its schedule waits for the training to go well. Default: no."""
        return False

    def concern(self, record: Mapping[str, Tensor], at: Progress) -> str | None:
        """Say in plain words what the user should change, judged by the state and the last step's record.

        Default: nothing.
        """
        return None

    @property
    def last_weight(self) -> Tensor:
        """The last weight that the gradient of every term passes through; the terms' gradients are compared there."""
        return [p for p in self.encoder.parameters() if p.ndim > 1][-1]

    def param_groups(self) -> list[dict[str, Any]]:
        """Optimiser groups: dicts with ``named`` (list of (name, parameter)) and optional ``lr_scale``.

        Default: one group of every trainable parameter.
        """
        return [{"named": [(n, p) for n, p in self.named_parameters() if p.requires_grad]}]


class ViewMethod(Method):
    """A method that compares views of one image, and provides its parts to the terms that wrap it."""

    temperature: float
    """Softmax temperature tau of its loss, dimensionless (1 if the loss has none)."""
    contrastive: bool
    """Whether its loss has negatives."""

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
        """Embedding that a memory stores for each image of the batch: (B, D) unit norm, detached."""
        return step.record["embedding"]

    def pair_loss(self, q: Tensor, k: Tensor, index: Tensor) -> Tensor:
        """This method's loss of a query against a positive, both (B, D) unit norm: per-row losses (B,).

        Default, for a method with a bank: cross-entropy over the bank, with k in place of the query's own row.
        """
        return self.bank.pair_loss(q, k, index, self.temperature)

    def embed(self, x: Tensor) -> Tensor:
        """Embed images by :meth:`query`."""
        return self.query(x)
