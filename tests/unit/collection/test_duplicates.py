"""Claims about candidates, thresholds and groups of duplicates."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from viewkin.collection.duplicates import (
    CopyCheck,
    candidate_pairs,
    candidates_of_copies,
    check_of,
    groups_of,
    scene_groups,
)


def rows(count: int, width: int = 16, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(count, width, generator=generator), dim=1)


def test_candidates_are_the_nearest_by_vector_and_by_thumbnail_each_pair_once():
    vectors, thumbnails = rows(60), torch.rand(60, 8, 8, generator=torch.Generator().manual_seed(1)) * 255
    pairs = [tuple(pair) for pair in candidate_pairs(vectors, thumbnails).tolist()]
    assert len(pairs) == len(set(pairs))
    assert all(a < b for a, b in pairs)
    similarity = vectors @ vectors.T
    similarity.fill_diagonal_(-2)
    flat = thumbnails.flatten(1) - thumbnails.flatten(1).mean(1, keepdim=True)
    alike = torch.nn.functional.normalize(flat, dim=1)
    alike = alike @ alike.T
    alike.fill_diagonal_(-2)
    for row in range(60):
        for other in [int(similarity[row].argmax()), int(alike[row].argmax())]:
            assert (min(row, other), max(row, other)) in pairs


def test_copies_are_paired_with_images_and_never_with_each_other():
    vectors, thumbnails = rows(50), torch.rand(50, 8, 8) * 255
    for given in (vectors, None):
        pairs = candidates_of_copies(given, thumbnails, 40)
        assert int(pairs[:, 0].max()) < 40 <= int(pairs[:, 1].min())
        assert len(pairs.unique(dim=0)) == len(pairs)
        assert set(pairs[:, 1].tolist()) == set(range(40, 50))


def test_the_threshold_lies_in_the_gap_nearer_to_the_copies():
    own, others = np.linspace(0.8, 1, 101, dtype=np.float32), np.linspace(0.2, 0.5, 101, dtype=np.float32)
    check = CopyCheck(["cropped"] * 101, own, others)
    low, high = float(np.quantile(others, 0.99)), float(np.quantile(own, 0.02))
    assert check.threshold() == pytest.approx(low + 0.9 * (high - low))
    assert check.found(0.9) == {"cropped": pytest.approx(51 / 101)}
    assert check.false(0.4) == pytest.approx((others >= 0.4).mean())


def test_copies_that_were_no_candidates_do_not_lower_the_threshold():
    own = np.array([0.0] * 20 + [0.9] * 80, np.float32)
    check = CopyCheck(["resized"] * 100, own, np.full(100, 0.4, np.float32))
    assert check.threshold() == pytest.approx(0.4 + 0.9 * 0.5)
    assert check.found(check.threshold()) == {"resized": 0.8}


def test_a_check_keeps_a_copy_s_own_picture_apart_from_others():
    pairs = torch.tensor([[0, 4], [1, 4], [2, 4], [3, 5]])
    check = check_of(["cropped", "resized"], np.array([1, 0]), pairs, torch.tensor([0.3, 0.9, 0.5, 0.2]), 4)
    assert check.own.tolist() == pytest.approx([0.9, 0])
    assert check.others.tolist() == pytest.approx([0.5, 0.2])


def test_pairs_are_joined_to_groups_and_marks_keep_images_apart():
    pairs = [(0, 1), (1, 2), (4, 5)]
    assert groups_of(pairs, set()) == [[0, 1, 2], [4, 5]]
    assert groups_of(pairs, {(0, 2), (2, 0)}) == [[0, 1], [4, 5]]  # also not through the third
    assert groups_of([(1, 2), (0, 1)], {(0, 2), (2, 0)}) == [[1, 2]]  # the more alike pair goes first
    assert groups_of(pairs, set(), lambda one, other: len(one) + len(other) < 3) == [[0, 1], [4, 5]]
    assert groups_of([], set()) == []


def test_a_scene_is_no_chain():
    angles = np.radians([0, 10, 20, 30, 40, 180])
    vectors = np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)
    threshold = float(np.cos(np.radians(11)))
    groups = scene_groups(vectors, threshold, set())
    assert all(float((vectors[group] @ vectors[group].T).min()) >= threshold - 0.02 for group in groups)
    assert sorted(map(len, groups)) == [2, 2]
    assert scene_groups(vectors, threshold, {(a, b) for a in range(6) for b in range(6)}) == []
