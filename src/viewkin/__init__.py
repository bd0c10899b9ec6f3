"""Learn visual features from images without labels.

``import viewkin`` is light: what needs torch is imported when it is first asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from viewkin.runtime.version import VERSION

if TYPE_CHECKING:
    from viewkin.data.dataset import open_source
    from viewkin.nets.backbone_file import load_backbone

__version__ = VERSION
__all__ = ["__version__", "load_backbone", "open_source"]

_HOMES = {"load_backbone": "viewkin.nets.backbone_file", "open_source": "viewkin.data.dataset"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'viewkin' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
