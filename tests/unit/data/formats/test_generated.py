"""The generated set: the same for ever, balanced, and of no use to those who compare pixels."""

import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier

from viewkin.data.dataset import open_source, survey
from viewkin.data.formats.generated import MOST_CLASSES, GeneratedConfig, class_names, draw, open_generated
from viewkin.data.formats.generated_patterns import SHAPES
from viewkin.runtime.errors import UserError

SMALL = GeneratedConfig(images=120, classes=6, size=16)


def test_a_set_is_a_function_of_its_seed():
    images, labels = draw(SMALL)
    torch.rand(3)
    again, same_labels = draw(SMALL)
    assert torch.equal(images, again)
    assert torch.equal(labels, same_labels)
    other, _ = draw(GeneratedConfig(images=120, classes=6, size=16, seed=1))
    assert not torch.equal(images, other)


def test_splits_share_no_image():
    train, _ = draw(SMALL)
    test, labels = draw(SMALL, "test")
    assert len(test) == 30
    assert sorted(set(labels.tolist())) == list(range(6))
    assert not (train.flatten(1)[:, None] == test.flatten(1)[None]).all(2).any()


def test_a_test_split_is_no_training_split_of_its_size():
    test, _ = draw(SMALL, "test")
    train, _ = draw(GeneratedConfig(images=30, classes=6, size=16))
    assert train.shape == test.shape
    assert not torch.equal(train, test)


def test_classes_are_equally_frequent_and_shuffled():
    _, labels = draw(SMALL)
    assert torch.bincount(labels).tolist() == [20] * 6
    assert labels[:20].unique().numel() > 3


def test_every_image_differs():
    images, _ = draw(SMALL)
    assert len({image.numpy().tobytes() for image in images}) == 120


def test_class_names_differ():
    names = class_names(MOST_CLASSES)
    assert len(set(names)) == MOST_CLASSES
    assert names[0] == "striped disc"


@pytest.mark.parametrize(("classes", "size"), [(2, 8), (20, 48), (MOST_CLASSES, 32)])
def test_any_number_of_classes_and_any_size(classes: int, size: int):
    images, labels = draw(GeneratedConfig(images=2 * classes, classes=classes, size=size))
    assert images.shape == (2 * classes, 3, size, size)
    assert torch.bincount(labels).tolist() == [2] * classes
    assert images.float().std() > 30


@pytest.mark.parametrize("neighbours", [1, 5, 20])
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_pixels_hardly_tell_the_class(neighbours: int, metric: str):
    config = GeneratedConfig(images=2000)
    (train, labels), (test, truth) = draw(config), draw(config, "test")
    nearest = KNeighborsClassifier(neighbours, metric=metric, algorithm="brute")
    nearest.fit(train.flatten(1).numpy() / 255.0, labels.numpy())
    # Chance is 10 %, and 15 % is allowed; 500 test images give a standard error of 1.4 %.
    assert nearest.score(test.flatten(1).numpy() / 255.0, truth.numpy()) < 0.17


def test_mean_colour_does_not_tell_the_class():
    config = GeneratedConfig(images=2000)
    (train, labels), (test, truth) = draw(config), draw(config, "test")
    nearest = KNeighborsClassifier(20).fit(train.float().mean((2, 3)).numpy(), labels.numpy())
    assert nearest.score(test.float().mean((2, 3)).numpy(), truth.numpy()) < 0.17


@pytest.mark.parametrize("name", SHAPES)
def test_shapes_are_solid_where_their_sign_says(name: str):
    axis = torch.linspace(-1.5, 1.5, 301)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    inside = SHAPES[name](x, y) < 0
    area = inside.float().mean().item() * 9
    expected = {
        "disc": torch.pi * 0.85**2,
        "square": 1.5**2,
        "triangle": 3 * 3**0.5 * 0.55**2,
        "cross": 2 * (2 * 0.76) - 0.76**2,
        "ring": torch.pi * (1.02**2 - 0.42**2),
    }[name]
    assert area == pytest.approx(expected, rel=0.03)
    assert not inside[0].any()  # nothing at the rim of the plane


def test_the_spec_sets_every_option():
    source = open_source("generated:images=40,classes=4,size=16,seed=3", split="test")
    images, labels = draw(GeneratedConfig(images=40, classes=4, size=16, seed=3), "test")
    assert torch.equal(source.images(torch.arange(len(source))), images)
    assert source.labels is not None
    assert torch.equal(source.labels, labels)
    assert source.classes == class_names(4)
    assert (source.name, source.size, source.resident) == ("generated", 16, True)
    assert list(source.keys)[:2] == ["test#0", "test#1"]


def test_a_size_asked_for_beside_the_spec_wins():
    assert open_source("generated:images=20,size=16", size=24).size == 24


def test_survey_draws_nothing():
    found = survey("generated:images=1000000,size=64")
    assert (found.count, found.shorter_side, found.uniform, found.labelled) == (1_000_000, 64, True, True)
    assert found.splits == ("train", "test")


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("generated:clases=3", "did you mean classes"),
        ("generated:zzz=3", "did you mean images or classes or size or seed"),
        ("generated:images=many", "whole number"),
        ("generated:images", "whole number"),
        ("generated:classes=1", "2 to 50 classes"),
        ("generated:images=5", "at least 20"),
        ("generated:size=4", "not 4"),
        ("generated:images=-3", "at least 20"),
    ],
)
def test_bad_options_are_told(spec: str, said: str):
    with pytest.raises(UserError, match=said):
        open_source(spec)


def test_an_unknown_split_is_told():
    for call in (open_source, survey):
        with pytest.raises(UserError, match="no split 'val'"):
            call("generated", split="val")


def test_plain_set_is_grey_textures_in_high_contrast():
    drawn, labels = draw(GeneratedConfig(images=40, size=24, plain=1))
    images = drawn.float()
    assert torch.equal(images[:, 0], images[:, 2])
    assert float(images.flatten(1).std(1).min()) > 20
    assert labels.bincount().tolist() == [4] * 10


@pytest.mark.parametrize(
    ("plain", "classes", "sentence"), [(2, 10, "plain of the generated set is 0 or 1"), (1, 11, "10 textures")]
)
def test_plain_set_refuses_what_it_cannot_draw(plain, classes, sentence):
    with pytest.raises(UserError, match=sentence):
        GeneratedConfig(images=100, classes=classes, plain=plain)


def test_a_plain_set_names_its_textures():
    source = open_generated(GeneratedConfig(images=20, classes=5, plain=1))
    assert len(set(source.classes)) == 5
    assert all(len(name.split()) == 1 for name in source.classes)
