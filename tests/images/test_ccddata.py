"""Exposures from CCDData and NDData, and back: bit for bit, and nothing of the caller's changed."""

import copy
import subprocess
import sys

import numpy as np
import pytest
from astropy import units
from astropy.io import fits
from astropy.nddata import (
    CCDData,
    FlagCollection,
    InverseVariance,
    NDData,
    StdDevUncertainty,
    UnknownUncertainty,
    VarianceUncertainty,
)
from astropy.wcs import WCS

from diffdecor import Exposure, MaskPlanes
from diffdecor.core.planes import in_memory
from diffdecor.errors import InputError
from diffdecor.psfs.model import StampPsf

SHAPE = (40, 33)
RNG = np.random.default_rng(17)
IMAGE = RNG.normal(0, 3, SHAPE).astype("f4")
VARIANCE = RNG.uniform(4, 9, SHAPE).astype("f4")
BAD = RNG.random(SHAPE) < 0.05
CLASSES = {
    "variance": VarianceUncertainty,
    "sigma": StdDevUncertainty,
    "ivar": InverseVariance,
}


def wcs():
    """A WCS with SIP, and numbers that need all their digits."""
    made = WCS(naxis=2)
    made.wcs.ctype = ["RA---TAN-SIP", "DEC--TAN-SIP"]
    made.wcs.crval = [150 + 1 / 3, 2 / 7]
    made.wcs.crpix = [1024 / 7, 100 / 3]
    made.wcs.cd = [[-2e-4 / 3, 1e-6 / 7], [1e-6 / 3, 2e-4 / 3]]
    a, b = np.zeros((2, 3, 3))
    a[2, 0], a[1, 1], b[0, 2] = 1e-6 / 3, 2e-7 / 7, -3e-6 / 7
    from astropy.wcs import Sip

    made.sip = Sip(a, b, None, None, made.wcs.crpix)
    made.wcs.set()
    return made


def ccddata(**more):
    values = {
        "uncertainty": VarianceUncertainty(VARIANCE.copy()),
        "mask": BAD.copy(),
        "unit": "adu",
        "wcs": wcs(),
        "meta": fits.Header([("OBSERVER", "Herschel"), ("EXPTIME", 30.0, "[s]")]),
        "psf": np.outer(*2 * [np.exp(-(np.arange(-4, 5) ** 2) / 5)]),
    }
    return CCDData(IMAGE.copy(), **values | more)


def sky(one, x=(0.0, 31.5), y=(3.25, 39.0)):
    return np.array(one.all_pix2world(x, y, 0))


def test_from_ccddata():
    data = ccddata()
    before = copy.deepcopy(data)
    exposure = Exposure.from_ccddata(data, name="ccd")
    np.testing.assert_array_equal(exposure.image, IMAGE)
    np.testing.assert_array_equal(exposure.variance, VARIANCE)
    np.testing.assert_array_equal(exposure.mask, BAD)
    assert exposure.mask_planes == MaskPlanes({"BAD": 0})
    assert exposure.name == "ccd"
    assert exposure.header["BUNIT"] == "adu"
    assert exposure.header["OBSERVER"] == "Herschel"
    assert exposure.header.comments["EXPTIME"] == "[s]"
    assert exposure.header["CTYPE1"] == "RA---TAN-SIP"
    np.testing.assert_allclose(exposure.psf.stamp(0, 0), data.psf / data.psf.sum())
    # Nothing of the caller's is changed.
    assert list(data.meta.items()) == list(before.meta.items())
    for name in ("data", "mask", "psf"):
        np.testing.assert_array_equal(getattr(data, name), getattr(before, name))
    np.testing.assert_array_equal(data.uncertainty.array, before.uncertainty.array)
    assert data.wcs.wcs.compare(before.wcs.wcs)


