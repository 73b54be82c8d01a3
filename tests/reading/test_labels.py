"""Numberings of labels: which one a case's name speaks for, what has no class, and where the remedies lead."""

import re
import shlex

import nibabel
import numpy as np
import pytest

from mmsynth_tf import prepared
from mmsynth_tf.configs import DataConfig
from mmsynth_tf.constants import BRATS_LABELS
from mmsynth_tf.errors import UserError
from mmsynth_tf.patients import lesions
from mmsynth_tf.reading.cases import CaseError, inspect_case, read_case
from mmsynth_tf.reading.release_table import RELEASES
from mmsynth_tf.reading.releases import search_cases
from tests.datasets.test_build import SIZE, run
from tests.fakes.fakes_cases import BRATS_2018, BRATS_2023, DATA, LPS_AFFINE, volumes, write_nifti_case

CUSTOM = BRATS_2018 | {"t1c": "_t1c"}
GLIOMA_2024, PEDS, MEN_RT = "BraTS-GLI-00005-100", "BraTS-PED-00001-000", "BraTS-MEN-RT-0002-1"


def only_case(folder, release=None):
    found = search_cases(folder, DATA.modalities, release)
    [files] = found.cases
    return files, [*found.problems, *inspect_case(files, DATA)[1]]


@pytest.mark.parametrize("suffixes", [BRATS_2018, BRATS_2023, CUSTOM], ids=["2018", "2023", "custom"])
@pytest.mark.parametrize(
    ("case_id", "release", "classes"),
    [
        ("BraTS-GLI-00005-000", "brats2023", {1: 1, 2: 2, 3: 4}),
        (GLIOMA_2024, "brats2024-glioma", {1: 1, 2: 2, 3: 4}),
        (f"{GLIOMA_2024}_reg", "brats2024-glioma", {1: 1, 2: 2, 3: 4}),
        (PEDS, "brats-peds", {1: 4, 2: 3, 4: 2}),
        ("BraTS-MET-00001-000", "brats-met", {1: 1, 2: 2, 3: 4}),
        ("BraTS-MEN-00001-000", "brats-men", {1: 1, 2: 2, 3: 4}),
        ("BraTS-SSA-00001-000", "brats-ssa", {1: 1, 2: 2, 3: 4}),
    ],
)
def test_the_name_of_the_case_says_how_its_label_is_numbered(tmp_path, case_id, release, classes, suffixes):
    arrays = volumes(tuple(classes))
    write_nifti_case(tmp_path, case_id, arrays, suffixes)
    files, _ = only_case(tmp_path)
    assert files.release.name == release
    expected = np.select([arrays["label"] == value for value in classes], list(classes.values()))
    np.testing.assert_array_equal(read_case(files, DATA).label, expected)


@pytest.mark.parametrize(
    ("case_id", "values", "message"),
    [
        (
            GLIOMA_2024,
            (1, 3, 4),
            r"label value 4 \(resection cavity\) of brats2024-glioma has no class among background, n",
        ),
        (PEDS, (1, 2, 3), r"label value 3 \(cyst\) of brats-peds has no class among"),
        ("BraTS-MET-00001-000", (3, 4), r"label value 4 \(resection cavity\) of brats-met has no class"),
        ("BraTS-MEN-00001-000", (3, 4), "unknown label value 4; brats-men has 0, 1, 2, 3"),
    ],
)
def test_what_the_canonical_scheme_cannot_hold_is_refused(tmp_path, case_id, values, message):
    write_nifti_case(tmp_path, case_id, volumes(values), BRATS_2023)
    with pytest.raises(CaseError, match=message):
        read_case(only_case(tmp_path)[0], DATA)


def build(folder, *flags):
    """Builds a set of two patients; returns its slices and what was said."""
    output = folder.with_name("set")
    result = run("--source=cases", f"--input={folder}", f"--output={output}", "--overwrite", *SIZE, *flags)
    assert result.returncode in (0, 1), result.stderr
    if result.returncode:
        return None, result.stderr
    data = prepared.open_prepared(output)
    slices = [example for split in ("train", "test") for example in data.slices(split).as_numpy_iterator()]
    return (data, slices), result.stderr


def flags_in(message):
    """The flags that a message tells to use."""
    return [word for word in shlex.split(message.replace("(", " ")) if word.startswith("--")]


def voxels(slices, value):
    return sum(np.count_nonzero(example["label"] == value) for example in slices)


