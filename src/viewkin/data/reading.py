"""What a user says of how a set is to be read, where it is not to be guessed."""

from __future__ import annotations

import math
from dataclasses import dataclass

from viewkin.runtime.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How a set of images is to be read; the defaults leave it to the files."""

    image_column: str | None = None
    """Column of a Parquet file that holds the images."""
    label_column: str | None = None
    """Column of a Parquet file that holds the labels."""
    labels: bool = True
    """Whether to take labels from folders, columns and annotations."""
    value_range: tuple[float, float] | None = None
    """Values of images of more than 8 bits that become black and white."""

    def __post_init__(self) -> None:
        """Refuse a range that is none.

        Raises:
            UserError: the upper value is not above the lower.
        """
        if self.value_range is not None and not (
            self.value_range[0] < self.value_range[1] and all(map(math.isfinite, self.value_range))
        ):
            low, high = self.value_range
            raise UserError(
                f"The value range {low:g} to {high:g} is none: give a lower and a higher number, as 0,4095."
            )
