"""The result out, and in again."""

import shutil
import subprocess

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from helpers.results import write_result

from diffdecor.core.interpolate import Stamps
from diffdecor.errors import OutputExistsError
from diffdecor.fits.headers import cards_to_header
from diffdecor.images.model import Exposure, MaskPlanes
from diffdecor.images.read import read_exposure
from diffdecor.pipeline.provenance import Card
from diffdecor.psfs.model import StampPsf
from diffdecor.psfs.stamp import psf_stamps

SHAPE = (80, 90)
RNG = np.random.default_rng(8)
GRID = [(x, y) for y in (2.5, 15) for x in (3, 25.25)]
WCS_CARDS = {
    "CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP", "CRVAL1": 10.0, "CRVAL2": -5.0,
    "CRPIX1": 8.5, "CRPIX2": 6.5, "CD1_1": -1e-4, "CD1_2": 1e-6, "CD2_1": 1e-6, "CD2_2": 1e-4,
    "A_ORDER": 2, "A_2_0": 1e-6, "B_ORDER": 2, "B_0_2": 2e-6, "RADESYS": "ICRS",
}  # fmt: skip
HEADER = {
    **WCS_CARDS, "BITPIX": -32, "EXPTIME": 30.0, "GAIN": 1.5, "BUNIT": "adu", "EXTNAME": "SCI",
    "BZERO": 32768, "OBSERVER": "O'Neil " * 15, "DATE-OBS": "2026-01-01", "CRVAL1A": 3.0,
    "LTV1": -3.0, "CHECKSUM": "x",
}  # fmt: skip
TABLE = (Card("mode", "DDMODE", "", "mode"), Card("x", "DDX", "pixel", "position"))


def _exposure(dtype=np.float32, psf=None, **more):
    image = RNG.normal(0, 10, SHAPE).astype(dtype)
    image[2, 3], image[4, 5], image[6, 7] = np.nan, np.inf, -np.inf
    variance = RNG.uniform(90, 110, SHAPE).astype(dtype)
    variance[2, 3], variance[4, 5] = np.nan, np.inf
    mask = RNG.integers(0, 2**31 - 1, SHAPE).astype(np.int32)
    planes = MaskPlanes({"BAD": 0, "NO_DATA": 8, "NEAR_FILLED": 30})
    header = fits.Header(HEADER)
    header.add_history("a step")
    values = {"image": image, "variance": variance, "mask": mask, "mask_planes": planes}
    return Exposure(**{**values, "psf": psf, "header": header, **more})


def _psf(n):
    stamps = RNG.random((n, 7, 9))
    return StampPsf(stamps, positions=GRID[:n], origin=(3, 4)) if n else None


def _psi(n):
    return Stamps(stamps=RNG.random((n, 5, 5)), positions=np.array(GRID[:n]), origin=(2, 2))


def _check(read, written):
    np.testing.assert_array_equal(read.image, written.image)
    np.testing.assert_array_equal(read.mask, written.mask)
    np.testing.assert_array_equal(read.variance, written.variance)
    assert read.mask_planes == written.mask_planes


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("stamps", [0, 1, 4])
def test_everything_comes_back_exactly(tmp_path, dtype, stamps):
    path = tmp_path / "out.fits"
    psf = _psf(stamps)
    exposure = _exposure(dtype, psf)
    before = exposure.image.copy()
    write_result(path, exposure, psi=_psi(stamps) if stamps else None, dtype=dtype)
    np.testing.assert_array_equal(exposure.image, before)
    read = read_exposure(path)
    _check(read, exposure)
    assert read.image.dtype == read.variance.dtype == dtype
    if psf is None:
        assert read.psf is None
    else:
        np.testing.assert_allclose(read.psf.stamps, psf.stamps, rtol=2e-7)
        assert read.psf.origin == psf.origin
        if stamps > 1:
            np.testing.assert_array_equal(read.psf.positions, psf.positions)
    with fits.open(path) as hdus:
        names = [hdu.name for hdu in hdus[1:]]
    cubes = ["PSF", "PSFPOS", "PSI", "PSIPOS"]
    kept = {0: [], 1: ["PSF", "PSI"], 4: cubes}[stamps]
    assert names == ["IMAGE", "MASK", "VARIANCE", *kept]


def test_planes_that_are_not_there_are_not_written(tmp_path):
    path = tmp_path / "out.fits"
    write_result(path, Exposure(image=np.ones(SHAPE)))
    with fits.open(path) as hdus:
        assert [hdu.name for hdu in hdus] == ["PRIMARY", "IMAGE"]
    read = read_exposure(path)
    assert read.variance is read.mask is read.psf is None


