"""Claims about a run directory that cannot be written: one sentence whose advice works."""

import os
from pathlib import Path

import pytest

from commandline import TINY, viewkin
from faults import DATA


@pytest.mark.parametrize("there", [False, True])
def test_the_advice_fits_where_the_first_checkpoint_cannot_be_written(workplace, monkeypatch, there):
    if there:
        (workplace / "run").mkdir()

    def full(path: Path, *_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("viewkin.training.checkpoint.write_tensors", full)
    ended = viewkin("train", DATA, *TINY, "--out", "run")
    assert ended.code == 1
    assert "run/last.ckpt cannot be written (No space left on device); make room, then start the run again" in ended.err
    assert "--resume" not in ended.err
    assert (workplace / "run").exists() == there
    monkeypatch.undo()
    monkeypatch.chdir(workplace)
    assert viewkin("train", DATA, *TINY, "--out", "run").code == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
@pytest.mark.parametrize("room", [2, 12, 30, 100])
def test_a_disk_that_is_full_from_the_start_is_one_sentence_whose_advice_works(workplace, room):
    small = workplace / "small"
    small.mkdir()
    if os.system(f"mount -t tmpfs -o size=40m tmpfs {small} 2>/dev/null"):
        pytest.skip("no right to mount")
    try:
        (small / "fill").write_bytes(bytes(40 * 2**20 - room * 1024))
        ended = viewkin("train", DATA, *TINY, "--out", "small/run")
        assert ended.code in (1, 2)
        assert len(ended.err.splitlines()) == 1, ended.err
        assert "No space left" in ended.err or "disk full" in ended.err
        assert "--resume" not in ended.err
        assert not (small / "run").exists()
        (small / "fill").unlink()
        assert viewkin("train", DATA, *TINY, "--out", "small/run").code == 0
    finally:
        assert os.system(f"umount {small}") == 0
