"""One table across runs: mean and spread over seeds of all that was measured, and what the papers print."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from viewkin.campaigns.comparison import Line, groups, lines_of, write
from viewkin.commands.output_files import check_file
from viewkin.runs.record import read_record
from viewkin.runtime.errors import UserError


def compare(places: Sequence[str], out: Path | None = None, *, baselines: bool = False) -> list[Line]:
    """Join runs that differ in their seed only, and set what was measured beside what the papers print.

    Args:
        places: run directories.
        out: CSV or JSON file to write; None: no file.
        baselines: list raw pixels and the untrained network too.

    Raises:
        UserError: no run there, nothing measured, or a file that is neither CSV nor JSON.
    """
    if out is not None:
        check_file(out)
        if out.suffix.lower() not in (".csv", ".json"):
            raise UserError(f"--out {out} must end in .csv or .json.")
    runs = [read_record(Path(place)) for place in dict.fromkeys(places)]
    lines = [line for group in groups(runs) for line in lines_of(group, baselines=baselines)]
    if not lines:
        raise UserError(f"Nothing was measured in {', '.join(places)}; judge a run with: viewkin evaluate knn RUN DATA")
    if out is not None:
        write(out, lines)
    return lines
