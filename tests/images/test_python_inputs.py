"""What Python programs give as planes is taken right, or refused."""

import numpy as np
import pytest
from astropy import units
from astropy.nddata import CCDData, StdDevUncertainty

from diffdecor import DecorrelationConfig, Exposure, MaskPlanes, decorrelate
from diffdecor.core.planes import LazyPlane, in_memory
from diffdecor.errors import DiffdecorError, InputError

SHAPE = (48, 52)
RNG = np.random.default_rng(8)
IMAGE = RNG.normal(0, 3, SHAPE).astype("f4")
WHERE = np.zeros(SHAPE, bool)
WHERE[20:23, 30:33] = True


def values(exposure, plane):
    return (in_memory(exposure.mask) & exposure.mask_planes.value([plane])) != 0


@pytest.mark.parametrize("mask", [WHERE, WHERE.tolist(), WHERE.astype("u1"), WHERE.astype(">i4")])
def test_a_mask_without_names_is_bad(mask):
    exposure = Exposure(image=IMAGE, mask=mask)
    np.testing.assert_array_equal(values(exposure, "BAD"), WHERE)
    assert set(exposure.mask_planes.bits) == {"BAD"}


@pytest.mark.parametrize(
    ("planes", "plane"), [({"SAT": 3}, "SAT"), ({"SAT": 3, "BAD": 5}, "BAD"), ({}, "BAD")]
)
def test_true_is_the_plane_that_is_named(planes, plane):
    for given in (planes, MaskPlanes(planes)):
        exposure = Exposure(image=IMAGE, mask=WHERE, mask_planes=given)
        np.testing.assert_array_equal(values(exposure, plane), WHERE)


def test_true_among_several_planes_is_refused():
    with pytest.raises(InputError, match="is True or False, but has 2 planes"):
        Exposure(image=IMAGE, mask=WHERE, mask_planes=MaskPlanes({"SAT": 3, "CR": 5}))


def test_masks_with_names_stay_as_they_are():
    mask = WHERE.astype(np.int32) * 8
    exposure = Exposure(image=IMAGE, mask=mask, mask_planes=MaskPlanes({"SAT": 3}))
    assert exposure.mask is mask
    lazy = LazyPlane(SHAPE, lambda rows: mask[rows])
    assert Exposure(image=IMAGE, mask=lazy).mask is lazy


@pytest.mark.parametrize("dtype", ["f4", "f8", ">f4", ">f8", "i2", ">i4", "u1"])
def test_numbers_of_every_type(dtype):
    given = np.abs(np.rint(IMAGE)).astype(dtype)
    image = Exposure(image=given).image
    np.testing.assert_array_equal(image, given.astype(float))
    assert image.dtype.kind == "f"
    assert image.dtype.isnative
    assert Exposure(image=IMAGE).image is IMAGE


def test_lists_and_numbers():
    exposure = Exposure(image=IMAGE.tolist(), variance=9)
    np.testing.assert_allclose(exposure.image, IMAGE)
    np.testing.assert_array_equal(in_memory(exposure.variance), np.full(SHAPE, 9.0))
    assert Exposure(image=IMAGE, variance=np.full(SHAPE, 4)).variance.dtype.kind == "f"


def test_masked_pixels_have_no_data():
    masked = np.ma.masked_array(IMAGE, WHERE)
    exposure = Exposure(image=masked, variance=np.ma.masked_array(np.full(SHAPE, 9.0), WHERE))
    np.testing.assert_array_equal(values(exposure, "NO_DATA"), WHERE)
    np.testing.assert_array_equal(np.isinf(exposure.variance), WHERE)
    assert not isinstance(exposure.image, np.ma.MaskedArray)
    both = Exposure(image=masked, mask=~WHERE)
    np.testing.assert_array_equal(values(both, "NO_DATA"), WHERE)
    np.testing.assert_array_equal(values(both, "BAD"), ~WHERE)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"image": IMAGE * units.adu}, r"Quantity \(adu\)"),
        ({"image": IMAGE, "variance": np.full(SHAPE, 9) * units.adu**2}, r"Quantity \(adu2\)"),
        ({"image": IMAGE, "variance": 9 * units.adu**2}, "Quantity"),
        ({"image": CCDData(IMAGE, unit="adu", uncertainty=StdDevUncertainty(IMAGE))}, "CCDData"),
        ({"image": IMAGE + 0j}, "complex64, not real numbers"),
        ({"image": WHERE}, "bool, not real numbers"),
        ({"image": [[1.0, 2.0], [3.0]]}, "not an array of numbers"),
        ({"image": "file.fits"}, "not real numbers"),
        ({"image": 3.0}, "must have two axes"),
        ({"image": IMAGE, "variance": 0.0}, "must be above zero"),
        ({"image": IMAGE, "variance": -1}, "must be above zero"),
        ({"image": IMAGE, "variance": np.nan}, "must be above zero"),
        ({"image": IMAGE, "variance": [1.0, 2.0]}, "variance plane has shape"),
        ({"image": IMAGE, "mask": IMAGE}, "holds float32; it must be whole numbers"),
        ({"image": IMAGE, "mask": -WHERE.astype(int)}, "below 0 or above 31 bits"),
        ({"image": IMAGE, "mask": WHERE.astype("i8") << 40}, "below 0 or above 31 bits"),
        ({"image": IMAGE, "mask": np.ma.masked_array(WHERE, WHERE)}, "is a masked array"),
        ({"image": IMAGE, "mask": WHERE[:5]}, "mask plane has shape"),
        ({"image": IMAGE, "psf": np.ones(5)}, "is one stamp"),
        ({"image": IMAGE, "psf": np.full((5, 5), np.nan)}, "must be finite"),
        (
            {"image": IMAGE, "psf": "psf.fits"},
            "not an array of numbers; read_kernel and read_psf read",
        ),
        ({"image": IMAGE, "psf": np.ones((5, 5)) * units.adu}, "Quantity"),
        ({"image": IMAGE, "psf": np.ma.masked_array(np.ones((5, 5)), False)}, "masked array"),
        ({"image": IMAGE, "mask": WHERE, "mask_planes": {"SAT": 64}}, "not a bit number"),
        ({"image": IMAGE, "mask": WHERE, "mask_planes": "BAD"}, "not a mapping of names"),
    ],
)
def test_refused(given, says):
    with pytest.raises(InputError, match=says):
        Exposure(**given)


