"""The demonstration: the main job on a small image set, start to end, in a few minutes on two cores."""

from __future__ import annotations

import shutil
from pathlib import Path

from rich.console import Console

from viewkin.errors import UserError
from viewkin.recipes.finish import finish
from viewkin.recipes.resolve import TrainRequest
from viewkin.recipes.run import train


def demo(data: str, out: Path, console: Console) -> int:
    """Train on ``data``, judge where labels exist, write the report; return the exit code.

    Raises:
        UserError: ``out`` holds something that is no demo run.
    """
    if out.exists():
        if not (out / "demo").is_file():
            raise UserError(f"{out} exists and is no demo's directory; name another --out.")
        shutil.rmtree(out)
    out.mkdir(parents=True)
    (out / "demo").touch()
    generated = data.partition(":")[0] == "generated"
    request = TrainRequest(data=data, out=out, recipe="demo" if generated else None, epochs=None)
    directory, outcome = train(request, console)
    code = finish(request, directory, outcome, console)
    if code == 0:
        console.print(f"Next:     viewkin evaluate linear {out} {data}")
        console.print(f"          viewkin embed {out} {data} --out {out / 'embeddings.parquet'}")
    return code
