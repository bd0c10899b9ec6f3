"""Claims about maps."""

import numpy as np
import pytest

from viewkin.explorer import projection
from viewkin.explorer.jobs import Job
from viewkin.explorer.projection import framed, method_for, principal, project
from viewkin.runtime.errors import UserError


def blobs(count=60, width=12):
    random = np.random.default_rng(0)
    centres = random.normal(size=(3, width)) * 4
    rows = centres[np.arange(count) % 3] + random.normal(size=(count, width)) * 0.3
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def test_principal_components_are_those_of_the_singular_value_decomposition():
    rows = blobs()
    centred = rows - rows.mean(0)
    u, s, _ = np.linalg.svd(centred, full_matrices=False)
    np.testing.assert_allclose(np.abs(principal(rows, 2)), np.abs(u[:, :2] * s[:2]), atol=1e-4)
    assert principal(rows[:, :1], 2).shape == (60, 2)


@pytest.mark.parametrize("method", ["tsne", "pca"])
def test_a_map_keeps_groups_apart_within_the_square(method):
    job = Job(lambda _: None, "")
    points = project(blobs(), method, job)
    assert points.shape == (60, 2)
    assert np.abs(points).max() <= 1
    centres = np.stack([points[group::3].mean(0) for group in range(3)])
    own = max(np.linalg.norm(points[group::3] - centres[group], axis=1).max() for group in range(3))
    apart = min(np.linalg.norm(centres[a] - centres[b]) for a, b in ((0, 1), (0, 2), (1, 2)))
    assert own < apart
    if method == "tsne":
        assert job.done == job.total


def test_a_map_is_the_same_each_time():
    one, other = (project(blobs(), "tsne", Job(lambda _: None, "")) for _ in range(2))
    np.testing.assert_array_equal(one, other)


def test_equal_images_lie_in_the_middle():
    assert not framed(np.ones((4, 2))).any()
    assert not project(np.ones((3, 4), np.float32) / 2, "pca", Job(lambda _: None, "")).any()


@pytest.mark.parametrize(("method", "module"), [("tsne", "openTSNE"), ("umap", "umap")])
def test_a_map_tells_how_far_it_is_and_ends_when_it_is_stopped(method, module):
    pytest.importorskip(module)
    job = Job(lambda told: project(blobs(), method, told), "")
    assert job.start().wait(120)
    assert (job.error, job.description, job.done) == (None, "Drawing the map", job.total)
    stopped = Job(lambda told: project(blobs(), method, told), "")
    stopped.stop()
    assert stopped.start().wait(120)
    assert (stopped.result, stopped.error) == (None, None)


def test_the_way_is_chosen_by_what_is_installed(monkeypatch):
    there = {"openTSNE", "umap"}
    monkeypatch.setattr(projection.importlib.util, "find_spec", lambda name: name if name in there else None)
    assert method_for("auto", 100) == "tsne"
    assert method_for("auto", 5) == "pca"
    there.remove("openTSNE")
    assert method_for("auto", 100) == "umap"
    with pytest.raises(UserError, match=r"pip install 'viewkin\[explore\]'"):
        method_for("tsne", 100)
    there.clear()
    assert method_for("auto", 100) == "pca"
    with pytest.raises(UserError, match="must be auto, tsne, umap, pca"):
        method_for("cube", 100)
