"""Claims about runs under faults: damaged files, changed images, two processes in one folder, a full disk."""

import os
import random
import shutil
import signal
import socket
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import viewkin as library
from commandline import TINY, Ended, checkpoint_of, differing, images_in, metrics_of, viewkin, wait_until
from viewkin.methods.simclr import SimCLR
from viewkin.runs.directory_lock import LOCK, directory_lock, refuse_if_locked
from viewkin.runtime.errors import UserError
from viewkin.training.checkpoint import LAST, PREVIOUS, load_checkpoint

DATA = "generated:images=64"
OFTEN = ("--set", "runtime.checkpoint_steps=1", "--set", "runtime.log_every=1")
SIMCLR = ("--recipe", "demo", *TINY, *OFTEN)


class KilledError(BaseException):
    """Stands for a kill."""


def killed_at(monkeypatch: pytest.MonkeyPatch, step: int, *command: object) -> None:
    """Run a command with SimCLR that dies in a step."""
    forward = SimCLR.forward

    def dying(self, batch, at):
        if at.total_step == step:
            raise KilledError
        return forward(self, batch, at)

    with monkeypatch.context() as patch:
        patch.setattr(SimCLR, "forward", dying)
        with pytest.raises(KilledError):
            viewkin(*command)


def damage(path: Path, bit: int | None = None) -> None:
    content = bytearray(path.read_bytes())
    bit = 4 * len(content) if bit is None else bit
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)


def refused(ended: Ended, *words: str) -> None:
    assert ended.code == 2, ended
    assert len(ended.err.splitlines()) == 1, ended.err
    for word in words:
        assert word in ended.err


