"""The tables of the documents agree with the records in docs/experiments/records/."""

import pytest

from tools.studies import joint_table, tables


def test_the_documents_are_as_the_records_have_it():
    documents = [path.read_text(encoding="utf-8") for path in tables.DOCUMENTS]
    assert sum(document.count("<!-- results: ") for document in documents) == len(tables.TABLES)
    for document in documents:
        assert tables.render(document) == document


def test_a_table_is_made_anew_and_the_rest_is_left():
    document = "above\n<!-- results: segmenters -->\n| stale |\n<!-- end -->\nbelow <!-- results -->\n"
    made = tables.render(document)
    assert made.startswith("above\n<!-- results: segmenters -->\n| modality | WT | TC | ET |\n| --- |")
    assert made.endswith(" |\n<!-- end -->\nbelow <!-- results -->\n") and "stale" not in made


def test_an_unknown_table_is_an_error():
    with pytest.raises(KeyError, match="nonsense"):
        tables.render("<!-- results: nonsense -->\n<!-- end -->")


def test_the_rows_of_judges_are_taken_where_there_are_any_and_the_table_says_whose_they_are():
    judge, stage = {"judge": "judge (4seg)", "value": "1"}, {"judge": "segmentation stage (1seg)", "value": "2"}
    assert tables._judged([stage, judge]) == [judge]
    assert tables._judge_of([judge]) == "judge (4seg)"
    older = [{"value": "3"}]
    assert tables._judged(older) == older
    assert tables._judge_of(older) == "the stage's segmenters"


def test_the_joint_segmenter_s_table_has_the_rows_that_tested_all_patients():
    values = {("real_strong", "a"): 0.5, ("real_strong", "b"): 0.7, ("pasted", "a"): 0.6, ("pasted", "b"): 0.8}
    records = [
        {"row": row, "patient": patient, "region": region, "metric": "dice", "value": value}
        for (row, patient), value in {**values, ("painted", "a"): 0.9}.items()
        for region in ("WT", "TC")
    ]
    header, _, real, pasted = joint_table.table(records).splitlines()
    assert header == "| trained on | WT | TC | gain in the mean of regions |"
    assert real.startswith("| real slices | 0.600 [0.500, 0.700] | 0.600 [") and real.endswith("| – |")
    assert pasted.endswith("| +0.100 [+0.100, +0.100] |")
