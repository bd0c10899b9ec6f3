"""What Pillow warns of while images are read: counted by image, and not printed."""

from __future__ import annotations

import threading
import warnings
from pathlib import Path
from types import TracebackType
from typing import Any

from PIL import Image


class PillowWarnings:
    """Within a ``with`` block, warnings are not shown; those of Pillow on an image's metadata are counted by image."""

    def __init__(self) -> None:
        self.positions: set[int] = set()
        self._here = threading.local()
        self._kept = warnings.catch_warnings()

    def __enter__(self) -> PillowWarnings:
        self._kept.__enter__()
        warnings.simplefilter("always")
        warnings.showwarning = self._hear
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._kept.__exit__(kind, error, trace)

    def of(self, position: int) -> None:
        """Say which image this thread reads from here on."""
        self._here.position = position

    def _hear(self, message: Any, category: type[Warning], filename: str, *rest: Any, **more: Any) -> None:
        own = issubclass(category, Image.DecompressionBombWarning | DeprecationWarning)
        position = getattr(self._here, "position", None)
        if position is not None and not own and "PIL" in Path(filename).parts:
            self.positions.add(position)
