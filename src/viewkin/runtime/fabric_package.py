"""Lightning Fabric from the package that is installed: ``lightning-fabric``, else ``lightning``, which contains it."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING or find_spec("lightning_fabric"):
    from lightning_fabric import Fabric, wrappers
    from lightning_fabric.strategies import DDPStrategy
else:  # its trainer and torchmetrics are imported as well, which takes a second more
    from lightning.fabric import Fabric, wrappers
    from lightning.fabric.strategies import DDPStrategy

__all__ = ["DDPStrategy", "Fabric", "wrappers"]
