"""Claims about which results an evaluation keeps apart."""

import json
import shutil
from pathlib import Path

from PIL import Image

from commandline import images_in, viewkin


def judged(*more: str) -> list[dict[str, object]]:
    done = viewkin("evaluate", "knn", "run", "pets", "--holdout", "0.5", "--no-baselines", *more)
    assert done.code == 0, done.err
    return json.loads(Path("run/evaluation-knn-backbone.json").read_text())


def test_results_on_other_images_of_the_same_names_are_kept_apart(workplace, trained):
    shutil.copytree(trained, "run")
    images_in(Path("pets"), 12, classes=("cat", "dog"))
    first = judged()
    assert all(row["images"] for row in first)
    assert [row["images"] for row in judged()] == [row["images"] for row in first]
    Image.new("RGB", (24, 20), (200, 10, 10)).save("pets/cat/000.jpg")
    both = judged()
    assert len(both) == 2 * len(first)
    assert len({row["images"] for row in both}) == 2


def test_a_result_by_several_k_takes_the_place_of_the_same_one(workplace, trained):
    shutil.copytree(trained, "run")
    images_in(Path("pets"), 12, classes=("cat", "dog"))
    assert len(judged("--set", "k=1,2")) == len(judged("--set", "k=1,2"))
