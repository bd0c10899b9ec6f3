"""Claims about runs that are stopped from outside: signals, kills, a full disk, many processes."""

import os
import random
import signal
import socket
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from commandline import TINY, Server, checkpoint_of, differing, images_in, metrics_of, wait_until
from viewkin.training import interrupt

DATA = "generated:images=120,size=16"
EPOCHS, PER_EPOCH = 4, 7
STEPS = EPOCHS * PER_EPOCH
SETTINGS = ("runtime.log_every=1", "runtime.checkpoint_steps=3", "runtime.threads=1", "runtime.accelerator=cpu")
RUN = (
    *("train", DATA, "--recipe", "demo", "--smoke", "--epochs", EPOCHS, "--batch-size", 16, "--image-size", 16),
    *(part for setting in SETTINGS for part in ("--set", setting)),
)
"""28 steps of some 30 ms, a checkpoint every third."""
RANDOM_KILLS = 8


def steps_in(out: Path) -> int:
    lines = metrics_of(out)
    return lines[-1]["step"] if lines else 0


def no_trace(broken: Path, whole: Path) -> None:
    one, other = checkpoint_of(broken), checkpoint_of(whole)
    assert one[".progress.step"] == STEPS
    assert any(name.startswith(".monitor.") for name in one)
    assert any(name.startswith(".optimizer.state.") for name in one)
    assert not differing(one, other)
    assert [line["step"] for line in metrics_of(broken)] == list(range(1, STEPS + 1))
    assert metrics_of(broken) == metrics_of(whole)
    assert files_of(broken) == files_of(whole)


def files_of(out: Path) -> set[str]:
    return {path.name for path in out.iterdir()}


