import pytest
import torch

from viewkin.evaluation.subsets import balanced_subset, rows_by_name, split_holdout
from viewkin.runtime.draws import generator_for
from viewkin.runtime.errors import UserError


def labels_of(count: int, classes: int, seed: int) -> torch.Tensor:
    return torch.randint(0, classes, (count,), generator=torch.Generator().manual_seed(seed)) * 3 + 1


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(("count", "classes", "share"), [(500, 10, 0.1), (200, 7, 0.01), (37, 5, 0.5), (64, 3, 1.0)])
def test_a_balanced_subset_has_equally_many_of_each_class_or_all(count, classes, share, seed):
    labels = labels_of(count, classes, seed)
    rows = balanced_subset(labels, share, seed)
    values, sizes = labels.unique(return_counts=True)
    wanted = max(round(share * count / len(values)), 1)
    assert rows.tolist() == sorted(set(rows.tolist()))
    assert [int((labels[rows] == value).sum()) for value in values] == sizes.clamp(max=wanted).tolist()
    assert torch.equal(rows, balanced_subset(labels, share, seed))


def test_a_balanced_subset_follows_from_seed_and_share_and_lies_within_a_larger_share():
    labels = labels_of(1000, 10, 0)
    small, large = balanced_subset(labels, 0.05, 3), balanced_subset(labels, 0.2, 3)
    assert set(small.tolist()) < set(large.tolist())
    assert set(small.tolist()) != set(balanced_subset(labels, 0.05, 4).tolist())
    torch.manual_seed(99)
    assert torch.equal(small, balanced_subset(labels, 0.05, 3))


def test_held_out_rows_leave_something_of_every_class():
    labels = torch.tensor([0, 0, 0, 0, 1, 1, 2])
    kept, out = split_holdout(labels, 0.9, generator_for(0, "test"))
    assert sorted([*kept.tolist(), *out.tolist()]) == list(range(7))
    assert labels[out].tolist() == [0, 0, 0, 1]
    assert set(labels[kept].tolist()) == {0, 1, 2}


def test_a_list_names_images_by_path_or_by_their_last_part(tmp_path):
    ids = ["train/cat/a.jpg", "train/cat/b.jpg", "train/dog/b.jpg", "train/dog/c.jpg"]
    (tmp_path / "names").write_text("c.jpg\n\ntrain/cat/b.jpg\n a.jpg\n")
    assert rows_by_name(ids, str(tmp_path / "names")).tolist() == [0, 1, 3]


@pytest.mark.parametrize(
    ("text", "words"),
    [("d.jpg\n", "1 names of .* such as d.jpg"), ("b.jpg\n", "several images are named b.jpg"), ("\n", "is empty")],
)
def test_a_list_that_does_not_fit_is_refused(tmp_path, text, words):
    (tmp_path / "names").write_text(text)
    with pytest.raises(UserError, match=words):
        rows_by_name(["cat/a.jpg", "cat/b.jpg", "dog/b.jpg"], str(tmp_path / "names"))


def test_a_list_that_is_not_there_is_refused():
    with pytest.raises(UserError, match="cannot be read"):
        rows_by_name(["a.jpg"], "nowhere.txt")


@pytest.mark.parametrize("share", [0.0, -0.1, 1.5])
def test_a_share_beyond_0_to_1_is_refused(share):
    with pytest.raises(UserError, match=r"share is .*; it must be above 0 and at most 1\."):
        balanced_subset(torch.tensor([0, 1]), share, 0)
