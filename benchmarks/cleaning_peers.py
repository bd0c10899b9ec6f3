"""What finds copies, faults and flipped labels: ours and the peers that are installed."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from machine import peak
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict

from viewkin.commands.duplicates import DuplicatesRequest, duplicates
from viewkin.nets.pretrained import read_pretrained

FINDERS = ("ours", "imagededup PHash", "imagededup CNN", "cleanvision")


def versions() -> dict[str, str]:
    """Versions of the peers that are installed."""
    found: dict[str, str] = {}
    for name in ("imagededup", "cleanvision", "cleanlab"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


PEERS = versions()
ISSUES = {
    "is_blurry_issue": "blurred",
    "is_dark_issue": "dark",
    "is_light_issue": "bright",
    "is_low_information_issue": "low information",
    "is_odd_aspect_ratio_issue": "odd aspect",
    "is_odd_size_issue": "tiny",
}
"""Column of cleanvision to our name."""


def found_by(finder: str, folder: Path) -> dict[str, Any]:
    """Look for copies in a folder of planted ones, in this process: pairs of names, seconds and memory."""
    run = {"ours": ours, "imagededup PHash": phash, "imagededup CNN": cnn, "cleanvision": cleanvision_pairs}[finder]
    Path("/proc/self/clear_refs").write_text("5")  # forgets the peak of the imports
    before, began, cpu = peak(), time.perf_counter(), time.process_time()
    with contextlib.redirect_stdout(io.StringIO()):
        pairs = run(folder)
    return {
        "found": pairs,
        "seconds": time.perf_counter() - began,
        "processor seconds": time.process_time() - cpu,
        "megabytes": (peak() - before) / 2**20,
    }


def ours(folder: Path) -> list[tuple[str, str]]:
    """Pair all members of a group; exact copies of a member belong to its group."""
    groups: dict[int, list[str]] = {}
    for row in duplicates(DuplicatesRequest(collection=folder.with_suffix(".collection"))):
        if row["kind"] != "scene":
            groups.setdefault(row["group"], []).append(row["key"])
    joined: dict[str, set[str]] = {}
    for keys in groups.values():
        both = set(keys).union(*(joined.get(key, set()) for key in keys))
        for key in both:
            joined[key] = both
    return all_pairs({frozenset(group) for group in joined.values()})


def all_pairs(groups: set[frozenset[str]]) -> list[tuple[str, str]]:
    return [(a, b) for group in groups for a in group for b in group if a < b]


def phash(folder: Path) -> list[tuple[str, str]]:
    from imagededup.methods import PHash

    found = PHash(verbose=False).find_duplicates(image_dir=str(folder), num_enc_workers=0, num_dist_workers=0)
    return [(a, b) for a, others in found.items() for b in others]


def cnn(folder: Path) -> list[tuple[str, str]]:
    """Search by imagededup's CNN with the network that ours has, since its own weights have to be downloaded."""
    from imagededup.methods import CNN
    from imagededup.utils import CustomModel
    from torchvision import transforms

    start = read_pretrained("efficientnet_lite0")
    steps = [transforms.Resize((224, 224)), transforms.ToTensor(), transforms.Normalize(start.mean, start.std)]
    config = CustomModel(name="efficientnet_lite0", model=start.network(), transform=transforms.Compose(steps))
    found = CNN(verbose=False, model_config=config).find_duplicates(
        image_dir=str(folder), num_enc_workers=0, num_sim_workers=0
    )
    return [(a, b) for a, others in found.items() for b in others]


def cleanvision_pairs(folder: Path) -> list[tuple[str, str]]:
    from cleanvision import Imagelab

    lab = Imagelab(data_path=str(folder))
    lab.find_issues({"exact_duplicates": {}, "near_duplicates": {}}, n_jobs=1, verbose=False)
    sets = [group for kind in ("exact_duplicates", "near_duplicates") for group in lab.info[kind]["sets"]]
    return all_pairs({frozenset(Path(one).name for one in group) for group in sets})


def cleanvision_issues(folder: Path) -> list[tuple[str, str]] | None:
    """List (name, issue) by cleanvision; None where it is not installed."""
    if importlib.util.find_spec("cleanvision") is None:
        return None
    from cleanvision import Imagelab

    lab = Imagelab(data_path=str(folder))
    wanted = {name.removeprefix("is_").removesuffix("_issue"): {} for name in ISSUES}
    with contextlib.redirect_stdout(io.StringIO()):
        lab.find_issues(wanted, n_jobs=1, verbose=False)
    table = lab.issues
    return [(str(index), ISSUES[name]) for name in ISSUES for index in table.index[table[name]]]


def cleanlab_scores(
    vectors: NDArray[np.float32], given: NDArray[np.int64], neighbours: NDArray[np.int64]
) -> dict[str, NDArray[np.float64]]:
    """Doubt by cleanlab, from the votes of 50 neighbours and from a cross-validated logistic regression."""
    if importlib.util.find_spec("cleanlab") is None:
        return {}
    from cleanlab.rank import get_label_quality_scores

    votes = np.zeros((len(given), int(given.max()) + 1))
    np.add.at(votes, (np.arange(len(given)).repeat(neighbours.shape[1]), given[neighbours].ravel()), 1)
    votes = (votes + 1e-3) / (votes + 1e-3).sum(1, keepdims=True)
    middle = vectors - vectors.mean(0)
    rows = middle / np.linalg.norm(middle, axis=1, keepdims=True)
    regression = LogisticRegression(C=3, max_iter=60)
    predicted: Any = cross_val_predict(regression, rows, given, cv=3, method="predict_proba")
    return {
        "cleanlab, kNN": 1 - get_label_quality_scores(given, votes),
        "cleanlab, logistic regression": 1 - get_label_quality_scores(given, predicted),
    }