def state_of(out: Path) -> dict[str, tuple[int, bytes]]:
    """Everything that could be touched: times and contents of all files."""
    return {
        str(path.relative_to(out)): (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
        for path in (out, *sorted(out.rglob("*")))
    }


# ---------------------------------------------------------------- damaged files


def test_a_run_with_a_damaged_checkpoint_goes_on_from_the_one_before_to_the_same_bits(workplace, monkeypatch):
    assert viewkin("train", DATA, *SIMCLR, "--out", "whole").code == 0
    killed_at(monkeypatch, 6, "train", DATA, *SIMCLR, "--out", "run")
    assert [load_checkpoint(Path("run") / name)["progress"]["step"] for name in (LAST, PREVIOUS)] == [6, 5]
    damage(Path("run") / LAST)
    shutil.copytree("run", "again")
    ended = viewkin("train", DATA, "--out", "run", "--resume")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.count("run/last.ckpt is damaged, so the checkpoint before it is used: run/previous.ckpt.") == 1
    assert not differing(checkpoint_of(Path("run")), checkpoint_of(Path("whole")))
    assert metrics_of(Path("run")) == metrics_of(Path("whole"))
    # A kill before the next save finds two sound checkpoints: the damaged one never takes the place of the one before.
    killed_at(monkeypatch, 5, "train", DATA, "--out", "again", "--resume")
    assert [load_checkpoint(Path("again") / name)["progress"]["step"] for name in (LAST, PREVIOUS)] == [5, 5]


def test_embeddings_come_from_the_checkpoint_before_a_damaged_one_and_say_so(workplace, trained):
    images_in(workplace / "photos", 6)
    shutil.copytree(trained, "run")
    embed = ("embed", "run", "photos", "--features", "embedding", "--out")
    assert viewkin(*embed, "sound.parquet").code == 0
    damage(Path("run") / LAST)
    ended = viewkin(*embed, "saved.parquet")
    assert (ended.code, ended.err) == (0, "")
    assert "run/last.ckpt is damaged, so the checkpoint before it is used" in ended.out
    assert pq.read_table("sound.parquet").equals(pq.read_table("saved.parquet"))
    (Path("run") / PREVIOUS).unlink()
    refused(viewkin(*embed, "no.parquet"), "run/last.ckpt is not a readable checkpoint")


def test_an_evaluation_takes_the_weights_from_a_checkpoint_where_the_backbone_is_damaged(workplace, trained):
    images_in(workplace / "pets", 40, classes=("cat", "dog"))
    shutil.copytree(trained, "run")
    for name in ("backbone.safetensors", LAST):
        damage(Path("run") / name)
    ended = viewkin("evaluate", "knn", "run", "pets", "--holdout", 0.5, "--no-baselines", "--out", "x.json")
    assert (ended.code, ended.err) == (0, "")
    assert "run/backbone.safetensors is damaged, so the weights are taken from run/last.ckpt." in ended.out
    assert "run/last.ckpt is damaged, so the weights are taken from run/previous.ckpt." in ended.out
    refused(viewkin("embed", "run/backbone.safetensors", "pets", "--out", "x.parquet"), "copy or write it again")


def test_no_flipped_bit_of_any_file_is_loaded_wrong(workplace, trained):
    shutil.copytree(trained, "run")
    places = random.Random(0)
    for name in (LAST, "best.ckpt", "backbone.safetensors"):
        path = Path("run") / name
        content = path.read_bytes()
        for bit in places.sample(range(8 * len(content)), 60):
            damage(path, bit)
            with pytest.raises(UserError, match=name):
                library.load_backbone(path)
            path.write_bytes(content)
        library.load_backbone(path)


@pytest.mark.parametrize("seed", range(4))
def test_a_damaged_list_of_images_does_not_make_them_others(workplace, trained, seed):
    shutil.copytree(trained, "run")
    (workplace / "run" / "report.html").unlink()
    path = workplace / "run" / "images.parquet"
    damage(path, random.Random(seed).randrange(8 * path.stat().st_size))
    ended = viewkin("train", DATA, "--out", "run", "--resume")
    assert (ended.code, ended.err) == (0, "")


# ---------------------------------------------------------------- finished, or not


def test_a_finished_run_is_left_alone_and_says_so(workplace, trained):
    shutil.copytree(trained, "run")
    images_in(workplace / "photos", 6)
    drawn = viewkin("figures", "neighbours", "run", "--report")
    assert drawn.code in (0, 2)
    before = state_of(workplace / "run")
    for command in (("--resume",), ("--auto-resume",), ("--auto-resume", "--recipe", "demo", *TINY)):
        ended = viewkin("train", DATA, "--out", "run", *command)
        assert (ended.code, ended.err) == (0, "")
        assert ended.out == "The run in run is finished; it is left as it is.\n"
        assert state_of(workplace / "run") == before
    again = library.open_run("run").resume()
    assert again.finished
    assert state_of(workplace / "run") == before


def test_a_run_that_was_killed_before_its_report_is_not_finished(workplace, trained):
    shutil.copytree(trained, "run")
    (workplace / "run" / "report.html").unlink()
    ended = viewkin("train", DATA, "--out", "run", "--resume")
    assert (ended.code, ended.err) == (0, "")
    assert (workplace / "run" / "report.html").exists()
    assert not differing(checkpoint_of(workplace / "run"), checkpoint_of(trained))


def test_one_command_starts_continues_and_leaves_alone(workplace, monkeypatch):
    assert viewkin("train", DATA, *SIMCLR, "--out", "whole").code == 0
    command = ("train", DATA, *SIMCLR, "--out", "run", "--auto-resume")
    killed_at(monkeypatch, 0, *command)
    assert not Path("run").exists()
    killed_at(monkeypatch, 3, *command)
    ended = viewkin(*command)
    assert (ended.code, ended.err) == (0, "")
    assert "Going on with demo in run." in ended.out
    assert not differing(checkpoint_of(Path("run")), checkpoint_of(Path("whole")))
    assert "is finished" in viewkin(*command).out


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--seed", 3), ("seed 0", "this command 3")),
        (("--epochs", 5), ("schedule.epochs 2", "this command 5")),
        (("--set", "method.temperature=0.9"), ("method.temperature", "0.9")),
        (("--recipe", "photos"), ("recipe 'demo'", "'photos'")),
        (("--method", "byol"), ("recipe 'demo'", "'photos-byol'")),
    ],
)
def test_an_auto_resume_with_other_settings_than_the_runs_is_refused(workplace, trained, more, words):
    shutil.copytree(trained, "run")
    refused(viewkin("train", DATA, "--out", "run", "--auto-resume", *more), *words, "another --out")


def test_an_auto_resume_needs_a_directory(workplace):
    refused(viewkin("train", DATA, "--auto-resume"), "--auto-resume needs --out DIR")
    with pytest.raises(UserError, match="needs --out"):
        library.train(DATA, auto_resume=True)


# ---------------------------------------------------------------- other images


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


# ---------------------------------------------------------------- two processes in one folder


