"""Filling a bank and clustering it holds no row twice, as the system measures memory."""

import sys

import pytest
import torch
from torch import nn

from lawbook import noise_source
from resident import printed
from viewkin.encode.over_ranks import encode_all
from viewkin.runtime import distributed
from viewkin.runtime.fabric_package import Fabric

PEAK = """
import torch
from viewkin.runtime.fabric_package import Fabric
from torch import nn
from resident import forget_peak, resident
from viewkin.data.source import SourceInfo, ResidentSource
from viewkin.memory.bank import FeatureBank
from viewkin.memory.clusters import Clusters
from viewkin.schedules import Progress
from viewkin.encode.over_ranks import encode_all

torch.set_num_threads(1)
COUNT, DIM, SIDE = 200_000, 128, 8  # 98 MiB of rows

def encode(count):
    method = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE**2, DIM))
    facts = SourceInfo(name="black", size=SIDE, keys=[""] * count)
    source = ResidentSource(facts, torch.zeros(count, 3, SIDE, SIDE, dtype=torch.uint8))
    fabric = Fabric(accelerator="cpu")
    return lambda: encode_all(method, method, source, torch.Tensor.float, fabric)

def fill(count):
    bank, rows = FeatureBank(count, DIM, init="zero"), torch.randn(count, DIM)
    return lambda: bank.fill_(rows)

def fit(count, dtype=torch.float32):
    bank = torch.randn(count, DIM).to(dtype)
    clusters = Clusters(bank, 10)
    return lambda: clusters.fit_(bank, Progress(steps=1), iterations=1)

def fit_half(count):
    return fit(count, torch.bfloat16)

for work in (encode, fill, fit, fit_half):
    task = work(COUNT)
    task()
    forget_peak()  # that of making the inputs
    before = resident()
    task()
    print(resident("VmHWM") - before)
    del task
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_start_of_a_run_with_clusters_holds_no_row_twice(monkeypatch):
    monkeypatch.setenv("MALLOC_MMAP_THRESHOLD_", str(2**20))  # every block is given back, so that no hole is measured
    # A second copy of all rows in float32 would be 98 MiB. Blocks are of 8 MiB at most.
    encode, fill, fit, fit_half = printed(PEAK)
    assert encode < 98 + 40
    assert max(fill, fit, fit_half) < 40, (fill, fit, fit_half)


@pytest.mark.parametrize(("count", "world"), [(24, 1), (24, 5), (9, 4), (4, 3), (2, 2)])
def test_ranks_encode_their_parts_of_the_images_and_join_them_in_order(count, world, monkeypatch):
    method, source, fabric = (
        nn.Sequential(nn.Flatten(), nn.Linear(768, 5)),
        noise_source(count),
        Fabric(accelerator="cpu"),
    )
    parts: list[torch.Tensor] = []

    def encode() -> torch.Tensor:
        with torch.no_grad():
            return encode_all(method, method, source, lambda x: x / 255, fabric, block=2)  # type: ignore[arg-type]

    monkeypatch.setattr(distributed, "world", lambda: world)
    monkeypatch.setattr(distributed, "gather", lambda part: parts.append(part) or part)
    for rank in range(world):
        monkeypatch.setattr(distributed, "rank", lambda: rank)  # noqa: B023
        encode()
    joined = torch.cat(parts)
    assert len({len(part) for part in parts}) == 1
    assert len(joined) >= count
    with torch.no_grad():
        expected = method(source.images(torch.arange(count)) / 255)
    torch.testing.assert_close(joined[:count], expected)
