"""What `mmsynth segment` finds, where the models are out of their range, and which lesions it drops."""

import logging

import nibabel
import numpy as np
import pytest

from mmsynth_tf.patients import files, patient, segment
from tests.fakes import fake_slice_models, fakes_cases
from tests.patients.test_jobs import AFFINE, MODELS, load, load_t1, own_label, record, run, write_case


def test_segmentation_is_written_in_the_codes_asked_for(tmp_path):
    write_case(tmp_path / "in")
    run(segment.Segment(MODELS, release="brats2023"), tmp_path / "in", tmp_path / "out")
    made = nibabel.load(tmp_path / "out" / "case" / "case_seg.nii.gz")
    assert made.get_data_dtype() == np.uint8
    expected = np.where(own_label() > 0, 3, 0)
    np.testing.assert_array_equal(made.get_fdata(), expected)
    for modality in ("t1", "flair"):
        one = load(tmp_path / "out" / "case" / "by_modality" / f"{modality}_case_seg.nii.gz")
        np.testing.assert_array_equal(one, expected)
    assert record(tmp_path / "out" / "case")["voxels"]["enhancing tumour"] == 4 * 4 * 3


@pytest.mark.parametrize(("certainty", "found"), [(0.6, True), (0.4, False)])
def test_modality_that_shows_a_lesion_convinces_one_that_does_not(tmp_path, certainty, found):
    """The sums are `certainty` for the lesion and 0.4 (2 - `certainty`) for the background."""
    models = fake_slice_models.slice_models(certainty={"t1": 0.0, "flair": certainty})
    write_case(tmp_path / "in")
    run(segment.Segment(models), tmp_path / "in", tmp_path / "out")
    folder = tmp_path / "out" / "case"
    assert not load(folder / "by_modality" / "t1_case_seg.nii.gz").any()
    np.testing.assert_array_equal(load(folder / "case_seg.nii.gz"), own_label() if found else 0 * own_label())


def test_the_joint_segmenter_gets_all_given_modalities_at_once_and_zeros_for_the_others(tmp_path):
    models = fake_slice_models.slice_models(joint=True)
    write_case(tmp_path / "two")
    fakes_cases.write_nifti_case(tmp_path / "one", "case", {"t1": load_t1(tmp_path / "two")}, affine=AFFINE)
    # The block is 1 in each modality, which only two of them bring above 1.
    for name, given, expected in (("two", ["t1", "flair"], own_label()), ("one", ["t1"], 0 * own_label())):
        run(segment.Segment(models), tmp_path / name, tmp_path / "out" / name)
        folder = tmp_path / "out" / name / "case"
        found = load(folder / "case_seg.nii.gz")
        np.testing.assert_array_equal(found[own_label() > 0], expected[own_label() > 0])
        assert record(folder)["found_in"] == given
        assert not (folder / "by_modality").exists()
    one = patient.read(files.find(tmp_path / "two", models.data.modalities)[0], models.data)
    seen = []
    models._functions["segment"] = lambda images: (seen.append(np.asarray(images)), {"probabilities": images})[1]
    models.segment({"flair": one.slices("flair")})
    np.testing.assert_array_equal(np.concatenate(seen)[..., 3], one.slices("flair"))
    assert not np.concatenate(seen)[..., :3].any()


@pytest.mark.parametrize("keep_beyond", [False, True])
def test_lesions_beyond_the_training_slices_are_dropped_unless_asked_and_said(tmp_path, caplog, keep_beyond):
    """The models know slices 2 to 7. A third of the lesion is a block in slices 8 and 9."""
    write_case(tmp_path / "in")
    beyond = np.s_[10:14, 10:13, 8:10]
    add_block(tmp_path / "in", beyond)
    with caplog.at_level(logging.INFO):
        run(segment.Segment(MODELS, keep_beyond=keep_beyond), tmp_path / "in", tmp_path / "out")
    expected = own_label()
    if keep_beyond:
        expected[beyond] = 4
    np.testing.assert_array_equal(load(tmp_path / "out" / "case" / "case_seg.nii.gz"), expected)
    outside = record(tmp_path / "out" / "case")["outside_training"]
    assert outside["slices"] == [[0, 1], [8, 9]]
    assert outside["share_of_lesion"] == pytest.approx(24 / (24 + 48) if keep_beyond else 0.0, abs=1e-4)
    assert outside["dropped_ml"] == (0.0 if keep_beyond else 0.024)
    said = [text for text in caplog.messages if "no training slice" in text]
    assert len(said) == 1 and "Case case" in said[0] and "slices 0 to 1, 8 to 9." in said[0]


def test_a_lesion_that_reaches_a_training_slice_is_kept_whole():
    label = np.zeros((4, 4, 6), np.uint8)
    label[0, 0, 1:3], label[3, 3, 4:6] = 1, 4
    trained = np.array([False, False, True, True, False, False])
    expected = label == 1
    np.testing.assert_array_equal(segment.reaching(label, trained), expected)


def test_training_slices_are_found_at_their_height_in_volumes_with_other_distances():
    """Slices 50 to 104 of 1 mm: 50 to 104 mm above the lowest slice, so slices 10 to 20 of 5 mm."""
    assert np.flatnonzero(segment.at_height(155, 1.0, (50, 105, 1))).tolist() == list(range(50, 105))
    assert np.flatnonzero(segment.at_height(31, 5.0, (50, 105, 1))).tolist() == list(range(10, 21))
    # Training slices 2 to 4 of 5 mm; the volume's slices have 1 mm.
    assert np.flatnonzero(segment.at_height(40, 0.2, (2, 5))).tolist() == list(range(6, 25))


def test_the_training_slices_are_those_of_the_stage_that_segments():
    models = fake_slice_models.slice_models(joint=True)
    assert tuple(models.segmented_slices) == (2, 8, 1)
    joint = {"config": {"data": {"slices": [0, 10, 1]}}, "checkpoint_sha256": "def"}
    models._metadata["stages"]["joint"] = joint
    assert models.segmented_slices == (0, 10, 1)


def test_lesions_below_a_volume_are_dropped_by_choice(tmp_path):
    """Voxels of 1 mm: the block has 0.048 ml, the other lesion 0.004 ml."""
    write_case(tmp_path / "in")
    small = np.s_[17:19, 17:19, 7:8]
    add_block(tmp_path / "in", small)
    both = own_label()
    both[small] = 4
    for least, expected, dropped in ((0.0, both, 0), (0.004, both, 0), (0.005, own_label(), 1), (1.0, 0 * both, 2)):
        output = tmp_path / f"out_{least}"
        run(segment.Segment(MODELS, min_volume=least), tmp_path / "in", output)
        np.testing.assert_array_equal(load(output / "case" / "case_seg.nii.gz"), expected)
        assert record(output / "case")["dropped_lesions"] == dropped


def test_lesions_that_touch_at_a_corner_are_one():
    label = np.zeros((4, 4, 4), np.uint8)
    label[0, 0, 0], label[1, 1, 1], label[3, 3, 3] = 1, 4, 1
    kept, dropped = segment.without_small(label, 0.5, 1.0)
    assert dropped == 1 and kept[3, 3, 3] == 0
    np.testing.assert_array_equal(kept[:2], label[:2])


def add_block(folder, where):
    """Makes a further region of the written T1 and FLAIR as bright as the block is."""
    for name in ("t1", "flair"):
        path = folder / "case" / f"case_{name}.nii.gz"
        image = load(path).astype(np.int16)
        image[where] = image.max()
        nibabel.save(nibabel.Nifti1Image(image, AFFINE), path)