def test_a_second_run_in_a_folder_is_refused_and_changes_nothing(server, workplace):
    slow = ("train", DATA, "--recipe", "demo", *TINY[:1], "--epochs", 4000, "--batch-size", 16, "--image-size", 16)
    log = workplace.parent / "log"
    child = server.start(*slow, *OFTEN, "--out", "run", cwd=workplace, log=log)
    wait_until(lambda: len(metrics_of(workplace / "run")) > 1, "the first steps")
    second = [("train", DATA, "--out", "run", "--resume"), ("train", DATA, *TINY, "--out", "run")]
    for command in (*second, (*slow, "--out", "run", "--auto-resume")):
        refused(viewkin(*command), "Another process is training in run", "another --out")
    os.kill(child, signal.SIGTERM)
    assert server.wait(child) == 143, log.read_text()
    assert not (workplace / "run" / LOCK).exists()
    steps = [line["step"] for line in metrics_of(workplace / "run")]
    assert steps == list(range(1, len(steps) + 1))


def test_of_two_processes_that_start_in_one_fresh_folder_one_is_refused(server, workplace):
    logs = [workplace.parent / f"log-{number}" for number in range(2)]
    command = ("train", DATA, "--recipe", "demo", "--smoke", "--epochs", 60, "--batch-size", 16, "--image-size", 16)
    children = [server.start(*command, "--out", "run", cwd=workplace, log=log) for log in logs]
    codes = [server.wait(child) for child in children]
    assert sorted(codes) == [0, 2], [log.read_text() for log in logs]
    said = logs[codes.index(2)].read_text()
    assert "error: " in said
    assert "Another process is training in run" in said or "already holds a run" in said
    steps = [line["step"] for line in metrics_of(workplace / "run")]
    assert steps == sorted(set(steps))


def test_all_processes_of_a_second_run_are_refused_and_one_speaks(server, workplace):
    (workplace / "run").mkdir()
    with directory_lock(workplace / "run"), socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        codes = server.ranks("train", DATA, *TINY, "--out", "run", cwd=workplace, log=workplace / "log", port=port)
    assert codes == [2, 2]
    assert "Another process is training in run" in (workplace / "log.0").read_text()
    assert (workplace / "log.1").read_text() == ""
    assert list((workplace / "run").iterdir()) == []


def test_two_runs_without_a_folder_of_their_own_take_two(server, workplace):
    images_in(workplace / "photos", 40)
    logs = [workplace.parent / f"log-{number}" for number in range(2)]
    command = ("train", "photos", *TINY, "--recipe", "demo")
    children = [server.start(*command, cwd=workplace, log=log) for log in logs]
    assert [server.wait(child) for child in children] == [0, 0], [log.read_text() for log in logs]
    assert sorted(path.name for path in (workplace / "runs").iterdir()) == ["demo-photos", "demo-photos-2"]


def test_a_killed_process_holds_no_lock(server, workplace):
    child = server.start("train", DATA, *SIMCLR, "--epochs", 4000, "--out", "run", cwd=workplace, log=workplace / "log")
    wait_until(lambda: len(metrics_of(workplace / "run")) > 1, "the first steps")
    os.kill(child, signal.SIGKILL)
    server.wait(child)
    assert (workplace / "run" / LOCK).exists()
    refuse_if_locked(workplace / "run")
    with directory_lock(workplace / "run"):
        pass
    assert not (workplace / "run" / LOCK).exists()


def test_a_forked_process_does_not_keep_the_lock(tmp_path):
    # As the processes that decode images may outlive the one that trains by some seconds.
    reader, writer = os.pipe()
    owner = os.fork()
    if owner == 0:
        with directory_lock(tmp_path):
            worker = os.fork()
            if worker == 0:
                time.sleep(60)
                os._exit(0)
            os.write(writer, str(worker).encode())
            time.sleep(60)
            os._exit(0)
    worker = int(os.read(reader, 20))
    with pytest.raises(UserError, match="Another process"):
        refuse_if_locked(tmp_path)
    os.kill(owner, signal.SIGKILL)
    os.waitpid(owner, 0)
    try:
        refuse_if_locked(tmp_path)
        with directory_lock(tmp_path):
            pass
    finally:
        os.kill(worker, signal.SIGKILL)


def test_a_lock_is_for_one_at_a_time(tmp_path):
    with directory_lock(tmp_path):
        with pytest.raises(UserError, match="Another process is training in"):
            refuse_if_locked(tmp_path)
        with pytest.raises(UserError, match="Another process is training in"), directory_lock(tmp_path):
            pass
    refuse_if_locked(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_where_there_are_no_locks_a_run_goes_on_without(tmp_path, monkeypatch):
    def no_locks(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("fcntl.flock", no_locks)
    with directory_lock(tmp_path), directory_lock(tmp_path):
        refuse_if_locked(tmp_path)


# ---------------------------------------------------------------- a full disk


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
