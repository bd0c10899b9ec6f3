"""Claims about bad input: one line that says what is wrong and what to do, exit code 2, nothing left behind."""

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from commandline import TINY, Ended, images_in, viewkin
from mosaics import mosaics_in
from viewkin.nets.tensor_files import write_tensors


@pytest.fixture
def place(workplace: Path, trained: Path) -> Path:
    """A folder with images of several kinds and a finished run."""
    images_in(workplace / "photos", 12)
    images_in(workplace / "labelled", 24, classes=("cat", "dog"))
    images_in(workplace / "one", 1)
    (workplace / "photos" / "broken.jpg").write_bytes(b"no image")
    (workplace / "empty").mkdir()
    mosaics_in(workplace / "voc", 20, 12)
    image = {"bytes": (workplace / "photos" / "000.jpg").read_bytes(), "path": None}
    pq.write_table(pa.table({"image": [image, image]}), workplace / "set.parquet")
    shutil.copytree(trained, workplace / "run")
    shutil.copytree(trained, workplace / "quiet")
    (workplace / "quiet" / "metrics.jsonl").write_text("")
    return workplace


def refused(ended: Ended, *words: str, code: int = 2) -> None:
    """One line on standard error, with these words in it."""
    assert ended.code == code, ended
    lines = ended.err.splitlines()
    assert len(lines) == 1, ended.err
    assert lines[0].startswith("error: ")
    assert lines[0].endswith((".", "?"))
    assert "Traceback" not in ended.err
    for word in words:
        assert word in lines[0]


TRAIN = {
    "": ("Missing argument", "viewkin train --help"),
    "photos --nope": ("No such option", "--nope"),
    "photos --batch-size abc": ("viewkin train --help",),
    "nothing": ("There is no nothing",),
    "phtos": ("did you mean photos?",),
    "empty": ("no image files",),
    "one": ("at least 2",),
    "run/recipe.json": ("neither an image nor a folder nor a Parquet file",),
    "generated:image=100": ("did you mean images",),
    "photos --recipe moco_cifar": ("moco_cifar10",),
    "photos --set method.temprature=0.2": ("method.temperature",),
    "photos --set method.temperature": ("write path=value",),
    "photos --set method.temperature=warm": ("method.temperature", "a number"),
    "photos --set runtime.online_heads=true": ("0 of the images have one", "leave it out"),
    "photos --set data.classes=0:1": ("no labels", "no classes can be chosen"),
    "photos --set method.temperature=-1": ("method.temperature", "above 0"),
    "photos --set optim.lr=nan": ("optim.lr",),
    "photos --set optim.name=sdg": ("sgd",),
    "photos --set augment.policy=simclr-cifr": ("simclr-cifar",),
    "photos --set augment.view_size=2": ("augment.view_size",),
    "photos --set runtime.threads=0": ("runtime.threads",),
    "photos --set runtime.threads=100000": ("runtime.threads is 100000", "at most"),
    "photos --set backbone.channels=1": ("backbone.channels is 1", "RGB"),
    "photos --set data.stored_size=0": ("data.stored_size is 0",),
    "photos --method moco --set method.norm=none": ("method.norm is 'none'", "batch, gathered or split"),
    "photos --set method.dim=99999999999": ("simclr needs more memory than there is",),
    "photos --method interclr(moco) --set method.pool=0.001 --set method.negatives=2": (
        "method.negatives.number is 2",
    ),
    "photos --set runtime.devices=0": ("runtime.devices",),
    "photos --set runtime.accelerator=gpu": ("cpu, cuda",),
    "photos --backbone resnet19": ("resnet18",),
    "photos --backbone amdim64 --image-size 48": ("amdim64 takes views of 64 px only, not 48x48",),
    "photos --method eir(amdim)": ("eir wraps methods", "amdim is none"),
    "photos --method eir(eir(moco))": ("eir is there twice", "each term once"),
    "photos --method eir(moco) --set method.relation_weight=inf": ("method.relation_weight is inf", "finite"),
    "photos --method invp --epochs 2 --set method.ramp.epochs=999": ("method.ramp.epochs is 999.0", "after 999 epochs"),
    "photos --method interclr(moco) --set method.base.margin=3": ("method.base.margin is 3.0",),
    "photos --recipe amdim_cifar10 --set backbone.width=600": ("backbone.rkhs is 2048", "at least 2400"),
    "photos --set data.split=unlabeled": ("unlabeled",),
    "photos --epochs 0": ("at least 1",),
    "photos --image-size 4": ("8 to 1024",),
    "photos --image-size 4000": ("8 to 1024",),
    "photos --batch-size 100": ("100", "at most 12"),
    "photos --batch-size 9 --set data.accumulate=2": ("multiple of 2",),
    "photos --batch-size 2 --set data.accumulate=2": ("4 at least",),
    "photos --set data.accumulate=20": ("too few",),
    "photos --set backbone.norm=split:5 --batch-size 8": ("multiple of 5",),
    "photos --resume": ("holds no run",),
    "photos --recipe empty": ("holds no run",),
}


