"""What a reader of the output can do with the filters in it, who knows nothing but the README."""

import numpy as np
import pytest
from astropy.io import fits
from helpers import oracle
from helpers.simulate import matching_kernel, simulate_triple

from diffdecor.config import DecorrelationConfig, FilesConfig
from diffdecor.core.interpolate import KernelField
from diffdecor.kernels.native_write import native_hdus
from diffdecor.pipeline.job import Job
from diffdecor.pipeline.run import run_job

PIXELS = 200


def varying(shape, reach):
    """Kernels that widen to the right and turn upwards."""
    x, y = (np.linspace(0, length - 1, 5) for length in shape[::-1])
    size = 2 * reach + 1
    stamps = [
        [
            oracle.gaussian(size, 1.0 + 0.5 * j / 4, axis_ratio=1 - 0.3 * i / 4, angle=0.3 * i / 4)
            for j in range(5)
        ]
        for i in range(5)
    ]
    return KernelField(x, y, np.array(stamps), (reach, reach))


@pytest.fixture(scope="module")
def triple(tmp_path_factory):
    """Give the folder of a triple whose kernel and noise levels change much."""
    folder, shape = tmp_path_factory.mktemp("triple"), (300, 400)
    y, x = np.indices(shape)
    field = varying(shape, 5)
    made = simulate_triple(
        np.random.default_rng(11),
        shape,
        field,
        science_variance=1 + x / 400,
        template_variance=4 * (1 + y / 300) * np.where(x > 250, 2.5, 1),
        sky=(20.0, 5.0),
    )
    for role in ("science", "template", "difference"):
        one = getattr(made, role)
        hdus = [fits.PrimaryHDU(), fits.ImageHDU(one.image.astype(np.float32), name="IMAGE")]
        if one.variance is not None:
            hdus.append(fits.ImageHDU(one.variance.astype(np.float32), name="VARIANCE"))
        fits.HDUList(hdus).writeto(folder / f"{role}.fits")
    native_hdus(matching_kernel(field)).writeto(folder / "kernel.fits")
    psf = oracle.moffat(41, 3.5, 3.0)
    fits.PrimaryHDU(psf).writeto(folder / "psf.fits")
    return folder


def run(folder, output, *, config=None, **files):
    job = Job(
        science=str(folder / "science.fits"),
        template=str(folder / "template.fits"),
        difference=str(folder / "difference.fits"),
        kernel=str(folder / "kernel.fits"),
        output=str(output),
        files=FilesConfig.of(**files),
        decorrelation=config or DecorrelationConfig(noise_model="white"),
    )
    run_job(job)
    with fits.open(output, memmap=False, checksum=True) as hdus:
        hdus.verify("exception")
        return {hdu.name: hdu.copy() for hdu in hdus}


def interpolated(hdus, x, y):
    """Return the filter at a 0-based position, by the words of the README."""
    cube = hdus["PSI"].data.astype(float)
    if cube.ndim == 2:
        return cube
    table = hdus["PSIPOS"].data
    columns, rows = np.unique(table["X"]), np.unique(table["Y"])
    assert hdus["PSI"].header["INTERP"] == "LINEAR"
    cube = cube.reshape(len(rows), len(columns), *cube.shape[1:])
    along = [np.interp(x + 1, columns, np.eye(len(columns))[n]) for n in range(len(columns))]
    across = [np.interp(y + 1, rows, np.eye(len(rows))[n]) for n in range(len(rows))]
    return np.einsum("y,x,yxij->ij", across, along, cube)


def filtered(difference, psi, x, y):
    """Return the sum under a filter of an odd number of pixels a side."""
    m = len(psi) // 2
    return np.sum(psi[::-1, ::-1] * difference[y - m : y + m + 1, x - m : x + m + 1])