@pytest.mark.parametrize(
    ("case_ids", "suffixes", "values", "names"),
    [
        (
            (GLIOMA_2024, "BraTS-GLI-00006-100"),
            BRATS_2023,
            (1, 3, 4),
            ["background", "necrotic_core", "oedema", "enhancing_tumour", "resection_cavity"],
        ),
        (
            (PEDS, "BraTS-PED-00002-000"),
            BRATS_2023,
            (1, 3, 4),
            ["background", "enhancing_tumour", "non-enhancing_tumour", "cyst", "oedema"],
        ),
        (
            (MEN_RT, "BraTS-MEN-RT-0003-1"),
            {"t1c": "_t1c", "label": "_gtv"},
            (1,),
            ["background", "gross_tumour_volume"],
        ),
    ],
)
def test_the_remedy_for_values_without_a_class_makes_them_classes_of_their_own(
    tmp_path, case_ids, suffixes, values, names
):
    arrays = volumes(values)
    for number, case_id in enumerate(case_ids):
        scans = {name: arrays[name] * (1 if name == "label" else number + 1) for name in suffixes}
        write_nifti_case(tmp_path / "cases", case_id, scans, suffixes)
    modalities = [] if len(suffixes) > 2 else ["--config.data.modalities=t1c"]
    made, message = build(tmp_path / "cases", *modalities)
    assert made is None
    flags = flags_in(message[message.index("a class of its own: ") :].splitlines()[0].rstrip("."))
    assert len(flags) == 3
    (data, slices), said = build(tmp_path / "cases", *modalities, *flags)
    assert list(data.config.labels) == names
    assert data.config.regions["lesion"] == tuple(range(1, len(names)))
    assert data.config.regions[names[max(RELEASES[message_release(message)].beyond)]]
    for value in range(1, len(names)):
        assert bool(voxels(slices, value)) == (value in values)
    assert "labels are read as custom (values are the classes of data.labels)" in said


def message_release(message):
    return re.search(r"of (brats\S+) has no class", message)[1]


@pytest.mark.parametrize("suffixes", [BRATS_2018, BRATS_2023])
@pytest.mark.parametrize("values", [(1, 2, 3), (1, 2, 4), (1, 2, 3, 4), (2, 4)])
def test_every_release_that_is_offered_for_unknown_values_reads_them_as_it_says(tmp_path, suffixes, values):
    arrays = volumes(values)
    write_nifti_case(tmp_path, "a", arrays, suffixes)
    files, problems = only_case(tmp_path)
    unknown = [problem for problem in problems if "unknown label value" in problem.text]
    if not unknown:
        assert set(values) <= set(files.release.label_values)
        return
    options = re.findall(r"--release=(\S+) \(([^)]*)\)", unknown[0].remedy)
    assert options
    for release, numbering in options:
        files, problems = only_case(tmp_path, release)
        meanings = {int(value): meaning for value, meaning in (part.split(" ", 1) for part in numbering.split(", "))}
        assert set(meanings) == set(values)
        if set(meanings.values()) <= set(BRATS_LABELS):
            label = read_case(files, DATA).label
            for value, meaning in meanings.items():
                np.testing.assert_array_equal(label == BRATS_LABELS.index(meaning), arrays["label"] == value)
        else:
            assert any("make each value a class of its own" in problem.remedy for problem in problems)


def test_no_other_release_is_offered_where_its_files_would_not_be_found(tmp_path):
    arrays = volumes((1, 2, 7))
    stack = np.stack([arrays[name] for name in ("flair", "t1", "t1c", "t2")], axis=-1)
    for folder, array in {"imagesTr": stack, "labelsTr": arrays["label"]}.items():
        (tmp_path / folder).mkdir()
        nibabel.save(nibabel.Nifti1Image(array, LPS_AFFINE), tmp_path / folder / "x.nii.gz")
    _, [problem] = only_case(tmp_path)
    assert (problem.text, problem.remedy) == (
        "unknown label value 7; decathlon has 0, 1, 2, 3",
        "Repair the label",
    )


def test_further_classes_of_other_data_are_read_once_they_are_named(tmp_path):
    for number, case_id in enumerate(("liver", "spleen")):
        arrays = volumes((1, 5))
        scans = {name: array * (1 if name == "label" else number + 1) for name, array in arrays.items()}
        write_nifti_case(tmp_path / "cases", case_id, scans, CUSTOM)
    made, message = build(tmp_path / "cases")
    assert made is None
    assert "unknown label value 5; custom has 0, 1, 2, 3, 4. Repair the label, or name all classes in" in message
    [flag] = flags_in(message[message.index("name all classes in") :].splitlines()[0].rstrip("."))
    (data, slices), _ = build(tmp_path / "cases", f"{flag}=a,b,c,d,e,f")
    assert data.config.num_classes == 6
    assert voxels(slices, 5) == voxels(slices, 1) > 0


