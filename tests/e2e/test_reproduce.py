"""A tiny campaign, end to end: stopped in the middle of a run, gone on with, a row that fails, table and claims."""

import csv
import json
import os
import signal
import threading
from pathlib import Path

import pytest

from commandline import Ended, metrics_of, viewkin, wait_until
from viewkin.campaigns import catalogue
from viewkin.campaigns.campaign import Absent, Budget, Campaign, Column, Edition, Evaluation, Observation, Row

IMAGES = "generated:images=64,size=16"
SMALL = ("backbone.width=8", "augment.image_size=16", "augment.view_size=none")
TINY = Campaign(
    name="tiny",
    about="whether one epoch is as good as many",
    editions=(
        Edition(
            budget=Budget(name="mini", about="64 images", epochs=1, batch_size=16, settings=SMALL, threads=1),
            images="CIFAR-10",
            rows=(
                Row(name="long", recipe="cifar10_cpu", epochs=60, family="a"),
                Row(
                    name="broken",
                    recipe="cifar10_cpu",
                    method="moco",
                    settings=("method.queue_size=4096",),
                    about="a queue larger than the set",
                ),
                Row(name="short", recipe="cifar10_cpu", family="a"),
            ),
            seeds=(0,),
            evaluations=(
                Evaluation(protocol="knn", file="evaluation-knn.json", by_training=True),
                Evaluation(
                    protocol="retrieval",
                    file="evaluation-retrieval-embedding.json",
                    features="embedding",
                    split="test",
                ),
            ),
            columns=(
                Column(key="knn", title="kNN", protocol="knn", measure="knn@6"),
                Column(key="r1", title="R@1", protocol="retrieval", measure="R@1", features="embedding"),
            ),
            deciding=("knn", "r1"),
        ),
    ),
    observations=(Observation(claim="Sixty epochs beat one", better="long", than="short", source="common sense"),),
    absent=(Absent(name="Other", why="there is no code"),),
)


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(catalogue.CAMPAIGNS, "tiny", TINY)


def reproduce(*more: object) -> Ended:
    """Run the command on the generated images."""
    return viewkin("reproduce", "tiny", "--data", IMAGES, *more)


def page() -> str:
    """The page of the campaign."""
    return Path("results/tiny/README.md").read_text(encoding="utf-8")


def test_a_campaign_is_stopped_gone_on_with_and_told(workplace: Path):
    log = Path("runs/tiny/long-s0/metrics.jsonl")

    def interrupt() -> None:
        wait_until(lambda: metrics_of(log.parent), "the first line of the log")
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    stopped = reproduce("--rows", "long")
    assert stopped.code == 130, stopped.err
    assert "begun, epoch" in viewkin("reproduce", "tiny", "--list").out
    before = log.read_text(encoding="utf-8").splitlines()
    assert len(before) < 60, "it was stopped in the middle"
    assert "| long | not run |" in page()

    went_on = reproduce("--jobs", "2", "--nice", "1", "--runs", workplace / "runs" / "tiny")
    assert went_on.code == 1, "a row failed"
    assert "long with seed 0 goes on from epoch" in went_on.out
    assert log.read_text(encoding="utf-8").splitlines()[: len(before)] == before, "what was trained is not repeated"
    assert "broken with seed 0 failed: viewkin train ended with code 2: method.queue_size is 4096" in went_on.out

    texts = [file.read_text(encoding="utf-8") for file in Path("results/tiny").rglob("*.json")]
    assert len(texts) == 8
    assert not any(str(workplace) in text for text in texts), "what is kept names no folder of this machine"
    rows = list(csv.DictReader(Path("results/tiny/table.csv").read_text(encoding="utf-8").splitlines()))
    assert [(row["row"], row["epochs"], row["threads"]) for row in rows] == [("long", "60", "1"), ("short", "1", "1")]
    kept = json.loads(Path("results/tiny/long-s0/evaluation-retrieval-embedding.json").read_text(encoding="utf-8"))
    (value,) = [one["values"]["R@1"] for one in kept if one["model"].startswith("embedding")]
    assert float(rows[0]["r1"]) == round(value, 2)
    assert rows[0]["command"].startswith("viewkin train generated:images=64,size=16 --recipe cifar10_cpu")
    assert "| broken | not run |" in page()
    assert "* **cannot be told**: Sixty epochs beat one (common sense). long less short: one pair of runs" in page()
    assert "* Other: there is no code." in page()
    assert Path("results/tiny/curves.png").read_bytes().startswith(b"\x89PNG")

    log.parent.joinpath("last.ckpt").unlink()
    again = reproduce("--rows", "long,short")
    assert again.code == 0, "what has ended is not trained again"
    assert "2 runs, 2 have ended" in again.out