def errors(folder, hdus, filter_at=interpolated):
    """Return the errors in sigmas of rebuilt pixels at random places."""
    difference = fits.getdata(folder / "difference.fits", "IMAGE").astype(float)
    ny, nx = difference.shape
    margin = hdus["PSI"].shape[-1] // 2
    random = np.random.default_rng(5)
    places = [
        (random.integers(margin, nx - margin), random.integers(margin, ny - margin))
        for _ in range(PIXELS)
    ]
    rebuilt = [filtered(difference, filter_at(hdus, x, y), x, y) for x, y in places]
    x, y = np.transpose(places)
    return (rebuilt - hdus["IMAGE"].data[y, x]) / np.sqrt(hdus["VARIANCE"].data[y, x])


@pytest.mark.parametrize("mode", ["grid", "whole"])
def test_filters_rebuild_the_result(triple, tmp_path, mode):
    config = DecorrelationConfig(mode=mode, noise_model="white", variance="full")
    hdus = run(triple, tmp_path / "out.fits", config=config)
    assert (hdus["PSI"].data.ndim == 3) == (mode == "grid")
    assert np.abs(errors(triple, hdus)).max() < 1e-4


def test_where_room_is_short_the_cards_say_how_far_it_is(triple, tmp_path):
    """A PSF takes most of the room, and filters must be cut and left out."""
    psf = oracle.moffat(61, 4.0, 2.2)
    fits.PrimaryHDU(psf).writeto(tmp_path / "psf.fits")
    hdus = run(triple, tmp_path / "out.fits", science_psf=str(tmp_path / "psf.fits"))
    small = sum(hdus[name].size for name in ("PSF", "PSFPOS", "PSI", "PSIPOS"))
    planes = sum(hdus[name].size for name in ("IMAGE", "MASK", "VARIANCE"))
    assert 0.3 * planes < small <= 0.5 * planes
    header, cube = hdus["PSI"].header, hdus["PSI"].data.astype(float)
    norm = np.sqrt((cube**2).sum(axis=(1, 2)).max())
    rms = header["INTERROR"] + header["CUTSHARE"] * norm
    assert rms > 2.5e-5  # else this tests nothing
    found = errors(triple, hdus)
    assert found.std() < rms
    assert np.abs(found).max() < 4.5 * rms


@pytest.mark.parametrize("blend", ["copy", "average"])
def test_filters_of_cells_rebuild_the_result(triple, tmp_path, blend):
    config = DecorrelationConfig(
        noise_model="white",
        blend=blend,
        cell_size=(60.0, 50.0),
        grid_step=(55.0, 45.0),
        cell_border=(4.0, 4.0),
        scale_by_fwhm=False,
    )
    hdus = run(triple, tmp_path / "out.fits", config=config)
    assert hdus["PSI"].header["INTERP"] == "NEAREST"

    def of_cells(hdus, x, y):
        table, cube = hdus["PSIPOS"].data, hdus["PSI"].data.astype(float)
        here = (table["XMIN"] <= x + 1) & (x + 1 <= table["XMAX"])
        here &= (table["YMIN"] <= y + 1) & (y + 1 <= table["YMAX"])
        serving = np.flatnonzero(here)
        return cube[serving[-1]] if blend == "copy" else cube[serving].mean(axis=0)

    assert np.abs(errors(triple, hdus, of_cells)).max() < 1e-4


def test_without_filters_all_else_is_the_same(triple, tmp_path):
    psf = {"science_psf": str(triple / "psf.fits")}
    first = run(triple, tmp_path / "a.fits", **psf)
    second = run(triple, tmp_path / "b.fits", filters=False, **psf)
    assert set(first) - set(second) == {"PSI", "PSIPOS"}
    assert not set(second) - set(first)
    assert first["PRIMARY"].header["DDFILTRS"] is True
    assert second["PRIMARY"].header["DDFILTRS"] is False
    changing = {"DATE", "CHECKSUM", "DDFILTRS"}
    for name in set(second) - {"PSF", "PSFPOS"}:  # there may be more of them, with more room
        if first[name].data is not None:
            assert first[name].data.tobytes() == second[name].data.tobytes()
        same = [
            {k: v for k, v in one[name].header.items() if k not in changing}
            for one in (first, second)
        ]
        assert same[0] == same[1]
    assert len(second["PSF"].data) >= len(first["PSF"].data)
