"""Metrics against independent implementations and values derived by hand."""

import math

import numpy as np
import pytest
import surface_distance
import tensorflow as tf
from scipy import spatial
from skimage import metrics as skimage_metrics
from sklearn import metrics as sklearn_metrics

from mmsynth_tf import constants
from mmsynth_tf.errors import UserError
from mmsynth_tf.metrics import surface_distances
from mmsynth_tf.metrics.images import (
    brasyn_ssim,
    masked_mae,
    masked_psnr,
    masked_ssim,
    ms_ssim,
    ms_ssim_scales,
    regional_ssim,
)
from mmsynth_tf.metrics.segmentation import (
    dice,
    label_map_dice,
    label_map_mse,
    mask_metrics,
    precision,
    region_metrics,
    sensitivity,
    volume_errors,
)
from mmsynth_tf.metrics.summary import summarise

SHAPES = pytest.mark.parametrize(
    ("shape", "spacing_mm"), [((12, 15), (1.0, 1.0)), ((11, 9), (0.5, 2.0)), ((6, 8, 7), (3.0, 1.0, 0.9))]
)
DENSITIES = pytest.mark.parametrize("density", [0.02, 0.3, 0.97])


def random_masks(rng, shape, density):
    """Two masks, neither empty."""
    masks = rng.random((2, *shape)) < density
    masks[(slice(None), *[0] * len(shape))] = True
    return masks


def squares(offset):
    """A 4x4 square and the same square moved down by `offset` rows."""
    reference, prediction = np.zeros((2, 16, 16), bool)
    reference[4:8, 4:8] = prediction[4 + offset : 8 + offset, 4:8] = True
    return reference, prediction


@pytest.fixture
def library(monkeypatch):
    """surface-distance's own distances, with the names that it expects of NumPy and that some versions lack."""
    for name, value in (("bool", bool), ("Inf", np.inf)):
        if not hasattr(np, name):
            monkeypatch.setattr(np, name, value, raising=False)
    return surface_distance


@DENSITIES
def test_overlaps_agree_with_scikit_learn(rng, density):
    reference, prediction = random_masks(rng, (12, 13), density)
    flat = reference.ravel(), prediction.ravel()
    assert dice(reference, prediction) == pytest.approx(sklearn_metrics.f1_score(*flat))
    assert sensitivity(reference, prediction) == pytest.approx(sklearn_metrics.recall_score(*flat))
    assert precision(reference, prediction) == pytest.approx(sklearn_metrics.precision_score(*flat))


@DENSITIES
def test_dice_agrees_with_scipy(rng, density):
    reference, prediction = random_masks(rng, (12, 13), density)
    expected = 1 - spatial.distance.dice(reference.ravel(), prediction.ravel())
    assert dice(reference, prediction) == pytest.approx(expected)


@SHAPES
@DENSITIES
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_surface_metrics_agree_with_surface_distance(rng, library, shape, spacing_mm, density):
    reference, prediction = random_masks(rng, shape, density)
    expected = library.compute_surface_distances(reference, prediction, spacing_mm)
    for percentile in (50, 95, 100):
        assert surface_distances.hausdorff_distance(reference, prediction, spacing_mm, percentile) == pytest.approx(
            library.compute_robust_hausdorff(expected, percentile)
        )
    for tolerance_mm in (0.0, 1.0, 2.5):
        assert surface_distances.normalised_surface_dice(
            reference, prediction, spacing_mm, tolerance_mm
        ) == pytest.approx(library.compute_surface_dice_at_tolerance(expected, tolerance_mm))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_missed_lesion_scores_as_surface_distance_scores_it(library):
    reference, empty = np.eye(8, dtype=bool), np.zeros((8, 8), bool)
    expected = library.compute_surface_distances(reference, empty, (1, 1))
    assert library.compute_robust_hausdorff(expected, 95) == np.inf
    assert surface_distances.hausdorff_distance(reference, empty, (1, 1)) == np.inf
    assert library.compute_surface_dice_at_tolerance(expected, 1) == 0
    assert surface_distances.normalised_surface_dice(reference, empty, (1, 1), 1) == 0


@DENSITIES
def test_hausdorff_distance_agrees_with_scikit_image(rng, density):
    reference, prediction = random_masks(rng, (12, 15), density)
    corners = [surface_corners(mask) for mask in (reference, prediction)]
    expected = skimage_metrics.hausdorff_distance(*corners)
    assert surface_distances.hausdorff_distance(reference, prediction, (1, 1), 100) == pytest.approx(expected)


def surface_corners(mask):
    """Corners that touch voxels both inside and outside, bool [H + 1, W + 1]."""
    padded = np.pad(mask, 1)
    around = np.stack([padded[:-1, :-1], padded[1:, :-1], padded[:-1, 1:], padded[1:, 1:]])
    return around.any(0) & ~around.all(0)