def assert_same(one, two):
    for name in ("image", "variance", "mask"):
        a, b = getattr(one, name), getattr(two, name)
        assert (a is None) == (b is None)
        if a is not None:
            a, b = in_memory(a), in_memory(b)
            assert a.dtype == b.dtype
            assert a.tobytes() == b.tobytes()
    assert one.mask_planes == two.mask_planes
    assert (one.psf is None) == (two.psf is None)
    if one.psf is not None:
        assert one.psf.stamp(3, 4).tobytes() == two.psf.stamp(3, 4).tobytes()
        assert one.psf.origin == two.psf.origin


def test_round_trip_of_a_ccddata():
    data = ccddata()
    again = Exposure.from_ccddata(data).to_ccddata()
    assert again.data.tobytes() == data.data.tobytes()
    assert isinstance(again.uncertainty, VarianceUncertainty)
    assert again.uncertainty.array.tobytes() == data.uncertainty.array.tobytes()
    assert again.mask.tobytes() == data.mask.tobytes()
    assert again.unit == data.unit
    assert again.meta["EXPTIME"] == 30.0
    # A card has room for 15 digits.
    np.testing.assert_allclose(sky(again.wcs), sky(data.wcs), rtol=1e-13)
    for name in ("a", "b"):
        found, known = (getattr(one.wcs.sip, name) for one in (again, data))
        np.testing.assert_allclose(found, known, rtol=1e-13)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("wide", [False, True])
def test_round_trip_of_an_exposure(dtype, wide):
    bits = {"SAT": 1, "DETECTED": 4, "SUSPECT": 7, "NO_DATA": 40 if wide else 9}
    planes = MaskPlanes(bits)
    mask = np.zeros(SHAPE, planes.dtype)
    for bit in bits.values():
        mask[RNG.random(SHAPE) < 0.1] |= planes.dtype.type(1 << bit)
    variance = VARIANCE.astype(dtype)
    variance[mask >= 1 << 9] = np.inf
    variance[0, :5] = np.nan
    image = IMAGE.astype(dtype)
    image[0, :7] = np.nan
    psf = StampPsf(np.outer(*2 * [np.exp(-(np.arange(-4, 6) ** 2) / 5)]))
    header = fits.Header([("BUNIT", "ADU"), ("MP_OLD", 3)])
    header.extend(wcs().to_header(relax=True))
    exposure = Exposure(
        image=image, variance=variance, mask=mask, mask_planes=planes, psf=psf, header=header
    )
    kept = header.copy()
    data = exposure.to_ccddata()
    np.testing.assert_array_equal(data.mask, (mask & planes.value(["SAT", "NO_DATA"])) != 0)
    assert data.unit == units.adu
    assert header.tostring() == kept.tostring()
    again = Exposure.from_ccddata(data)
    assert_same(exposure, again)
    assert again.header["BUNIT"] == "ADU"
    np.testing.assert_allclose(sky(WCS(again.header)), sky(WCS(header)), rtol=1e-13)
    assert_same(again, Exposure.from_ccddata(again.to_ccddata()))


def test_round_trip_through_a_file(tmp_path):
    from diffdecor import read_exposure

    exposure = Exposure.from_ccddata(ccddata())
    exposure.to_ccddata().write(tmp_path / "ccd.fits")
    again = Exposure.from_ccddata(CCDData.read(tmp_path / "ccd.fits"))
    for name in ("image", "variance"):
        np.testing.assert_array_equal(getattr(again, name), getattr(exposure, name))
    np.testing.assert_array_equal(again.mask, BAD)
    np.testing.assert_allclose(sky(WCS(again.header)), sky(wcs()), rtol=1e-11)
    read = read_exposure(tmp_path / "ccd.fits")
    np.testing.assert_array_equal(read.variance, exposure.variance)


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("scale", [1.0, 1000.0])
def test_every_uncertainty(kind, scale):
    """Also in another unit than that of the image."""
    sigma = np.sqrt(VARIANCE.astype("f8")) * scale
    values = {"variance": sigma**2, "sigma": sigma, "ivar": 1 / sigma**2}[kind]
    power = {"variance": 2, "sigma": 1, "ivar": -2}[kind]
    unit = units.mJy**power if scale != 1 else None
    data = ccddata(unit="Jy", uncertainty=CLASSES[kind](values, unit=unit))
    np.testing.assert_allclose(Exposure.from_ccddata(data).variance, VARIANCE, rtol=1e-12)


