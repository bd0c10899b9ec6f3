"""Lightning Fabric without the rest of Lightning, which takes seconds to import and which no run needs."""

from __future__ import annotations

import sys
from importlib import metadata
from importlib.util import find_spec, module_from_spec
from typing import Any


def import_later(name: str) -> None:
    """Let a package be there for its parts to be imported, and run it only when something of its own is asked for."""
    spec = None if name in sys.modules else find_spec(name)
    if spec is None or spec.loader is None:
        return
    module, loader = module_from_spec(spec), spec.loader

    def load(attribute: str) -> Any:
        if attribute.startswith("__"):
            raise AttributeError(attribute)
        if f"{name}.{attribute}" in sys.modules:  # a part, which is asked for before its import has ended
            return sys.modules[f"{name}.{attribute}"]
        del module.__dict__["__getattr__"]
        loader.exec_module(module)
        return getattr(module, attribute)

    module.__dict__["__getattr__"] = load
    module.__dict__["__version__"] = metadata.version(name)
    sys.modules[name] = module


# Fabric lies in lightning, whose trainer brings torchmetrics; and Fabric itself asks for the version of torchmetrics.
for package in ("lightning", "torchmetrics"):
    import_later(package)
