"""Multi-crop: two large crops of an image, and several small ones that cost a fraction of a view each."""

from __future__ import annotations

from dataclasses import dataclass

from viewkin.augment.views import ViewSpec
from viewkin.settings import Settings, Share, Side, WholeNumber

LARGE = ("first", "second")
"""The names of the large crops."""


@dataclass(frozen=True, kw_only=True)
class MultiCropConfig(Settings):
    """Settings of multi-crop.

    References:
        Caron et al., SwAV, 2020, section 3.3.
    """

    small: WholeNumber = 0
    """Number of small crops; 0: two views of the recipe's size, and nothing below counts."""
    size: Side = 96
    """Side of the small crops, pixels."""
    area: tuple[Share, Share] = (0.05, 0.14)
    """Smallest and largest area of a small crop, fraction of the image."""
    large_area: tuple[Share, Share] = (0.14, 1.0)
    """The same of the large crops."""

    def views(self) -> dict[str, ViewSpec]:
        """Return the views: ``first`` and ``second``, then the small ones."""
        if not self.small:
            return {name: ViewSpec(name) for name in LARGE}
        large = {name: ViewSpec(name, area=self.large_area) for name in LARGE}
        small = {f"small{n}": ViewSpec("first", size=self.size, area=self.area) for n in range(1, self.small + 1)}
        return large | small

    def passes(self, side: int) -> float:
        """Count the views that pass the network, a small crop by its share of the pixels of a view of ``side``."""
        return 2 + self.small * (self.size / side) ** 2