@pytest.mark.parametrize("kind", CLASSES)
def test_no_uncertainty_of_zero(kind):
    """0 says that there are no data: as in files."""
    values = VARIANCE.copy()
    values[3, 4] = 0
    found = Exposure.from_ccddata(ccddata(uncertainty=CLASSES[kind](values))).variance
    assert np.isinf(found[3, 4])
    assert np.isfinite(found).sum() == found.size - 1


def test_small_inverse_variances_are_kept():
    """Those of files below a thousandth of the median are residues of compression."""
    values = np.ones(SHAPE)
    values[5, 6] = 1e-5
    found = Exposure.from_ccddata(ccddata(uncertainty=InverseVariance(values))).variance
    assert found[5, 6] == pytest.approx(1e5)


def test_masks_and_flags():
    flags = np.where(BAD, 8, 0) | np.where(IMAGE > 3, 2, 0)
    named = {"SAT": 1, "CR": 3}
    exposure = Exposure.from_ccddata(ccddata(mask=None, flags=flags), mask_planes=named)
    np.testing.assert_array_equal(exposure.mask, flags)
    assert exposure.mask_planes.bits == named
    bits = Exposure.from_ccddata(NDData(IMAGE, mask=flags), mask_planes=MaskPlanes(named))
    np.testing.assert_array_equal(bits.mask, flags)
    unnamed = Exposure.from_ccddata(NDData(IMAGE, mask=flags))
    np.testing.assert_array_equal(unnamed.mask != 0, flags != 0)
    assert set(unnamed.mask_planes.bits) == {"BAD"}
    # What is masked, but has no flag that says why, is BAD.
    other = np.zeros(SHAPE, bool)
    other[0, 0] = True
    both = Exposure.from_ccddata(ccddata(mask=other | BAD, flags=flags), mask_planes=named)
    at = both.mask_planes.value(["BAD"])
    np.testing.assert_array_equal((both.mask & at) != 0, (other | BAD) & (flags == 0))
    collection = FlagCollection(shape=SHAPE)
    collection["SAT"], collection["DETECTED"] = flags & 2, BAD
    some = Exposure.from_ccddata(ccddata(mask=None, flags=collection))
    for plane, where in (("SAT", IMAGE > 3), ("DETECTED", BAD)):
        np.testing.assert_array_equal((some.mask & some.mask_planes.value([plane])) != 0, where)


def test_plain_nddata():
    exposure = Exposure.from_ccddata(
        NDData(IMAGE, meta={"a long key": 3, "EXPTIME": np.float32(2.5), "seeing": 1.1})
    )
    assert exposure.variance is exposure.mask is exposure.psf is None
    assert exposure.header["EXPTIME"] == 2.5
    assert exposure.header["a long key"] == 3
    assert "BUNIT" not in exposure.header
    assert exposure.to_ccddata(unit="electron").unit == units.electron


def test_what_no_header_holds_is_said(caplog):
    from astropy.wcs.wcsapi import BaseLowLevelWCS

    class Other(BaseLowLevelWCS):
        pixel_n_dim = world_n_dim = 2
        world_axis_physical_types = world_axis_units = world_axis_object_components = ("", "")
        world_axis_object_classes = {}  # noqa: RUF012

        def pixel_to_world_values(self, *pixels):
            return pixels

        world_to_pixel_values = pixel_to_world_values

    exposure = Exposure.from_ccddata(NDData(IMAGE, wcs=Other(), meta={"LIST": [1, 2]}), name="one")
    assert "CTYPE1" not in exposure.header
    assert "LIST" not in exposure.header
    assert "one: its WCS is a Other" in caplog.text
    assert "one: no card can hold 'LIST'" in caplog.text


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (IMAGE, "ndarray, not a CCDData"),
        (ccddata(uncertainty=UnknownUncertainty(VARIANCE)), "class UnknownUncertainty; make it"),
        (NDData(IMAGE, uncertainty=StdDevUncertainty(VARIANCE[:5])), "has shape"),
        (ccddata(uncertainty=VarianceUncertainty(-VARIANCE), mask=None), "negative variance"),
        (ccddata(flags=np.ones(SHAPE, int)), "give them as mask_planes"),
        (NDData(np.ones((2, 4, 5))), "two axes"),
        (NDData(IMAGE, mask=BAD[:4]), "mask plane has shape"),
        (NDData(IMAGE + 0j), "complex64"),
    ],
)
def test_refused(data, says):
    with pytest.raises(InputError, match=rf"the thing: .*{says}"):
        Exposure.from_ccddata(data, name="the thing")