@pytest.mark.parametrize("line", TRAIN)
def test_train_refuses(place, line):
    refused(viewkin("train", *line.split(), "--out", "out/new"), *TRAIN[line])
    assert not (place / "out").exists()


def test_a_resume_needs_a_directory(place):
    refused(viewkin("train", "photos", "--resume"), "--out DIR")
    assert not (place / "runs").exists()


@pytest.mark.parametrize("out", ["photos/000.jpg", "photos/000.jpg/run", "photos", "run"])
def test_a_run_directory_that_cannot_be_is_refused_before_anything_is_read(place, out):
    before = sorted(place.rglob("*"))
    ended = viewkin("train", "photos", "--out", out)
    refused(ended, "--out")
    assert ended.out == ""
    assert sorted(place.rglob("*")) == before


def test_a_place_that_only_looks_writable_is_refused(place):
    refused(viewkin("train", "photos", "--out", "/proc/run"), "--out")


def test_a_run_directory_is_not_taken_twice(place):
    refused(viewkin("train", "photos", "--out", "run"), "already holds a run", "--resume")
    for name in ("last.ckpt", "previous.ckpt"):
        (place / "run" / name).unlink()
    kept = (place / "run" / "backbone.safetensors").read_bytes()
    refused(viewkin("train", "photos", "--out", "run"), "already holds a run; choose another")
    assert (place / "run" / "backbone.safetensors").read_bytes() == kept


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_said_so(place):
    refused(viewkin("train", "photos", "--set", "runtime.accelerator=cuda", "--out", "new"), "GPU")
    refused(viewkin("embed", "run", "photos", "--out", "x.parquet", "--device", "cuda"), "auto or cpu")
    assert not (place / "new").exists()


def test_a_size_that_the_network_does_not_take_is_found_before_anything_is_written(place):
    pytest.importorskip("timm")
    small = ("--backbone", "timm/vit_tiny_patch16_224", "--image-size", "32")
    refused(viewkin("train", "photos", *small, "--out", "new"), "32 px", "--image-size")
    refused(viewkin("train", "photos", "--backbone", "timm/resnet19", "--out", "new"), "timm/resnet18")
    assert not (place / "new").exists()


RESUME = {
    "--epochs 3": "--epochs",
    "--seed 1": "--seed",
    "--recipe demo": "--recipe",
    "--set method.temperature=1": "--set method.temperature=1",
}


@pytest.mark.parametrize("line", RESUME)
def test_what_would_change_a_run_is_refused_on_resume(place, line):
    data = "generated:images=64"
    refused(viewkin("train", data, "--out", "run", "--resume", *line.split()), RESUME[line], "would change")


