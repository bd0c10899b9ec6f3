"""The registry of learners and terms; a new one is one line here.

The command line, the reading of stored recipes and the laws that are tested take their methods from here.
"""

from __future__ import annotations

import importlib

from viewkin.methods.base import MethodConfig

MODULES = (
    "npid",
    "iraug",
    "simclr",
    "moco",
    "byol",
    "simsiam",
    "barlow",
    "vicreg",
    "nnclr",
    "swav",
    "dino",
    "moco_v3",
    "diet",
    "sigreg",
    "amdim",
    "invp",
    "isif",
    "local_aggregation",
    "neighbourhood_discovery",
    "deepcluster",
    "odc",
    "sela",
    "terms.eir",
    "terms.interclr",
    "terms.propagation",
    "terms.pcl",
)
"""Modules under ``viewkin.methods``, each with the settings class of one method."""


def config_of(module: str) -> type[MethodConfig]:
    """Return the settings class that a module of a method defines.

    Args:
        module: full name of the module.

    Raises:
        LookupError: the module defines none with a ``kind``, or several.
    """
    own = [
        value
        for value in vars(importlib.import_module(module)).values()
        if isinstance(value, type)
        and issubclass(value, MethodConfig)
        and value.__module__ == module
        and hasattr(value, "kind")
    ]
    if len(own) != 1:
        raise LookupError(f"{module} defines {len(own)} settings classes with a kind; it must define one.")
    return own[0]


METHOD_CONFIGS: dict[str, type[MethodConfig]] = {
    config.kind: config for config in (config_of(f"viewkin.methods.{module}") for module in MODULES)
}
"""``kind`` of each method -> its settings class."""
