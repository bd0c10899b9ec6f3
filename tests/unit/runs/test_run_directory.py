"""Claims about taking a run directory on several ranks."""

import contextlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch

from pool import Pool
from viewkin.runs import run_directory
from viewkin.runtime import distributed
from viewkin.runtime.errors import UserError


def taken(out: Path) -> tuple[str, int]:
    """What a rank says where rank 0 is refused the directory, and how often it tried to take it."""
    fabric: Any = SimpleNamespace(global_rank=distributed.rank(), device=torch.device("cpu"))
    nothing: Any = None
    with mock.patch.object(run_directory, "claimed", side_effect=UserError("It is taken.")) as claim:
        try:
            run_directory.begun(nothing, nothing, fabric, contextlib.ExitStack(), run_directory.Place(out))
        except UserError as error:
            return str(error), claim.call_count
    return "", claim.call_count


def test_a_refusal_ends_all_ranks_and_one_alone_takes_the_directory(pool: Pool, tmp_path):
    (first, tried), (second, never) = pool.run(taken, tmp_path)
    assert (first, tried, never) == ("It is taken.", 1, 0)
    assert "Another process of the run" in second