@pytest.fixture(scope="module")
def whole(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run that nothing stopped."""
    place = tmp_path_factory.mktemp("whole")
    assert server.run(*RUN, "--out", "run", cwd=place, log=place / "log") == 0, (place / "log").read_text()
    return place / "run"


def test_a_run_killed_at_ten_random_moments_ends_with_the_bits_of_an_unbroken_one(server, whole, tmp_path):
    seed = int(os.environ.get("VIEWKIN_TEST_SEED", "0"))
    print(f"VIEWKIN_TEST_SEED={seed}")
    moments = random.Random(seed)
    out, log = tmp_path / "run", tmp_path / "log"
    # Two kills while the run starts, the others somewhere in a step, a save or a log line.
    targets = [0, 0, *sorted(moments.sample(range(1, STEPS), RANDOM_KILLS))]
    for number, target in enumerate(targets):
        again = ("--resume",) if (out / "last.ckpt").exists() else ()
        start = RUN if not again else ("train", DATA)
        child = server.start(*start, "--out", "run", *again, cwd=tmp_path, log=log)
        if target:
            wait_until(partial(reached, out, target, child), f"step {target}")
        time.sleep(moments.uniform(0, 0.05 if target else 1.0))
        os.kill(child, signal.SIGKILL)
        assert server.wait(child) == -signal.SIGKILL, f"kill {number}: {log.read_text()}"
    again = ("train", DATA, "--out", "run", "--resume") if (out / "last.ckpt").exists() else (*RUN, "--out", "run")
    assert server.run(*again, cwd=tmp_path, log=log) == 0, log.read_text()
    no_trace(out, whole)


def reached(out: Path, step: int, child: int) -> bool:
    """Whether a run has come to a step, or has ended by itself: a zombie until it is waited for."""
    return steps_in(out) >= step or Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_says_how_to_go_on_and_loses_nothing(server, whole, tmp_path, number, code):
    child = server.start(*RUN, "--out", "run", cwd=tmp_path, log=tmp_path / "log")
    wait_until(lambda: steps_in(tmp_path / "run") >= 4, "step 4")
    os.kill(child, number)
    assert server.wait(child) == code
    said = (tmp_path / "log").read_text()
    assert f"Go on with: viewkin train {DATA} --out run --resume" in said
    assert "Traceback" not in said
    stopped = checkpoint_of(tmp_path / "run")[".progress.step"]
    assert 4 <= stopped < STEPS
    assert f"Stopped and saved at step {stopped}." in said
    assert steps_in(tmp_path / "run") == stopped
    (tmp_path / "run" / ".backbone.safetensors.1.part").write_bytes(b"left by a kill")
    assert server.run("train", DATA, "--out", "run", "--resume", cwd=tmp_path, log=tmp_path / "log") == 0
    no_trace(tmp_path / "run", whole)


def test_a_second_ctrl_c_ends_at_once_and_the_last_checkpoint_holds(server, tmp_path):
    # A step of twenty micro-batches lasts long enough for the second one to come within it.
    slow = ("train", "generated:images=600,size=64", "--recipe", "demo", "--image-size", 64, "--batch-size", 600)
    wide = ("--set", "backbone.width=64", "--set", "data.accumulate=20", "--set", "runtime.accelerator=cpu")
    child = server.start(*slow, *wide, "--out", "run", cwd=tmp_path, log=tmp_path / "log")
    wait_until(lambda: (tmp_path / "run" / "last.ckpt").exists(), "the first checkpoint")
    time.sleep(1)
    os.kill(child, signal.SIGINT)
    wait_until(lambda: "once more ends at once" in (tmp_path / "log").read_text(), "the answer to the first")
    time.sleep(1.2)
    os.kill(child, signal.SIGINT)
    assert server.wait(child) == 130
    assert (tmp_path / "log").read_text().splitlines()[-1] == "error: Interrupted."


def test_a_signal_before_the_first_step_leaves_no_run_directory(server, tmp_path):
    child = server.start("train", "generated:images=4000,size=64", "--out", "run", cwd=tmp_path, log=tmp_path / "log")
    time.sleep(0.5)
    os.kill(child, signal.SIGTERM)
    assert server.wait(child) == 143
    assert (tmp_path / "log").read_text().splitlines()[-1] == "error: Interrupted."
    assert not (tmp_path / "run").exists()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_a_torchrun_stopped_in_the_middle_resumes_to_the_same_bits(server, whole, tmp_path):
    place = tmp_path
    assert server.ranks(*RUN, "--out", "a", cwd=place, log=place / "a.log", port=free_port()) == [0, 0]
    torchrun = (sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", free_port())
    # Saved at every step, the other at every third: when a run is saved leaves no trace either.
    often = ("--set", "runtime.checkpoint_steps=1")
    command = [str(part) for part in (*torchrun, "-m", "viewkin", *RUN, *often, "--out", "b")]
    with (place / "b.log").open("w") as log:
        process = subprocess.Popen(
            command, cwd=place, stdout=log, stderr=log, env={**os.environ, "OMP_NUM_THREADS": "1"}
        )
        wait_until(lambda: steps_in(place / "b") >= 4 or process.poll() is not None, "step 4")
        process.terminate()
        process.wait()
    said = (place / "b.log").read_text()
    stopped = checkpoint_of(place / "b")[".progress.step"]
    assert said.count(f"Stopped and saved at step {stopped}.") == 1, said
    again = ("train", DATA, "--out", "b", "--resume")
    assert server.ranks(*again, cwd=place, log=place / "b.log", port=free_port()) == [0, 0]
    no_trace(place / "b", place / "a")
    assert files_of(place / "a") == files_of(whole)
    # Rank 0 alone speaks.
    assert (place / "a.1").read_text() == ""


def test_two_processes_train_on_one_folder(server, tmp_path):
    images_in(tmp_path / "photos", 40)
    command = ("train", "photos", *TINY, "--out", "run")
    codes = server.ranks(
        *command, cwd=tmp_path, log=tmp_path / "log", port=free_port(), VIEWKIN_CACHE=tmp_path / "cache"
    )
    assert codes == [0, 0], (tmp_path / "log.0").read_text()
    assert "2 processes" in (tmp_path / "log.0").read_text()
    assert not list((tmp_path / "cache").glob("*.part"))


def test_signals_in_quick_succession_are_one_request(monkeypatch, request):
    # torchrun passes on the Ctrl-C that the terminal has sent to every process already.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))
    now = [100.0]
    monkeypatch.setattr(interrupt.time, "monotonic", lambda: now[0])
    with interrupt.Interrupt() as asked:
        signal.raise_signal(signal.SIGINT)
        now[0] += 0.5
        signal.raise_signal(signal.SIGINT)
        assert asked.signal == signal.SIGINT
        now[0] += 1.0
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_process_says_bad_input_once_for_all(server, tmp_path):
    bad = ("train", "nothing-here", "--out", "run")
    assert server.ranks(*bad, cwd=tmp_path, log=tmp_path / "log", port=free_port()) == [2, 2]
    assert (tmp_path / "log.0").read_text().startswith("error: There is no nothing-here")
    assert (tmp_path / "log.1").read_text() == ""
