"""JSON that others wrote."""

from __future__ import annotations

import json
from typing import Any

LARGEST = 2**63
"""Whole numbers from here on fit into no number that is calculated with."""


def read_json(text: str | bytes) -> Any:
    """Read a JSON text as :func:`json.loads` does.

    Raises:
        ValueError: it is no JSON, its lists or objects are nested too deep, or a whole number has more than 64 bits.
    """
    try:
        return json.loads(text, parse_int=_whole)
    except RecursionError as error:
        raise ValueError("lists or objects are nested too deep") from error


def _whole(digits: str) -> int:
    number = int(digits)
    if not -LARGEST <= number < LARGEST:
        raise ValueError(f"{digits[:20]}... is too large")
    return number
