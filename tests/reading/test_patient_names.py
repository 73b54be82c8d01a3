"""Patients follow from the names of cases, whatever the files end in and whichever release is named."""

import pytest

from mmsynth_tf.configs import DataConfig
from mmsynth_tf.constants import BRATS_MODALITIES
from mmsynth_tf.reading.patient_names import look_alikes, patient_ids
from mmsynth_tf.reading.releases import find_cases, search_cases
from mmsynth_tf.reading.splits import split_by_patient

SCANS = [
    ("Brats18_X_1", "Brats18_X_2", "Brats18_X"),
    ("Brats18_TCIA02_370_1", "brats18_tcia02_370_2", "Brats18_TCIA02_370"),
    ("Brats17_2013_11_1", "Brats17_2013_11_1_bias", "Brats17_2013_11"),
    ("brats_2013_pat0103_1", "brats_2013_pat0103_2", "brats_2013_pat0103"),
    ("brats_tcia_pat105_0004", "brats_tcia_pat105_0204", "brats_tcia_pat105"),
    ("BraTS-GLI-00005-100", "BraTS-GLI-00005-101", "BraTS-GLI-00005"),
    ("BraTS-GLI-00005-000", "BraTS-GLI-00005-100_reg", "BraTS-GLI-00005"),
    ("BraTS-MEN-RT-0002-1", "BraTS-MEN-RT-0002-2", "BraTS-MEN-RT-0002"),
    ("BraTS-PED-00001-000", "BraTS-PED-00001-001", "BraTS-PED-00001"),
    ("UCSF-PDGM-0391", "UCSF-PDGM-0391_FU016d", "UCSF-PDGM-0391"),
    ("UPENN-GBM-00002_11", "UPENN-GBM-00002_21", "UPENN-GBM-00002"),
    ("HOSPITAL-00007-000", "HOSPITAL-00007-003", "HOSPITAL-00007"),
]
ENDINGS = {"t1": "_t1", "of 2023": "-t1n"}


@pytest.mark.parametrize(("first", "second", "patient"), SCANS)
@pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS)
@pytest.mark.parametrize("release", [None, "brats2017-2021", "brats2023", "custom"])
def test_two_scans_are_of_one_patient(tmp_path, first, second, patient, ending, release):
    for case_id in (first, second):
        (tmp_path / f"{case_id}{ending}.nii.gz").touch()
    found = search_cases(tmp_path, BRATS_MODALITIES, release)
    assert {case.case_id: case.patient_id for case in found.cases} == dict.fromkeys((first, second), patient)
    assert not any("differ only" in problem.text for problem in found.problems)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("BraTS20_Training_001", "BraTS20_Training_002"),
        ("BraTS2021_00002", "BraTS2021_00003"),
        ("BRATS_001", "BRATS_002"),
        ("UCSF-PDGM-0391", "UCSF-PDGM-0392"),
        ("BraTS-GLI-00005-100", "BraTS-GLI-00006-100"),
        ("BraTS-GLI-00005-000", "BraTS-MET-00005-000"),
        ("brats_2013_pat0001_1", "brats_2013_pat0010_1"),
        ("Brats18_CBICA_AAB_1", "Brats18_CBICA_AAG_1"),
        ("phantom_0000", "phantom_0001"),
        ("p001", "p002"),
        ("study-2021-001", "study-2021-002"),
    ],
)
def test_cases_of_two_patients_stay_apart(first, second):
    assert len(set(patient_ids([first, second]).values())) == 2


@pytest.mark.parametrize(
    "names",
    [
        ("p001_1", "p001_2"),
        ("anna", "anna_2"),
        ("anna_1", "anna_2"),
        ("x_FU016d", "x_FU320d"),
        ("x_pre", "x_post"),
        ("sub-01_ses-01", "sub-01_ses-02"),
        ("PatientID_0003_Timepoint_1", "PatientID_0003_Timepoint_5"),
        ("Patient-001_week-000-1", "Patient-001_week-044"),
        ("m12_2020-01-31", "m12_2021-02-01"),
        ("study-2021-001", "study-2021-002"),
    ],
)
def test_names_that_differ_only_by_a_last_number_or_mark_are_told_and_the_remedy_keeps_them_together(tmp_path, names):
    for name in (*names, "other1x", "other2x"):
        (tmp_path / f"{name}_t1.nii.gz").write_text(name)
    [problem] = search_cases(tmp_path, BRATS_MODALITIES).problems
    assert problem.is_warning
    assert f"{names[0]} and {names[1]}" in problem.file or f"{names[1]} and {names[0]}" in problem.file
    assert "each counts as a patient" in problem.text

    scans = "".join(f"{name},one\n" for name in names)
    assert str(tmp_path / "patients.csv") in problem.remedy
    (tmp_path / "patients.csv").write_text(f"case,patient\n{scans}other1x,two\nother2x,three\n")
    found = search_cases(tmp_path, BRATS_MODALITIES)
    assert found.problems == []
    patients = {case.case_id: case.patient_id for case in found.cases}
    for seed in range(5):
        split = split_by_patient(patients, DataConfig(test_fraction=0.3, split_seed=seed))
        assert any({names[0], names[1]} <= set(part) for part in split.values())


@pytest.mark.parametrize(
    "names",
    [
        ("phantom_0000", "phantom_0001", "phantom_0002"),
        ("p001", "p002"),
        ("BraTS20_Training_001", "BraTS20_Training_002", "other"),
        ("a", "b"),
    ],
)
def test_numbers_of_patients_are_no_reason_for_a_warning(names):
    assert look_alikes(names) == []


@pytest.mark.parametrize("names", [["p1_001", "p1_002"], ["x_pre", "x_post"], ["anna", "anna_2"]])
def test_scans_of_one_patient_alone_are_told_by_a_number_in_the_stem_or_by_a_mark(names):
    assert [sorted(group) for group in look_alikes(names)] == [sorted(names)]


@pytest.mark.parametrize("place", ["patients.csv", "cases/site/patients.csv", "cases/Patients.CSV", "Patients.csv"])
def test_a_list_of_patients_in_another_place_is_named_and_is_read_once_it_is_in_its_place(tmp_path, place, caplog):
    (tmp_path / "cases" / "site").mkdir(parents=True)
    (tmp_path / "cases" / "site" / "notes.txt").touch()  # Empty folders have a warning of their own.
    for case_id in ("x", "y"):
        (tmp_path / "cases" / f"{case_id}_t1.nii.gz").write_text(case_id)
    (tmp_path / place).write_text("case,patient\nx,1\ny,1\n")
    caplog.set_level("WARNING")
    assert {case.patient_id for case in find_cases(tmp_path / "cases", BRATS_MODALITIES)} == {"x", "y"}
    [message] = caplog.messages
    wanted = tmp_path / "cases" / "patients.csv"
    assert f"{tmp_path / place}: this list of patients is not used. Copy it to {wanted}" in message
    (tmp_path / place).rename(wanted)
    assert {case.patient_id for case in find_cases(tmp_path / "cases", BRATS_MODALITIES)} == {"1"}
    assert len(caplog.messages) == 1
