"""The transformer for scikit-learn: its checks, its rows, and what it refuses."""

import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.validation import check_is_fitted, validate_data

import viewkin
from commandline import viewkin as command
from viewkin.runtime.errors import UserError
from viewkin.sklearn import Embedder, ImagesError

SIDE = 24


class RowsAsImages(Embedder):
    """The same transformer on rows of numbers, of which it makes images: most checks know such rows only."""

    def fit(self, X, y=None):
        return super().fit(drawn(validate_data(self, X)), y)

    def transform(self, X):
        check_is_fitted(self)
        return super().transform(drawn(validate_data(self, X, reset=False)))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array, tags.input_tags.one_d_array = True, False
        return tags


def drawn(rows):
    return np.stack([np.resize(row, (8, 8, 3)) for row in np.uint8(255 / (1 + np.exp(-np.clip(rows, -30, 30))))])


class Place:
    """A model whose place is known when a check runs."""

    path: Path


@pytest.fixture(autouse=True)
def model(trained):
    Place.path = trained
    return trained


@parametrize_with_checks([RowsAsImages(Place)])
def test_the_checks_of_scikit_learn(estimator, check):
    check(estimator)


@pytest.fixture
def photos(tmp_path):
    """Images of two classes, dark and bright, as paths, and their labels."""
    random = np.random.default_rng(0)
    paths = []
    for number in range(24):
        light = 40 if number % 2 else 190
        pixels = random.integers(light, light + 40, (SIDE, SIDE, 3)).astype(np.uint8)
        paths.append(tmp_path / f"{number:02d}.png")
        Image.fromarray(pixels).save(paths[-1])
    return paths, np.arange(24) % 2


def test_a_pipeline_learns_from_paths(model, photos):
    scores = cross_val_score(make_pipeline(Embedder(model), LogisticRegression()), *photos, cv=3)
    assert scores.mean() > 0.9


def test_paths_pictures_arrays_and_columns_give_the_same_rows(model, photos):
    paths, _ = photos
    pictures = [Image.open(path) for path in paths]
    arrays = np.stack([np.asarray(picture) for picture in pictures])
    embedder = Embedder(model).fit(paths)
    rows = embedder.transform(paths)
    texts = [str(path) for path in paths]
    for same in (texts, np.array(texts), np.array(texts)[:, None], np.array(texts, object), pictures, arrays):
        np.testing.assert_array_equal(embedder.transform(same), rows)


def test_rows_are_in_the_order_of_the_images_repeated_ones_too(model, photos):
    paths, _ = photos
    embedder = Embedder(model).fit(paths)
    rows = embedder.transform(paths)
    order = [5, 0, 5, 23, 1]
    np.testing.assert_allclose(embedder.transform([paths[place] for place in order]), rows[order], atol=1e-6)


def test_rows_equal_those_of_a_collection(model, photos, tmp_path):
    paths, _ = photos
    held = viewkin.embed(model, paths, to=tmp_path / "x.collection")
    rows = Embedder(model).fit(paths).transform(paths)
    order = [held.keys.index(path.name) for path in paths]
    np.testing.assert_allclose(rows, held.embeddings.numpy()[order], atol=1e-6)


def test_rows_have_length_one_unless_told_otherwise(model, photos):
    paths, _ = photos
    unit, plain = (Embedder(model, normalise=choice).fit(paths).transform(paths) for choice in (True, False))
    lengths = np.linalg.norm(plain, axis=1)
    assert abs(lengths - 1).max() > 0.01
    np.testing.assert_allclose(unit * lengths[:, None], plain, atol=1e-6)


def test_features_have_names(model, photos):
    paths, _ = photos
    names = Embedder(model).fit(paths).get_feature_names_out()
    assert names[0] == "embedder0"
    assert len(names) == Embedder(model).fit(paths).transform(paths[:1]).shape[1]


def test_a_pickle_leaves_the_network_where_it_is(model, photos):
    paths, _ = photos
    embedder = Embedder(model).fit(paths)
    data = pickle.dumps(embedder)
    assert len(data) < 5000
    np.testing.assert_array_equal(pickle.loads(data).transform(paths), embedder.transform(paths))


def test_a_network_that_changed_after_pickling_is_refused(model, photos, tmp_path):
    paths, _ = photos
    shutil.copytree(model, tmp_path / "run")
    data = pickle.dumps(Embedder(tmp_path / "run").fit(paths))
    shutil.rmtree(tmp_path / "run")
    ended = command("train", "generated:images=64", "--recipe", "demo", "--smoke", "--out", tmp_path / "run")
    assert ended.code == 0
    again = pickle.loads(data)
    for _ in range(2):
        with pytest.raises(ImagesError, match=r"another network than when it was fitted: fit again\."):
            again.transform(paths)


def test_a_clone_is_not_fitted(model, photos):
    paths, _ = photos
    with pytest.raises(NotFittedError):
        clone(Embedder(model).fit(paths)).transform(paths)


@pytest.mark.parametrize(
    ("images", "words"),
    [
        ([], r"Found array with 0 sample\(s\): give at least one image"),
        (np.zeros((3, 5)), r"X has the shape \(3, 5\) of float64: give N paths or pictures"),
        (np.arange(4), r"X has the shape \(4,\) of int64"),
        ("a.png", "str is no list of images"),
        (["missing.png"], "missing.png"),
        ([3], "."),
    ],
)
def test_what_is_no_list_of_images_is_a_sentence_and_a_value_error(model, photos, images, words):
    embedder = Embedder(model).fit(photos[0])
    with pytest.raises(ValueError, match=words) as told:
        embedder.transform(images)
    assert isinstance(told.value, UserError)
    assert "\n" not in str(told.value)


def test_an_image_that_cannot_be_read_is_named(model, photos):
    paths, _ = photos
    paths[3].write_bytes(b"no image")
    with pytest.raises(ImagesError, match=r"03\.png cannot be read .*: leave it out"):
        Embedder(model).fit(paths).transform(paths)


@pytest.mark.parametrize("settings", [{"features": "tail"}, {"device": "moon"}, {"precision": "int2"}])
def test_a_wrong_setting_is_told(model, photos, settings):
    with pytest.raises(ImagesError, match=next(iter(settings.values()))):
        Embedder(model, **settings).fit(photos[0]).transform(photos[0])


def test_a_missing_model_is_told(photos):
    with pytest.raises(ImagesError, match="nowhere"):
        Embedder("nowhere").fit(photos[0])
