"""PSFs of the LSST stack: real exposures, all classes, and files that are damaged."""

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from helpers.afw_archive import archive, chebyshev, combination, fixed, polynomial
from helpers.closeness import assert_same
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from diffdecor.errors import DiffdecorError, InputError
from diffdecor.images.read import read_exposure
from diffdecor.psfs.registry import carried_psf, read_psf

FOLDER = Path(__file__).parents[1] / "data" / "lsst-persistence"
RNG = np.random.default_rng(5)
IMAGE = RNG.random((4, 7)) + 0.1
OTHER = RNG.random((4, 7)) - 0.5
KERNEL_PSF = ("KernelPsf", {"kernel": 2, "averagePosition": (5.0, 6.0)})


@pytest.fixture
def write(tmp_path):
    def write(objects, **how):
        archive(objects, **how).writeto(tmp_path / "psf.fits")
        return tmp_path / "psf.fits"

    return write


@pytest.mark.reference
def test_a_real_pca_psf(reference):
    psf = read_psf(reference / "lsst-persistence" / "real_exposure_pcapsf_v0.fits")
    assert psf.origin == (12, 12)
    with np.load(FOLDER / "expected.npz") as expected:
        for (x, y), stamp in zip(
            expected["pcapsf_xy_parent"], expected["pcapsf_stamps"], strict=True
        ):
            found = psf.stamp(x - 1868, y - 2100)
            np.testing.assert_allclose(found, stamp, rtol=0, atol=1e-14)


@pytest.mark.reference
def test_a_real_gaussian_psf(reference):
    psf = read_psf(reference / "lsst-persistence" / "real_exposure_gaussianpsf_v3.fits")
    y, x = np.indices((3, 3)) - 1
    expected = np.exp(-(x**2 + y**2) / 32)
    assert_same(psf.stamp(7, 8), expected / expected.sum())


@pytest.mark.reference
@pytest.mark.parametrize(
    ("file", "kind", "origin"),
    [
        ("cheb_difference", "KernelPsf 1", (10, 10)),
        ("poly_science", "KernelPsf 1", (10, 10)),
        ("real_exposure_pcapsf_v0", "PcaPsf 1", (12, 12)),
        ("real_exposure_gaussianpsf_v3", "GaussianPsf 249", (1, 1)),
    ],
)
def test_an_exposure_brings_its_psf(reference, file, kind, origin):
    exposure = read_exposure(reference / "lsst-persistence" / f"{file}.fits")
    assert exposure.psf.name.endswith(kind)
    assert exposure.psf.origin == origin
    assert exposure.psf.stamp(50, 50).sum() == pytest.approx(1)


@pytest.mark.parametrize("version", [0, 1, 3])
@pytest.mark.parametrize("kind", ["KernelPsf", "PcaPsf"])
def test_a_constant_psf_is_drawn_without_a_flip(write, version, kind):
    objects = {1: (kind, KERNEL_PSF[1]), 2: fixed(IMAGE, (2, 1))}
    psf = read_psf(write(objects, version=version, psf=1))
    assert_same(psf.stamp(3, 4), IMAGE / IMAGE.sum())
    assert psf.origin == (2, 1)


def varying(*functions):
    whole = combination((4, 7), (3, 2), (3, 4), spatialfunctions=(5, 6))
    images = {3: fixed(IMAGE, (3, 2)), 4: fixed(OTHER, (3, 2))}
    return {1: KERNEL_PSF, 2: whole, **images, **dict(enumerate(functions, start=5))}


@pytest.mark.parametrize("version", [0, 1, 3])
def test_a_varying_psf_is_one_of_parent_pixels(write, version):
    objects = varying(polynomial(1.0), polynomial(0.1, 0.01, -0.02))
    psf = read_psf(write(objects, version=version, psf=1, xy0=(100, 7)))
    stamp = IMAGE + (0.1 + 0.01 * 112 - 0.02 * 30) * OTHER
    np.testing.assert_allclose(psf.stamp(12, 23), stamp / stamp.sum(), rtol=1e-13)


def test_chebyshev_functions(write):
    low, high = (0.0, 0.0), (400.0, 300.0)
    objects = varying(chebyshev([1, 0, 0], low, high), chebyshev([0, 1, 0], low, high))
    psf = read_psf(write(objects, psf=1, xy0=(100, 7)))
    stamp = IMAGE + (112 / 200 - 1) * OTHER
    np.testing.assert_allclose(psf.stamp(12, 23), stamp / stamp.sum(), rtol=1e-13)


