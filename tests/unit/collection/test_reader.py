import numpy as np
import pytest

from collected import gathered, picture, pictures
from viewkin.collection import reader as reader_module
from viewkin.collection.changes import gone_of
from viewkin.collection.indexes import ivf
from viewkin.collection.manifest import ImageSet, Manifest, Origin
from viewkin.collection.parts import COLUMNS
from viewkin.collection.reader import Query, Reader
from viewkin.collection.store import Change, Store
from viewkin.runtime.errors import UserError


@pytest.fixture
def opened(tmp_path):
    gathered(tmp_path / "c", pictures(tmp_path / "photos", range(20), ("cat", "dog")))
    return Reader(tmp_path / "c")


def by_key(reader, key, **more):
    return Query(key, reader.vectors[reader.rows.row_of[key]], **more)


def test_the_nearest_are_those_of_the_largest_cosine(opened):
    found = opened.nearest([by_key(opened, "cat/004.jpg"), by_key(opened, "dog/007.jpg")], 5)
    assert [match.query for match in found] == ["cat/004.jpg"] * 5 + ["dog/007.jpg"] * 5
    for query, some in found.queries.items():
        cosine = opened.vectors @ opened.vectors[opened.rows.row_of[query]]
        order = np.argsort(-cosine, kind="stable")[:5]
        assert [match.key for match in some] == [opened.rows.keys[row] for row in order]
        assert [match.similarity for match in some] == pytest.approx(cosine[order], abs=1e-6)
        assert [match.rank for match in some] == [1, 2, 3, 4, 5]
        assert some[0].key == query


def test_the_images_of_a_query_are_left_out(opened):
    keys = ("cat/004.jpg", "cat/006.jpg")
    found = opened.nearest([by_key(opened, keys[0], own=keys)], 18)
    assert len(found) == 18
    assert not set(found.keys) & set(keys)


def test_a_query_of_any_length_gives_cosines(opened):
    query = by_key(opened, "cat/004.jpg")
    long = Query("long", 7 * query.vector)
    assert [m.similarity for m in opened.nearest([long], 5)] == pytest.approx(
        [m.similarity for m in opened.nearest([query], 5)]
    )


def test_conditions_are_met(opened):
    found = opened.nearest([by_key(opened, "cat/004.jpg", own=("cat/004.jpg",))], 5, "label=dog")
    assert {match.class_name for match in found} == {"dog"}
    whole = opened.nearest([by_key(opened, "cat/004.jpg")], 20)
    assert found.keys == [match.key for match in whole if match.class_name == "dog"][:5]


def test_where_fewer_are_there_all_are_found_and_it_is_said(opened):
    found = opened.nearest([by_key(opened, "cat/004.jpg", own=("cat/004.jpg",))], 100)
    assert len(found) == 19
    assert found.notes == ("There are only 19 images to find, fewer than the 100 asked for.",)


@pytest.mark.parametrize("k", [0, -3])
def test_no_k_is_refused(opened, k):
    with pytest.raises(UserError, match=f"k is {k}; it must be at least 1"):
        opened.nearest([by_key(opened, "cat/004.jpg")], k)


def test_examples_that_cancel_out_are_refused(opened):
    with pytest.raises(UserError, match="cancel out"):
        opened.nearest([Query("nothing", np.zeros(12, np.float32))], 3)


def test_an_unknown_index_is_refused(opened):
    with pytest.raises(UserError, match="The index is 'tree'; it must be one of auto, exact, ivf"):
        opened.nearest([by_key(opened, "cat/004.jpg")], 3, kind="tree")


def test_without_faiss_search_goes_on_and_says_so(opened, monkeypatch):
    monkeypatch.setattr(reader_module, "EXACT_ROWS", 10)
    monkeypatch.setattr(reader_module, "has_faiss", lambda: False)
    found = opened.nearest([by_key(opened, "cat/004.jpg")], 3)
    assert found.keys[0] == "cat/004.jpg"
    assert found.notes == ("A query is compared with all 20 images; pip install 'viewkin[index]' makes that faster.",)

    def missing():
        raise ImportError

    monkeypatch.setattr(ivf, "faiss", missing)
    monkeypatch.setattr(reader_module, "LEAST_ROWS", 1)
    with pytest.raises(UserError, match=r"An index needs FAISS: pip install 'viewkin\[index\]'"):
        opened.nearest([by_key(opened, "cat/004.jpg")], 3, kind="ivf")


def test_few_images_need_no_cells(opened):
    found = opened.nearest([by_key(opened, "cat/004.jpg")], 3, kind="ivf")
    assert found.notes == ("A query is compared with every image: cells are of use from 1,000 on.",)
    assert found.keys[0] == "cat/004.jpg"


def test_an_opened_collection_stays_what_it_was(opened):
    before = opened.table()
    gathered(opened.folder, opened.manifest.images.address, overwrite=True)
    picture(opened.folder.parent / "photos" / "cat" / "new.jpg", 99)
    gathered(opened.folder, opened.folder.parent / "photos")
    assert opened.table().equals(before)
    assert len(Reader(opened.folder)) == len(opened) + 1


def many(folder, count=1500, seed=0):
    """A collection of rows around centres, without a network."""
    draw = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(20, 8))
    rows = centres[draw.integers(0, 20, count)] + 0.3 * draw.normal(size=(count, 8))
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    origin = Origin("f" * 32, "none", "none", "backbone", 16, 8)
    store = Store.create(folder, Manifest(origin, ImageSet("rows", None, None)))
    columns = {name: [None] * count for name in COLUMNS}
    keys = [f"{number:05d}" for number in range(count)]
    columns |= {"key": keys, "content": keys, "split": ["odd" if n % 2 else "even" for n in range(count)]}
    store.commit(Change(store.table(columns, rows)))
    return store


@pytest.fixture
def indexed(tmp_path, monkeypatch):
    """A collection that is large enough for an index, its reader, and a query."""
    pytest.importorskip("faiss")
    monkeypatch.setattr(reader_module, "EXACT_ROWS", 1000)
    store = many(tmp_path / "c")
    opened = Reader(tmp_path / "c")
    return store, opened, by_key(opened, "00010", own=("00010",))


def test_an_index_finds_nearly_what_the_exact_search_finds(indexed):
    _, opened, query = indexed
    found, exact = opened.nearest([query], 5), opened.nearest([query], 5, kind="exact")
    assert found.notes[0].startswith("Index built in ")
    assert len(set(found.keys) & set(exact.keys)) >= 4
    assert "00010" not in found.keys


def test_an_index_is_built_once(indexed, tmp_path):
    _, opened, query = indexed
    first = opened.nearest([query], 5)
    assert first.notes
    for reader in (opened, Reader(tmp_path / "c")):
        again = reader.nearest([query], 5)
        assert (again.notes, again.keys) == ((), first.keys)


def test_an_index_searches_among_the_rows_that_a_filter_leaves(indexed):
    _, opened, query = indexed
    among = opened.nearest([query], 5, "split=odd", kind="ivf")
    assert {match.split for match in among} == {"odd"}
    assert opened.nearest([query], 5, "split=odd").keys == opened.nearest([query], 5, "split=odd", kind="exact").keys


def test_an_index_is_built_anew_when_the_rows_change(indexed, tmp_path):
    store, opened, query = indexed
    gone = opened.nearest([query], 5).keys[0]
    store.commit(Change(None, gone_of(opened.rows, [opened.rows.row_of[gone]])))
    changed = Reader(tmp_path / "c").nearest([query], 5)
    assert changed.notes[0].startswith("Index built in ")
    assert gone not in changed.keys
