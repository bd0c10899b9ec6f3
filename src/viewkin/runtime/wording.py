"""Numbers and time spans in words."""

from __future__ import annotations


def counted(count: int, noun: str) -> str:
    """Write ``1 epoch``, ``12 epochs``, ``1,200 epochs``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def duration(seconds: float) -> str:
    """Say a time span as people do: ``40 seconds``, ``12 minutes``, ``3.5 hours``, ``12 days``."""
    for unit, length in (("days", 86400.0), ("hours", 3600.0), ("minutes", 60.0)):
        if seconds >= 1.5 * length:
            count = seconds / length
            return f"{count:.0f} {unit}" if count >= 10 or unit == "minutes" else f"{count:.1f} {unit}"
    return f"{seconds:.0f} seconds"
