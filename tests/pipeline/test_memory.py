"""A share of the memory that a job may take is for planes that were unpacked."""

from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits
from helpers.workplace import exposure, gaussian

from diffdecor.config import DecorrelationConfig, kinds
from diffdecor.fits.read_rows import CompressedPlane
from diffdecor.pipeline.inputs import read_inputs
from diffdecor.pipeline.job import Job

SHAPE = 60, 80
PLANE = 4 * SHAPE[0] * SHAPE[1]
PIXELS = np.random.default_rng(3).normal(0, 3, SHAPE).astype(np.float32)


@pytest.fixture
def job(tmp_path):
    """A job whose difference is compressed."""
    exposure(PIXELS, 9.0).writeto(tmp_path / "science.fits")
    exposure(PIXELS, 4.0).writeto(tmp_path / "template.fits")
    packed = fits.CompImageHDU(PIXELS, compression_type="GZIP_2", quantize_level=0)
    fits.HDUList([fits.PrimaryHDU(), packed]).writeto(tmp_path / "difference.fits.fz")
    fits.PrimaryHDU(gaussian(3, 1.2)).writeto(tmp_path / "kernel.fits")
    names = "science.fits", "template.fits", "difference.fits.fz", "kernel.fits", "out.fits"
    roles = "science", "template", "difference", "kernel", "output"
    return Job(**dict(zip(roles, (str(tmp_path / name) for name in names), strict=True)))


@pytest.fixture
def unpacked(monkeypatch):
    """Note the rows that are unpacked."""
    noted = []
    unpack = CompressedPlane._unpacked  # noqa: SLF001

    def noting(plane, rows):
        noted.append((rows.start, rows.stop))
        return unpack(plane, rows)

    monkeypatch.setattr(CompressedPlane, "_unpacked", noting)
    return noted


@pytest.mark.parametrize(("planes", "kept"), [(1.99, False), (2, True), (100, True)])
def test_half_of_the_memory_keeps_unpacked_planes(job, unpacked, monkeypatch, planes, kept):
    monkeypatch.setattr(kinds, "_LEAST_MEMORY", 0)
    config = DecorrelationConfig(max_memory=int(planes * PLANE))
    image = read_inputs(replace(job, decorrelation=config)).subtraction.difference.image
    for _ in range(3):
        np.testing.assert_array_equal(image[0 : SHAPE[0]], PIXELS)
    times = unpacked.count((0, SHAPE[0]))
    assert times == 1 if kept else times >= 3
