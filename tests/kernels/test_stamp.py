"""A plain image as a kernel."""

import numpy as np
import pytest
from astropy.io import fits

from diffdecor.errors import KernelError
from diffdecor.kernels.registry import read_kernel


def stamp(ky, kx):
    return np.arange(1.0, ky * kx + 1).reshape(ky, kx)


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (6, 1), (3, 5), (4, 6), (5, 8)])
def test_origin_is_half_the_size(write_image, shape):
    kernel = read_kernel(write_image(stamp(*shape)))
    assert kernel.shape == shape
    assert kernel.origin == (shape[1] // 2, shape[0] // 2)
    np.testing.assert_array_equal(kernel.stamp(123.4, 5), stamp(*shape))
    assert kernel.sum(0, 0) == stamp(*shape).sum()  # not normalised
    assert kernel.side(0, 0) is None
    assert kernel.scales(0, 0) == (1.0, 1.0)
    assert kernel.boxes == ()
    assert kernel.format == "stamp"


@pytest.mark.parametrize("dtype", ["f4", "f8", "i2", "i4", "u1"])
def test_pixel_types_become_double(write_image, dtype):
    kernel = read_kernel(write_image(stamp(3, 3).astype(dtype)))
    assert kernel.stamp(0, 0).dtype == np.float64
    assert kernel.stamp(0, 0).dtype.isnative
    np.testing.assert_array_equal(kernel.stamp(0, 0), stamp(3, 3))


def test_cards(write_image):
    cards = {"CTRX": 2, "CTRY": 5, "CONVSIDE": "SCIENCE", "SSCALE": 0.9, "TSCALE": 1.25}
    kernel = read_kernel(write_image(stamp(4, 6), **cards))
    assert kernel.origin == (1, 4)  # outside is allowed
    assert kernel.side(0, 0) == "science"
    assert kernel.scales(0, 0) == (0.9, 1.25)


def test_options_go_before_cards(write_image):
    path = write_image(stamp(4, 6), CTRX=2, CTRY=5, KERSENSE="CORRELATION", CONVSIDE="?")
    kernel = read_kernel(path, center=(0, 0), sense="convolution", convolved="template")
    assert kernel.origin == (0, 0)
    assert kernel.side(0, 0) == "template"
    np.testing.assert_array_equal(kernel.stamp(0, 0), stamp(4, 6))


@pytest.mark.parametrize("shape", [(3, 5), (4, 6), (1, 2)])
@pytest.mark.parametrize("by", ["card", "option"])
def test_correlation_is_turned_into_convolution(write_image, shape, by):
    (ky, kx), image = shape, np.zeros((20, 20))
    image[9, 11] = 1.0
    cards = {"KERSENSE": "CORRELATION"} if by == "card" else {}
    options = {"sense": "correlation"} if by == "option" else {}
    kernel = read_kernel(write_image(stamp(ky, kx), **cards), **options)
    (cx, cy), k = kernel.origin, kernel.stamp(0, 0)
    convolved, correlated = np.zeros_like(image), np.zeros_like(image)
    for y in range(ky):
        for x in range(kx):
            convolved += k[y, x] * np.roll(image, (y - cy, x - cx), (0, 1))
            shift = (-(y - ky // 2), -(x - kx // 2))
            correlated += stamp(ky, kx)[y, x] * np.roll(image, shift, (0, 1))
    np.testing.assert_array_equal(convolved, correlated)


def test_first_image_with_two_axes(tmp_path):
    hdus = [fits.PrimaryHDU(), fits.ImageHDU(np.ones((2, 3, 3))), fits.ImageHDU(stamp(3, 3))]
    fits.HDUList(hdus).writeto(tmp_path / "k.fits")
    np.testing.assert_array_equal(read_kernel(tmp_path / "k.fits").stamp(0, 0), stamp(3, 3))


def test_compressed_image(tmp_path):
    hdu = fits.CompImageHDU(stamp(9, 9).astype("i4"), compression_type="RICE_1")
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(tmp_path / "k.fits.fz")
    np.testing.assert_array_equal(read_kernel(tmp_path / "k.fits.fz").stamp(0, 0), stamp(9, 9))


def test_real_stamp(native_data, hotpants):
    _, _, expected = hotpants
    kernel = read_kernel(native_data / "A3_plain_stamp.fits")
    np.testing.assert_allclose(kernel.stamp(0, 0), expected["A3_stamps"][0], rtol=0, atol=1e-12)


NAN = stamp(3, 3)
NAN[1, 1] = np.nan


@pytest.mark.parametrize(
    ("image", "cards", "problem"),
    [
        (np.ones((2, 3, 3)), {}, "two axes"),
        (np.ones(9), {}, "two axes"),
        (NAN, {}, "NaN"),
        (np.array([[np.inf, 1.0]]), {}, "NaN or infinite"),
        (np.zeros((3, 3)), {}, "sums to zero"),
        (np.array([[0.1, 0.2, -0.3]]), {}, "sums to zero"),
        (np.ones((1002, 3)), {}, "an image, not a kernel"),
        (stamp(3, 3), {"CTRX": 1.5}, "CTRX"),
        (stamp(3, 3), {"CTRY": "middle"}, "CTRY"),
        (stamp(3, 3), {"KERSENSE": "FLIPPED"}, "KERSENSE"),
        (stamp(3, 3), {"CONVSIDE": "BOTH"}, "CONVSIDE = 'BOTH'"),
        (stamp(3, 3), {"SSCALE": 0.0}, "SSCALE"),
        (stamp(3, 3), {"TSCALE": "one"}, "TSCALE"),
        (stamp(3, 3), {"EXTNAME": "VARIANCE"}, "part of an exposure"),
    ],
)
def test_refused(write_image, image, cards, problem):
    with pytest.raises(KernelError, match=rf"stamp\.fits: .*{problem}"):
        read_kernel(write_image(image, **cards))


def test_an_exposure_is_no_kernel_but_may_hold_one(tmp_path):
    names = ("IMAGE", "MASK", "VARIANCE", "KERNEL")
    images = [fits.ImageHDU(stamp(5, 5), name=name) for name in names]
    fits.HDUList([fits.PrimaryHDU(), *images]).writeto(tmp_path / "exposure.fits")
    with pytest.raises(KernelError, match=r"the HDU MASK is part of an exposure"):
        read_kernel(tmp_path / "exposure.fits")
    kernel = read_kernel(f"{tmp_path}/exposure.fits[KERNEL]")
    np.testing.assert_array_equal(kernel.stamp(0, 0), stamp(5, 5))