def test_a_shifted_square_is_as_far_away_as_it_was_shifted():
    # The upper edge of the square (4 of 16 mm outline) is 3 rows of 2 mm away, more than 5 % of the outline.
    assert surface_distances.hausdorff_distance(*squares(3), (2.0, 1.0)) == pytest.approx(6.0)
    assert surface_distances.normalised_surface_dice(*squares(3), (2.0, 1.0), 6.0) == 1


def test_dice_of_a_square_shifted_by_a_quarter_is_three_quarters():
    values = mask_metrics(*squares(1))
    assert values == {"dice": 0.75, "sensitivity": 0.75, "precision": 0.75}


@pytest.mark.parametrize(
    ("reference", "prediction", "expected"),
    [
        ([0, 0], [0, 0], {"dice": np.nan, "sensitivity": np.nan, "precision": np.nan, "hd95": np.nan, "nsd": np.nan}),
        ([0, 1], [0, 0], {"dice": 0, "sensitivity": 0, "precision": 0, "hd95": np.inf, "nsd": 0}),
        ([0, 0], [0, 1], {"dice": 0, "sensitivity": np.nan, "precision": 0, "hd95": np.inf, "nsd": 0}),
        ([1, 1], [1, 1], {"dice": 1, "sensitivity": 1, "precision": 1, "hd95": 0, "nsd": 1}),
    ],
    ids=["both empty", "missed", "false alarm", "both full"],
)
def test_degenerate_masks_score_as_stated(reference, prediction, expected):
    masks = np.array([reference], bool), np.array([prediction], bool)
    assert mask_metrics(*masks, spacing_mm=(1, 1)) == pytest.approx(expected, nan_ok=True)


def test_regions_are_unions_of_labels():
    reference, prediction = np.array([[0, 1, 2, 4]]), np.array([[0, 3, 2, 0]])
    values = region_metrics(reference, prediction, constants.BRATS_REGIONS)
    # WT: 3 and 2 pixels, 2 shared. TC: 2 and 1, 1 shared. ET: missed.
    assert {name: value["dice"] for name, value in values.items()} == pytest.approx({"WT": 0.8, "TC": 2 / 3, "ET": 0})


def test_label_map_dice_of_class_3_for_4_is_096():
    reference, prediction = np.full((8, 8), 4, np.uint8), np.full((8, 8), 3, np.uint8)
    assert label_map_dice(reference, prediction) == pytest.approx(2 * 12 / (16 + 9), abs=1e-5)
    assert label_map_mse(reference, prediction) == 1


def test_label_map_dice_of_two_empty_maps_is_1():
    assert label_map_dice(np.zeros((8, 8), np.uint8), np.zeros((8, 8), np.uint8)) == 1


def test_label_map_mse_agrees_with_scikit_image(rng):
    reference, prediction = rng.integers(0, 5, (2, 9, 9)).astype(np.uint8)
    expected = skimage_metrics.mean_squared_error(reference.astype(float), prediction.astype(float))
    assert label_map_mse(reference, prediction) == pytest.approx(expected)


@pytest.mark.parametrize("data_range", [1.0, 2.0])
def test_image_metrics_agree_with_scikit_image(rng, data_range):
    reference, image = rng.random((2, 24, 20))
    mask = rng.random((24, 20)) < 0.5
    _, similarity = skimage_metrics.structural_similarity(
        reference, image, gaussian_weights=True, use_sample_covariance=False, data_range=data_range, full=True
    )
    psnr = skimage_metrics.peak_signal_noise_ratio(reference[mask], image[mask], data_range=data_range)
    mae = sklearn_metrics.mean_absolute_error(reference[mask], image[mask])
    assert masked_ssim(reference, image, mask, data_range) == pytest.approx(similarity[mask].mean())
    assert masked_psnr(reference, image, mask, data_range) == pytest.approx(psnr)
    assert masked_mae(reference, image, mask) == pytest.approx(mae)


def test_ssim_of_a_stack_is_that_of_its_slices(rng):
    reference, images = rng.random((2, 3, 16, 16))
    mask = np.ones((16, 16), bool)
    each = [masked_ssim(a, b, mask) for a, b in zip(reference, images, strict=True)]
    assert masked_ssim(reference, images, np.ones((3, 16, 16), bool)) == pytest.approx(np.mean(each))


def test_equal_images_are_perfect(rng):
    image, mask = rng.random((16, 16)), np.ones((16, 16), bool)
    assert masked_ssim(image, image, mask) == pytest.approx(1)
    assert masked_psnr(image, image, mask) == np.inf
    assert masked_mae(image, image, mask) == 0


def brasyn_map(a, b):
    """SSIM by scikit-image with BraSyn's window, in three dimensions."""
    settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1.0}
    return skimage_metrics.structural_similarity(a, b, full=True, **settings)[1]


