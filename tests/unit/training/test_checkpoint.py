"""Claims about checkpoints on disk: no damage is loaded, and the one before is kept."""

import os
import random
from pathlib import Path

import pytest
import torch

from viewkin.nets.tensor_files import MARK
from viewkin.runtime.checksum import MAGIC
from viewkin.runtime.errors import UserError
from viewkin.runtime.files import clear_unfinished
from viewkin.training.checkpoint import (
    FORMAT,
    LAST,
    PREVIOUS,
    DamagedCheckpointError,
    load_checkpoint,
    load_newest,
    restore_last,
    save_checkpoint,
)
from viewkin.training.outcome import UnwritableRunError


def saved(out: Path, value: float) -> None:
    state = {"method": {"weight": torch.full((40, 30), value)}, "best": value, "progress": {"step": int(value)}}
    save_checkpoint(out / LAST, state, before=out / PREVIOUS)


def flipped(content: bytes, bit: int) -> bytes:
    damaged = bytearray(content)
    damaged[bit // 8] ^= 1 << bit % 8
    return bytes(damaged)


def test_no_flipped_bit_is_loaded(tmp_path):
    saved(tmp_path, 1.0)
    path = tmp_path / LAST
    content, bits = path.read_bytes(), random.Random(0)
    last = 8 * len(content)
    places = [*bits.sample(range(last), 300), *range(last - 8 * 48, last, 5)]
    for place in places:
        path.write_bytes(flipped(content, place))
        with pytest.raises(DamagedCheckpointError, match=r"last\.ckpt is not a readable checkpoint"):
            load_checkpoint(path)


@pytest.mark.parametrize("cut", [1, 32, 48, 49, 1000])
def test_no_file_that_was_cut_short_is_loaded(tmp_path, cut):
    saved(tmp_path, 1.0)
    path = tmp_path / LAST
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(DamagedCheckpointError):
        load_checkpoint(path)


def test_a_checkpoint_of_an_older_version_has_no_checksum_and_is_read(tmp_path):
    torch.save({"format": FORMAT, "best": 3.0}, tmp_path / LAST)
    assert load_checkpoint(tmp_path / LAST)["best"] == 3.0


def test_a_checkpoint_is_still_a_file_that_torch_reads(tmp_path):
    saved(tmp_path, 2.0)
    state = torch.load(tmp_path / LAST, weights_only=True)
    assert torch.equal(state["method"]["weight"], torch.full((40, 30), 2.0))
    assert state[MARK] == "blake2b"
    assert (tmp_path / LAST).read_bytes()[-48:-32] == MAGIC


@pytest.mark.parametrize("links", [True, False])
def test_the_checkpoint_before_is_kept_and_used_where_the_newest_is_damaged(tmp_path, monkeypatch, links):
    def no_links(*_: object) -> None:
        raise PermissionError("no links here")

    if not links:
        monkeypatch.setattr(os, "link", no_links)
    for value in (1.0, 2.0, 3.0):
        saved(tmp_path, value)
    assert sorted(path.name for path in tmp_path.iterdir()) == [LAST, PREVIOUS]
    path, state, note = load_newest(tmp_path)
    assert (path.name, state["best"], note) == (LAST, 3.0, "")
    (tmp_path / LAST).write_bytes(flipped((tmp_path / LAST).read_bytes(), 4000))
    path, state, note = load_newest(tmp_path)
    assert (path.name, state["best"]) == (PREVIOUS, 2.0)
    assert note == f"{tmp_path / LAST} is damaged, so the checkpoint before it is used: {tmp_path / PREVIOUS}."
    restore_last(tmp_path)
    assert load_newest(tmp_path)[2] == ""
    assert load_newest(tmp_path)[1]["best"] == 2.0
    # What goes on from there leaves two sound checkpoints again.
    saved(tmp_path, 4.0)
    assert [load_checkpoint(tmp_path / name)["best"] for name in (LAST, PREVIOUS)] == [4.0, 2.0]


def test_where_both_are_damaged_both_are_named(tmp_path):
    saved(tmp_path, 1.0)
    saved(tmp_path, 2.0)
    for name in (LAST, PREVIOUS):
        (tmp_path / name).write_bytes(b"half")
    with pytest.raises(UserError, match=r"Neither .*last\.ckpt nor .*previous\.ckpt"):
        load_newest(tmp_path)


class KilledError(BaseException):
    """Stands for a kill: nothing that tidies up runs after it."""


STEPS_OF_A_SAVE = ("link", "first rename", "second rename")


@pytest.mark.parametrize("moment", range(len(STEPS_OF_A_SAVE)))
def test_a_kill_at_any_moment_of_a_save_leaves_a_checkpoint(tmp_path, monkeypatch, moment):
    saved(tmp_path, 1.0)
    saved(tmp_path, 2.0)
    calls = []

    def dying(function):
        def call(*arguments):
            calls.append(0)
            if len(calls) == moment + 1:
                raise KilledError
            return function(*arguments)

        return call

    with monkeypatch.context() as patch:
        patch.setattr(os, "link", dying(os.link))
        patch.setattr(Path, "replace", dying(Path.replace))
        patch.setattr(Path, "unlink", lambda *_, **__: None)
        with pytest.raises(KilledError):
            saved(tmp_path, 3.0)
    path, state, note = load_newest(tmp_path)
    assert (path.name, state["best"], note) == (LAST, 2.0, "")
    clear_unfinished(tmp_path)  # as a run that goes on does
    saved(tmp_path, 3.0)
    assert [load_checkpoint(tmp_path / name)["best"] for name in (LAST, PREVIOUS)] == [3.0, 2.0]
    assert sorted(path.name for path in tmp_path.iterdir()) == [LAST, PREVIOUS]


@pytest.mark.parametrize(("kept", "advice"), [(True, "go on with --resume"), (False, "start the run again")])
def test_the_advice_on_a_full_disk_fits(tmp_path, monkeypatch, kept, advice):
    if kept:
        saved(tmp_path, 1.0)

    def full(number: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UnwritableRunError, match=rf"\(No space left on device\); make room, then {advice}"):
        saved(tmp_path, 2.0)
    assert not list(tmp_path.glob("*.part"))