def test_a_psf_of_its_own_is_object_1(write, caplog):
    psf = read_psf(write(varying(polynomial(1.0), polynomial(0.1, 0.01, -0.02))))
    stamp = IMAGE + (0.1 + 0.01 * 12 - 0.02 * 23) * OTHER
    np.testing.assert_allclose(psf.stamp(12, 23), stamp / stamp.sum(), rtol=1e-13)
    assert "no card LTV1, LTV2" in caplog.text


def test_an_exposure_carries_it(write):
    path = write({1: fixed(OTHER, (2, 1)), 9: KERNEL_PSF, 2: fixed(IMAGE, (2, 1))}, psf=9)
    assert read_exposure(path).psf.origin == (2, 1)
    with fits.open(path) as hdus:
        assert carried_psf(hdus, "a.fits").origin == (2, 1)


@pytest.mark.parametrize("extension", ["[ARCHIVE_INDEX]", "[1]"])
def test_an_exposure_without_a_psf(tmp_path, extension):
    hdus = archive({1: KERNEL_PSF, 2: fixed(IMAGE, (2, 1))}, psf=0)
    del hdus[1]
    hdus[1].name = "ARCHIVE_INDEX"
    hdus.writeto(tmp_path / "psf.fits")
    assert carried_psf(hdus, "a.fits") is None
    with pytest.raises(InputError, match="this exposure has no PSF"):
        read_psf(f"{tmp_path}/psf.fits{extension}")


def test_an_exposure_goes_on_without_a_psf_that_cannot_be_read(write, caplog):
    exposure = read_exposure(write({1: ("PiffPsf", {"bytes": 1.0})}, psf=1))
    assert exposure.psf is None
    assert "PiffPsf 1 is not a PSF that can be read here: it is a Python pickle" in caplog.text
    assert "going on without it" in caplog.text


GAUSSIAN = {"dimensions": (5, 5), "sigma": 1.0}
REFUSED = {
    "kernel": ({1: fixed(IMAGE, (2, 1))}, "FixedKernel 1 is a kernel, not a PSF"),
    "piff": ({1: ("PiffPsf", {"n": 1.0})}, "a Python pickle, .* never opens; .*computeKernelImage"),
    "psfex": ({1: ("PsfexPsf", {"n": 1.0})}, "PsfexPsf 1 is not a PSF .* layout of its own"),
    "coadd": ({1: ("CoaddPsf", {"n": 1.0})}, "made of the PSFs .* of all its input images"),
    "unknown": ({1: ("MyPsf", {"n": 1.0})}, "MyPsf 1 is not a PSF .* does not know"),
    "analytic": ({1: KERNEL_PSF, 2: ("AnalyticKernel", {"n": 1.0})}, "not a kernel of a KernelPsf"),
    "cycle": ({1: ("KernelPsf", {"kernel": 1})}, "object 1 is a part of itself"),
    "no kernel": ({1: KERNEL_PSF}, "there is no object 2"),
    "width": ({1: ("GaussianPsf", {**GAUSSIAN, "sigma": 0.0})}, "with sigma = 0"),
    "size": ({1: ("GaussianPsf", {**GAUSSIAN, "dimensions": (0, 5)})}, "of 0 x 5 pixels"),
    "no sum": ({1: KERNEL_PSF, 2: fixed(-IMAGE, (2, 1))}, "KernelPsf 1: .* a positive sum"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals(write, case):
    objects, problem = REFUSED[case]
    with pytest.raises(InputError, match=rf"psf\.fits: .*{problem}"):
        read_psf(write(objects))


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    """Bytes of small files of both formats."""
    path = tmp_path_factory.mktemp("original") / "small.fits"
    objects = varying(polynomial(1.0), polynomial(0.1, 0.01, -0.02))
    archive(objects, psf=1, xy0=(3, 4)).writeto(path)
    return [path.read_bytes(), (FOLDER.parent / "psfex" / "B_sci_const.psf").read_bytes()]


# astropy leaves files open that it fails to open; numpy overflows with absurd numbers in them.
@pytest.mark.filterwarnings(
    "ignore::ResourceWarning",
    "ignore::pytest.PytestUnraisableExceptionWarning",
    "ignore::RuntimeWarning",
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_mutated_files_raise_nothing_but_our_errors(originals, tmp_path, data):
    content = bytearray(data.draw(st.sampled_from(originals)))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] = data.draw(st.integers(0, 255))
    (tmp_path / "mutated.fits").write_bytes(content)
    try:
        psf = read_psf(tmp_path / "mutated.fits")
        assert np.isfinite(psf.stamp(3, 4)).all()
    except DiffdecorError:
        pass