@pytest.mark.parametrize("data", ["photos", "sixty-four", "generated:images=64,seed=1", "generated:images=80"])
def test_other_images_are_refused_on_resume(place, data):
    images_in(place / "sixty-four", 64)
    unfinished(place)
    before = (place / "run" / "metrics.jsonl").read_text()
    refused(viewkin("train", data, "--out", "run", "--resume"), "same")
    assert (place / "run" / "metrics.jsonl").read_text() == before


def unfinished(place: Path) -> None:
    """Take away what a finished run has, and the checkpoint that stands in for a damaged one."""
    for name in ("report.html", "previous.ckpt"):
        (place / "run" / name).unlink()


@pytest.mark.parametrize(
    ("name", "content", "word"),
    [
        ("recipe.json", "{", "damaged"),
        ("recipe.json", "[]", "damaged"),
        ("recipe.json", '{"data": "generated", "images": 64, "recipe": {"name": "x"}}', "damaged"),
        ("last.ckpt", "half a checkpoint", "not a readable checkpoint"),
        ("last.ckpt", None, "start anew in another --out"),
        ("recipe.json", None, "holds no run"),
    ],
)
def test_a_damaged_run_is_refused(place, name, content, word):
    unfinished(place)
    path = place / "run" / name
    path.unlink()
    if content is not None:
        path.write_text(content)
    refused(viewkin("train", "generated:images=64", "--out", "run", "--resume"), word)


@pytest.mark.parametrize("change", [{"colour": "red"}, {"method": {"kind": "unheard-of"}}])
def test_a_recipe_of_another_version_is_refused_with_its_path(place, change):
    path = place / "run" / "recipe.json"
    stored = json.loads(path.read_text())
    stored["recipe"] |= change
    path.write_text(json.dumps(stored))
    refused(viewkin("train", "generated:images=64", "--out", "run", "--resume"), "run/recipe.json", "version")
    refused(viewkin("train", "photos", "--recipe", "run/recipe.json", "--out", "new"), "run/recipe.json", "version")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"data": None}, ("data is null", "a text")),
        ({"images": 64.0}, ("images is 64.0", "a whole number")),
        ({"recipe": []}, ("recipe is []", "settings in braces")),
        ({"recipe": {"method": None}}, ("recipe.method is null", "settings in braces")),
        ({"recipe": {"seed": "x"}}, ('recipe.seed is "x"', "a whole number")),
        ({"recipe": {"data": {"batch_size": 16.0}}}, ("recipe.data.batch_size is 16.0", "a whole number")),
        ({"recipe": {"augment": {"policy": 3}}}, ("recipe.augment.policy is 3", "a text")),
    ],
)
def test_a_recipe_edited_to_another_type_is_refused_with_file_and_setting(place, change, words):
    path = place / "run" / "recipe.json"
    stored = json.loads(path.read_text())
    recipe = change.get("recipe")
    stored |= {"recipe": stored["recipe"] | recipe} if isinstance(recipe, dict) else change
    path.write_text(json.dumps(stored))
    refused(viewkin("train", "generated:images=64", "--out", "run", "--resume"), "run/recipe.json", *words)
    refused(viewkin("train", "photos", "--recipe", "run/recipe.json", "--out", "new"), "run/recipe.json", *words)


def test_a_checkpoint_of_another_version_is_refused(place):
    unfinished(place)
    path = place / "run" / "last.ckpt"
    state = {**torch.load(path, weights_only=True), "format": 0}
    with path.open("wb") as file:
        write_tensors(state, file)
    refused(viewkin("train", "generated:images=64", "--out", "run", "--resume"), "this version")


@pytest.mark.parametrize("line", [b'{"step": 1, "loss": "\xff"}', b"[1]", b'{"loss": 1.0}', b'{"step": "one"}', b"{"])
def test_a_damaged_log_is_refused_with_its_line(place, line):
    path = place / "run" / "metrics.jsonl"
    path.write_bytes(line + b"\n" + path.read_bytes())
    before = path.read_bytes()
    for command in ("train generated:images=64 --out run --resume", "figures curves run --out c.svg", "compare run"):
        refused(viewkin(*command.split()), "Line 1 of", "run/metrics.jsonl is damaged")
    assert path.read_bytes() == before


