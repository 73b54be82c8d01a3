"""Several lesions in a head, and what the joint segmenter finds of them."""

import numpy as np
import pytest

from mmsynth_tf.errors import UserError
from mmsynth_tf.patients import files, insert, insertion_check, lesions, paste, segment
from tests.fakes import fake_slice_models, fakes_cases
from tests.patients.test_jobs import AFFINE, MODELS, SHAPE, head, labels_from, load, own_label, record, run, write_case

JOINT = fake_slice_models.slice_models(joint=True)


def small_label():
    label = np.zeros(SHAPE, np.uint8)
    label[13:15, 20:22, 4:6] = 4
    return label


def test_lesions_are_found_by_their_dice_and_the_rest_is_new_unless_it_was_found_before():
    first, second, own, stray = (np.zeros((20, 10, 10), np.uint8) for _ in range(4))
    first[1:3, 1:3, 1:3], second[8:10, 1:3, 1:3], own[15:17, 1:3, 1:3], stray[12:14, 8:9, 8:9] = 1, 2, 4, 3
    after = own.copy()
    after[1:3, 1:3, 1:4] = 4  # All of the first lesion's 8 voxels, and 4 more: Dice 16 / (8 + 12).
    after += stray
    entry = insertion_check.compare([first, second], own, after, voxel_ml=0.5)
    assert entry == {"dice": [0.8, 0.0], "new_elsewhere_ml": 1.0}
    # The inserted lesion lies on what was found before.
    assert insertion_check.compare([own], own, own, 0.5) == {"dice": [1.0], "new_elsewhere_ml": 0.0}
    nothing = insertion_check.compare([first], 0 * own, 0 * own, 0.5)
    assert nothing == {"dice": [0.0], "new_elsewhere_ml": 0.0}


def test_several_lesions_keep_clear_of_each_other_and_of_the_own_lesion(rng):
    large = np.ones((40, 44, 30), bool)
    own = np.zeros(large.shape, np.uint8)
    own[18:22, 18:22, 8:20] = 2
    chosen = [lesions.Lesion(np.ones((6, 6, 6), np.uint8), AFFINE, str(number)) for number in range(3)]
    placed = lesions.put(chosen, AFFINE, large, own > 0, rng, move=True)
    assert [entry["source"] for _, entry in placed] == ["0", "1", "2"]
    everything = [own, *(label for label, _ in placed)]
    for number, label in enumerate(everything):
        assert label.any()
        for other in everything[:number]:
            # No two lesions come closer than the gap: 6 voxels of 1 mm.
            distances = np.abs(np.argwhere(label)[:, None] - np.argwhere(other)[None]).max(axis=-1)
            assert distances.min() > 6


def test_lesions_that_must_not_move_are_refused_where_they_overlap_unless_asked(tmp_path):
    write_case(tmp_path / "in", label=own_label())
    found = labels_from(tmp_path, own_label())
    with pytest.raises(UserError, match=r"Case case: The lesion of other_seg\.nii\.gz overlaps .*--overlap"):
        run(insert.Insert(MODELS, found, move=False), tmp_path / "in", tmp_path / "out")
    run(insert.Insert(MODELS, found, move=False, overlap=True), tmp_path / "in", tmp_path / "out")
    # A lesion that is removed first is in nobody's way.
    run(insert.Insert(MODELS, found, move=False, remove_lesion=True), tmp_path / "in", tmp_path / "removed")


@pytest.mark.parametrize("pasted", [False, True])
def test_a_head_without_a_lesion_gets_several_in_image_and_label_and_the_segmenter_is_asked(tmp_path, pasted):
    write_healthy(tmp_path / "in")
    write_case(tmp_path / "donors", "donor", label=small_label())
    if pasted:
        donors = files.find(tmp_path / "donors", JOINT.data.modalities)
        job = paste.Paste(JOINT, donors, count=2, overlap=True)
    else:
        job = insert.Insert(JOINT, labels_from(tmp_path, small_label()), count=2, overlap=True)
    run(job, tmp_path / "in", tmp_path / "out")
    entry = record(tmp_path / "out" / "case")
    assert len(entry["lesions"]) == len(entry["joint_segmenter"]["dice"]) == 2
    assert entry["joint_segmenter"]["given"] == (["t1", "flair"] if pasted else list(JOINT.data.modalities))
    label = load(tmp_path / "out" / "case" / "case_seg.nii.gz")
    assert label.any() and not label[~head()].any()


def test_models_without_a_joint_segmenter_try_nothing(tmp_path):
    write_case(tmp_path / "in")
    run(insert.Insert(MODELS, labels_from(tmp_path, small_label())), tmp_path / "in", tmp_path / "out")
    assert record(tmp_path / "out" / "case")["joint_segmenter"] is None


def test_a_lesion_that_no_label_names_is_kept_clear_of_as_found(tmp_path):
    """The block is found by the joint segmenter, and a label that stays on it is refused."""
    write_case(tmp_path / "in")
    with pytest.raises(UserError, match="overlaps another one"):
        run(insert.Insert(JOINT, labels_from(tmp_path, own_label()), move=False), tmp_path / "in", tmp_path / "out")


def test_the_entry_is_that_of_segmenting_before_and_after(tmp_path):
    write_case(tmp_path / "donors", "donor", label=own_label())
    write_healthy(tmp_path / "in")
    job = paste.Paste(JOINT, files.find(tmp_path / "donors", JOINT.data.modalities), move=False)
    run(job, tmp_path / "in", tmp_path / "out")
    found = {}
    for name in ("in", "out"):
        run(segment.Segment(JOINT), tmp_path / name, tmp_path / f"{name}_found")
        found[name] = load(tmp_path / f"{name}_found" / "case" / "case_seg.nii.gz").astype(np.uint8)
    assert found["in"].any() and (found["out"] != found["in"]).any()
    expected = insertion_check.compare([own_label()], found["in"], found["out"], voxel_ml=0.001)
    entry = record(tmp_path / "out" / "case")["joint_segmenter"]
    assert entry["dice"] == pytest.approx(expected["dice"], abs=0.05) and entry["dice"][0] > 0.3
    assert entry["new_elsewhere_ml"] == pytest.approx(expected["new_elsewhere_ml"], abs=0.05)


def write_healthy(folder):
    """T1 and FLAIR of a head without a block; the joint segmenter finds the bright side of it."""
    x, y, _ = np.indices(SHAPE)
    image = np.where(head(), np.where(x < 20, 200, 900) + y, 0).astype(np.int16)
    fakes_cases.write_nifti_case(folder, "case", {"t1": image, "flair": image + head()}, affine=AFFINE)
