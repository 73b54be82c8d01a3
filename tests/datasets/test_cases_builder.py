import dataclasses
import json

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from datasets import cases as cases_builder
from mmsynth_tf import configs, constants
from mmsynth_tf.configs import tree
from mmsynth_tf.reading.cases import CaseError, read_case
from mmsynth_tf.reading.releases import find_cases
from mmsynth_tf.reading.slicing import slice_examples
from mmsynth_tf.storage.atomic import new_folder
from tests.fakes.fakes_cases import DATA, volumes, write_nifti_case

CASES = ["Brats18_A_1", "Brats18_A_2", "Brats18_B_1", "Brats18_C_1"]


@pytest.fixture
def cases_dir(tmp_path):
    for number, case_id in enumerate(CASES):
        arrays = volumes()
        arrays["t1"] += number
        write_nifti_case(tmp_path / "cases", case_id, arrays)
    return tmp_path / "cases"


def build(cases_dir, output, data=DATA, allow_incomplete=False):
    with new_folder(output, "data_set.json") as folder:
        cases_builder.build(find_cases(cases_dir, data.modalities), data, folder, allow_incomplete, "brats2017-2021")
    return tfds.builder_from_directory(str(output))


def examples(builder, split):
    read = {e["case_id"].decode() + str(e["slice_index"]): e for e in tfds.as_numpy(builder.as_dataset(split=split))}
    return [read[key] for key in sorted(read)]


def test_reads_back_what_the_cases_hold(cases_dir, tmp_path):
    builder = build(cases_dir, tmp_path / "out")
    record = json.loads((tmp_path / "out" / constants.DATA_SET_RECORD).read_text())
    expected = [
        example
        for files in find_cases(cases_dir, DATA.modalities)
        if files.case_id in record["split"]["test"]
        for example in slice_examples(read_case(files, DATA), DATA)
    ]
    found = examples(builder, "test")
    assert len(found) == len(expected) == builder.info.splits["test"].num_examples
    for ours, theirs in zip(found, expected, strict=True):
        for modality in DATA.modalities:
            assert ours["image"][modality].dtype == np.float16
            np.testing.assert_array_equal(ours["image"][modality], theirs["image"][modality])
        np.testing.assert_array_equal(ours["label"], theirs["label"])
        np.testing.assert_array_equal(ours["available"], theirs["available"])
        assert ours["patient_id"].decode() == theirs["patient_id"]
        assert ours["position"] == theirs["position"]
        assert ours["has_label"]
    spans = {files.case_id: read_case(files, DATA).head_slices for files in find_cases(cases_dir, DATA.modalities)}
    assert record["head_slices"] == {case: list(span) for case, span in spans.items()}


def test_records_have_the_order_of_their_features_names(cases_dir, tmp_path):
    # Protocol buffers leave the order of a map's entries open, so equal data sets would differ in their bytes.
    build(cases_dir, tmp_path / "out")
    [shard] = (tmp_path / "out").glob("*-test.tfrecord-*")
    for record in tf.data.TFRecordDataset(str(shard)).as_numpy_iterator():
        names = (b"available", b"case_id", b"has_label", b"position", b"slice_index")
        places = [record.index(name) for name in names]
        assert places == sorted(places)


def test_record_and_split_by_patient(cases_dir, tmp_path):
    builder = build(cases_dir, tmp_path / "out")
    record = json.loads((tmp_path / "out" / constants.DATA_SET_RECORD).read_text())
    assert tree.override(configs.DataConfig(), record["data"]) == DATA
    assert (record["source"], record["release"]) == ("cases", "brats2017-2021")
    assert builder.info.name == "cases"
    assert "menze2015brats" in builder.info.citation
    patients = {s: {e["patient_id"] for e in examples(builder, s)} for s in builder.info.splits}
    assert set(patients) == {"train", "test"}
    assert not patients["train"] & patients["test"]
    written = {s: sorted({e["case_id"].decode() for e in examples(builder, s)}) for s in patients}
    assert record["split"] == written | {"validation": []}


def test_incomplete_cases_only_when_allowed(cases_dir, tmp_path):
    (cases_dir / CASES[0] / f"{CASES[0]}_flair.nii.gz").unlink()
    (cases_dir / CASES[2] / f"{CASES[2]}_seg.nii.gz").unlink()
    with pytest.raises(CaseError, match="--allow_incomplete"):
        build(cases_dir, tmp_path / "out")
    builder = build(cases_dir, tmp_path / "out", allow_incomplete=True)
    found = {e["case_id"].decode(): e for split in builder.info.splits for e in examples(builder, split)}
    assert found[CASES[0]]["available"].tolist() == [True, True, True, False]
    assert not found[CASES[2]]["has_label"]


def test_broken_case_leaves_nothing(cases_dir, tmp_path):
    path = cases_dir / CASES[3] / f"{CASES[3]}_t2.nii.gz"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(CaseError, match=CASES[3]):
        build(cases_dir, tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["cases"]


def test_other_modalities_and_classes(tmp_path):
    data = dataclasses.replace(DATA, modalities=("ct",), labels=("background", "lesion"), regions={"lesion": (1,)})
    for case_id in ("a", "b"):
        arrays = {"ct": volumes()["t1"] - 1000.0, "label": (volumes()["label"] > 0).astype(np.uint8)}
        arrays["ct"] = arrays["ct"].astype(np.float32)
        write_nifti_case(tmp_path / "cases", case_id, arrays, {"ct": "_ct", "label": "_seg"})
    builder = build(tmp_path / "cases", tmp_path / "out", data)
    example = examples(builder, "train")[1]
    assert set(example["image"]) == {"ct"}
    assert set(np.unique(example["label"])) == {0, 1}
    assert (example["image"]["ct"] == 0).any()
