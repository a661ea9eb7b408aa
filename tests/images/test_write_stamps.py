"""PSF and filters in the output: how much room they take, and what is kept where it is short."""

import numpy as np
import pytest
from astropy.io import fits
from helpers import oracle
from helpers.results import write_result

from diffdecor.core.interpolate import Stamps
from diffdecor.images.model import Exposure
from diffdecor.images.read import read_exposure
from diffdecor.psfs.model import StampPsf

FILTER = 41


def filter_at(width, ratio):
    """Return a whitening filter of white noise and a share that went through a Gaussian."""
    kernel = np.fft.rfft2(oracle.gaussian(96, width))
    power = 1 + ratio * np.abs(kernel) ** 2
    psi = np.fft.fftshift(np.fft.irfft2(np.sqrt((1 + ratio) / power)))
    middle, half = 48, FILTER // 2
    psi = psi[middle - half : middle + half + 1, middle - half : middle + half + 1]
    return psi / psi.sum()


def grid(shape, number):
    """Give the 0-based positions of `number` x `number` nodes over an image."""
    x, y = (np.linspace(0, length - 1, number) for length in shape[::-1])
    return np.column_stack([one.ravel() for one in np.meshgrid(x, y)])


def written(path, shape, number, *, psf_size=61, beta=3.0, **how):
    """Write PSFs and filters that vary over an image; return them, and the HDUs."""
    ny, nx = shape
    positions = grid(shape, number)
    filters = [filter_at(1 + x / nx, 3 + 2 * y / ny) for x, y in positions]
    psfs = [oracle.moffat(psf_size, 3 + x / nx + y / ny, beta) for x, y in positions]
    psi = Stamps(stamps=np.array(filters), positions=positions, origin=(FILTER // 2, FILTER // 2))
    psf = StampPsf(np.array(psfs), positions=positions)
    ones = np.ones(shape, np.float32)
    exposure = Exposure(image=ones, variance=ones, mask=ones.astype(np.int32), psf=psf)
    write_result(path, exposure, psi=psi, **how)
    with fits.open(path, memmap=False, checksum=True) as hdus:
        hdus.verify("exception")
        return psf, psi, {hdu.name: hdu.copy() for hdu in hdus}


def share(path):
    """Return the bytes of PSF and filters, headers and all, in units of those of the planes."""
    with fits.open(path) as hdus:
        bytes_of = {}
        for hdu in hdus:
            place = hdu.fileinfo()
            header = place["datLoc"] - place["hdrLoc"]
            is_plane = hdu.name in {"IMAGE", "MASK", "VARIANCE"}
            bytes_of[hdu.name] = place["datSpan"] + (0 if is_plane else header)
    planes = sum(bytes_of[name] for name in ("IMAGE", "MASK", "VARIANCE"))
    return sum(bytes_of.get(name, 0) for name in ("PSF", "PSFPOS", "PSI", "PSIPOS")) / planes


def stamps_of(hdus, name):
    """Return the stamps as a reader has them who knows nothing but the README."""
    image, where = hdus[name], hdus.get(f"{name}POS")
    pixels = image.data.reshape(-1, *image.shape[-2:]).astype(float)
    positions = np.zeros((1, 2))
    if where is not None:
        positions = np.column_stack([where.data["X"], where.data["Y"]]) - 1.0
    origin = image.header["CTRX"] - 1, image.header["CTRY"] - 1
    return Stamps(stamps=pixels, positions=positions, origin=origin)


def off(found, whole):
    """Return the largest L2 norm of what is not there, at positions of stamps."""
    half = max(found.origin[0], whole.origin[0])
    errors = []
    places = np.asarray(whole.positions)
    for x, y in np.random.default_rng(1).permutation(places)[:80].tolist():
        both = [np.pad(one.stamp(x, y), half - one.origin[0]) for one in (found, whole)]
        errors.append(np.linalg.norm(both[0] - both[1]) / np.linalg.norm(both[1]))
    return max(errors)


@pytest.mark.parametrize(
    ("shape", "number", "limit"),
    [((640, 640), 3, 0.5), ((640, 640), 16, 0.5), ((200, 300), 9, 0.5), ((2100, 2000), 25, 0.2)],
)  # fmt: skip
def test_they_take_their_share_at_most(tmp_path, shape, number, limit):
    psf, psi, hdus = written(tmp_path / "out.fits", shape, number)
    assert share(tmp_path / "out.fits") <= limit
    for name, whole in (("PSF", psf), ("PSI", psi)):
        found, header = stamps_of(hdus, name), hdus[name].header
        assert hdus[name].data.dtype == ">f4"
        np.testing.assert_allclose(found.stamps.sum(axis=(1, 2)), 1.0, rtol=0, atol=1e-6)
        # Errors of filters are in sigmas, and their norm is 2 and more; a little is cut off, too.
        assert off(found, whole) <= header["INTERROR"] + 60 * header["CUTSHARE"] + 1e-6
        assert header["INTERROR"] < 0.05
        assert header["CUTSHARE"] <= 1e-2


def test_with_room_enough_all_that_matters_is_kept(tmp_path):
    psf, psi, hdus = written(tmp_path / "out.fits", (640, 640), 4)
    assert off(stamps_of(hdus, "PSF"), psf) < 1e-4
    assert off(stamps_of(hdus, "PSI"), psi) < 2.5e-5
    assert hdus["PSF"].header["CUTSHARE"] <= 1e-6
    assert hdus["PSI"].shape[-1] < FILTER


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_pixels_of_any_type_have_stamps_of_single_precision(tmp_path, dtype):
    _, _, hdus = written(tmp_path / "out.fits", (200, 300), 2, dtype=dtype)
    assert hdus["IMAGE"].data.dtype == np.dtype(dtype).newbyteorder(">")
    assert {hdus[name].data.dtype for name in ("PSF", "PSI")} == {np.dtype(">f4")}


@pytest.mark.parametrize("size", [16, 64])
def test_one_of_each_is_whole_however_small_the_image(tmp_path, size):
    psf, psi, hdus = written(tmp_path / "out.fits", (size, size), 5)
    middle = (size - 1) / 2
    for name, whole in (("PSF", psf), ("PSI", psi)):
        one = stamps_of(hdus, name)
        assert len(one.stamps) == 1
        alone = Stamps(
            stamps=whole.stamp(middle, middle)[np.newaxis],
            positions=np.full((1, 2), middle),
            origin=whole.origin,
        )
        assert off(one, alone) < 1e-4
        # How far those are that are not there.
        assert off(one, whole) <= hdus[name].header["INTERROR"] * 1.00001 < 3


def test_filters_stay_where_psfs_must_go(tmp_path):
    """A PSF with wide wings takes much of the room: one is kept, and filters fit beside it."""
    _, psi, hdus = written(tmp_path / "out.fits", (90, 100), 6, psf_size=81, beta=1.2)
    assert share(tmp_path / "out.fits") <= 0.5
    assert hdus["PSF"].data.ndim == 2
    assert len(hdus["PSI"].data) > 1
    assert off(stamps_of(hdus, "PSI"), psi) < 0.3


def test_our_own_reader_reads_the_psf_as_it_is_written(tmp_path):
    _, _, hdus = written(tmp_path / "out.fits", (300, 300), 3)
    read = read_exposure(tmp_path / "out.fits").psf
    for x, y in ((0.0, 0.0), (150.0, 40.0), (299.0, 200.0)):
        kept = stamps_of(hdus, "PSF").stamp(x, y)
        np.testing.assert_allclose(read.stamp(x, y), kept, rtol=0, atol=1e-7 * kept.max())