def test_a_line_of_the_log_cut_by_a_kill_is_dropped(place):
    unfinished(place)
    path = place / "run" / "metrics.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"step": 9, "lo\xc3')
    ended = viewkin("train", "generated:images=64", "--out", "run", "--resume")
    assert ended.code == 0, ended.err
    assert path.read_bytes() == whole


def test_a_checkpoint_of_another_method_is_refused(place):
    unfinished(place)
    path = place / "run" / "last.ckpt"
    state = torch.load(path, weights_only=True)
    state["method"] = {f"other.{name}": value for name, value in state["method"].items()}
    with path.open("wb") as file:
        write_tensors(state, file)
    for command in (
        "train generated:images=64 --out run --resume",
        "embed run photos --out x.parquet --features embedding",
    ):
        refused(viewkin(*command.split()), "run/last.ckpt", "no checkpoint of the method", "recipe.json")


OTHERS = {
    "embed": ("Missing", "viewkin embed --help"),
    "embed run photos": ("--out",),
    "embed run photos --out photos": ("must be a file",),
    "embed run photos --out nowhere/x.parquet": ("folder that exists",),
    "embed run photos --out x.txt": ("must end in .parquet, .csv or .npy",),
    "embed run set.parquet --out set.parquet": ("holds something else", "another file"),
    "embed nothing photos --out x.parquet": ("nothing",),
    "embed photos photos --out x.parquet": ("no backbone",),
    "embed run/recipe.json photos --out x.parquet": ("run/recipe.json",),
    "embed run/backbone.safetensors photos --out x.parquet --features embedding": ("--features backbone",),
    "embed run photos --out x.parquet --features heads": ("backbone or embedding",),
    "embed run photos --out x.parquet --split test": ("no test split", "it has train"),
    "embed run photos --out x.parquet --device tpu": ("auto",),
    "embed run empty --out x.parquet": ("no image files",),
    "evaluate svn run labelled": ("knn, linear", "svm, lowshot"),
    "evaluate knn run photos": ("no labels",),
    "evaluate knn run labelled": ("no test split", "--holdout 0.2"),
    "evaluate knn run labelled --test-split dev": ("no dev split", "train"),
    "evaluate knn run labelled --train-split dev": ("no dev split", "train"),
    "evaluate knn run labelled --holdout 2": ("--holdout",),
    "evaluate knn run labelled --holdout 0.5 --set k=0": ("k is 0", "at least 1"),
    "evaluate knn run labelled --holdout 0.5 --set reference=queue": ("recomputed, bank",),
    "evaluate knn run labelled --holdout 0.5 --set reference=bank": ("keeps a bank", "--features embedding"),
    "evaluate knn run labelled --holdout 0.5 --set reference=bank --features embedding": ("keeps a bank",),
    "evaluate knn run labelled --holdout 0.5 --set k=many": ("a whole number",),
    "evaluate knn run labelled --holdout 0.5 --set kk=3": ("did you mean k?",),
    "evaluate linear run labelled --holdout 0.5 --set epochs=0": ("epochs is 0", "1 to 1,000,000"),
    "evaluate retrieval run photos --test-split train": ("photos has no labels", "retrieval"),
    "evaluate retrieval run labelled": ("no test split, only train", "--test-split"),
    "evaluate retrieval run labelled --holdout 0.5": ("learns nothing", "--holdout"),
    "evaluate retrieval run labelled --test-split train --classes cat": ("two classes",),
    "evaluate retrieval run labelled --test-split train --classes cats": ("no class 'cats'", "cat"),
    "evaluate retrieval run labelled --test-split train --classes 2:4": ("0 to 1",),
    "evaluate retrieval run labelled --test-split train --set k=0": ("k is (0,)", "at least 1"),
    "evaluate cluster run labelled --test-split train --set clusters=40": ("clusters is 40", "24 images"),
    "evaluate svm run labelled --holdout 0.5 --set preset=voc": ("goyal, interclr, pcl",),
    "evaluate svm run labelled --holdout 0.5 --set costs=0": ("costs", "above 0"),
    "evaluate lowshot run labelled --holdout 0.5": ("too few for 96", "shots=1,2,4"),
    "evaluate lowshot run labelled --holdout 0.5 --set preset=goyal": ("26 costs", "selection=test"),
    "evaluate finetune run photos": ("no labels", "finetune"),
    "evaluate finetune run labelled --holdout 0.5 --set preset=interclr": ("preset is 'interclr'", "invp"),
    "evaluate finetune run labelled --holdout 0.5 --set epochs=0": ("epochs is 0", "1 to 1,000,000"),
    "evaluate finetune run labelled --holdout 0.5 --features embedding": ("no head", "--features backbone"),
    "evaluate finetune run voc --train-split trainval": ("several classes", "finetune takes one"),
    "evaluate finetune run labelled --holdout 0.5 --classes cat": ("all of one class",),
    "evaluate semi run labelled --holdout 0.5 --set share=2": ("share is 2.0", "at most 1"),
    "evaluate semi run labelled --holdout 0.5 --set names=nowhere.txt": ("nowhere.txt", "one name a line"),
    "evaluate semi run labelled --holdout 0.5 --set preset=simclr": ("interclr-1", "invp-10"),
    "evaluate stages run labelled --holdout 0.5 --set maps=layers": ("stages, blocks",),
    "evaluate stages run labelled --holdout 0.5 --set learning_rates=0": ("learning_rates", "above 0"),
    "evaluate knn run voc": ("several classes", "svm or lowshot or multilabel"),
    "evaluate svm run voc --train-split val": ("voc has no val split", "trainval"),
    "evaluate svm run voc --train-split trainval --holdout 0.5": ("several classes", "--test-split"),
    "evaluate svm run labelled --holdout 0.5 --image-size 4": ("--image-size", "8 to 1024"),
    "evaluate knn run labelled --holdout 0.5 --out photos": ("must be a file",),
    "evaluate knn run labelled --holdout 0.5 --out nowhere/x.json": ("folder that exists",),
    "evaluate knn run labelled --holdout 0.5 --out run/recipe.json": ("holds something else", "another file"),
    "evaluate knn run labelled --holdout 0.5 --out run/last.ckpt": ("must end in .json",),
    "figures curves quiet": ("logged nothing", "metrics.jsonl"),
    "recipes phots": ("photos",),
    "recipes photos more": ("viewkin recipes --help",),
    "demo --data nothing --out new": ("There is no nothing",),
    "demo --out photos": ("no demo's directory",),
    "demo --out run": ("no demo's directory",),
    "trian photos": ("trian",),
    "--nope": ("--nope", "viewkin --help"),
}


@pytest.mark.parametrize("line", OTHERS)
def test_other_commands_refuse(place, line):
    before = sorted(place.rglob("*"))
    ended = viewkin(*line.split())
    refused(ended, *OTHERS[line])
    assert ended.out == ""
    assert sorted(place.rglob("*")) == before


def test_classes_of_one_image_cannot_be_held_out(place):
    images_in(place / "few", 3, classes=("a", "b", "c"))
    refused(viewkin("evaluate", "knn", "run", "few", "--holdout", "0.5"), "two images")


def test_a_name_with_brackets_and_spaces_is_printed_as_it_is(place):
    odd = images_in(place / "my [red] photos", 12)
    ended = viewkin("train", odd, *TINY, "--batch-size", "8", "--out", place / ("long " * 30) / "run [bold]")
    assert ended.code == 0, ended.err
    assert f"Run directory: {place / ('long ' * 30) / 'run [bold]'}\n" in ended.out
    assert f"'{odd}'" in ended.out.splitlines()[-1]
