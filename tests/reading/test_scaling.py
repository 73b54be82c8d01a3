import numpy as np
import pytest

from mmsynth_tf.reading import scaling


def head(background=0.0, values=None, shape=(8, 8, 8)):
    volume = np.full(shape, background, np.float32)
    volume[2:6, 2:6, 2:6] = np.arange(1, 65).reshape(4, 4, 4) if values is None else values
    return volume


def test_rule():
    volume = head()
    intensities = scaling.measure_range(volume, (0, 100))
    scaled = scaling.scale(volume, intensities)
    expected = np.where(volume != 0, np.clip((volume - 1) / 63, 1 / 256, 1), 0)
    np.testing.assert_allclose(scaled, expected, rtol=1e-6)


@pytest.mark.parametrize("background", [0.0, -1000.0, 3.5])
def test_positive_exactly_on_foreground(background):
    volume = head(background, values=np.linspace(-5, 5, 64).reshape(4, 4, 4))
    scaled = scaling.scale(volume, scaling.measure_range(volume, (0.5, 99.5))).astype(np.float16)
    np.testing.assert_array_equal(scaled > 0, volume != background)


def test_integers_up_to_32767_do_not_overflow():
    volume = head(values=np.linspace(1, 32767, 64).reshape(4, 4, 4)).astype(np.int16)
    scaled = scaling.scale(volume, scaling.measure_range(volume, (0, 100)))
    assert scaled.max() == 1


def test_outliers_do_not_decide_the_range():
    volume = head()
    volume[3, 3, 3] = 1e6
    assert scaling.measure_range(volume, (5, 95)).high < 64


@pytest.mark.parametrize("volume", [np.full((4, 4, 4), 3), head(values=5)])
def test_refuses_volumes_without_contrast(volume):
    with pytest.raises(ValueError, match=r"constant|no contrast"):
        scaling.measure_range(volume, (0.5, 99.5))


@pytest.mark.parametrize("dtype", [np.int16, np.uint8, np.int32, np.float32])
@pytest.mark.parametrize("percentiles", [(0.0, 100.0), (0.5, 99.5), (33.3, 66.6)])
def test_the_range_holds_the_percentiles_of_the_foreground(dtype, percentiles, rng):
    volume = np.zeros((9, 10, 11), dtype, order="F")
    # int32 reaches too far to be counted.
    volume[2:7, 2:7, 2:7] = rng.integers(1, 2**30 if dtype == np.int32 else 200, (5, 5, 5))
    found = scaling.measure_range(volume, percentiles)
    np.testing.assert_allclose((found.low, found.high), np.percentile(volume[volume != 0], percentiles), rtol=1e-12)


@pytest.mark.parametrize("median", [0.3, 0.5, 0.8])
@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_the_median_of_the_foreground_becomes_the_wanted_one(median, dtype, rng):
    volume = head(values=rng.gamma(2.0, 100.0, (4, 4, 4))).astype(dtype)
    intensities = scaling.measure_range(volume, (0, 100), median)
    scaled = scaling.scale(volume, intensities)
    inside = volume != 0
    # The two values beside the median of an even number are some way apart.
    assert np.sort(scaled[inside])[31] <= median + 1e-5
    assert np.sort(scaled[inside])[32] >= median - 1e-5
    order = np.argsort(volume[inside], kind="stable")
    assert (np.diff(scaled[inside][order]) >= 0).all()
    assert (scaled[inside].max(), scaled[~inside].max()) == (1, 0)


def test_brightness_of_tissue_does_not_follow_a_bright_lesion(rng):
    plain = head(values=rng.uniform(90, 110, (4, 4, 4)))
    bright = plain.copy()
    bright[2:3, 2:4, 2:6] = 400.0
    for median, apart in ((0.0, True), (0.5, False)):
        tissue = [
            np.median(scaling.scale(v, scaling.measure_range(v, (0.5, 99.5), median))[4:6, 2:6, 2:6])
            for v in (plain, bright)
        ]
        assert (abs(tissue[0] - tissue[1]) > 0.2) == apart


def test_median_at_an_end_of_the_range_is_taken_for_one_nearby():
    mostly_dark = head(values=1.0)
    mostly_dark[2, 2, 2:4] = 100.0
    scaled = scaling.scale(mostly_dark, scaling.measure_range(mostly_dark, (0, 100), 0.5))
    assert scaled[2, 2, 2] == 1
    assert scaled[5, 5, 5] == np.float32(1 / 256)
    assert scaling.measure_range(mostly_dark, (0, 100), 0.5).power == pytest.approx(np.log(0.5) / np.log(0.1))


def test_median_at_the_upper_end_is_taken_for_one_nearby_too():
    mostly_bright = head(values=100.0)
    mostly_bright[2, 2, 2:4] = 1.0
    assert scaling.measure_range(mostly_bright, (0, 100), 0.5).power == pytest.approx(np.log(0.5) / np.log(0.9))


def test_negative_integers_are_counted_too():
    volume = np.full((4, 4, 4), -100, np.int16)
    volume[1:3, 1:3, 1:3] = np.arange(-4, 4).reshape(2, 2, 2)
    found = scaling.measure_range(volume, (0.0, 50.0))
    assert (found.background, found.low, found.high) == (-100, -4, -0.5)


def test_the_background_is_looked_for_on_the_last_faces_too():
    # The head lies at the first faces; of the six faces 69 voxels are background and 27 are not.
    volume = np.full((4, 4, 4), 5, np.int16)
    volume[-1] = volume[:, -1] = volume[:, :, -1] = 0
    assert scaling.background_value(volume) == scaling.background_value(volume.astype(np.float32)) == 0
