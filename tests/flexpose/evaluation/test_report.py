import json

import pytest

from flexpose.errors import PoseShapeError
from flexpose.evaluation.report import Column, markdown_table, summary_table, write_report

COLUMNS = [
    Column("fd", "Fréchet", "low", 2),
    Column("recall", "recall", "high", 2),
    Column("spread", "spread", "one", 1),
    Column("n", "poses", None, 0),
]
RESULTS = {
    "index": [{"fd": 0.3, "recall": 0.5, "spread": 0.3, "n": 100}],
    "energy": [
        {"fd": 0.1, "recall": 0.6, "spread": 0.9, "n": 100},
        {"fd": 0.2, "recall": 0.8, "spread": 0.9, "n": 100},
    ],
    "ot": [{"fd": 0.2, "recall": 0.7, "spread": 1.1, "n": 100}],
    "floor": [{"fd": 0.01, "recall": 0.9, "spread": 1.0, "n": 100}],
}


def cells(table):
    return {
        row[1]: row[2:-1]
        for row in ([c.strip() for c in line.split("|")] for line in table.splitlines())
    }


def test_summary_gives_mean_and_deviation_over_repetitions_and_marks_the_best():
    rows = cells(summary_table(RESULTS, COLUMNS, unranked=("floor",)))
    assert rows[""] == ["Fréchet ↓", "recall ↑", "spread → 1", "poses"]
    assert rows["index"] == ["0.30", "0.50", "0.3", "100"]
    assert rows["energy"] == ["**0.15** ± 0.07", "**0.70** ± 0.14", "**0.9** ± 0.0", "100 ± 0"]
    assert rows["ot"] == ["0.20", "**0.70**", "**1.1**", "100"]
    assert rows["floor"] == ["0.01", "0.90", "1.0", "100"]


def test_summary_leaves_a_cell_empty_where_a_row_has_no_such_measure():
    table = summary_table({"a": [{"fd": 1.0}], "b": [{"fd": 2.0, "recall": 0.5}]}, COLUMNS[:2])
    assert cells(table)["a"] == ["**1.00**", ""]
    assert cells(table)["b"] == ["2.00", "**0.50**"]


def test_summary_refuses_repetitions_that_differ_in_measures():
    with pytest.raises(PoseShapeError, match="'a' has 1 values of 'fd' in 2 repetitions"):
        summary_table({"a": [{"fd": 1.0}, {}]}, COLUMNS[:1])
    with pytest.raises(PoseShapeError, match="0 repetitions"):
        summary_table({"a": []}, COLUMNS[:1])


def test_tables_keep_bars_in_cells_and_refuse_ragged_rows():
    assert markdown_table(["a", "b"], [["x|y", "1"]]) == (
        "| a | b |\n| :--- | ---: |\n| x\\|y | 1 |\n"
    )
    with pytest.raises(PoseShapeError, match="Row 0 of the table has 1 cells, expected 2"):
        markdown_table(["a", "b"], [["1"]])


def test_report_is_written_as_json_and_markdown(tmp_path):
    json_path, markdown_path = write_report(tmp_path / "v1.2", {"fd": 0.5, "of": "é"}, "# é\n")
    assert (json_path.name, markdown_path.name) == ("v1.2.json", "v1.2.md")
    assert json.loads(json_path.read_text(encoding="utf-8")) == {"fd": 0.5, "of": "é"}
    assert markdown_path.read_text(encoding="utf-8") == "# é\n"
    assert len(list(tmp_path.iterdir())) == 2


def test_report_with_a_value_that_is_not_finite_is_refused_and_nothing_written(tmp_path):
    with pytest.raises(PoseShapeError, match=r"bad\.json"):
        write_report(tmp_path / "bad", {"fd": float("nan")}, "")
    assert not list(tmp_path.iterdir())
