import pytest

from viewkin.commands.verdict import images_judged, of_matching, of_neighbours
from viewkin.evaluation.results import Result


def results(trained: float, *, count: str = "1,000") -> list[Result]:
    values = {
        "chance": 10.0,
        "raw pixels": 30.0,
        "untrained, 8-d": 25.0,
        "backbone, 8-d": trained,
        "embedding, 4-d": 99.0,
    }
    data = f"photos: 4,000 train, {count} held out of train"
    return [Result(protocol="knn", values={"knn@20": value}, model=model, data=data) for model, value in values.items()]


def test_a_clear_lead_is_called_learnt():
    said = of_neighbours(results(60.0), 10)
    assert said.startswith("Learnt: naming one of 10 classes")
    assert "chance 10.0 %, raw pixels 30.0 %, untrained network 25.0 %, trained 60.0 %." in said


@pytest.mark.parametrize("trained", [5.0, 30.0, 30.9])
def test_what_raw_pixels_do_as_well_is_not_called_learnt(trained):
    said = of_neighbours(results(trained), 10)
    assert "Learnt" not in said
    assert said.startswith("Nothing was learnt yet")
    assert "--epochs" in said
    assert "--smoke" in of_neighbours(results(trained), 10, smoke=True)


def test_a_lead_that_a_few_images_may_give_by_chance_is_not_called_learnt():
    assert of_neighbours(results(45.0), 10).startswith("Learnt")
    said = of_neighbours(results(45.0, count="12"), 10)
    assert said.startswith("It is not certain yet")
    assert "With 12 images, a lead of less than 29 points may be chance" in said


def test_matching_of_views_is_judged_by_the_same_rule():
    assert of_matching(80.0, 20.0, 256).startswith("Learnt: of two views of one image among 256")
    assert of_matching(20.0, 20.0, 256).startswith("Nothing was learnt yet")
    assert of_matching(1.0, 0.2, 256).startswith("Nothing was learnt yet")
    assert of_matching(100.0, 20.0, 8).startswith("Learnt")


@pytest.mark.parametrize(
    ("data", "count"),
    [
        ("photos: 4,000 train, 1,000 test", 1000),
        ("C:/x: y: 40 train, 8 held out of train", 8),
        ("cars: 8,131 test of the classes 98:196", 8131),
        ("2 images", None),
    ],
)
def test_the_number_of_judged_images_is_read_from_a_result(data, count):
    assert images_judged(data) == count
