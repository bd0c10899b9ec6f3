"""The test view in the words of other libraries: resize the shorter side, cut the centre, normalise."""

from __future__ import annotations

from dataclasses import dataclass

from viewkin.encode.image_vectors import stored_side
from viewkin.encode.model import LARGEST_STORED, Model

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class UsualView:
    """What torchvision's and timm's transforms need to know."""

    resized: int
    """Side that the shorter side is resized to (both sides, where images are squashed), pixels."""
    size: int
    """Side of the centre that is cut from it, pixels."""
    filter: str
    """``bicubic`` or ``bilinear``."""
    squash: bool
    """Whether the whole image is squashed to a square."""
    mean: Triple
    """Mean of each channel."""
    std: Triple
    """Standard deviation of each channel."""

    def sentence(self) -> str:
        """Say it in a sentence."""
        what = "both sides" if self.squash else "the shorter side"
        cut = "" if self.resized == self.size and self.squash else f", cut the central {self.size} pixels"
        return f"resize {what} to {self.resized} pixels ({self.filter}){cut}, and normalise."


def usual_view(model: Model, *, small: bool) -> UsualView:
    """Describe the test view of a model.

    Args:
        model: the model.
        small: whether images are no larger than the view. They are enlarged as a whole then, and bilinearly.
    """
    policy, size = model.policy, model.image_size
    stored = stored_side((LARGEST_STORED, LARGEST_STORED), size)
    cut = abs(stored * policy.test_fraction - size) < 0.5
    resized = size if small else stored if cut else round(size / policy.test_fraction)
    how = "bilinear" if small else "bicubic"
    return UsualView(max(resized, size), size, how, policy.squash, policy.mean, policy.std)