def test_nothing_is_run_or_written_for_a_list_or_a_dry_run(workplace: Path):
    listed, dry = reproduce("--list"), reproduce("--dry-run", "--seeds", "7")
    assert [listed.code, dry.code] == [0, 0]
    assert "a queue larger than the set" in listed.out
    assert "Without code: Other: there is no code." in listed.out
    commands = [line for line in dry.out.splitlines() if line.startswith("viewkin train ")]
    assert len(commands) == 3
    assert "--seed 7 " in commands[0]
    assert list(workplace.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("tinny",), "There is no campaign 'tinny'; did you mean tiny, mini?"),
        (("tiny", "--rows", "longer"), "There is no row 'longer'; there are long, broken, short."),
        (("tiny", "--budget", "full"), "The campaign tiny has no budget 'full'; it has mini."),
        (("tiny", "--seeds", "0,x"), "--seeds is '0,x'; give whole numbers with commas between, such as 0,1."),
        (("tiny", "--jobs", "0"), "--jobs is 0; it must be at least 1."),
        (("tiny", "--nice", "20"), "--nice is 20; it must be 0 to 19."),
        (("tiny", "--priority", "0"), "No row has priority 0 or less; there are 1."),
        (("tiny", "--check"), "No run in results/tiny has kept embeddings (test-embeddings.parquet)."),
        (("tiny", "--embeddings", "some.parquet"), "--embeddings takes one run: name it with --rows ROW --seeds N."),
        (("tiny",), "data/cifar-10-batches-py is not there; name the images of CIFAR-10 with --data."),
        (("mini", "--data", IMAGES), "has 64 images for training; the budget takes 10,000: name a larger set."),
    ],
)
def test_bad_input_is_one_sentence(workplace: Path, arguments: tuple[str, ...], words: str):
    ended = viewkin("reproduce", *arguments)
    assert ended.code == 2
    assert words in ended.err
    assert ended.err.count("\n") == 1
    assert list(workplace.iterdir()) == []


@pytest.mark.parametrize("option", ["--out", "--runs"])
def test_a_place_that_cannot_be_written_is_refused_before_anything_runs(workplace: Path, option: str):
    (workplace / "file").write_text("")
    ended = reproduce(option, "file/here")
    assert ended.code == 2
    assert "cannot be written" in ended.err
    assert [one.name for one in workplace.iterdir()] == ["file"]


def test_a_budget_with_fewer_images_takes_the_first_of_a_larger_set(workplace: Path):
    import pyarrow.parquet as pq
    import torch

    from viewkin.commands.campaign_images import images_for
    from viewkin.data.dataset import Dataset

    budget = Budget(name="mini", about="40 images", images=40)
    place = images_for(IMAGES, Edition(budget=budget, images="CIFAR-10", rows=()), Path("runs"))
    given, written = Dataset.of(IMAGES).source("train", size=16), Dataset.of(place).source("train", size=16)
    assert torch.equal(written.images(torch.arange(40)), given.images(torch.arange(40)))
    assert torch.equal(written.labels, given.labels[:40])
    assert written.classes == given.classes
    assert pq.ParquetFile(f"{place}/test-00000-of-00001.parquet").metadata.num_rows == len(
        Dataset.of(IMAGES).source("test", size=16)
    )
