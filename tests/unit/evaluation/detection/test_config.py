"""Claims about the settings of detection."""

import pytest

from viewkin.evaluation.detection.config import DetectionConfig
from viewkin.evaluation.detection.finetune import learning_rate_at
from viewkin.runtime.errors import UserError


def test_the_published_schedules_are_those_of_the_papers():
    voc, coco = (DetectionConfig(preset=name).resolved(10**5) for name in ("voc", "coco"))
    assert (voc.iterations, voc.milestones, voc.warmup) == (24_000, (18_000, 22_000), 100)
    assert (coco.iterations, coco.milestones) == (180_000, (120_000, 160_000))
    for one in (voc, coco):
        assert (one.batch_size, one.lr, one.test_side, one.longest) == (16, 0.02, 800, 1333)
        assert (one.momentum, one.weight_decay, one.anchors) == (0.9, 1e-4, (32, 64, 128, 256, 512))
    assert voc.train_sides == (480, 512, 544, 576, 608, 640, 672, 704, 736, 768, 800)
    assert (voc.rule, coco.rule) == ("voc07", "coco")


def test_invps_detection_is_voc_s_with_four_images_a_step():
    voc, invp = (DetectionConfig(preset=name).resolved(10**5) for name in ("voc", "voc-invp"))
    assert (invp.iterations, invp.milestones, invp.warmup) == (96_000, (72_000, 88_000), 400)
    assert (invp.batch_size, invp.lr) == (4, 0.005)
    for name in ("train_sides", "test_side", "longest", "anchors", "rule", "weight_decay", "momentum"):
        assert getattr(invp, name) == getattr(voc, name)


def test_the_rate_rises_and_falls_where_the_schedule_says():
    voc = DetectionConfig(preset="voc").resolved(16)
    expected = {0: 2e-5, 50: 0.01001, 100: 0.02, 17_999: 0.02, 18_000: 0.002, 21_999: 0.002, 22_000: 0.0002}
    for step, rate in expected.items():
        assert learning_rate_at(voc, step) == pytest.approx(rate)


def test_other_iterations_keep_the_shape_of_the_schedule():
    short = DetectionConfig(preset="voc", iterations=2400).resolved(16)
    assert (short.milestones, short.warmup) == (((1800, 2200)), 10)
    given = DetectionConfig(preset="voc", iterations=2400, milestones=(7,), warmup=3).resolved(16)
    assert (given.milestones, given.warmup) == ((7,), 3)


def test_the_batch_is_shrunk_to_the_images_unless_it_was_asked_for():
    assert DetectionConfig(preset="voc").resolved(5).batch_size == 5
    with pytest.raises(UserError, match="batch_size is 6; it must be at most 5"):
        DetectionConfig(batch_size=6).resolved(5)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"preset": "lvis"}, "preset is 'lvis'; it must be one of small, voc, voc-invp, coco"),
        ({"form": "c5"}, "c4 or fpn"),
        ({"norm": "none"}, "batch or frozen"),
        ({"rule": "voc12"}, "voc07 or coco"),
        ({"iterations": 0}, "iterations is 0"),
        ({"warmup": -1}, "warmup is -1"),
        ({"precise": -1}, "precise is -1"),
        ({"train_sides": ()}, "train_sides is"),
        ({"train_sides": (4,)}, "at least 8 pixels"),
        ({"test_side": 1}, "test_side is 1"),
        ({"lr": 0.0}, "lr is 0.0"),
        ({"momentum": 1.0}, "momentum is 1.0"),
        ({"least_score": 1.0}, "least_score is 1.0"),
        ({"milestones": (5, 3)}, "milestones is"),
        ({"form": "fpn", "anchors": (16, 32)}, "five, one a level of FPN"),
    ],
)
def test_a_bad_detection_setting_is_one_sentence(setting, words):
    with pytest.raises(UserError, match=words):
        DetectionConfig(**setting)
