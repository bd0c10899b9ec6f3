"""Settings of negatives that are drawn by their similarity to the query."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from viewkin.runtime.errors import require
from viewkin.settings import Choice, Count, Limit, Settings, Share

Sampler = Literal["semihard", "hard", "random", "semieasy"]
"""Random members of the nearest pool, the nearest images, random images, or random members of the farthest pool."""
PoolForm = Literal["exact", "candidates"]
"""Whether the pool is taken from the whole bank or from random rows."""
EXACT_UP_TO = 10_000
"""Up to this number of images, ``form=auto`` searches the whole bank for each query."""
NEGATIVES = 4096
"""Default number of negatives, if there are enough images: that of InterCLR's ablations."""


@dataclass(frozen=True, kw_only=True)
class NegativesConfig(Settings):
    """Which images of other pseudo-classes are negatives of a query."""

    sampler: Sampler = "semihard"
    """Negatives are random members of the nearest pool (``semihard``), the nearest images (``hard``), random images
    (``random``), or random members of the farthest pool (``semieasy``)."""
    number: Count | None = None
    """K, negatives per query; None: 4,096, or, on small sets, as many as the pool has besides a large cluster."""
    pool: Share = 0.1
    """N_pool / N, size of the pool as a fraction of all images."""
    form: Literal["auto", "exact", "candidates"] = "auto"
    """``exact``: search all images; ``candidates``: search K / pool random images; ``auto``: exact up to 10,000."""
    shared_candidates: bool = True
    """Draw candidates once for the global batch instead of for each query (``candidates``)."""

    def most(self, count: int, cluster: int) -> Limit:
        """Largest number of negatives: the pool without a cluster of ``cluster`` images, at least half of the pool."""
        if not self.pooled:
            return Limit(count - 1, "the other images")
        size = self.pool_size(count)
        return Limit(max(size - cluster, size // 2, 1), f"the {size} images of the pool, less a large cluster,")

    def choices(self, count: int, cluster: int) -> Mapping[str, Choice]:
        """Choose what is left open for ``count`` images in clusters of at most ``cluster``."""
        chosen: dict[str, Choice] = {}
        if self.number is None:
            most, why, _ = self.most(count, cluster)
            fits = most >= NEGATIVES
            reason = "in the paper's ablations" if fits else f"{why} allow no more"
            chosen["number"] = Choice(NEGATIVES if fits else most, reason)
        if self.form == "auto":
            chosen["form"] = self._form(count)
        return chosen

    def _form(self, count: int) -> Choice:
        if self.sampler == "hard":
            return Choice("exact", "the nearest are sought among all images")
        if count <= EXACT_UP_TO:
            return Choice("exact", f"there are no more than {EXACT_UP_TO:,} images")
        return Choice("candidates", f"there are more than {EXACT_UP_TO:,} images")

    @property
    def pooled(self) -> bool:
        """Whether negatives are drawn from a pool."""
        return self.sampler in ("semihard", "semieasy")

    def pool_size(self, count: int) -> int:
        """N_pool, number of images in a query's pool, at least one."""
        return max(round(self.pool * count), 1)

    def check_number(self, count: int) -> None:
        """Check that the pool of ``count`` images has enough members.

        Raises:
            SettingError: it has fewer than ``number``.
        """
        size = self.pool_size(count)
        enough = not self.pooled or (self.number or 1) <= size
        require(enough, "number", self.number, f"at most the pool's {size} images")
