"""Claims about several processes in one run directory: one trains, the others are refused."""

import os
import signal
import socket
import time

import pytest

from commandline import TINY, images_in, metrics_of, viewkin, wait_until
from faults import DATA, OFTEN, SIMCLR, refused
from viewkin.runs.directory_lock import LOCK, directory_lock, refuse_if_locked
from viewkin.runtime.errors import UserError


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
