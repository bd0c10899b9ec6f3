"""Files of matches: CSV, Parquet, JSON, and a page with thumbnails."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from viewkin.collection.matches import Matches
from viewkin.collection.reader import Reader
from viewkin.commands.output_files import check_file
from viewkin.commands.thumbnails import Thumbnails
from viewkin.figures.match_page import match_page
from viewkin.runtime.errors import UserError
from viewkin.runtime.files import replacing

ENDINGS = (".csv", ".parquet", ".json", ".html")


def check_match_file(out: Path) -> None:
    """Refuse a file that cannot be written, before any work is done.

    Raises:
        UserError: it has another ending, is a folder, or lies in none that may be written.
    """
    check_file(out)
    if out.suffix.lower() not in ENDINGS:
        raise UserError(f"--out {out} must end in {', '.join(ENDINGS[:-1])} or {ENDINGS[-1]}.")


def write_matches(out: Path, matches: Matches, reader: Reader) -> None:
    """Write matches in the format that the ending names, whole or not at all.

    Raises:
        UserError: it cannot be written.
    """
    try:
        with replacing(out) as part:
            if out.suffix.lower() == ".parquet":
                pq.write_table(matches.table(), part)
            elif out.suffix.lower() == ".csv":
                pa_csv.write_csv(matches.table(), part)
            elif out.suffix.lower() == ".json":
                part.write_text(as_json(matches) + "\n", encoding="utf-8")
            else:
                part.write_text(page_of(matches, reader), encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot write {out} ({error.strerror or error}): choose a place you may write to.") from error


def as_json(matches: Matches) -> str:
    """Write matches as a JSON list of objects, one a match."""
    return json.dumps([asdict(match) for match in matches], indent=1, ensure_ascii=False)


def page_of(matches: Matches, reader: Reader) -> str:
    """Make the page of some matches."""
    thumbnails = Thumbnails(reader)
    return match_page(str(reader.folder), matches, thumbnails.of, thumbnails.of_query)
