"""Real lesions of other patients in volumes: image and label agree, and the rest stays."""

import numpy as np
import pytest

from mmsynth_tf.errors import UserError
from mmsynth_tf.patients import files, paste, patient
from tests.fakes import fake_slice_models
from tests.patients.test_jobs import MODELS, SHAPE, head, load, own_label, record, run, write_case

DATA = fake_slice_models.DATA


@pytest.fixture
def donors(tmp_path):
    """One labelled case whose lesion is bright, and one without a label."""
    write_case(tmp_path / "donors", "donor", label=own_label())
    write_case(tmp_path / "donors", "unlabelled")
    return files.find(tmp_path / "donors", DATA.modalities)


def other_label():
    label = np.zeros(SHAPE, np.uint8)
    label[18:20, 20:22, 2:4] = 2
    return label


def test_a_lesion_at_its_place_is_that_of_the_donor_and_the_rest_stays(donors, tmp_path):
    write_case(tmp_path / "in", label=other_label())
    run(paste.Paste(MODELS, donors, move=False), tmp_path / "in", tmp_path / "out")
    folder = tmp_path / "out" / "case"
    np.testing.assert_array_equal(load(folder / "case_seg.nii.gz"), own_label() + other_label())
    one, donor = (patient.read(files.find(tmp_path / name, DATA.modalities)[0], DATA) for name in ("in", "donors"))
    far = np.ones(SHAPE, bool)
    far[4:20, 4:20, :] = False
    for modality in ("t1", "flair"):
        result = load(folder / f"case_{modality}.nii.gz")
        np.testing.assert_allclose(result[far], one.scaled(modality)[far], atol=1e-6)
        # The two heads are alike, so no brightness is corrected.
        lesion = own_label() > 0
        np.testing.assert_allclose(result[lesion], donor.scaled(modality)[lesion], atol=1e-3)
        assert not result[~head()].any()
    assert record(folder)["lesions"][0]["source"] == "donor"
    assert not (folder / "case_t2.nii.gz").exists()


def test_a_moved_lesion_lies_in_the_head_with_its_intensities(donors, tmp_path):
    write_case(tmp_path / "in")
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        run(paste.Paste(MODELS, donors, seed=seed, release="brats2017-2021"), tmp_path / "in", tmp_path / name)
    made = {name: load(tmp_path / name / "case" / "case_seg.nii.gz") for name in "abc"}
    np.testing.assert_array_equal(made["a"], made["b"])
    assert (made["a"] != made["c"]).any()
    assert set(np.unique(made["a"])) == {0, 4} and not made["a"][~head()].any()
    matrix = np.array(record(tmp_path / "a" / "case")["lesions"][0]["matrix"])
    assert matrix.shape == (3, 3) and not np.allclose(matrix, np.eye(3))


def test_the_donor_is_another_patient_with_all_modalities_of_the_case(donors, tmp_path):
    write_case(tmp_path / "same", "donor")
    with pytest.raises(UserError, match="Case donor: no labelled case of another patient"):
        run(paste.Paste(MODELS, donors), tmp_path / "same", tmp_path / "out")
    write_case(tmp_path / "more", t2=own_label().astype(np.int16) + head())
    with pytest.raises(UserError, match=r"in --lesions_from has .*t2"):
        run(paste.Paste(MODELS, donors), tmp_path / "more", tmp_path / "out")


def test_donors_without_lesions_are_refused(donors, tmp_path):
    with pytest.raises(UserError, match="No case of --lesions_from has a label"):
        paste.Paste(MODELS, [donor for donor in donors if donor.label is None])
    write_case(tmp_path / "empty", "nothing", label=0 * own_label())
    write_case(tmp_path / "in")
    job = paste.Paste(MODELS, files.find(tmp_path / "empty", DATA.modalities))
    with pytest.raises(UserError, match="label of case nothing in --lesions_from is empty"):
        run(job, tmp_path / "in", tmp_path / "out")
