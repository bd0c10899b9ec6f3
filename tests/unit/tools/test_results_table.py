"""Claims about the tables that are written into the documents."""

from pathlib import Path

import pytest
from results_table import MARKERS, protocol_rows, put

ROOT = Path(__file__).parents[3]


def test_a_measure_is_one_row_with_a_column_for_each_model(tmp_path: Path):
    table = tmp_path / "evaluations.csv"
    table.write_text(
        "row,model,measure,value\nknn,chance,knn@5,10.0\nknn,raw pixels,knn@5,20.04\n"
        'knn,"untrained, 8-d",knn@5,30.06\nknn,"backbone, 8-d",knn@5,\ncells,"backbone, 8-d",AP,1.0\n'
    )
    assert protocol_rows(table) == ["| knn | knn@5 | 10.0 | 20.0 | 30.1 | nan |", "| cells | AP |  |  |  | 1.0 |"]
    assert protocol_rows(tmp_path / "none.csv") == []


def test_a_table_takes_the_place_of_what_stood_between_its_markers_and_of_nothing_else():
    page = "before\n<!-- a -->\nold\n<!-- /a -->\nafter\n"
    once = put(page, "a", "| x | y |", ["| 1 | 2 |"])
    assert once == "before\n<!-- a -->\n| x | y |\n| --- | --- |\n| 1 | 2 |\n<!-- /a -->\nafter\n"
    assert put(once, "a", "| x | y |", ["| 1 | 2 |"]) == once
    assert "No run has ended yet." in put(once, "a", "| x | y |", [])


def test_a_page_without_the_markers_of_a_table_is_refused():
    with pytest.raises(ValueError, match=r"no <!-- a -->"):
        put("before\nafter\n", "a", "| x |", [])


@pytest.mark.parametrize(("page", "name"), [(page, name) for page, names in MARKERS.items() for name in names])
def test_every_page_has_the_markers_of_its_tables(page, name):
    text = (ROOT / page).read_text()
    assert put(text, name, "| x |", ["| 1 |"]) != text
