"""Claims about runs whose images changed: what differs is said, and nothing is lost."""

import shutil
from pathlib import Path

import pytest

import viewkin as library
from commandline import images_in, metrics_of, viewkin
from faults import SIMCLR, KilledError, killed_at, refused, state_of


def changed(folder: Path) -> None:
    """Add an image, remove one, replace one."""
    files = sorted(folder.glob("*.jpg"))
    shutil.copy(files[5], folder / "new.jpg")
    files[0].unlink()
    shutil.copy(files[7], files[1])


def test_a_run_goes_on_with_changed_images_where_asked_and_where_nothing_is_lost(workplace, monkeypatch):
    images_in(workplace / "photos", 40)
    killed_at(monkeypatch, 3, "train", "photos", *SIMCLR, "--out", "run")
    changed(workplace / "photos")
    said = ("1 image added (new.jpg), 1 image removed (000.jpg) and 1 image changed (001.jpg)", "--accept-changes")
    before = state_of(workplace / "run")
    refused(viewkin("train", "photos", "--out", "run", "--resume"), *said)
    assert state_of(workplace / "run") == before
    ended = viewkin("train", "photos", "--out", "run", "--resume", "--accept-changes")
    assert (ended.code, ended.err) == (0, "")
    assert "the run goes on with the 40 images that are there (--accept-changes)" in ended.out
    assert [line["step"] for line in metrics_of(Path("run"))] == [1, 2, 3, 4]
    stored = library.open_run("run").settings
    assert stored.fingerprint == library.Dataset("photos").fingerprint()
    # From now on these are the run's images.
    (Path("run") / "report.html").unlink()
    assert viewkin("train", "photos", "--out", "run", "--resume").code == 0


@pytest.mark.parametrize(("count", "steps"), [(20, [1, 2]), (70, [2, 4, 5, 6, 7, 8])])
def test_a_run_goes_on_with_more_or_fewer_images_in_epochs(workplace, monkeypatch, count, steps):
    images_in(workplace / "photos", 40)
    killed_at(monkeypatch, 2, "train", "photos", *SIMCLR, "--out", "run")
    shutil.rmtree("photos")
    images_in(workplace / "photos", count)
    run = library.train("photos", out="run", resume=True, accept_changes=True)
    assert run.finished
    assert run.settings.images == count
    lines = metrics_of(Path("run"))
    assert [line["step"] for line in lines] == steps
    assert [line["epoch"] for line in lines] == sorted(line["epoch"] for line in lines)


def test_a_kill_while_changes_are_accepted_loses_nothing(workplace, monkeypatch):
    images_in(workplace / "photos", 40)
    killed_at(monkeypatch, 3, "train", "photos", *SIMCLR, "--out", "run")
    changed(workplace / "photos")

    def dying(*_: object) -> None:
        raise KilledError

    command = ("train", "photos", "--out", "run", "--resume", "--accept-changes")
    with monkeypatch.context() as patch:
        patch.setattr("viewkin.runs.run_directory.write_listing", dying)
        with pytest.raises(KilledError):
            viewkin(*command)
    refused(viewkin(*command[:-1]), "1 image added")
    ended = viewkin(*command)
    assert (ended.code, ended.err) == (0, "")


def test_what_would_be_lost_is_said_where_a_method_keeps_rows_for_each_image(workplace):
    images_in(workplace / "photos", 40)
    assert viewkin("train", "photos", *SIMCLR, "--method", "npid", "--out", "run").code == 0
    (workplace / "run" / "report.html").unlink()
    changed(workplace / "photos")
    before = state_of(workplace / "run")
    ended = viewkin("train", "photos", "--out", "run", "--resume", "--accept-changes")
    refused(ended, "1 image removed", "npid keeps rows for each image", "would be lost", "start a new run")
    assert state_of(workplace / "run") == before


def test_too_few_images_are_refused_also_where_changes_are_accepted(workplace, monkeypatch):
    images_in(workplace / "photos", 40)
    killed_at(monkeypatch, 3, "train", "photos", *SIMCLR, "--out", "run")
    for path in sorted((workplace / "photos").glob("*.jpg"))[10:]:
        path.unlink()
    refused(
        viewkin("train", "photos", "--out", "run", "--resume", "--accept-changes"), "30 images removed", "at most 10"
    )
