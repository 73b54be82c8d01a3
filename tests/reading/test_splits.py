import dataclasses

import pytest

from mmsynth_tf.configs import DataConfig
from mmsynth_tf.errors import UserError
from mmsynth_tf.reading.splits import FOLDS, patient_folds, split_by_fold, split_by_patient, subset

PATIENTS = {f"p{patient}_{time}": f"p{patient}" for patient in range(10) for time in range(2)}


def shares(test, validation=0.0, seed=0):
    return DataConfig(test_fraction=test, validation_fraction=validation, split_seed=seed)


def test_sets_are_disjoint_by_patient_and_complete():
    split = split_by_patient(PATIENTS, shares(0.2, 0.3))
    patients = {name: {PATIENTS[case] for case in cases} for name, cases in split.items()}
    assert [len(patients[name]) for name in ("train", "validation", "test")] == [5, 3, 2]
    assert len(set.union(*patients.values())) == 10
    assert sum(map(len, split.values())) == 20


def test_seed_decides_the_split():
    assert split_by_patient(PATIENTS, shares(0.3)) == split_by_patient(PATIENTS, shares(0.3))
    assert split_by_patient(PATIENTS, shares(0.3)) != split_by_patient(PATIENTS, shares(0.3, seed=1))


def test_small_shares_get_a_patient():
    split = split_by_patient(PATIENTS, shares(0.01, 0.01))
    assert len(split["test"]) == len(split["validation"]) == 2


def test_all_for_testing():
    assert split_by_patient(PATIENTS, shares(1.0)) == {"train": [], "validation": [], "test": sorted(PATIENTS)}


def test_refuses_too_few_patients_and_impossible_shares():
    with pytest.raises(UserError, match="1 patients are too few"):
        split_by_patient({"a": "a"}, shares(0.1))
    for changes in ({"test_fraction": -0.1}, {"test_fraction": 0.7, "validation_fraction": 0.7}):
        with pytest.raises(UserError, match=r"must be 0 or more, with a sum of 1 at most"):
            split_by_patient(PATIENTS, dataclasses.replace(DataConfig(), **changes))


def test_each_patient_is_tested_in_one_fold_and_the_next_fold_validates():
    tested = []
    for fold in range(FOLDS):
        split = split_by_fold(PATIENTS, shares(0.9, 0.2), fold)
        patients = {name: {PATIENTS[case] for case in cases} for name, cases in split.items()}
        assert [len(patients[name]) for name in ("train", "validation", "test")] == [6, 2, 2]
        assert len(set.union(*patients.values())) == 10
        assert patients["validation"] == set(patient_folds(PATIENTS.values())[(fold + 1) % FOLDS])
        tested += sorted(patients["test"])
    assert sorted(tested) == sorted(set(PATIENTS.values()))


def test_folds_need_patients():
    with pytest.raises(UserError, match="4 patients are too few for 5 folds"):
        patient_folds(["a", "b", "c", "d", "d"])
    with pytest.raises(UserError, match="validation_fraction"):
        split_by_fold(PATIENTS, shares(0.1, 0.8), 0)


def test_subsets_of_a_folds_training_patients_are_nested_and_the_others_are_left_out():
    whole = [split_by_fold(PATIENTS, shares(0.1, 0.2), 1, count) for count in (2, 4, 8)]
    trained = [{PATIENTS[case] for case in split["train"]} for split in whole]
    assert [len(names) for names in trained] == [2, 4, 8]
    assert trained[0] < trained[1] < trained[2]
    for split in whole:
        assert split["test"] == split_by_fold(PATIENTS, shares(0.1), 1)["test"] and not split["validation"]
        assert not set(split["test"]) & set(split["train"])
    # Each fold has an order of its own.
    assert subset(PATIENTS.values(), 0, 9) != subset(PATIENTS.values(), 1, 9)
    with pytest.raises(UserError, match="Fold 1 has 8 training patients, fewer than 9"):
        split_by_fold(PATIENTS, shares(0.1), 1, 9)