def test_regional_ssim_is_scaled_by_the_reference_and_averaged_inside_the_region(rng):
    head = np.zeros((14, 16, 16), bool)
    head[2:12, 2:14, 2:14] = True
    lesion = np.zeros_like(head)
    lesion[5:9, 5:9, 5:9] = True
    reference, image = (np.where(head, rng.uniform(0.1, 0.9, head.shape), 0) for _ in range(2))
    low, high = np.percentile(reference, [0.5, 99.5])
    a, b = (np.clip((values - low) / (high - low), 0, 1) for values in (reference, image))
    found = regional_ssim(reference, image, lesion)
    assert found["volume"] == pytest.approx(brasyn_map(a, b).mean())
    assert found["lesion"] == pytest.approx(brasyn_map(a * lesion, b * lesion)[lesion].mean())
    healthy = head & ~lesion
    assert found["healthy"] == pytest.approx(brasyn_map(a * healthy, b * healthy)[healthy].mean())
    # Brighter by a factor: BraSyn's own script scales each volume by itself.
    np.testing.assert_allclose(list(brasyn_ssim(reference, 3 * reference, lesion).values()), 1.0)
    assert regional_ssim(reference, 3 * reference, lesion)["volume"] < 0.99
    own = brasyn_ssim(reference, image, lesion)
    low, high = np.percentile(image, [0.5, 99.5])
    b = np.clip((image - low) / (high - low), 0, 1) * ~lesion
    assert own["healthy"] == pytest.approx(brasyn_map(a * ~lesion, b).mean())
    assert np.isnan(regional_ssim(reference, image, np.zeros_like(lesion))["lesion"])


def test_volume_errors_are_what_is_added_and_what_is_missed():
    reference, prediction = np.zeros((2, 4, 6), bool), np.zeros((2, 4, 6), bool)
    reference[0, :2, :4] = prediction[0, 1:, :4] = True
    prediction[1, 0, 5] = True  # 2 pixels from the rest.
    errors = {"false_ml": 4.5, "invented_ml": 0.5, "missed_ml": 2.0, "volume_error_ml": 2.5}
    assert volume_errors(reference, prediction, 0.5) == errors


@pytest.mark.parametrize("metric", [masked_ssim, masked_psnr, masked_mae])
def test_an_empty_mask_gives_nan(rng, metric):
    assert math.isnan(metric(*rng.random((2, 16, 16)), np.zeros((16, 16), bool)))


@pytest.mark.parametrize(("size", "scales"), [(11, 1), (16, 1), (22, 2), (64, 3), (128, 4), (240, 5), (512, 5)])
def test_the_smallest_scale_of_ms_ssim_holds_a_window(size, scales):
    assert ms_ssim_scales((size, 512)) == scales


def test_slices_smaller_than_a_window_have_no_ms_ssim():
    with pytest.raises(UserError, match="11 pixels or more a side, these have 8"):
        ms_ssim(np.zeros((1, 8, 16)), np.zeros((1, 8, 16)))


def test_ms_ssim_of_one_scale_is_ssim(rng):
    first, second = rng.random((2, 3, 16, 16)).astype(np.float32)
    second = (first + second) / 2
    expected = tf.image.ssim(first[..., None], second[..., None], 1.0)
    np.testing.assert_allclose(ms_ssim(first, second), expected, atol=1e-5)


def test_ms_ssim_of_equal_slices_is_one(rng):
    image = rng.random((2, 64, 64))
    np.testing.assert_allclose(ms_ssim(image, image), 1, atol=1e-5)
    assert (ms_ssim(image, rng.random((2, 64, 64))) < 0.5).all()


def test_a_summary_counts_what_the_mean_cannot_hold():
    summary = summarise([1.0, 3.0, 5.0, np.inf, np.nan])
    assert (summary.mean, summary.std, summary.median) == (3.0, 2.0, 4.0)
    assert (summary.count, summary.missed, summary.absent) == (3, 1, 1)
    assert summary.text(1) == "3.0 ± 2.0 (n=3, 1 missed)"


def test_the_median_is_infinite_when_half_is_missed():
    assert summarise([1.0, np.inf]).median == np.inf


@pytest.mark.parametrize(("values", "text"), [([], "– (n=0)"), ([np.nan], "– (n=0)"), ([0.5], "0.500 (n=1)")])
def test_summaries_of_few_values_have_no_spread(values, text):
    assert summarise(values).text() == text


def test_labels_are_refused_where_masks_are_wanted():
    with pytest.raises(ValueError, match="boolean, got uint8"):
        mask_metrics(np.zeros((4, 4), np.uint8), np.zeros((4, 4), np.uint8))


def test_masks_of_different_shapes_are_refused():
    with pytest.raises(ValueError, match=r"\(4, 4\), \(4, 5\)"):
        mask_metrics(np.zeros((4, 4), bool), np.zeros((4, 5), bool))


def test_a_spacing_of_the_wrong_length_is_refused():
    with pytest.raises(ValueError, match="one spacing per axis"):
        surface_distances.hausdorff_distance(*squares(1), (1.0, 1.0, 1.0))
