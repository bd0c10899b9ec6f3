"""Claims about the average precision of boxes, by hand-worked cases and by loops over the rules' own words."""

import math

import numpy as np
import pytest

from viewkin.evaluation.detection import average_precision as measures
from viewkin.evaluation.detection.average_precision import (
    THRESHOLDS,
    Detections,
    Truth,
    average_precision,
    box_precision,
    class_precision,
    match_coco,
    match_voc,
    overlaps,
    precision_recall,
)


def truth(*boxes, labels=None, ignored=None, crowd=None):
    count = len(boxes)
    return Truth(
        np.array(boxes, np.float64).reshape(-1, 4),
        np.array(labels or [0] * count, np.int64),
        np.array(ignored or [False] * count, np.bool_),
        None if crowd is None else np.array(crowd, np.bool_),
    )


def detections_of(*boxes, scores, labels=None):
    return Detections(
        np.array(boxes, np.float64).reshape(-1, 4),
        np.array(labels or [0] * len(boxes), np.int64),
        np.array(scores, np.float64),
    )


def drawn(images, seed):
    """Random truths, and detections that are shifted truths and noise."""
    random = np.random.default_rng(seed)
    truths, detections = [], []
    for _ in range(images):
        count = int(random.integers(0, 5))
        corner = random.uniform(0, 60, (count, 2))
        boxes = np.hstack([corner, corner + random.uniform(10, 40, (count, 2))])
        truths.append(truth(*boxes, labels=random.integers(0, 2, count).tolist(),
                            ignored=(random.random(count) < 0.25).tolist()))  # fmt: skip
        near = np.repeat(boxes, 2, 0) + random.normal(0, 3, (2 * count, 4))
        corner = random.uniform(0, 60, (3, 2))
        every = np.vstack([near, np.hstack([corner, corner + 20])])
        labels = [*np.repeat(truths[-1].labels, 2).tolist(), 0, 1, 0]
        detections.append(detections_of(*every, labels=labels, scores=random.permutation(len(every)) / 20))
    return truths, detections


def iou(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    shared = width * height if width > 0 and height > 0 else 0
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def by_loops(truths, detections, label, rule, threshold):
    """The rules word by word: sort all detections of the class, let each claim a box, count."""
    boxes = {i: [(b, ig) for b, k, ig in zip(t.boxes, t.labels, t.ignored) if k == label] for i, t in enumerate(truths)}
    positives = sum(not ignored for of_image in boxes.values() for _, ignored in of_image)
    every = [(s, i, b) for i, d in enumerate(detections) for b, k, s in zip(d.boxes, d.labels, d.scores) if k == label]
    every.sort(key=lambda one: -one[0])
    taken, curve, right, wrong = set(), [], 0, 0
    for _, image, box in every:
        candidates = [(iou(box, b), g, ig) for g, (b, ig) in enumerate(boxes[image])]
        if rule == "voc07":
            best = max(candidates, default=(0, None, False), key=lambda one: one[0])
            hit = best if best[0] > threshold else None
            if hit and hit[2]:
                continue
            true = hit is not None and (image, hit[1]) not in taken
        else:
            able = [one for one in candidates if one[0] >= threshold and (image, one[1]) not in taken]
            proper = [one for one in able if not one[2]]
            hit = max(proper or able, default=None, key=lambda one: one[0])
            if hit and hit[2]:
                taken.add((image, hit[1]))
                continue
            true = hit is not None
        if true:
            taken.add((image, hit[1]))
            right += 1
        else:
            wrong += 1
        curve.append((right / (right + wrong), right / positives))
    levels = [k / 10 for k in range(11)] if rule == "voc07" else [k / 100 for k in range(101)]
    return sum(max((p for p, r in curve if r >= level), default=0) for level in levels) / len(levels)


@pytest.mark.parametrize("rule", ["voc07", "coco"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_precision_equals_loops_over_the_rule(rule, seed):
    truths, detections = drawn(25, seed)
    for label in (0, 1):
        expected = [by_loops(truths, detections, label, rule, t) for t in THRESHOLDS]
        np.testing.assert_allclose(class_precision(truths, detections, label, rule), expected, rtol=0, atol=1e-12)
        assert 0.1 < expected[0] < 1


def test_overlap_of_boxes_worked_by_hand():
    mine = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 30], [3, 3, 3, 9]], np.float64)
    np.testing.assert_allclose(overlaps(mine, mine[:1])[:, 0], [1, 50 / 150, 0, 0])
    assert overlaps(mine, mine[:0]).shape == (4, 0)


