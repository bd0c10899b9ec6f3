"""Claims about the embeddings that are kept of a headline run: small, true to the results, and checked."""

import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from commandline import viewkin
from viewkin.collection.embeddings import write_embeddings
from viewkin.commands.headline_embeddings import KEPT_EMBEDDINGS, K, keep_embeddings, leave_one_out, read_kept
from viewkin.evaluation.results import Result, write_results
from viewkin.evaluation.retrieval import RetrievalConfig, retrieval
from viewkin.runtime.errors import UserError


def written_embeddings(place: Path, count: int = 300, width: int = 8, classes: int = 3) -> Path:
    """Write embeddings of images around three centres."""
    centres = torch.randn(classes, width)
    labels = torch.arange(count) % classes
    rows = F.normalize(centres[labels] + 0.8 * torch.randn(count, width), dim=1)
    write_embeddings(place, rows, [f"test#{n}" for n in range(count)], labels, ["a", "b", "c"])
    return place


def test_half_precision_is_kept_in_the_order_of_the_file(tmp_path: Path):
    from viewkin.collection.embeddings import read_embeddings

    given = read_embeddings(written_embeddings(tmp_path / "test.parquet"))
    vectors, labels = read_kept(keep_embeddings(tmp_path / "test.parquet", tmp_path / "kept"))
    assert torch.equal(labels, given.labels)
    assert torch.equal(vectors, given.embeddings.half().float())


def test_ten_thousand_images_of_128_numbers_take_little_more_than_two_megabytes(tmp_path: Path):
    file = written_embeddings(tmp_path / "test.parquet", 10_000, 128)
    assert keep_embeddings(file, tmp_path).stat().st_size < 2_300_000


def test_wider_embeddings_are_kept_of_fewer_images(tmp_path: Path):
    vectors, labels = read_kept(keep_embeddings(written_embeddings(tmp_path / "t.parquet", 6000, 256), tmp_path))
    assert len(vectors) == len(labels) == 5000


def test_knn_of_each_image_among_the_others_is_the_loop():
    torch.manual_seed(1)
    labels = torch.arange(260) % 3
    vectors = F.normalize(torch.randn(3, 4)[labels] + torch.randn(260, 4), dim=1)
    right = 0
    for n in range(260):
        similar = [(float(vectors[n] @ vectors[m]), int(labels[m])) for m in range(260) if m != n]
        score = [0.0, 0.0, 0.0]
        for similarity, label in sorted(similar, reverse=True)[:K]:
            score[label] += torch.tensor(similarity / 0.1).exp().item()
        right += score.index(max(score)) == int(labels[n])
    assert leave_one_out(vectors, labels) == pytest.approx(100 * right / 260, abs=1e-4)


@pytest.mark.parametrize(("shift", "code", "word"), [(0.0, 0, "agrees"), (1.0, 1, "DIFFERS")])
def test_the_check_compares_with_the_results_of_the_run(workplace: Path, shift: float, code: int, word: str):
    kept = Path("results/mini/eir-s0")
    kept.mkdir(parents=True)
    file = written_embeddings(workplace / "test.parquet")
    written = viewkin("reproduce", "mini", "--rows", "eir", "--seeds", "0", "--embeddings", file)
    assert written.code == 0, written.err
    vectors, labels = read_kept(kept / KEPT_EMBEDDINGS)
    recall = 100 * retrieval(RetrievalConfig(k=(1,)), vectors, labels, progress=False).recall[1] + shift
    result = Result(protocol="retrieval", values={"R@1": recall}, model="embedding, 8-d", data="set: 300 test")
    write_results(kept / "evaluation-retrieval-embedding.json", [result])
    checked = viewkin("reproduce", "mini", "--check")
    assert (checked.code, word in checked.out) == (code, True), checked.err


def test_results_of_other_images_are_not_compared(workplace: Path):
    kept = Path("results/mini/eir-s0")
    keep_embeddings(written_embeddings(workplace / "test.parquet"), kept)
    result = Result(protocol="retrieval", values={"R@1": 0.0}, model="embedding, 8-d", data="set: 1,000 test")
    write_results(kept / "evaluation-retrieval-embedding.json", [result])
    checked = viewkin("reproduce", "mini", "--check")
    assert (checked.code, "agrees" in checked.out) == (0, False)


def test_embeddings_without_labels_or_of_a_run_without_results_are_refused(workplace: Path):
    write_embeddings(workplace / "bare.parquet", torch.eye(3), ["a", "b", "c"])
    with pytest.raises(UserError, match="images without a label"):
        keep_embeddings(workplace / "bare.parquet", workplace)
    ended = viewkin("reproduce", "mini", "--rows", "eir", "--seeds", "0", "--embeddings", "bare.parquet")
    assert (ended.code, "is not there; the embeddings are kept beside" in ended.err) == (2, True)


def test_a_damaged_file_is_told(workplace: Path):
    kept = Path("results/mini/eir-s0")
    kept.mkdir(parents=True)
    (kept / KEPT_EMBEDDINGS).write_text(json.dumps("no parquet"))
    ended = viewkin("reproduce", "mini", "--check")
    assert (ended.code, "holds no kept embeddings; restore it" in ended.err) == (2, True)
