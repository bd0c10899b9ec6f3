"""Learn visual features from images without labels.

    import viewkin

    run = viewkin.train("photos/", out="runs/mine")
    rows = run.embed("photos/")
    viewkin.plot.neighbours(run)

``import viewkin`` is light: what needs torch is imported when it is first asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from viewkin.runtime.version import VERSION

if TYPE_CHECKING:
    from viewkin.api import plot
    from viewkin.api.backbone import Backbone, load_backbone
    from viewkin.api.collection import Collection, open_collection
    from viewkin.api.collection_map import explore
    from viewkin.api.embedding import embed
    from viewkin.api.evaluation import compare, evaluate
    from viewkin.api.run import Run, open_run
    from viewkin.api.training import train
    from viewkin.collection.embeddings import Embeddings, read_embeddings
    from viewkin.collection.matches import Match
    from viewkin.data.dataset import Dataset, open_source
    from viewkin.evaluation.results import Result, Results
    from viewkin.runtime.errors import UserError

__version__ = VERSION
__all__ = [
    "Backbone",
    "Collection",
    "Dataset",
    "Embeddings",
    "Match",
    "Result",
    "Results",
    "Run",
    "UserError",
    "__version__",
    "compare",
    "embed",
    "evaluate",
    "explore",
    "load_backbone",
    "open_collection",
    "open_run",
    "open_source",
    "plot",
    "read_embeddings",
    "train",
]

_HOMES = {
    "Backbone": "viewkin.api.backbone",
    "Collection": "viewkin.api.collection",
    "Dataset": "viewkin.data.dataset",
    "Embeddings": "viewkin.collection.embeddings",
    "Match": "viewkin.collection.matches",
    "Result": "viewkin.evaluation.results",
    "Results": "viewkin.evaluation.results",
    "Run": "viewkin.api.run",
    "UserError": "viewkin.runtime.errors",
    "compare": "viewkin.api.evaluation",
    "embed": "viewkin.api.embedding",
    "evaluate": "viewkin.api.evaluation",
    "explore": "viewkin.api.collection_map",
    "load_backbone": "viewkin.api.backbone",
    "open_collection": "viewkin.api.collection",
    "open_run": "viewkin.api.run",
    "open_source": "viewkin.data.dataset",
    "plot": "viewkin.api.plot",
    "read_embeddings": "viewkin.collection.embeddings",
    "train": "viewkin.api.training",
}
"""Public name to the module that has it; a name that is a module itself is that module."""


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'viewkin' has no attribute {name!r}")
    module = importlib.import_module(_HOMES[name])
    return module if _HOMES[name].endswith(f".{name}") else getattr(module, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