def test_eleven_points_worked_by_hand():
    # Right, wrong, right of four boxes: precision 1, 1/2, 2/3 at recall 1/4, 1/4, 1/2.
    height, recall = precision_recall(np.array([1, 0, 1]), 4)
    assert recall.tolist() == [0.25, 0.25, 0.5]
    # Recalls 0, .1, .2 have 1; .3, .4, .5 have 2/3; the five above have 0.
    assert average_precision(height, recall, "voc07") == pytest.approx((3 + 3 * 2 / 3) / 11)
    # Recalls 0 to .25 have 1 (26 levels), .26 to .50 have 2/3 (25), the rest 0.
    assert average_precision(height, recall, "coco") == pytest.approx((26 + 25 * 2 / 3) / 101)


def test_a_recall_of_three_tenths_reaches_the_level():
    height, recall = precision_recall(np.array([1, 1, 1]), 10)
    assert average_precision(height, recall, "voc07") == pytest.approx(4 / 11)


def test_an_overlap_at_the_threshold_counts_for_coco_and_not_for_voc():
    at = np.array([[0.5]])
    assert match_coco(at, np.array([False]), 0.5).tolist() == [1]
    assert match_voc(at, np.array([False]), 0.5).tolist() == [0]


def test_a_box_is_found_once():
    twice = np.array([[0.9], [0.8]])
    for match in (match_coco, match_voc):
        assert match(twice, np.array([False]), 0.5).tolist() == [1, 0]


def test_voc_claims_the_nearest_box_even_when_taken_and_coco_the_nearest_that_is_free():
    overlap = np.array([[0.9, 0.1], [0.8, 0.6]])
    assert match_voc(overlap, np.zeros(2, bool), 0.5).tolist() == [1, 0]
    assert match_coco(overlap, np.zeros(2, bool), 0.5).tolist() == [1, 1]


def test_difficult_boxes_are_neither_right_nor_wrong():
    one = [truth((0, 0, 10, 10), (20, 20, 30, 30), ignored=[True, False])]
    both = [detections_of((0, 0, 10, 10), (20, 20, 30, 30), scores=[0.9, 0.8])]
    for rule in ("voc07", "coco"):
        assert class_precision(one, both, 0, rule).tolist() == pytest.approx([1.0] * 10)
    # A second detection of the difficult box is ignored by VOC, and wrong for COCO.
    more = [detections_of((0, 0, 10, 10), (0, 0, 10, 10), (20, 20, 30, 30), scores=[0.9, 0.85, 0.8])]
    assert class_precision(one, more, 0, "voc07")[0] == pytest.approx(1)
    assert class_precision(one, more, 0, "coco")[0] == pytest.approx(0.5)


def test_a_crowd_takes_any_number_of_detections_by_their_own_area():
    # Two detections lie whole inside the crowd, whose union with each is 100 times larger; the third half outside.
    crowded = [truth((0, 0, 100, 100), (200, 0, 210, 10), ignored=[True, False], crowd=[True, False])]
    inside = [(0, 0, 10, 10), (50, 50, 60, 60), (95, 95, 105, 105), (200, 0, 210, 10)]
    scores = [0.9, 0.8, 0.7, 0.6]
    precision = class_precision(crowded, [detections_of(*inside, scores=scores)], 0, "coco")
    assert precision[0] == pytest.approx(1 / 2)  # the third overlaps by a quarter of itself: wrong; the fourth right
    without = [detections_of(*inside[:2], inside[3], scores=[0.9, 0.8, 0.6])]
    assert class_precision(crowded, without, 0, "coco").tolist() == pytest.approx([1.0] * 10)
    # As a difficult object of VOC the same box is taken by none of them.
    alone = [truth((0, 0, 100, 100), (200, 0, 210, 10), ignored=[True, False])]
    assert class_precision(alone, without, 0, "coco")[0] == pytest.approx(1 / 3)