def test_an_array_is_a_psf():
    stamp = np.outer(*2 * [np.exp(-(np.arange(-4, 5) ** 2) / 5)])
    for given in (stamp, (7 * stamp).tolist()):
        found = Exposure(image=IMAGE, psf=given).psf
        np.testing.assert_allclose(found.stamp(3, 4), stamp / stamp.sum())
        assert found.origin == (4, 4)


def triple(image, **more):
    kernel = np.outer(*2 * [np.exp(-(np.arange(-5, 6) ** 2) / 3)])
    exposure = Exposure(image=image, variance=9.0)
    difference = Exposure(image=image, **more)
    config = DecorrelationConfig(mode="whole")
    return decorrelate(exposure, exposure, difference, kernel / kernel.sum(), config=config)


def test_neighbours_of_bad_pixels_are_good():
    image = IMAGE.copy()
    image[WHERE] = 1e6
    good = np.ones(SHAPE, bool)
    good[10:34, 20:44] = False
    results = []
    for mask in (WHERE, np.where(WHERE, 1, 0)):
        result = triple(image, mask=mask).exposure
        pixels = in_memory(result.image)
        assert np.abs(pixels[~WHERE]).max() < 40
        np.testing.assert_array_equal(values(result, "BAD"), WHERE)
        results.append(pixels)
    np.testing.assert_allclose(*results)
    nan = image.copy()
    nan[WHERE] = np.nan
    np.testing.assert_allclose(in_memory(triple(nan).exposure.image)[good], results[0][good])


def test_zeros_where_an_image_has_no_data_have_none():
    image = IMAGE.copy()
    image[WHERE] = 0
    image[5, 5] = 0  # a zero of the sky
    kernel = np.ones((1, 1))
    template = IMAGE.copy()
    template[WHERE] = np.nan
    science = Exposure(image=IMAGE, variance=9.0)
    result = decorrelate(
        science,
        Exposure(image=template, variance=9.0),
        Exposure(image=image),
        kernel,
        config=DecorrelationConfig(mode="whole"),
    ).exposure
    np.testing.assert_array_equal(values(result, "NO_DATA"), WHERE)


@pytest.mark.parametrize(
    ("kernel", "says"),
    [
        (np.ma.masked_array(np.ones((3, 3)), np.eye(3) > 0), "masked array"),
        (np.ones((3, 3)) * units.adu, "Quantity"),
        (np.ones((3, 3)) > 0, "array of numbers"),
        ("kernel.fits", "array of numbers"),
        (np.ones(3), "one stamp"),
    ],
)
def test_kernels_that_are_refused(kernel, says):
    exposure = Exposure(image=IMAGE, variance=9.0)
    with pytest.raises(DiffdecorError, match=says):
        decorrelate(exposure, exposure, exposure, kernel)


def test_kernels_may_be_lists():
    exposure = Exposure(image=IMAGE, variance=9.0)
    config = DecorrelationConfig(mode="whole")
    given = [[0, 1, 0], [1, 4, 1], [0, 1, 0]]
    one, two = (
        decorrelate(exposure, exposure, exposure, kernel, config=config).exposure.image
        for kernel in (given, np.array(given, float))
    )
    np.testing.assert_array_equal(in_memory(one), in_memory(two))
