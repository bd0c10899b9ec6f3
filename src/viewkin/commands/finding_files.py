"""Files of findings: CSV, Parquet and JSON."""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path

import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from viewkin.collection.findings import Findings
from viewkin.collection.reader import Reader
from viewkin.commands.output_files import check_file
from viewkin.runtime.errors import UserError
from viewkin.runtime.files import replacing

ENDINGS = (".csv", ".parquet", ".json")


def check_finding_file(out: Path | None) -> None:
    """Refuse a file that cannot be written, before any work is done.

    Raises:
        UserError: it has another ending, is a folder, or lies in none that may be written.
    """
    if out is None:
        return
    check_file(out)
    if out.suffix.lower() not in ENDINGS:
        raise UserError(f"--out {out} must end in {', '.join(ENDINGS[:-1])} or {ENDINGS[-1]}.")


def write_findings(out: Path | None, findings: Findings) -> None:
    """Write findings in the format that the ending names, whole or not at all; no file is named by None.

    Raises:
        UserError: it cannot be written.
    """
    if out is None:
        return
    try:
        with replacing(out) as part:
            if out.suffix.lower() == ".parquet":
                pq.write_table(findings.table(), part)
            elif out.suffix.lower() == ".csv":
                part.write_bytes(as_csv(findings))
            else:
                part.write_text(as_json(findings) + "\n", encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot write {out} ({error.strerror or error}): choose a place you may write to.") from error


def as_csv(findings: Findings) -> bytes:
    """Write findings as CSV."""
    sink = BytesIO()
    pa_csv.write_csv(findings.table(), sink)
    return sink.getvalue()


def as_json(findings: Findings) -> str:
    """Write findings as a JSON list of objects, one a row."""
    return json.dumps(list(findings), indent=1, ensure_ascii=False)


def opened_collection(folder: Path, least: int = 2) -> Reader:
    """Open a collection that holds enough images.

    Raises:
        UserError: it is none, or holds too few.
    """
    reader = Reader(folder)
    if len(reader) < least:
        raise UserError(
            f"{folder} holds {len(reader)} image{'s' * (len(reader) != 1)}, and {least} are needed: fill it by "
            f"`viewkin embed MODEL IMAGES --to {folder}`."
        )
    return reader
