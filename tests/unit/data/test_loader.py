"""Batches: one global order, shared by ranks and micro-batches, resumed anywhere."""

import pickle
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from viewkin.data import prefetch
from viewkin.data.dataset import open_source
from viewkin.data.formats.generated import GeneratedConfig, open_generated
from viewkin.data.loader import Loader
from viewkin.data.source import Source
from viewkin.runtime.draws import Draw, generator_for
from viewkin.runtime.errors import UserError

Steps = list[list[tuple[torch.Tensor, torch.Tensor]]]


@pytest.fixture(scope="module")
def source() -> Source:
    return open_generated(GeneratedConfig(images=53, classes=3, size=8))


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Source, Source]:
    """Make the same files resident and streaming."""
    root = tmp_path_factory.mktemp("files")
    values = np.random.default_rng(0).integers(0, 256, (23, 20, 24, 3), dtype=np.uint8)
    for i, value in enumerate(values):
        Image.fromarray(value).save(root / f"{i:02}.jpg")
    options = {"size": 16, "cache_dir": root / "cache"}
    return open_source(str(root), **options), open_source(str(root), memory_limit=0, **options)


def indices(steps: Steps) -> list[list[list[int]]]:
    return [[index.tolist() for index, _ in step] for step in steps]


def same(first: Steps, second: Steps) -> bool:
    return indices(first) == indices(second) and all(
        torch.equal(a[1], b[1]) for one, two in zip(first, second) for a, b in zip(one, two)
    )


def test_steps_drop_the_tail(source: Source):
    loader = Loader(source, batch_size=10, seed=1)
    assert loader.steps == 5
    steps = list(loader.epoch(0))
    assert len(steps) == 5
    seen = [i for step in indices(steps) for micro in step for i in micro]
    assert len(seen) == len(set(seen)) == 50


def test_images_belong_to_their_index(source: Source):
    for ((index, images),) in Loader(source, batch_size=10, seed=1).epoch(3):
        assert images.shape == (10, 3, 8, 8)
        assert images.dtype == torch.uint8
        assert index.dtype == torch.int64
        assert torch.equal(images, source.images(index))


def test_order_is_a_function_of_seed_and_epoch(source: Source):
    first = indices(list(Loader(source, batch_size=10, seed=1).epoch(0)))
    torch.rand(1)
    assert indices(list(Loader(source, batch_size=10, seed=1).epoch(0))) == first
    assert indices(list(Loader(source, batch_size=10, seed=1).epoch(1))) != first
    assert indices(list(Loader(source, batch_size=10, seed=2).epoch(0))) != first
    expected = torch.randperm(53, generator=generator_for(1, "order", 0))
    assert [i for (micro,) in first for i in micro] == expected[:50].tolist()


@pytest.mark.parametrize("step", [0, 1, 4, 5])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_resuming_gives_the_tail(source: Source, step: int, accumulate: int):
    loader = Loader(source, batch_size=10, seed=1, accumulate=accumulate)
    assert same(list(loader.epoch(2, step)), list(loader.epoch(2))[step:])


def test_ranks_joined_equal_one_rank(source: Source):
    whole = indices(list(Loader(source, batch_size=12, seed=1).epoch(0)))
    ranks = [indices(list(Loader(source, batch_size=12, seed=1, rank=r, world=2).epoch(0))) for r in range(2)]
    assert [[a[0] + b[0]] for a, b in zip(*ranks)] == whole


def test_rows_lie_where_the_draws_expect_them(source: Source):
    order = torch.randperm(53, generator=generator_for(1, "order", 0))
    world, accumulate, rows = 2, 3, 2
    for rank in range(world):
        steps = list(Loader(source, batch_size=12, seed=1, rank=rank, world=world, accumulate=accumulate).epoch(0))
        for s, step in enumerate(steps):
            for m, (index, _) in enumerate(step):
                start = (rank * accumulate + m) * rows
                draw = Draw(seed=1, step=s, total=12, start=start, stop=start + rows)
                assert index.tolist() == order[s * 12 : s * 12 + 12][draw.start : draw.stop].tolist()


@pytest.mark.parametrize("workers", [0, 2])
def test_streaming_equals_resident_bit_for_bit(both: tuple[Source, Source], workers: int):
    resident, streaming = both
    assert resident.resident
    assert not streaming.resident
    make: Callable[[Source, int], Loader] = lambda s, w: Loader(s, batch_size=8, seed=5, accumulate=2, workers=w)  # noqa: E731
    assert same(list(make(resident, 0).epoch(1)), list(make(streaming, workers).epoch(1)))
    assert same(list(make(resident, 0).epoch(1, 1)), list(make(streaming, workers).epoch(1, 1)))


def test_workers_that_start_anew_read_the_same(both: tuple[Source, Source], monkeypatch: pytest.MonkeyPatch):
    """As on Windows and macOS, where everything that a worker needs has to be pickled."""
    monkeypatch.setattr(prefetch, "START_METHOD", "spawn")
    resident, streaming = both
    started = list(Loader(streaming, batch_size=8, seed=5, workers=1).epoch(1))
    assert same(list(Loader(resident, batch_size=8, seed=5).epoch(1)), started)


def png(value: int) -> bytes:
    stream = BytesIO()
    Image.fromarray(np.full((12, 12, 3), value, np.uint8)).save(stream, "PNG")
    return stream.getvalue()


@pytest.mark.parametrize("kind", ["folder", "list", "parquet", "array", "generated"])
def test_images_can_be_read_in_a_process_that_starts_anew(tmp_path: Path, kind: str):
    files = [tmp_path / "photos" / f"{i}.png" for i in range(6)]
    files[0].parent.mkdir()
    for i, file in enumerate(files):
        file.write_bytes(png(20 * i))
    pq.write_table(
        pa.table({"image": [{"bytes": png(20 * i), "path": f"{i}.png"} for i in range(6)]}), tmp_path / "x.parquet"
    )
    images = {
        "folder": files[0].parent,
        "list": files,
        "parquet": tmp_path / "x.parquet",
        "array": np.stack([np.full((12, 12, 3), 20 * i, np.uint8) for i in range(6)]),
        "generated": "generated:images=20,size=12",
    }[kind]
    source = open_source(images, size=12, cache_dir=tmp_path / "cache", memory_limit=0)
    again = pickle.loads(pickle.dumps(source))
    rows = torch.tensor([3, 0, 5])
    assert torch.equal(again.images(rows), source.images(rows))


def test_workers_leave_the_global_numbers_alone(both: tuple[Source, Source]):
    before = torch.random.get_rng_state()
    list(Loader(both[1], batch_size=8, seed=5, workers=2).epoch(0))
    assert torch.equal(before, torch.random.get_rng_state())


def test_an_epoch_may_be_left_early(both: tuple[Source, Source]):
    steps = Loader(both[1], batch_size=4, seed=5, workers=2).epoch(0)
    next(steps)
    steps.close()  # pyright: ignore
    assert len(list(Loader(both[1], batch_size=4, seed=5, workers=2).epoch(0))) == 5


def test_a_batch_larger_than_the_set_is_told(source: Source):
    with pytest.raises(UserError, match="more than the 53"):
        Loader(source, batch_size=54, seed=0)


def test_a_batch_that_does_not_divide_is_told(source: Source):
    with pytest.raises(UserError, match="multiple of 6"):
        Loader(source, batch_size=10, seed=0, world=2, accumulate=3)


def test_nonsense_is_told(source: Source):
    with pytest.raises(UserError, match="at least 1"):
        Loader(source, batch_size=0, seed=0)
