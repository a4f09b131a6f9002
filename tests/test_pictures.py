from itertools import pairwise

import numpy as np
import pytest
from fuseport.validate.pictures import normalise, pictures, pictures_uint8


@pytest.fixture(scope="module")
def batch() -> np.ndarray:
    return pictures(8, 128, 128, seed=0)


def amplitude_slope(picture: np.ndarray) -> float:
    """Slope of log amplitude over log frequency of one square plane, in bands of equal ratio."""
    side = len(picture)
    amplitude = np.abs(np.fft.fft2(picture - picture.mean()))
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.fftfreq(side)[None])
    edges = np.geomspace(2 / side, 0.4, 10)
    bands = [(frequency >= low) & (frequency < high) for low, high in pairwise(edges)]
    points = [(np.log(frequency[band].mean()), np.log(amplitude[band].mean())) for band in bands]
    return float(np.polyfit(*np.transpose(points), 1)[0])


def test_pictures_are_float32_in_0_to_1_and_the_uint8_ones_are_the_same(batch):
    assert batch.shape == (8, 3, 128, 128)
    assert batch.dtype == np.float32
    assert batch.min() >= 0
    assert batch.max() <= 1
    coarse = pictures_uint8(8, 128, 128, seed=0)
    assert coarse.dtype == np.uint8
    np.testing.assert_array_equal(coarse.astype(np.float32) / np.float32(255), batch)


def test_the_seed_and_the_index_alone_decide_a_picture(batch):
    np.testing.assert_array_equal(pictures(2, 128, 128, seed=0), batch[:2])
    assert not np.array_equal(pictures(1, 128, 128, seed=1), batch[:1])
    assert len({picture.tobytes() for picture in batch}) == 8


def test_pixels_are_the_same_on_every_machine_and_numpy():
    few = pictures_uint8(2, 16, 16, seed=7)
    assert few[0, :, 3, 5].tolist() == [98, 110, 138]
    assert few[1, :, 12, 8].tolist() == [61, 88, 89]
    assert int(few.astype(np.int64).sum()) == 139008


def test_amplitude_falls_about_as_one_over_frequency(batch):
    slopes = [amplitude_slope(picture.mean(axis=0)) for picture in batch]
    assert min(slopes) > -1.5, slopes
    assert max(slopes) < -0.8, slopes


def test_white_noise_would_not_pass_for_a_photograph():
    assert abs(amplitude_slope(np.random.default_rng(0).normal(size=(128, 128)))) < 0.2


def test_colours_move_together_but_are_not_grey(batch):
    for picture in batch:
        red, green, blue = picture.reshape(3, -1)
        correlations = [np.corrcoef(red, green)[0, 1], np.corrcoef(red, blue)[0, 1], np.corrcoef(green, blue)[0, 1]]
        assert min(correlations) > 0.5, correlations
        assert max(correlations) < 0.99, correlations


def test_a_batch_spans_dark_bright_flat_and_hard_pictures(batch):
    brightness, contrast = batch.mean(axis=(1, 2, 3)), batch.std(axis=(1, 2, 3))
    assert np.ptp(brightness) > 0.2
    assert contrast.max() > 1.5 * contrast.min()
    assert contrast.min() > 0.08
    assert np.mean((batch == 0) | (batch == 1)) < 0.1, "most values are not clipped"


def test_edges_stand_out_as_in_photographs(batch):
    steps = np.diff(batch.mean(axis=1), axis=-1)
    kurtosis = np.mean(steps**4) / np.mean(steps**2) ** 2
    assert kurtosis > 5, f"{kurtosis}; a Gaussian texture without edges has 3"


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (33, 8), (64, 48)])
@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_any_size_and_channel_count(size, channels):
    made = pictures(2, *size, seed=3, channels=channels)
    assert made.shape == (2, channels, *size)
    assert np.isfinite(made).all()


def test_normalise_centres_each_channel(batch):
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.25, 0.5)
    made = normalise(batch, mean, std)
    assert made.dtype == np.float32
    np.testing.assert_allclose(made[:, 2], (batch[:, 2] - 0.6) / 0.5, atol=1e-6)
    np.testing.assert_allclose(made[:, 0], (batch[:, 0] - 0.4) / 0.2, atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 8, 8, 0, 3), "n must be at least 1, got 0"),
        ((1, 0, 8, 0, 3), "height must be at least 1"),
        ((1, 8, -2, 0, 3), "width must be at least 1, got -2"),
        ((1, 8, 8, 0, 0), "channels must be at least 1"),
        ((1, 8, 8, -1, 3), "seed must be 0 or more, got -1"),
    ],
)
def test_impossible_pictures_are_refused(arguments, message):
    n, height, width, seed, channels = arguments
    with pytest.raises(ValueError, match=message):
        pictures(n, height, width, seed=seed, channels=channels)


def test_a_mean_for_other_channels_or_a_zero_std_is_refused(batch):
    with pytest.raises(ValueError, match="expected 3 means and stds, one per channel; got 1 and 3"):
        normalise(batch, (0.5,), (1, 1, 1))
    with pytest.raises(ValueError, match="every std must be above 0"):
        normalise(batch, (0.5, 0.5, 0.5), (1, 0, 1))
