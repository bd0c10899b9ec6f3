"""Claims about one run of a campaign: what is done is not done again, what is missing is told."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from viewkin.campaigns.catalogue import CAMPAIGNS
from viewkin.campaigns.measured import KEPT, epochs_done
from viewkin.commands.campaign_run import CampaignRun, Children, RowFailedError, RowStoppedError, finish

EDITION = CAMPAIGNS["mini"].editions[0]


class Recorder(Children):
    """Runs nothing; training leaves the files of a run."""

    def __init__(self) -> None:
        super().__init__()
        self.commands: list[list[str]] = []
        self.leaves: tuple[str, ...] = KEPT

    def run(self, arguments: Sequence[str], log: Path, threads: int | None) -> None:
        """Record a command, and write what it would leave."""
        self.commands.append([*arguments])
        out = Path(arguments[arguments.index("--out") + 1])
        if arguments[0] == "train":
            out.mkdir(parents=True, exist_ok=True)
            for name in self.leaves:
                (out / name).write_text("{}")
        else:
            out.write_text("[]")


def run_in(place: Path, row: str = "isif") -> CampaignRun:
    """A run of mini with seed 0."""
    return CampaignRun(
        edition=EDITION, row=EDITION.row(row), seed=0, images="images", results=place / "results", runs=place / "runs"
    )


def test_a_run_is_trained_judged_in_every_way_and_kept(tmp_path: Path):
    run, children = run_in(tmp_path), Recorder()
    finish(run, children)
    assert [words[0] for words in children.commands] == ["train", *["evaluate"] * len(EDITION.evaluations)]
    assert children.commands[0][-1] == "--auto-resume"
    assert {file.name for file in run.kept.iterdir()} == {*KEPT, *(one.file for one in EDITION.evaluations)}


def test_an_evaluation_that_is_there_is_not_repeated(tmp_path: Path):
    run, children = run_in(tmp_path), Recorder()
    run.kept.mkdir(parents=True)
    (run.kept / "evaluation-linear.json").write_text("[]")
    finish(run, children)
    assert ["linear" in words for words in children.commands] == [False] * len(EDITION.evaluations)


def test_what_was_ended_before_it_had_saved_is_trained_from_the_start(tmp_path: Path):
    run, children = run_in(tmp_path), Recorder()
    run.place.mkdir(parents=True)
    (run.place / "events.left").write_text("")
    finish(run, children)
    assert not (run.place / "events.left").exists()


def test_a_run_with_a_checkpoint_is_not_removed(tmp_path: Path):
    run, children = run_in(tmp_path), Recorder()
    run.place.mkdir(parents=True)
    (run.place / "last.ckpt").write_text("")
    finish(run, children)
    assert (run.place / "last.ckpt").exists()


def test_a_run_that_left_no_log_fails(tmp_path: Path):
    run, children = run_in(tmp_path), Recorder()
    children.leaves = KEPT[:-1]
    with pytest.raises(RowFailedError, match=r"has no metrics\.jsonl"):
        finish(run, children)


def test_a_process_that_fails_is_told_by_its_last_error(tmp_path: Path):
    log = tmp_path / "logs" / "one.log"
    with pytest.raises(RowFailedError, match="viewkin train ended with code 2: There is no no-such"):
        Children().run(["train", "no-such"], log, 1)
    assert log.read_text().startswith("$ viewkin train no-such\n")


def test_nothing_is_started_once_all_are_stopped(tmp_path: Path):
    children = Children()
    children.stop()
    with pytest.raises(RowStoppedError):
        children.run(["recipes"], tmp_path / "log", 1)


@pytest.mark.parametrize(
    ("text", "epochs"),
    [("", 0.0), ('{"epoch": 1.5}\n{"epoch": 2.0}\n', 2.0), ('{"epoch": 1.5}\n{"epo', 1.5), ("[]\nnull\n", 0.0)],
)
def test_the_epochs_of_a_run_are_those_of_the_last_whole_line(tmp_path: Path, text: str, epochs: float):
    (tmp_path / "metrics.jsonl").write_text(text)
    assert epochs_done(tmp_path) == epochs


def test_epochs_are_counted_over_all_rounds(tmp_path: Path):
    rounds = CAMPAIGNS["eir-rounds"].editions[0]
    runs = [
        CampaignRun(edition=rounds, row=row, seed=0, images="", results=tmp_path, runs=tmp_path) for row in rounds.rows
    ]
    assert [run.epochs for run in runs] == [200, 400]
