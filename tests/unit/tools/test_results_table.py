"""Claims about the tables that are written into the documents."""

from pathlib import Path

import pytest
from results_table import MARKERS, protocol_rows, put, start_rows

ROOT = Path(__file__).parents[3]


def test_a_measure_is_one_row_with_a_column_for_each_model(tmp_path: Path):
    table = tmp_path / "evaluations.csv"
    table.write_text(
        "row,model,measure,value\nknn,chance,knn@5,10.0\nknn,raw pixels,knn@5,20.04\n"
        'knn,"untrained, 8-d",knn@5,30.06\nknn,"backbone, 8-d",knn@5,\ncells,"backbone, 8-d",AP,1.0\n'
    )
    assert protocol_rows(table) == ["| knn | knn@5 | 10.0 | 20.0 | 30.1 | nan |", "| cells | AP |  |  |  | 1.0 |"]
    assert protocol_rows(tmp_path / "none.csv") == []


def test_a_way_of_training_from_weights_is_compared_with_simclr_seed_by_seed(tmp_path: Path):
    table = tmp_path / "set.csv"
    table.write_text(
        "row,seed,unseen_r1,unseen_r8,seen_r1,seen_r8,epochs,cpu_seconds,commit\nstart,0,20.0,50.0,18.0,45.0,,,\n"
        "simclr,0,30.0,60.0,25.0,55.0,6,100,a1\nsimclr,1,28.0,60.0,25.0,55.0,6,100,a1\n"
        "term,1,29.0,62.0,26.0,55.0,6,200,b2\nterm,0,29.0,62.0,26.0,55.0,6,210,b2\nterm,2,99.0,62.0,26.0,55.0,6,205,b2\n"
    )
    start, simclr, term = start_rows(table)
    assert start == "| start | 20.0 | 20.00 |  | 50.0 | 18.0 |  |  |  |"
    assert simclr.startswith("| simclr | 29.0 ± 1.4 | 30.00, 28.00 |  |")
    assert "| 29.00, 29.00, 99.00 | 1 of 2 |" in term, "the third seed has no partner"
    assert term.endswith("| 6 | 205 | b2 |")
    assert start_rows(tmp_path / "none.csv") == []


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
