import dataclasses

import numpy as np
import pytest

from mmsynth_tf.reading.cases import read_case
from mmsynth_tf.reading.releases import find_cases
from mmsynth_tf.reading.slicing import resize_image, resize_label, slice_examples
from tests.fakes.fakes_cases import DATA, volumes, write_nifti_case


def slices(folder, arrays, data=DATA):
    write_nifti_case(folder, "a", arrays)
    [files] = find_cases(folder, data.modalities)
    return list(slice_examples(read_case(files, data, allow_incomplete=True), data))


def test_rows_are_anterior_first_and_columns_right_first(tmp_path):
    arrays = volumes()
    examples = slices(tmp_path, arrays)
    assert [example["slice_index"] for example in examples] == [1, 2, 3, 4]
    np.testing.assert_array_equal(examples[1]["label"][..., 0], arrays["label"][:, :, 2].T)
    np.testing.assert_array_equal(examples[1]["image"]["t2"][..., 0] > 0, arrays["t2"][:, :, 2].T > 0)


def test_crop_and_step(tmp_path):
    arrays = volumes()
    data = dataclasses.replace(DATA, slices=(1, 5, 2), crop_rows=(4, 16), crop_columns=(2, 12), image_size=(12, 10))
    examples = slices(tmp_path, arrays, data)
    assert [example["slice_index"] for example in examples] == [1, 3]
    np.testing.assert_array_equal(examples[1]["label"][..., 0], arrays["label"][2:12, 4:16, 3].T)


def test_types_and_ranges(tmp_path):
    example = slices(tmp_path, volumes())[0]
    assert example["image"]["t1"].dtype == np.float16
    assert example["label"].dtype == np.uint8
    assert example["image"]["t1"].shape == example["label"].shape == (20, 16, 1)
    inside = example["image"]["t1"][example["image"]["t1"] > 0]
    assert inside.min() >= 1 / 256
    assert inside.max() <= 1


def test_missing_and_blank_modalities_are_not_available(tmp_path):
    arrays = volumes()
    del arrays["t1c"]
    arrays["flair"][:, :, 3:] = 0
    examples = slices(tmp_path, arrays)
    assert examples[0]["available"].tolist() == [True, True, False, True]
    assert examples[-1]["available"].tolist() == [True, True, False, False]
    assert not examples[0]["image"]["t1c"].any()


def test_positions_run_from_the_lowest_slice_with_head_in_any_modality_to_the_highest(tmp_path):
    arrays = volumes()
    depth = arrays["t1"].shape[2]
    for name in ("t1", "t1c", "t2", "flair"):
        arrays[name][:, :, :2] = arrays[name][0, 0, 0]
    arrays["flair"][:, :, 4:] = arrays["flair"][0, 0, 0]
    examples = slices(tmp_path, arrays)
    assert depth == 6 and arrays["t1"][:, :, -1].any()
    # Slice 1 lies below the head.
    assert [example["slice_index"] for example in examples] == [2, 3, 4]
    np.testing.assert_allclose([example["position"] for example in examples], [0.0, 1 / 3, 2 / 3], rtol=1e-6)
    assert examples[0]["position"].dtype == np.float32


def test_missing_label(tmp_path):
    arrays = volumes()
    del arrays["label"]
    example = slices(tmp_path, arrays)[0]
    assert not example["has_label"]
    assert not example["label"].any()


@pytest.mark.parametrize("size", [(4, 6), (12, 18), (24, 36), (5, 7)])
def test_resized_head_keeps_its_intensity(size):
    image = np.zeros((12, 18), np.float32)
    image[2:10, 3:15] = 0.4
    resized = resize_image(image, size)
    assert resized.shape == size
    np.testing.assert_allclose(resized[resized > 0], 0.4, rtol=1e-5)
    assert (resized > 0).mean() == pytest.approx((image > 0).mean(), abs=0.12)


def test_shrunk_image_is_the_mean_over_the_head():
    image = np.array([[0.2, 0.4], [0.6, 0.0]], np.float32)
    np.testing.assert_allclose(resize_image(image, (1, 1)), [[0.4]], rtol=1e-6)


def test_images_shrink_by_area_and_grow_linearly():
    row = np.array([[0.2, 0.4, 0.6, 1.0]], np.float32)
    np.testing.assert_allclose(resize_image(row, (1, 1)), [[0.55]], rtol=1e-6)
    # Centres of the four pixels lie at -0.25, 0.25, 0.75 and 1.25 of the two.
    np.testing.assert_allclose(resize_image(row[:, ::2], (1, 4)), [[0.2, 0.3, 0.5, 0.6]], rtol=1e-6)


def test_label_is_resized_by_majority():
    label = np.array([[4, 4, 0, 0], [4, 1, 0, 2]], np.uint8)
    np.testing.assert_array_equal(resize_label(label, (1, 2)), [[4, 0]])


def test_label_resize_makes_no_new_classes(rng):
    label = rng.choice(np.array([0, 1, 4], np.uint8), (30, 40))
    assert set(np.unique(resize_label(label, (13, 17)))) <= {0, 1, 4}
