import pyarrow as pa

from viewkin.collection.matches import NAMES, Match, Matches

ROW = {"path": None, "split": None, "label": None, "class_name": None, "width": 1, "height": 2}
TWO = Matches([Match(query="q", rank=i, similarity=1 / i, key=f"{i}.jpg", **ROW) for i in (1, 2)], ["said"])


def test_a_table_has_a_row_for_each_match():
    table = TWO.table()
    assert table.column_names == NAMES
    assert table["key"].to_pylist() == TWO.keys == ["1.jpg", "2.jpg"]
    assert table.schema.field("similarity").type == pa.float64()
    assert Matches([]).table().num_rows == 0
    assert Matches([]).table().schema == table.schema


def test_it_is_a_sequence():
    assert (len(TWO), TWO[1].rank, [m.rank for m in TWO]) == (2, 2, [1, 2])
    assert isinstance(TWO[:1], Matches)
    assert TWO[:1].notes == ("said",)


def test_it_shows_what_tells_matches_apart():
    assert repr(TWO) == "rank  similarity  key\n   1       1.000  1.jpg\n   2       0.500  2.jpg"
    assert repr(Matches([])) == "no matches"
    both = Matches([*TWO, Match(query="p", rank=1, similarity=0.5, key="x", **{**ROW, "label": 3, "split": "test"})])
    assert repr(both).splitlines()[0].split() == ["query", "rank", "similarity", "key", "class", "split"]
    assert "<td>1.jpg</td>" in both._repr_html_()


def test_a_long_one_is_cut():
    many = Matches([Match(query="q", rank=i, similarity=0.5, key=str(i), **ROW) for i in range(1, 61)])
    assert repr(many).endswith("... 10 more")
