"""The base class of terms around a view method."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from viewkin.memory.bank import FeatureBank
from viewkin.methods.base import Batch, Encode, MethodConfig, Step, ViewMethod
from viewkin.nets.heads import Encoder
from viewkin.runtime.draws import Draw
from viewkin.runtime.errors import UserError, inside
from viewkin.schedules import Progress
from viewkin.settings import Limit, below


@dataclass(frozen=True, kw_only=True)
class TermConfig(MethodConfig):
    """Settings of a term around a view method."""

    base: MethodConfig
    """The view method that the term is added to."""

    def wrapped(self) -> MethodConfig:
        """Return the settings of the base."""
        return self.base

    def innermost(self) -> MethodConfig:
        """Return the settings of the learner inside all terms."""
        inner: MethodConfig = self
        while (base := inner.wrapped()) is not None:
            inner = base
        return inner

    def has_negatives(self) -> bool:
        """Ask the base."""
        return self.base.has_negatives()

    def passes(self, side: int) -> tuple[float, float]:
        """The base's: most terms look at the same views."""
        return self.base.passes(side)

    def limits(self, count: int, batch_size: int) -> Mapping[str, Limit]:
        """Return the base's limits."""
        return below("base", self.base.limits(count, batch_size))


class Wrapper(ViewMethod):
    """A term added to a view method. It passes the method's parts on, so that wrappers can be nested.

    The base's memory is written first. If the base has a bank, the wrapper uses it; otherwise the wrapper has a bank of
    its own, which stores the record's embeddings.
    """

    def __init__(self, base: ViewMethod, *, count: int, momentum: float | None) -> None:
        """Wrap a base.

        Args:
            base: the method that the term is added to.
            count: N, number of images.
            momentum: weight of the old row in the wrapper's own bank; None: the term needs no bank.

        Raises:
            UserError: the base already has this term; the names of the two would collide.
        """
        nn.Module.__init__(self)  # not ViewMethod.__init__, which would set a bank
        inner: Any = base
        while isinstance(inner, Wrapper):
            if type(inner) is type(self):
                raise UserError(f"The term {type(self).__name__} is there twice; a method can have it once.")
            inner = inner.base
        self.base = base
        self.own_bank = None
        if base.bank is None and momentum is not None:
            self.own_bank = FeatureBank(count, base.dim, momentum=momentum)
        self.view_spec = dict(base.view_spec)
        self.dim, self.temperature, self.contrastive = base.dim, base.temperature, base.contrastive

    @property
    def bank(self) -> Any:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The base's :class:`FeatureBank`, the wrapper's own, or None."""
        return self.base.bank if self.own_bank is None else self.own_bank

    @property
    def encoder(self) -> Encoder:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The base's online network."""
        return self.base.encoder

    @property
    def last_weight(self) -> Tensor:
        """Delegate to the base."""
        return self.base.last_weight

    def update(self, record: Mapping[str, Tensor], at: Progress) -> None:
        """Write the base's memory, then the wrapper's own bank."""
        self.base.update(record, at)
        if self.own_bank is not None:
            self.own_bank.write_(record["index"], record["embedding"])

    def start(self, encode: Encode, at: Progress) -> None:
        """Start the base."""
        self.base.start(encode, at)

    def epoch(self, encode: Encode, at: Progress) -> Iterable[str]:
        """Begin the base's epoch."""
        return [f"base.{name}" for name in self.base.epoch(encode, at)]

    def shown(self, index: Tensor, draw: Draw) -> Mapping[str, Tensor]:
        """Delegate to the base."""
        return self.base.shown(index, draw)

    def query(self, x: Tensor) -> Tensor:
        """Delegate to the base."""
        return self.base.query(x)

    def target(self, x: Tensor) -> Tensor:
        """Delegate to the base."""
        return self.base.target(x)

    def key(self, batch: Batch) -> Tensor:
        """Delegate to the base."""
        return self.base.key(batch)

    def remember(self, step: Step) -> Tensor:
        """Delegate to the base."""
        return self.base.remember(step)

    def pair_loss(self, q: Tensor, k: Tensor, index: Tensor) -> Tensor:
        """Delegate to the base."""
        return self.base.pair_loss(q, k, index)

    def embed(self, x: Tensor) -> Tensor:
        """Delegate to the base."""
        return self.base.embed(x)

    def gauges(self) -> dict[str, float]:
        """Delegate to the base."""
        return self.base.gauges()

    def waits(self, at: Progress) -> bool:
        """Delegate to the base."""
        return self.base.waits(at)

    def concern(self, record: Mapping[str, Tensor], at: Progress) -> str | None:
        """Delegate to the base."""
        return self.base.concern(record, at)

    def param_groups(self) -> list[dict[str, Any]]:
        """The base's groups, and a group of the term's own parameters."""
        groups = [
            {**group, "named": [(f"base.{name}", p) for name, p in group["named"]]}
            for group in self.base.param_groups()
        ]
        own = [(n, p) for n, p in self.named_parameters() if p.requires_grad and not n.startswith("base.")]
        return [*groups, {"named": own}] if own else groups


def build_base(config: MethodConfig, wrapper: str, backbone: nn.Module, count: int) -> ViewMethod:
    """Build the base of a wrapper.

    Raises:
        UserError: it is not a view method, or cannot be built.
    """
    with inside("base"):
        base = config.build(backbone, count=count)
    if not isinstance(base, ViewMethod):
        raise UserError(f"{wrapper} wraps methods that compare views by one vector each; {config.kind} is none.")
    return base
