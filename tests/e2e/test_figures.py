"""Claims about figures and tables of runs, from the command line to the files."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from commandline import TINY, images_in, viewkin
from viewkin.figures.evidence import ASSIGNMENTS_FILE, EVIDENCE_FILE, read_assignments, read_related
from viewkin.figures.report import NO_MATPLOTLIB

DATA = "generated:images=64"


@pytest.fixture(scope="module")
def kin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a term with kin and negatives; read only."""
    out = tmp_path_factory.mktemp("kin") / "kin"
    ended = viewkin("train", DATA, "--recipe", "demo", "--method", "interclr(npid)", *TINY, "--out", out)
    assert ended.code == 0, ended.err
    assert str(out / EVIDENCE_FILE) in ended.out
    return out


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of AMDIM with mixtures; read only."""
    out = tmp_path_factory.mktemp("mixed") / "mixed"
    small = ("--smoke", "--epochs", 1, "--batch-size", 16)
    ended = viewkin("train", DATA, "--recipe", "amdim_mixture_cifar10", *small, "--out", out)
    assert ended.code == 0, ended.err
    return out


def drawn(*arguments: object) -> str:
    ended = viewkin("figures", *arguments)
    assert (ended.code, ended.err) == (0, "")
    return ended.out


def test_a_run_leaves_evidence_of_fixed_anchors_with_similarities(kin):
    finds = read_related(kin / EVIDENCE_FILE)
    assert {find.what for find in finds} == {"interclr/positives", "interclr/negatives"}
    assert len({find.anchor for find in finds}) == 64
    for find in finds:
        assert find.similarities is not None
        assert len(find.similarities) == len(find.images) <= 64
        assert all(0 <= image < 64 for image in find.images)
        assert all(-1.001 <= similarity <= 1.001 for similarity in find.similarities)


def test_a_run_without_kin_leaves_none(trained):
    assert not (trained / EVIDENCE_FILE).exists()
    assert not (trained / ASSIGNMENTS_FILE).exists()


def test_amdim_leaves_the_assignments_of_both_maps(mixed):
    parts = read_assignments(mixed / ASSIGNMENTS_FILE)
    assert {(part.what, tuple(part.components.shape)) for part in parts} == {("amdim/7", (7, 7)), ("amdim/5", (5, 5))}
    components = json.loads((mixed / "recipe.json").read_text())["recipe"]["method"]["mixtures"]
    assert all(0 <= int(part.components.min()) <= int(part.components.max()) < components for part in parts)


def test_each_figure_of_features_is_written_and_added_to_the_report(workplace, trained):
    shutil.copytree(trained, workplace / "run")
    report = workplace / "run" / "report.html"
    assert "t-SNE map of 20 images" in drawn("map", "run", "pixels", "--untrained", "--out", "map.svg")
    assert "in run/report.html" in drawn("neighbours", "pixels", "run", "--queries", 3)
    assert "generated:images=64, test and train" in drawn("neighbours", "run", "--gallery", "train", "--out", "n.png")
    drawn(
        "similarities",
        "run",
        "--untrained",
        "--split",
        "train",
        "--features",
        "embedding",
        "--nearest",
        "0.1",
        "--out",
        "s.png",
    )
    assert b"<svg" in (workplace / "map.svg").read_bytes()
    assert (workplace / "run" / "neighbours.png").read_bytes().startswith(b"\x89PNG")
    page = report.read_text()
    assert re.findall(r"<!-- figure (\w+) -->", page) == ["map", "neighbours", "similarities"]
    assert not re.findall(r'(?:src|href)="(?!data:)', page)
    drawn("map", "run", "--by", "cluster", "--clusters", 3, "--views", 2, "--split", "train", "--split", "test")
    again = report.read_text()
    assert re.findall(r"<!-- figure (\w+) -->", again) == ["neighbours", "similarities", "map"]
    assert "coloured by cluster of run" in again
    assert again.endswith("</main></body></html>\n")


def test_a_map_of_stored_embeddings_is_coloured_by_folder(workplace, trained):
    images_in(workplace / "photos", 12, classes=("cat", "dog"))
    assert viewkin("embed", trained, "photos", "--out", "p.parquet").code == 0
    assert "12 images of p.parquet, coloured by folder: m.png" in drawn(
        "map", "p.parquet", "--by", "folder", "--out", "m.png"
    )
    assert viewkin("embed", trained, DATA, "--out", "q.parquet").code == 0
    joined = "96 images of p.parquet and q.parquet, coloured by file: f.svg"
    assert joined in drawn("map", "p.parquet", "q.parquet", "--by", "file", "--out", "f.svg")
    assert all(f">{name}</text>" in (workplace / "f.svg").read_text() for name in ("p.parquet", "q.parquet"))
    ended = viewkin("figures", "map", "p.parquet", "q.parquet", "--out", "m.png")
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert "different images" in ended.err


def test_each_figure_of_evidence_is_written(workplace, kin, mixed):
    for name, place in (("kin", kin), ("mixed", mixed)):
        shutil.copytree(place, workplace / name)
    drawn("negatives", "kin", "--anchors", 3)
    drawn("positives", "kin", "--anchors", 3, "--out", "p.svg")
    drawn("similarities", "kin", "--of", "evidence", "--out", "s.png")
    drawn("segments", "mixed", "--scale", "5")
    for name in ("kin/negatives.png", "p.svg", "s.png", "mixed/segments.png"):
        assert (workplace / name).stat().st_size > 1000


def test_runs_are_compared_and_drawn_against_a_setting(workplace, trained):
    for seed, width, name in ((0, 8, "a"), (1, 8, "b"), (0, 16, "c")):
        shutil.copytree(trained, workplace / name)
        stored = json.loads((trained / "recipe.json").read_text())
        stored["recipe"]["seed"], stored["recipe"]["backbone"]["width"] = seed, width
        (workplace / name / "recipe.json").write_text(json.dumps(stored))
    ended = viewkin("compare", "a", "b", "c", "--out", "table.csv")
    assert (ended.code, ended.err) == (0, "")
    assert "a +1" in ended.out
    assert "a +1: recipe demo (smoke), seeds 0 1" in ended.out
    header, *lines = (workplace / "table.csv").read_text().splitlines()
    assert header.startswith("runs,recipe,protocol,features,measure,mean,std,seeds,published,paper")
    assert sum(line.startswith("a b,") for line in lines) == sum(line.startswith("c,") for line in lines) == 4
    drawn("curves", "a", "c", "--series", "loss", "--out", "curves.svg")
    assert re.findall(r">(a|c|loss|lr)</text>", (workplace / "curves.svg").read_text()) == ["loss", "a", "c"]
    assert "<!-- figure curves -->" in (workplace / "c" / "report.html").read_text()
    drawn("ablation", "a", "b", "c", "--setting", "backbone.width", "--measure", "knn@6", "--out", "x.svg")
    assert "knn@6, backbone by backbone.width" in (workplace / "x.svg").read_text()


def test_a_machine_without_matplotlib_trains_and_says_what_is_missing(workplace, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    ended = viewkin("train", DATA, "--recipe", "demo", *TINY, "--out", "run")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.count(NO_MATPLOTLIB) == 1
    page = (workplace / "run" / "report.html").read_text()
    assert NO_MATPLOTLIB in page
    assert "<img" not in page
    ended = viewkin("figures", "neighbours", "run")
    assert (ended.code, ended.err) == (2, "error: Figures need matplotlib; install it with: pip install matplotlib.\n")


def test_finds_are_shown_among_the_images_that_they_were_made_of(workplace):
    images_in(workplace / "photos", 24, classes=("a", "b"))
    ended = viewkin("train", "photos", "--method", "interclr(npid)", *TINY, "--out", "run")
    assert ended.code == 0, ended.err
    drawn("negatives", "run", "--anchors", 2)
    (workplace / "photos" / "a").joinpath("zz.jpg").write_bytes((workplace / "photos" / "a" / "000.jpg").read_bytes())
    (workplace / "photos" / "a" / "000.jpg").unlink()
    for figure in ("negatives", "positives"):
        ended = viewkin("figures", figure, "run", "--anchors", 2)
        assert (ended.code, ended.err.count("\n")) == (2, 1), ended
        assert "run was trained on other images than photos has now." in ended.err


REFUSED = {
    "map nowhere --data generated:images=64": "nowhere",
    "map run --by colour": "--by is 'colour'; it must be one of auto, label, folder, file, split, cluster",
    "map run --seed -1": "--seed is -1; it must be 0 to 4294967295",
    "map run --by file": "--by file needs two or more files of embeddings",
    "map run --way pca": "--way is 'pca'; it must be one of tsne, umap",
    "map run --split val": "has no val split; it has train, test",
    "map run --out map.pdf": "--out map.pdf must end in .png or .svg",
    "map run --out no/such/map.png": "must be a file in a folder that exists",
    "map pixels": "needs a trained model",
    "map run x.parquet": "files of embeddings or of models, not of both",
    "map run/backbone.safetensors": "name them with --data",
    "map run --data photos --by label": "no labels to colour by; take --by cluster",
    "neighbours run --queries 0": "--queries is 0; it must be 1 to 40",
    "neighbours run --split train --gallery train": "--gallery is 'train'; it must be a split beside one other",
    "neighbours run --most 1": "--most is 1; it must be at least 2",
    "similarities run --data photos": "has no labels to say what positives are; take --of evidence",
    "similarities run --of evidence": "run has no evidence.parquet",
    "similarities run --of luck": "--of is 'luck'",
    "similarities run --nearest 1": "--nearest is 1.0; it must be a share between 0 and 1",
    "negatives run": "run has no evidence.parquet; a run of a method that relates images",
    "positives photos": "photos holds no run",
    "segments run": "run has no assignments.parquet; a run of amdim with method.mixtures above 1",
    "curves run --series los": "logged no 'los'; did you mean loss",
    "curves photos": "photos holds no run",
    "ablation run --setting backbone.widt": "did you mean backbone.width",
    "ablation run --setting seed2 --measure knn@7": "no setting 'seed2'",
    "ablation run --setting backbone.width --measure knn@7": "no measure 'knn@7' of its backbone; it has knn@6",
}


def test_what_cannot_be_drawn_is_refused_in_one_sentence(workplace, trained):
    shutil.copytree(trained, workplace / "run")
    images_in(workplace / "photos", 6)
    for command, words in REFUSED.items():
        ended = viewkin("figures", *command.split())
        assert (ended.code, ended.err.count("\n")) == (2, 1), (command, ended)
        assert words in ended.err, (command, ended.err)
    for command, words in {
        "photos": "photos holds no run",
        "nowhere": "nowhere is no run directory",
        "run --out x.txt": "--out x.txt must end in .csv or .json",
    }.items():
        ended = viewkin("compare", *command.split())
        assert (ended.code, ended.err.count("\n")) == (2, 1), (command, ended)
        assert words in ended.err


def test_the_papers_numbers_are_part_of_the_package():
    code = (
        "from importlib.resources import files; print(files('viewkin.campaigns').joinpath('published.csv').is_file())"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "True\n"
    assert "campaigns/published.csv" in (Path(__file__).parents[2] / "pyproject.toml").read_text()