def test_a_crowd_is_taken_only_where_no_other_box_is_left():
    overlap, ignored, crowd = np.array([[0.9, 0.6]] * 3), np.array([True, False]), np.array([True, False])
    assert match_coco(overlap, ignored, 0.5, crowd).tolist() == [1, -1, -1]
    assert match_coco(overlap, ignored, 0.5).tolist() == [1, -1, 0]


def test_coco_prefers_a_box_that_counts_to_a_nearer_one_that_does_not():
    assert match_coco(np.array([[0.9, 0.6]]), np.array([True, False]), 0.5).tolist() == [1]
    assert match_voc(np.array([[0.9, 0.6]]), np.array([True, False]), 0.5).tolist() == [-1]


def test_coco_looks_at_a_hundred_detections_of_an_image():
    scores = np.linspace(1, 0.5, 101)
    boxes = [*[(50, 50, 60, 60)] * 100, (0, 0, 10, 10)]
    one, many = [truth((0, 0, 10, 10))], [detections_of(*boxes, scores=scores)]
    assert class_precision(one, many, 0, "coco")[0] == 0
    assert class_precision(one, many, 0, "voc07")[0] == pytest.approx(1 / 101)


def test_perfect_detections_are_worth_one_and_none_zero():
    truths = [truth((0, 0, 9, 9), (5, 5, 30, 30), labels=[0, 1]), truth()]
    perfect = [detections_of(*one.boxes, labels=one.labels.tolist(), scores=[0.5] * len(one.labels)) for one in truths]
    empty = [detections_of(scores=[])] * 2
    for rule in ("voc07", "coco"):
        assert box_precision(truths, perfect, 2, rule).values(("cat", "dog")) == pytest.approx(
            {"AP50": 100, "AP": 100, "AP75": 100, "AP cat": 100, "AP dog": 100}
        )
        assert box_precision(truths, empty, 2, rule).ap == 0


def test_a_class_without_a_box_is_left_out_of_the_means():
    truths = [truth((0, 0, 10, 10), (0, 0, 9, 9), labels=[0, 1], ignored=[False, True])]
    got = box_precision(
        truths, [detections_of((0, 0, 10, 10), (1, 1, 5, 5), labels=[0, 2], scores=[0.9, 0.9])], 3, "coco"
    )
    assert [math.isnan(row[0]) for row in got.table] == [False, True, True]
    assert list(got.values(("a", "b", "c"))) == ["AP50", "AP", "AP75", "AP a"]
    assert got.ap == pytest.approx(1)


def test_precision_at_each_overlap_worked_by_hand():
    # The detection overlaps by 0.6: right at 0.50 and 0.55, and at 0.60 for COCO only.
    one, shifted = [truth((0, 0, 10, 10))], [detections_of((0, 0, 6, 10), scores=[1])]
    assert class_precision(one, shifted, 0, "coco").tolist() == pytest.approx([1, 1, 1, *[0] * 7])
    assert class_precision(one, shifted, 0, "voc07").tolist() == pytest.approx([1, 1, *[0] * 8])
    assert box_precision(one, shifted, 1, "coco").at(0.75) == 0


@pytest.mark.parametrize("rule", ["voc07", "coco"])
def test_the_order_of_the_images_does_not_matter(rule):
    truths, detections = drawn(12, 5)
    for one in detections:  # no two detections of equal score
        one.scores[:] = np.random.default_rng(len(one.scores)).random(len(one.scores)) + one.boxes[:, 0] / 1e4
    same = box_precision(truths[::-1], detections[::-1], 2, rule).table
    np.testing.assert_allclose(box_precision(truths, detections, 2, rule).table, same, atol=1e-12)


@pytest.mark.parametrize(("rule", "name"), [("voc07", "match_voc"), ("coco", "match_coco")])
def test_difficult_boxes_that_count_and_boxes_found_twice_would_be_seen(monkeypatch, rule, name):
    truths, detections = drawn(25, 0)
    match, right = getattr(measures, name), box_precision(truths, detections, 2, rule).ap
    mutants = (
        lambda overlap, ignored, t, *_: match(overlap, np.zeros_like(ignored), t),
        lambda overlap, ignored, t, *_: np.concatenate([[0][:0], *(match(row[None], ignored, t) for row in overlap)]),
    )
    for mutant in mutants:
        monkeypatch.setattr(measures, name, mutant)
        assert abs(box_precision(truths, detections, 2, rule).ap - right) > 0.005