@pytest.mark.parametrize(
    ("case_id", "suffixes", "release", "message"),
    [
        (
            GLIOMA_2024,
            BRATS_2023,
            "custom",
            "name of brats2024-glioma (1 necrotic core, 2 oedema, 3 enhancing tumour, 4 r",
        ),
        (
            GLIOMA_2024,
            BRATS_2023,
            "brats2017-2021",
            "labels are read as brats2017-2021 (1 necrotic core, 2 oedema, 4 enh",
        ),
        (
            PEDS,
            BRATS_2023,
            "brats2023",
            "name of brats-peds (1 enhancing tumour, 2 non-enhancing tumour, 3 cyst, 4 oedema)",
        ),
        ("Brats18_X_1", BRATS_2018, "custom", "name of BraTS, and labels are read as custom"),
        ("BraTS2021_00002", CUSTOM, None, "name of BraTS, and labels are read as custom"),
        (PEDS, BRATS_2023, None, "BraTS-PEDs is read with the label values since 2024"),
    ],
)
def test_names_that_speak_for_another_numbering_are_a_warning(tmp_path, case_id, suffixes, release, message):
    write_nifti_case(tmp_path, case_id, volumes((1, 2)), suffixes)
    _, [problem] = only_case(tmp_path, release)
    assert problem.is_warning
    assert message in problem.text
    for named in re.findall(r"--release=([\w-]+)", problem.remedy):
        files, _ = only_case(tmp_path, named)
        assert files.release.name == named
        assert np.unique(read_case(files, DATA).label).tolist() == sorted(
            {0} | {RELEASES[named].label_values[v] for v in (1, 2)}
        )


def test_other_names_for_the_classes_of_brats_are_a_warning(tmp_path):
    data = DataConfig(**{**vars(DATA), "labels": ("background", "a", "b", "c", "d")})
    write_nifti_case(tmp_path, "a", volumes(), BRATS_2018)
    files, problems = only_case(tmp_path)
    assert problems == []
    [problem] = inspect_case(files, data)[1]
    assert problem.is_warning
    assert "data.labels names them background, a, b, c, d" in problem.text


@pytest.mark.parametrize(
    ("value", "stored", "text"), [(4, 3.9999995, "3.9999995 to 4"), (2, 2.001, "2.001 to 2"), (0, 1e-4, "1e-04 to 0")]
)
def test_values_off_by_rounding_are_shown_in_full_and_rounded(tmp_path, value, stored, text):
    arrays = volumes()
    off = np.where(arrays["label"] == value, np.float32(stored), arrays["label"])
    write_nifti_case(tmp_path, "a", arrays | {"label": off})
    files, [problem] = only_case(tmp_path)
    assert problem.is_warning
    assert problem.text == f"its values are rounded to whole numbers, {text} for one"
    np.testing.assert_array_equal(read_case(files, DATA).label, arrays["label"])


def test_values_further_off_are_refused_as_they_are(tmp_path):
    arrays = volumes()
    write_nifti_case(
        tmp_path, "a", arrays | {"label": np.where(arrays["label"] == 4, np.float32(3.998), arrays["label"])}
    )
    with pytest.raises(
        CaseError, match=r"unknown label value 3.998; .* Store the label as whole numbers \(up to 0.001"
    ):
        read_case(only_case(tmp_path)[0], DATA)


def test_lesions_are_read_by_the_name_and_their_remedy_is_followed(tmp_path):
    folder = write_nifti_case(tmp_path / "peds", PEDS, {"label": volumes((1, 4))["label"]}, BRATS_2023)
    [(path, release)] = lesions.find(folder)
    assert np.unique(lesions.read(path, release, BRATS_LABELS).label).tolist() == [0, 2, 4]
    folder = write_nifti_case(tmp_path / "old", "a", {"label": volumes((1, 2, 3))["label"]}, BRATS_2018)
    [(path, release)] = lesions.find(folder)
    with pytest.raises(UserError, match=r"--label_release=brats2023 \(1 necrotic core, 2 oedema, 3 enhancing tumour\)"):
        lesions.read(path, release, BRATS_LABELS)
    for where in (folder, path):
        [(path, release)] = lesions.find(where, "brats2023")
        assert np.unique(lesions.read(path, release, BRATS_LABELS).label).tolist() == [0, 1, 2, 4]