def test_units_that_do_not_go_together():
    data = NDData(IMAGE, unit="adu", uncertainty=VarianceUncertainty(VARIANCE))
    data.uncertainty._unit = units.Jy  # noqa: SLF001  its setter refuses, where there is a parent
    with pytest.raises(InputError, match="is in Jy, which is not of the kind of adu2"):
        Exposure.from_ccddata(data)
    data._unit = None  # noqa: SLF001
    with pytest.raises(InputError, match="is in Jy, but the image has no unit; give both"):
        Exposure.from_ccddata(data)


@pytest.mark.parametrize("unit", [None, "bananas", ""])
def test_a_ccddata_needs_a_unit(unit):
    header = None if unit is None else fits.Header([("BUNIT", unit)])
    exposure = Exposure(image=IMAGE, header=header)
    with pytest.raises(InputError, match=r"but a CCDData has a unit; give it, as in to_ccddata"):
        exposure.to_ccddata()
    assert exposure.to_ccddata(unit="adu").uncertainty is None


@pytest.mark.parametrize("unit", ["adu", "electron / s", "Jy", "DN", "electron", "mJy / arcsec2"])
def test_units_there_and_back(unit):
    data = CCDData(IMAGE, unit=unit, uncertainty=VarianceUncertainty(VARIANCE))
    exposure = Exposure.from_ccddata(data)
    assert "**" not in exposure.header["BUNIT"]
    again = exposure.to_ccddata()
    assert again.unit == data.unit
    assert again.uncertainty.unit == data.unit**2


@pytest.mark.parametrize("origin", [(4, 4), (2, 4), (6, 5), (0, 8), (8, 0)])
@pytest.mark.parametrize("shape", [(9, 9), (10, 9), (9, 10)])
def test_psfs_off_their_centre(origin, shape):
    """A stamp in a CCDData has its origin on pixel n // 2."""
    stamp = RNG.uniform(0.1, 1, shape)
    exposure = Exposure(image=IMAGE, psf=StampPsf(stamp, origin=origin))
    found = exposure.to_ccddata(unit="adu").psf
    cy, cx = (n // 2 for n in found.shape)
    y, x = cy - origin[1], cx - origin[0]
    np.testing.assert_array_equal(
        found[y : y + shape[0], x : x + shape[1]], exposure.psf.stamp(0, 0)
    )
    assert found.sum() == pytest.approx(1)


def test_start_up_does_not_pay_for_nddata():
    code = (
        "import sys, diffdecor\n"
        "diffdecor.Exposure, diffdecor.decorrelate, diffdecor.read_exposure\n"
        "print('astropy.nddata' in sys.modules, 'astropy.wcs' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


@pytest.mark.parametrize("unit", [units.ABmag, units.mag])
def test_magnitudes_are_refused(unit):
    """They have no variance; neither way."""
    with pytest.raises(InputError, match="logarithmic"):
        Exposure.from_ccddata(CCDData(np.ones((4, 5)), unit=unit))
    with pytest.raises(InputError, match="logarithmic"):
        Exposure(image=np.ones((4, 5)), variance=1.0).to_ccddata(unit=unit)


def test_a_unit_that_nobody_knows():
    with pytest.raises(InputError, match="'blub' is not one that astropy knows"):
        Exposure(image=np.ones((4, 5))).to_ccddata(unit="blub")
