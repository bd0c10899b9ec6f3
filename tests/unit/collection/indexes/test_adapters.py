"""Claims about every index behind the protocol: they find what exact search finds."""

import importlib
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest

from viewkin.collection.indexes.exact import ExactIndex
from viewkin.collection.indexes.ivf import open_ivf
from viewkin.collection.indexes.lancedb import open_lancedb
from viewkin.collection.indexes.qdrant import open_qdrant
from viewkin.collection.places import INDEXES
from viewkin.runtime.errors import UserError

OPENERS = {"faiss": open_ivf, "lancedb": open_lancedb, "qdrant_client": open_qdrant}


@pytest.fixture(scope="module")
def rows():
    draw = np.random.default_rng(0)
    rows = draw.normal(size=(1500, 8))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.filterwarnings("ignore")  # of the other libraries
@pytest.mark.parametrize("library", ["lancedb", "qdrant_client"])
def test_it_finds_what_exact_search_finds(tmp_path, rows, library):
    pytest.importorskip(library)
    index, said = OPENERS[library](tmp_path, "s", rows)
    assert len(said) == 1
    among = np.zeros(len(rows), dtype=bool)
    among[3::10] = True
    few = np.zeros(len(rows), dtype=bool)
    few[:4] = True
    for chosen, k in ((None, 10), (among, 10), (few, 4)):
        similarity, found = index.nearest(rows[:5], k, chosen)
        wanted, places = ExactIndex(rows).nearest(rows[:5], k, chosen)
        np.testing.assert_array_equal(found, places)
        np.testing.assert_allclose(similarity, wanted, atol=1e-5)
    similarity, found = index.nearest(rows[:2], 6, few)
    assert (found[:, 4:] == -1).all()
    assert index.facts["rows"] == len(rows)


@pytest.mark.filterwarnings("ignore")
def test_tables_of_lancedb_are_kept_until_the_rows_are_others(tmp_path, rows):
    pytest.importorskip("lancedb")
    open_lancedb(tmp_path, "one", rows)
    again, said = open_lancedb(tmp_path, "one", rows)
    assert said == []
    assert again.nearest(rows[:1], 1, None)[1][0, 0] == 0
    open_lancedb(tmp_path, "two", rows[:100])
    assert [path.name for path in (tmp_path / INDEXES).iterdir()] == ["lancedb-two.index"]


@pytest.mark.filterwarnings("ignore")
def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path, rows):
    pytest.importorskip("lancedb")
    (tmp_path / INDEXES).write_text("a file")
    with pytest.raises(UserError, match="cannot be written"):
        open_lancedb(tmp_path, "one", rows)


@pytest.mark.parametrize("library", list(OPENERS))
def test_a_missing_library_is_named_with_its_extra(tmp_path, rows, library, monkeypatch):
    original = importlib.import_module

    def without(name, *more):
        if name == library:
            raise ImportError
        return original(name, *more)

    monkeypatch.setattr(importlib, "import_module", without)
    with pytest.raises(UserError, match=r"pip install 'viewkin\[\w+\]'"):
        OPENERS[library](tmp_path, "s", rows)


def test_nothing_optional_is_imported_by_the_core():
    names = "('faiss', 'lancedb', 'qdrant_client')"
    code = f"import sys, viewkin.api.collection; print([name for name in {names} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
    assert find_spec("viewkin") is not None
