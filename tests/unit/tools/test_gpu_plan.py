"""Claims about the plan for a GPU: its rows are runs that can start."""

from pathlib import Path
from typing import Any

import pytest

from viewkin.data.dataset import Survey
from viewkin.runs.resolve import TrainRequest, fit_to_data, resolve

CIFAR10 = Survey(50_000, 32, True, True, ("train", "test"))
PLAN = [
    line.split(maxsplit=1)[1]
    for line in (Path(__file__).parents[3] / "scripts" / "gpu" / "plan.txt").read_text().splitlines()
    if not line.startswith("#")
]


def request_for(words: list[str], **more: Any) -> TrainRequest:
    """Read arguments of ``viewkin train``."""
    given = dict[str, Any](settings=[]) | more
    arguments = iter(words)
    for argument in arguments:
        name, _, value = argument.partition("=")
        value = value or next(arguments)
        if name == "--set":
            given["settings"].append(value)
        else:
            given[name.removeprefix("--")] = int(value) if name == "--epochs" else value
    return TrainRequest(data="data", **given)


@pytest.mark.parametrize("row", PLAN)
def test_every_row_of_the_plan_for_a_gpu_can_start(row: str):
    name, _, arguments = row.partition("=")
    recipe, *others = (arguments or name).split()
    found = fit_to_data(resolve(request_for(others, recipe=recipe), CIFAR10), 50_000).recipe
    assert found.schedule.epochs == (301 if name == "isif_cifar10" else 200)
