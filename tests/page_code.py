"""Python code of a documentation page, as modules."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType

DOCS = Path(__file__).parents[1] / "docs"


def blocks(page: str) -> list[str]:
    """Return the Python code blocks of a page."""
    return re.findall(r"^```python\n(.*?)^```", (DOCS / page).read_text(), re.M | re.S)


def module(name: str, code: str) -> ModuleType:
    """Run code as the module of a name, which can be imported from then on."""
    if name not in sys.modules:
        made = ModuleType(name)
        sys.modules[name] = made
        exec(compile(code, f"<{name}>", "exec"), made.__dict__)
    return sys.modules[name]


def align() -> ModuleType:
    """Return the learner of ``docs/add-a-method.md``."""
    return module("viewkin.methods.align", blocks("add-a-method.md")[0])
