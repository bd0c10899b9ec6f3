"""One side of a comparison in a process of its own, so that its memory and its settings touch no other side."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any


class Apart:
    """What a factory makes, made and run in another process, one call at a time."""

    def __init__(self, factory: Callable[..., Any], *arguments: Any) -> None:
        self.process = ProcessPoolExecutor(1, mp_context=get_context("spawn"))
        self.process.submit(_make, factory, arguments).result()

    def run(self, *arguments: Any) -> Any:
        """Call its ``run``."""
        return self.process.submit(_run, arguments).result()

    def close(self) -> None:
        """End the process."""
        self.process.shutdown()


_made: list[Any] = []


def _make(factory: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    _made.append(factory(*arguments))


def _run(arguments: tuple[Any, ...]) -> Any:
    return _made[0].run(*arguments)
