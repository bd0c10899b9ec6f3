"""What all tests share: one thread, one seed, and a pool of two processes."""

from collections.abc import Iterator

import pytest
import torch

from pool import Pool

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Start every test from the same global random state, alone or among others."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:
    """Two gloo processes, started by the first test that asks; ``pool.run(function, *args)`` gives both results."""
    processes = Pool(tmp_path_factory.mktemp("pool"))
    yield processes
    processes.close()
