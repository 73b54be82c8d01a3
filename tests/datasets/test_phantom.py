import nibabel
import numpy as np
import pytest

from datasets import phantom
from mmsynth_tf.configs import DataConfig
from mmsynth_tf.constants import BRATS_MODALITIES
from mmsynth_tf.errors import UserError
from mmsynth_tf.reading.releases import find_cases

pytest.importorskip("nilearn")

SPACING = 3.0


@pytest.fixture(scope="module")
def patients():
    return [phantom.make_patient(0, index, SPACING) for index in range(6)]


def means(patient, modality, where):
    return patient[modality][where].mean()


def test_same_seed_same_patient(patients):
    again = phantom.make_patient(0, 1, SPACING)
    for name, volume in patients[1].items():
        np.testing.assert_array_equal(again[name], volume)
    assert (again["t1"] != patients[2]["t1"]).any()


def test_brains_have_the_size_and_place_of_brats(patients):
    for patient in patients:
        head = patient["t1"] > 0
        assert 1100 < head.sum() * SPACING**3 / 1000 < 2000  # ml
        centre = np.argwhere(head).mean(axis=0) * SPACING
        np.testing.assert_allclose(centre, (119, 128, 70), atol=15)
        for modality in ("t1ce", "t2", "flair"):
            np.testing.assert_array_equal(patient[modality] > 0, head)


def test_tumours_lie_inside_and_have_the_size_of_gliomas(patients):
    for patient in patients:
        lesion = patient["seg"] > 0
        assert not (lesion & (patient["t1"] == 0)).any()
        assert 18 < lesion.sum() * SPACING**3 / 1000 < 155  # ml
        assert set(np.unique(patient["seg"])) <= {0, 1, 2, 4}
    assert any((patient["seg"] == 4).any() for patient in patients)


def test_lesions_look_as_in_life(patients):
    for patient in patients:
        seg = patient["seg"]
        healthy, core, oedema, rim = (patient["t1"] > 0) & (seg == 0), seg == 1, seg == 2, seg == 4
        for modality, brighter in (("t1", False), ("t1ce", False), ("t2", True), ("flair", True)):
            assert (means(patient, modality, oedema) > means(patient, modality, healthy)) == brighter
        if rim.any():
            assert means(patient, "t1ce", rim) > 1.3 * means(patient, "t1ce", healthy)
            assert means(patient, "t1ce", core) < means(patient, "t1ce", healthy)
            assert means(patient, "flair", core) < means(patient, "flair", oedema)


def test_written_cases_have_the_layout_of_brats(tmp_path):
    phantom.write_cases(tmp_path / "cases", 2, seed=0, spacing=6.0)
    cases = find_cases(tmp_path / "cases", BRATS_MODALITIES)
    assert [case.case_id for case in cases] == ["phantom_0000", "phantom_0001"]
    assert cases[0].release.name == "brats2017-2021"
    image = nibabel.load(cases[0].images["t1c"].path)
    assert nibabel.aff2axcodes(image.affine) == ("L", "P", "S")
    assert image.shape == (40, 40, 26)
    assert image.get_data_dtype() == np.int16
    with pytest.raises(UserError, match="not empty"):
        phantom.write_cases(tmp_path / "cases", 1)


def test_default_size_is_that_of_brats():
    data = DataConfig()
    from datasets.phantom.anatomy import grid_shape

    assert grid_shape(1.0) == (240, 240, 155)
    assert data.slice_stop <= 155