def test_headers(tmp_path):
    path = tmp_path / "out.fits"
    cards = cards_to_header({"DDMODE": "grid", "DDX": (1.5, 2)}, TABLE)
    cards["EXPTIME"] = 31.0
    write_result(path, _exposure(), cards=cards, psi=_psi(1))
    with fits.open(path, checksum=True) as hdus:  # a wrong sum would warn
        headers = {hdu.name: hdu.header for hdu in hdus}
        assert all({"CHECKSUM", "DATASUM"} <= set(header) for header in headers.values())
        assert headers["PRIMARY"]["NAXIS"] == 0
    primary, image = headers["PRIMARY"], headers["IMAGE"]
    assert primary["EXPTIME"] == 31.0
    assert primary["DDMODE"] == "grid"
    assert primary["OBSERVER"] == ("O'Neil " * 15).rstrip()
    assert primary["DATE-OBS"] == "2026-01-01"
    assert list(primary["HISTORY"]) == ["a step"]
    assert not {"GAIN", "BUNIT", "CTYPE1", "EXTNAME"} & set(primary)
    assert image["BUNIT"] == "adu"
    assert headers["VARIANCE"]["BUNIT"] == "adu2"
    assert "BUNIT" not in headers["MASK"]
    expected = WCS(fits.Header(WCS_CARDS)).all_pix2world([[3.0, 4.0]], 0)
    for name in ("IMAGE", "MASK", "VARIANCE"):
        np.testing.assert_array_equal(WCS(headers[name]).all_pix2world([[3.0, 4.0]], 0), expected)
        assert headers[name]["CRVAL1A"] == 3.0
    assert headers["MASK"]["MP_NEAR_FILLED"] == 30
    assert "  30  1073741824  NEAR_FILLED" in list(headers["MASK"]["HISTORY"])
    assert (headers["PSI"]["CTRX"], headers["PSI"]["CTRY"]) == (3, 3)


def test_positions_are_fits_pixels(tmp_path):
    path = tmp_path / "out.fits"
    write_result(path, _exposure(psf=_psf(4)), psi=_psi(3))
    with fits.open(path) as hdus:
        assert hdus["PSFPOS"].data["X"].tolist() == [4, 26.25, 4, 26.25]
        assert hdus["PSFPOS"].data["Y"].tolist() == [3.5, 3.5, 16, 16]
        assert len(hdus["PSIPOS"].data) == 3
        assert (hdus["PSF"].header["CTRX"], hdus["PSF"].header["CTRY"]) == (4, 5)


def test_a_variance_beyond_single_precision(tmp_path):
    path = tmp_path / "out.fits"
    variance = np.full(SHAPE, 1e-58)
    write_result(path, Exposure(image=np.ones(SHAPE), variance=variance))
    np.testing.assert_array_equal(read_exposure(path).variance, variance)


def test_lazy_planes_and_further_hdus(tmp_path, mef, pixels):
    path = tmp_path / "out.fits"
    exposure = read_exposure(mef(("IMAGE", pixels)), pixels=False)
    write_result(path, exposure, extra=[fits.ImageHDU(pixels, name="SIGNIF")])
    with fits.open(path) as hdus:
        np.testing.assert_array_equal(hdus["IMAGE"].data, pixels)
        np.testing.assert_array_equal(hdus["SIGNIF"].data, pixels)


def test_a_psf_that_is_no_stamp_is_written_at_the_centre():
    class Growing:
        origin = (1, 1)

        def stamp(self, x, y):
            return np.full((3, 3), x + 100 * y)

    stamps = psf_stamps(Growing(), (5, 9))
    assert stamps.stamps.shape == (1, 3, 3)
    assert stamps.stamps[0, 0, 0] == 204
    assert stamps.positions.tolist() == [[4, 2]]


def test_it_does_not_overwrite(tmp_path):
    path = tmp_path / "out.fits"
    write_result(path, _exposure())
    before = path.read_bytes()
    with pytest.raises(OutputExistsError):
        write_result(path, _exposure())
    assert path.read_bytes() == before
    write_result(path, _exposure(), overwrite=True)
    with pytest.raises(OutputExistsError, match="is an input"):
        write_result(path, _exposure(), overwrite=True, inputs=[path])


@pytest.mark.skipif(shutil.which("fitsverify") is None, reason="fitsverify is not installed")
@pytest.mark.parametrize("case", ["plain", "stamp", "cube", "hotpants", "odd", "bare"])
def test_fitsverify_finds_nothing(tmp_path, case, real):
    path = tmp_path / "out.fits"
    cards = cards_to_header({"DDMODE": "--option 'value' " * 20, "DDX": 1.5}, TABLE)
    if case == "hotpants":
        exposure = read_exposure(
            real / "hotpants_diff.fits",
            mask=real / "hotpants_mask.fits",
            noise=real / "hotpants_noise.fits",
        )
        write_result(path, exposure, cards=cards)
    elif case == "odd":
        write_result(path, _exposure(header=_odd_header()), cards=cards)
    elif case == "bare":
        write_result(path, Exposure(image=np.ones(SHAPE)))
    else:
        n = {"plain": 0, "stamp": 1, "cube": 4}[case]
        write_result(path, _exposure(psf=_psf(n)), cards=cards, psi=_psi(n) if n else None)
    done = subprocess.run(
        ["fitsverify", path.name], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert "0 warning(s) and 0 error(s)" in done.stdout or "found 0 warning" in done.stdout, (
        done.stdout
    )


def _odd_header():
    lines = [
        "RADECSYS= 'FK5'",
        "EPOCH   =               2000.0",
        "NOQUOTE = plain text",
        "UNDEF   =",
        "FLOAT   =              1.0D+03",
        "DOUBLE  =                    1",
        "DOUBLE  =                    2",
        "HIERARCH ESO DET OUT1 GAIN = 1.5 / a gain",
        "COMMENT = '        '",
        "WCSAXES =                    3",
        *(f"CTYPE{n}  = '{t}'" for n, t in enumerate(("RA---TAN", "DEC--TAN", "WAVE"), start=1)),
        *(f"{key}{n}  =                  1.0" for key in ("CRPIX", "CRVAL") for n in (1, 2, 3)),
        "BLANK   =                    0",
        "TTYPE1  = 'X'",
        "ZCMPTYPE= 'RICE_1'",
    ]
    return fits.Header.fromstring("".join(f"{line:80s}" for line in lines))
