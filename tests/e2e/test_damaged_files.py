"""Claims about runs whose files were damaged: nothing is loaded wrong, and what is sound is used."""

import random
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import viewkin as library
from commandline import checkpoint_of, differing, images_in, metrics_of, viewkin
from faults import DATA, SIMCLR, damage, killed_at, refused
from viewkin.runtime.errors import UserError
from viewkin.training.checkpoint import LAST, PREVIOUS, load_checkpoint


def test_a_run_with_a_damaged_checkpoint_goes_on_from_the_one_before_to_the_same_bits(workplace, monkeypatch):
    assert viewkin("train", DATA, *SIMCLR, "--out", "whole").code == 0
    killed_at(monkeypatch, 6, "train", DATA, *SIMCLR, "--out", "run")
    assert [load_checkpoint(Path("run") / name)["progress"]["step"] for name in (LAST, PREVIOUS)] == [6, 5]
    damage(Path("run") / LAST)
    shutil.copytree("run", "again")
    ended = viewkin("train", DATA, "--out", "run", "--resume")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.count("run/last.ckpt is damaged, so the checkpoint before it is used: run/previous.ckpt.") == 1
    assert not differing(checkpoint_of(Path("run")), checkpoint_of(Path("whole")))
    assert metrics_of(Path("run")) == metrics_of(Path("whole"))
    # A kill before the next save finds two sound checkpoints: the damaged one never takes the place of the one before.
    killed_at(monkeypatch, 5, "train", DATA, "--out", "again", "--resume")
    assert [load_checkpoint(Path("again") / name)["progress"]["step"] for name in (LAST, PREVIOUS)] == [5, 5]


def test_embeddings_come_from_the_checkpoint_before_a_damaged_one_and_say_so(workplace, trained):
    images_in(workplace / "photos", 6)
    shutil.copytree(trained, "run")
    embed = ("embed", "run", "photos", "--features", "embedding", "--out")
    assert viewkin(*embed, "sound.parquet").code == 0
    damage(Path("run") / LAST)
    ended = viewkin(*embed, "saved.parquet")
    assert (ended.code, ended.err) == (0, "")
    assert "run/last.ckpt is damaged, so the checkpoint before it is used" in ended.out
    assert pq.read_table("sound.parquet").equals(pq.read_table("saved.parquet"))
    (Path("run") / PREVIOUS).unlink()
    refused(viewkin(*embed, "no.parquet"), "run/last.ckpt is not a readable checkpoint")


def test_an_evaluation_takes_the_weights_from_a_checkpoint_where_the_backbone_is_damaged(workplace, trained):
    images_in(workplace / "pets", 40, classes=("cat", "dog"))
    shutil.copytree(trained, "run")
    for name in ("backbone.safetensors", LAST):
        damage(Path("run") / name)
    ended = viewkin("evaluate", "knn", "run", "pets", "--holdout", 0.5, "--no-baselines", "--out", "x.json")
    assert (ended.code, ended.err) == (0, "")
    assert "run/backbone.safetensors is damaged, so the weights are taken from run/last.ckpt." in ended.out
    assert "run/last.ckpt is damaged, so the weights are taken from run/previous.ckpt." in ended.out
    refused(viewkin("embed", "run/backbone.safetensors", "pets", "--out", "x.parquet"), "copy or write it again")


def test_no_flipped_bit_of_any_file_is_loaded_wrong(workplace, trained):
    shutil.copytree(trained, "run")
    places = random.Random(0)
    for name in (LAST, "best.ckpt", "backbone.safetensors"):
        path = Path("run") / name
        content = path.read_bytes()
        for bit in places.sample(range(8 * len(content)), 60):
            damage(path, bit)
            with pytest.raises(UserError, match=name):
                library.load_backbone(path)
            path.write_bytes(content)
        library.load_backbone(path)


def test_a_setting_that_was_changed_in_the_recipe_of_a_run_is_named(workplace, trained):
    shutil.copytree(trained, "run")
    (workplace / "run" / "report.html").unlink()
    path = workplace / "run" / "recipe.json"
    sound = path.read_text()
    assert '"temperature": 0.' in sound
    path.write_text(sound.replace('"temperature": 0.', '"temperature": 4.', 1))
    ended = viewkin("train", DATA, "--out", "run", "--resume")
    refused(ended, "recipe.json of run has method.temperature 4.", "and last.ckpt 0.", "changed or damaged")
    path.write_text(sound)
    assert viewkin("train", DATA, "--out", "run", "--resume", "--set", "runtime.log_every=3").code == 0


@pytest.mark.parametrize("seed", range(4))
def test_a_damaged_list_of_images_does_not_make_them_others(workplace, trained, seed):
    shutil.copytree(trained, "run")
    (workplace / "run" / "report.html").unlink()
    path = workplace / "run" / "images.parquet"
    damage(path, random.Random(seed).randrange(8 * path.stat().st_size))
    ended = viewkin("train", DATA, "--out", "run", "--resume")
    assert (ended.code, ended.err) == (0, "")
