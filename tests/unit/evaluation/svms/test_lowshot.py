import numpy as np
import pytest
import torch

from viewkin.evaluation.svms.lowshot import LowshotConfig, draw_shots, lowshot
from viewkin.evaluation.svms.solver import MachineConfig, interpolated_precision, scaled, train_svm
from viewkin.runtime.errors import UserError


def blobs(count: int, seed: int, classes: int = 4, dim: int = 6):
    centres = torch.randn(classes, dim, generator=torch.Generator().manual_seed(7)) * 2
    draw = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, classes, (count,), generator=draw)
    return centres[labels] + 1.5 * torch.randn(count, dim, generator=draw), labels


TRAIN, TEST = blobs(300, 0), blobs(80, 1)
SMALL = {"shots": (1, 4), "samples": 3, "negatives": 5}


def by_loops(config: LowshotConfig, costs: tuple[float, ...]) -> np.ndarray:
    """Precision of every k, draw, class and cost."""
    rows, test = scaled(TRAIN[0]), scaled(TEST[0])
    found = np.zeros((len(config.shots), config.samples, 4, len(costs)))
    for a, k in enumerate(config.shots):
        for b in range(config.samples):
            for label in range(4):
                targets = (TRAIN[1] == label).to(torch.int8).numpy()
                own = draw_shots(config, targets, k, b, label)
                for d, cost in enumerate(costs):
                    machine = train_svm(MachineConfig(), rows[own], targets[own] == 1, cost)
                    found[a, b, label, d] = interpolated_precision(
                        machine.scores(test), (TEST[1] == label).to(torch.int8).numpy()
                    )
    return found


def test_a_fixed_cost_gives_the_mean_over_classes_draws_and_shots():
    config = LowshotConfig(**SMALL)
    found, table = lowshot(config, *TRAIN, *TEST), by_loops(config, (0.5,))
    assert found.precision[4] == pytest.approx(table[1].mean((1, 2)))
    assert found.values() == pytest.approx(
        {"mAP@1": 100 * table[0].mean(), "mAP@4": 100 * table[1].mean(), "mAP": 100 * table.mean()}
    )


def test_the_published_choice_takes_the_best_on_test_for_each_k_and_says_so():
    costs = (1e-4, 0.5, 100.0)
    config = LowshotConfig(**SMALL, costs=costs, selection="test")
    found, table = lowshot(config, *TRAIN, *TEST), by_loops(config, costs).mean((1, 2))
    assert found.cost == {k: costs[int(table[place].argmax())] for place, k in enumerate(config.shots)}
    assert found.values() == pytest.approx(
        {
            "mAP@1 on test": 100 * table[0].max(),
            "mAP@4 on test": 100 * table[1].max(),
            "mAP on test": 100 * table.max(1).mean(),
        }
    )
    assert "test images" in found.notes[-1]
    for cost in costs:  # never below any cost fixed beforehand
        assert found.mean >= lowshot(LowshotConfig(**SMALL, costs=(cost,)), *TRAIN, *TEST).mean


def test_a_draw_holds_k_positives_and_the_negatives_of_each_and_nothing_ignored():
    targets = np.array([1] * 10 + [0] * 70 + [-1] * 40, dtype=np.int8)
    rows = draw_shots(LowshotConfig(), targets, 3, 0, 5)
    assert (targets[rows] == 1).sum() == 3
    assert (targets[rows] == 0).sum() == 57
    assert len(set(rows.tolist())) == 60


def test_draws_differ_by_sample_class_and_seed_and_are_otherwise_the_same():
    targets = np.array([1] * 50 + [0] * 500, dtype=np.int8)
    first = draw_shots(LowshotConfig(), targets, 4, 0, 0).tolist()
    assert first == draw_shots(LowshotConfig(), targets, 4, 0, 0).tolist()
    assert first != draw_shots(LowshotConfig(), targets, 4, 1, 0).tolist()
    assert first != draw_shots(LowshotConfig(), targets, 4, 0, 1).tolist()
    assert first != draw_shots(LowshotConfig(seed=1), targets, 4, 0, 0).tolist()


def test_more_shots_help():
    found = lowshot(LowshotConfig(shots=(1, 30), negatives=3), *TRAIN, *TEST)
    assert np.mean(found.precision[30]) > np.mean(found.precision[1])


def test_too_few_images_for_a_shot_are_one_sentence():
    with pytest.raises(UserError, match=r"too few for 96 and 1824; give smaller shots"):
        lowshot(LowshotConfig(), *TRAIN, *TEST)
    with pytest.raises(UserError, match=r"class 0 has \d+ training images with it and \d+ without, too few for 20"):
        lowshot(LowshotConfig(shots=(20,), negatives=19), *TRAIN, *TEST)


@pytest.mark.parametrize(
    ("setting", "word"),
    [
        ({"shots": ()}, "shots"),
        ({"shots": (0,)}, "shots"),
        ({"samples": 0}, "samples"),
        ({"negatives": 0}, "negatives"),
        ({"preset": "voc"}, "goyal, interclr, pcl"),
        ({"selection": "train"}, "fixed or test"),
        ({"preset": "interclr"}, "19 costs"),
    ],
)
def test_a_bad_setting_is_named(setting, word):
    with pytest.raises(UserError, match=word):
        LowshotConfig(**setting)
