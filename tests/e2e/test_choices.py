"""Claims about what is chosen for a user who gives nothing but images."""

import re

import pytest

from commandline import images_in
from viewkin.data.dataset import Dataset, Survey, survey
from viewkin.recipes.catalogue import RECIPES
from viewkin.runs.images import open_training_images
from viewkin.runs.resolve import TrainRequest, fit_to_data, resolve
from viewkin.runtime.errors import UserError
from viewkin.runtime.wording import duration
from viewkin.settings import setting_paths, with_values


@pytest.fixture(params=["cpu", "cuda"])
def accelerator(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The machine, without and with a GPU."""
    monkeypatch.setattr("viewkin.runs.adapt.accelerator_of", lambda runtime: request.param)
    monkeypatch.setattr("viewkin.runs.adapt.has_bf16", lambda: True)
    return request.param


def chosen(count: int, side: int, **request):
    found = Survey(count, side, False, True, ("train", "train+unlabeled"), classes=1000)
    return fit_to_data(resolve(TrainRequest(data="photos", **request), found), count)


def test_sizes_and_networks_suit_images_and_machine(accelerator):
    cpu = accelerator == "cpu"
    for side, size in ((375, 96 if cpu else 224), (84, 96), (32, 32), (20, 32), (50, 64), (0, 96 if cpu else 224)):
        recipe = chosen(10_000, side).recipe
        assert recipe.augment.image_size == size
        assert recipe.augment.view_size == (3 * size // 4 if cpu else None)
        assert recipe.backbone.stem == ("small" if size <= 64 else "imagenet")
        assert recipe.backbone.width == (64 if not cpu else 16 if size <= 64 else 32)


@pytest.mark.parametrize("count", [16, 60, 500, 10_000, 50_000, 1_000_000])
def test_small_sets_get_more_epochs_and_smaller_batches_and_nobody_waits_for_ever(accelerator, count):
    recipe = chosen(count, 375).recipe
    steps = count // recipe.data.batch_size
    assert steps >= min(count // 16, 4)
    assert recipe.data.batch_size >= 16
    seen = recipe.schedule.epochs * count
    assert recipe.schedule.epochs >= 10
    assert seen <= max(1.1 * (800_000 if accelerator == "cpu" else 20_000_000), 20 * count)
    assert recipe.schedule.warmup_epochs < recipe.schedule.epochs


def test_a_demo_of_the_same_images_is_shorter(accelerator):
    count = 10_000 if accelerator == "cpu" else 100_000
    long, short = (chosen(count, 96, demo=demo).recipe.schedule.epochs for demo in (False, True))
    assert 6 < long / short < 9


def test_a_slower_processor_sees_half_as_many_images(accelerator, monkeypatch):
    fast = chosen(10_000, 96).recipe.schedule.epochs
    monkeypatch.setattr("viewkin.runs.adapt.has_bf16", lambda: False)
    assert chosen(10_000, 96).recipe.schedule.epochs == (fast // 2 if accelerator == "cpu" else fast)


def test_what_was_given_is_kept_and_not_spoken_of(accelerator):
    given = chosen(500, 375, epochs=7, batch_size=33, image_size=48, seed=5, settings=("backbone.width=12",))
    recipe = given.recipe
    assert (recipe.schedule.epochs, recipe.data.batch_size, recipe.augment.image_size, recipe.seed) == (7, 33, 48, 5)
    assert recipe.backbone.width == 12
    assert recipe.backbone.stem == "small"
    assert given.notes == ()


def test_every_choice_is_said(accelerator):
    notes = " ".join(chosen(500, 375).notes)
    assert "--epochs" in notes
    assert "--image-size" in notes
    assert ("backbone.width" in notes) == (accelerator == "cpu")


@pytest.mark.parametrize(("name", "side"), [("amdim32", 32), ("amdim64", 64), ("amdim128", 128)])
def test_amdims_encoders_get_the_size_they_take(accelerator, name, side):
    cpu = accelerator == "cpu"
    for smoke in (False, True):
        augment = chosen(10_000, 375, backbone=name, smoke=smoke).recipe.augment
        assert (augment.image_size, augment.view_size) == (side, None)
    found = chosen(10_000, 375, backbone=name)
    assert f"Images of {side} px, the only ones that {name} takes." in found.notes
    assert (found.recipe.backbone.width, found.recipe.backbone.depth) == ((16, 1) if cpu else (64, 3))
    wide = chosen(500, 375, backbone=name, smoke=True, settings=("backbone.width=40",)).recipe.backbone
    assert (wide.width, wide.rkhs) == (40, 160 if name == "amdim32" else 320)


def test_a_recipe_of_a_split_that_is_not_there_says_so_and_takes_train():
    stl = Survey(105_000, 96, True, True, ("train", "unlabeled", "train+unlabeled", "test"))
    folder = Survey(500, 96, True, True, ("train",))
    request = TrainRequest(data="photos", recipe="amdim_stl10")
    assert resolve(request, stl).recipe.data.split == "train+unlabeled"
    found = resolve(request, folder)
    assert found.recipe.data.split == "train"
    assert found.notes == ("The train split is used, as there is no split train+unlabeled.",)
    asked = TrainRequest(data="photos", recipe="amdim_stl10", settings=("data.split=unlabeled",))
    assert resolve(asked, folder).recipe.data.split == "unlabeled"  # refused when the images are opened


def test_crops_of_stl_are_cut_from_its_whole_images(tmp_path, monkeypatch):
    monkeypatch.setenv("VIEWKIN_CACHE", str(tmp_path / "cache"))
    photos = str(images_in(tmp_path / "photos", 4, size=(96, 96)))
    found = survey(photos)
    recipe = resolve(TrainRequest(data=photos, recipe="amdim_stl10"), found).recipe
    assert recipe.augment.image_size == 64
    assert next(open_training_images(Dataset.of(photos), recipe, smoke=False).blocks(4))[1].shape == (4, 3, 96, 96)


def test_a_recipe_leaves_classes_out_where_they_are_there_and_says_so():
    def notes(classes: int, *settings: str):
        found = Survey(5_000, 300, False, classes > 0, ("train",), classes=classes)
        resolved = resolve(TrainRequest(data="photos", recipe="eir_cars", settings=settings), found)
        return resolved.recipe.data.classes, resolved.notes

    assert notes(196) == ("0:98", ("Images of the classes 0:98 alone are used (--set data.classes=none: all).",))
    assert notes(0) == notes(97) == (None, ("All images are used, as there are no classes 0:98.",))
    assert notes(196, "data.classes=none") == (None, ())
    assert notes(50, "data.classes=0:98") == ("0:98", ())  # refused when the images are opened


def test_a_smoke_test_keeps_what_was_given():
    recipe = chosen(500, 375, smoke=True, epochs=5, settings=("backbone.width=12",)).recipe
    assert (recipe.schedule.epochs, recipe.backbone.width, recipe.augment.image_size) == (5, 12, 64)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_that_is_named_is_only_fitted_to_the_number_of_images(name):
    wanted = RECIPES[name]()
    recipe = chosen(2_000_000, 375, recipe=name).recipe
    settled = {
        path: value
        for path, value in setting_paths(recipe).items()
        if setting_paths(wanted)[path] not in (None, "auto")
    }
    assert with_values(wanted, settled) == wanted
    small = chosen(200, 375, recipe=name).recipe
    assert small.data.batch_size <= 200
    assert small.optim == wanted.optim


def test_a_batch_is_shared_by_processes_micro_batches_and_groups(monkeypatch):
    for name, value in (("WORLD_SIZE", "4"), ("LOCAL_WORLD_SIZE", "2")):
        monkeypatch.setenv(name, value)
    recipe = chosen(500, 375, recipe="moco_cifar10", settings=("data.accumulate=3",)).recipe
    assert recipe.data.batch_size == 500 // (4 * 3 * 8) * (4 * 3 * 8)
    with pytest.raises(UserError, match="multiple of 96"):
        chosen(500, 375, recipe="moco_cifar10", batch_size=100, settings=("data.accumulate=3",))


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(40, "40 seconds"), (89, "89 seconds"), (90, "2 minutes"), (720, "12 minutes"), (12600, "3.5 hours"),
     (72000, "20 hours"), (1036800, "12 days")],
)  # fmt: skip
def test_a_time_span_is_said_as_people_do(seconds, said):
    assert duration(seconds) == said


@pytest.mark.parametrize(
    ("method", "setting", "length"),
    [
        ("invp", "ramp.epochs=999", 999),
        ("invp", "ramp.epochs=2", 2),
        ("invp", "ramp.share=1", 2),
        ("eir(propagation(moco))", "base.ramp.epochs=7", 7),
    ],
)
def test_a_setting_by_which_a_term_never_begins_is_refused(method, setting, length):
    path = re.escape(f"method.{setting.split('=')[0]}")
    sentence = f"^{path} is .*; it must be less, as the term would begin after {length} epochs of 2"
    with pytest.raises(UserError, match=sentence):
        chosen(500, 32, method=method, epochs=2, settings=(f"method.{setting}",))


@pytest.mark.parametrize(
    ("method", "epochs", "settings"),
    [
        ("invp", 2, ["ramp.epochs=1.9"]),
        ("invp", 1, []),  # the default is no choice of the user's: at least one epoch, in which the graph is written
        ("invp", 2, ["ramp.epochs=9", "ramp.shape=gaussian"]),  # above 0 from the first step on
        ("interclr(moco)", 2, ["warmup_epochs=1"]),
    ],
)
def test_a_term_that_begins_is_not_refused(method, epochs, settings):
    resolved = chosen(500, 32, method=method, epochs=epochs, settings=tuple(f"method.{one}" for one in settings))
    assert resolved.recipe.schedule.epochs == epochs


def test_a_warm_up_of_the_first_of_many_rounds_is_not_refused():
    settings = ("method.warmup_epochs=9", "schedule.rounds=2")
    assert chosen(500, 32, method="interclr(moco)", epochs=2, settings=settings).recipe.schedule.rounds == 2
