"""The reference outputs of LSST's decorrelation: LSST's results where LSST is right."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import scipy.fft
from helpers import lsst_cases as lsst
from numpy.testing import assert_allclose, assert_array_equal

from diffdecor import DecorrelationConfig, decorrelate
from diffdecor.core.planes import Window
from diffdecor.core.psf import adaptive_fwhm, crop_stamp
from diffdecor.core.whitening import filter_transfer
from diffdecor.decorrelation.cells import cells_for
from diffdecor.decorrelation.noise_levels import measure_noise_levels
from diffdecor.decorrelation.subtraction import Subtraction, as_psf

ALL = list(lsst.runs())


def about(name, number):
    return lsst.load_json(name)["runs"][number]


def chosen(*, grid, score=True):
    """The runs that do something, over the whole image or by cells, with score images or not."""
    return [
        pytest.param(name, number, id=f"{name}-{about(name, number)['name']}")
        for name, number in ALL
        if about(name, number)["config"]["spatially_varying"] == grid
        and not about(name, number)["results"].get("skipped")
        and (score or not about(name, number)["config"]["preconv_mode"])
    ]


def exposures(name):
    return tuple(lsst.load_exposure(name, which) for which in ("science", "template", "difference"))


def inputs(name, run, **changes):
    given = {
        "config": replace(lsst.config_of(run), **changes),
        "preconvolution": lsst.load_preconvolution(name, run),
    }
    return (*exposures(name), lsst.load_kernel(name, lsst.side_of(run))), given


def ours(name, run, **changes):
    arguments, given = inputs(name, run, **changes)
    return decorrelate(*arguments, **given)


def subtraction_of(name, run):
    arguments, given = inputs(name, run)
    given["preconvolution"] = as_psf(given["preconvolution"])
    return Subtraction(*arguments, **given)


def rounding(plane):
    """What rounding to its precision can have done to a plane, absolute."""
    return np.finfo(plane.dtype).eps / 2 * np.abs(plane[np.isfinite(plane)]).max()


def sigma(plane):
    """The standard deviation of the finite pixels of a plane."""
    return plane[np.isfinite(plane)].std(dtype=np.float64)


def assert_variance(measured, wanted, tolerance):
    """Compare variances; LSST writes +inf for every infinite pixel."""
    assert_array_equal(np.isnan(measured), np.isnan(wanted))
    known = np.isfinite(wanted)
    assert known.any()
    relative = np.abs(measured[known] / wanted[known] - 1)
    assert relative.max() <= tolerance + np.finfo(wanted.dtype).eps


@pytest.mark.parametrize(("name", "number"), chosen(grid=False))
def test_whole_image(name, number):
    run = about(name, number)
    wanted, results = lsst.expected(name, run), run["results"]
    result = ours(name, run)

    assert_allclose(result.science_level, results["svar"], rtol=1e-9)
    assert_allclose(result.template_level, results["tvar"], rtol=1e-9)
    image = wanted["IMAGE"]
    finite = np.isfinite(image)
    allowed = (1e-6 + results["pad_sensitivity_sigma"]["max"]) * sigma(image) + rounding(image)
    assert_array_equal(np.isfinite(result.exposure.image), finite)
    assert np.abs(result.exposure.image[finite] - image[finite]).max() <= allowed
    full = run["config"]["complete_var"]
    assert_variance(result.exposure.variance, wanted["VARIANCE"], 1e-5 if full else 1e-6)

    if lsst.side_of(run) == "template":  # else LSST scales the plane, we the kernel
        weights = result.metrics.science_weight, result.metrics.template_weight
        given = results["weight_unconvolved"], results["weight_convolved"]
        assert_allclose(weights, given, rtol=1e-6)

    half_width = result.filters.shape[-1] // 2
    wide = wanted["CORRKERN"].shape[0] // 2
    psi = crop_stamp(result.filters[0], (half_width, half_width), wide)
    assert_allclose(psi, wanted["CORRKERN"], rtol=0, atol=1e-6 * wanted["CORRKERN"].max())


@pytest.mark.parametrize(("name", "number"), chosen(grid=False, score=False))
def test_psf_of_the_result(name, number):
    """LSST states no PSF for score images."""
    run = about(name, number)
    wanted = lsst.expected(name, run)
    psf = ours(name, run).exposure.psf
    part = crop_stamp(psf.stamp(0, 0), psf.origin, wanted["PSFCORR"].shape[0] // 2)
    peak = wanted["PSFCORR"].max()
    assert_allclose(part / part.sum(), wanted["PSFCORR"], rtol=0, atol=1e-6 * peak)


@pytest.mark.parametrize(("name", "number"), chosen(grid=False))
def test_formula_to_rounding(name, number):
    """With LSST's own padding the image agrees to rounding: the formula is the same one."""
    run = about(name, number)
    results, image = run["results"], lsst.expected(name, run)["IMAGE"]
    subtraction = subtraction_of(name, run)
    levels = np.array([[results["svar"]]]), np.array([[results["tvar"]]])
    sides = subtraction.noise_sides(np.array([results["kernel_position"]]), *levels)
    shape = tuple(results["fft_shape"])
    psi = filter_transfer(*sides, shape, score=run["config"]["preconv_mode"])[0]

    pixels = subtraction.difference.image
    filled = np.where(np.isfinite(pixels), pixels, pixels[np.isfinite(pixels)].mean())
    ny, nx = filled.shape
    whitened = scipy.fft.irfft2(psi * scipy.fft.rfft2(filled, shape), shape)[:ny, :nx]
    finite = np.isfinite(image)
    allowed = 1e-9 * sigma(image) + rounding(image)
    assert np.abs(whitened[finite] - image[finite]).max() <= allowed


@pytest.mark.parametrize(("name", "number"), chosen(grid=True))
def test_grid_image_and_variance(name, number):
    run = about(name, number)
    wanted, result = lsst.expected(name, run), ours(name, run)
    image = wanted["IMAGE"]
    finite = np.isfinite(image)
    assert_array_equal(np.isfinite(result.exposure.image), finite)
    difference = np.abs(result.exposure.image[finite] - image[finite]).max()
    assert difference <= 1e-6 * sigma(image) + rounding(image)
    full = run["config"]["complete_var"]
    assert_variance(result.exposure.variance, wanted["VARIANCE"], 1e-5 if full else 1e-6)


@pytest.mark.parametrize(("name", "number"), chosen(grid=True))
def test_grid_cells(name, number):
    """The same boxes, kernel positions and noise levels as LSST's, in its order."""
    run = about(name, number)
    subtraction, results = subtraction_of(name, run), run["results"]
    fwhm = adaptive_fwhm(subtraction.difference.psf.stamp(0, 0))
    # LSST stops iterating earlier; sizes are rounded to whole pixels anyway.
    assert_allclose(fwhm, results["psf_fwhm_used"], rtol=1e-4)
    cells = cells_for(subtraction)
    assert [_box(cell.inner) for cell in cells] == [cell["box0"] for cell in results["cells"]]
    assert [_box(cell.outer) for cell in cells] == [cell["box1"] for cell in results["cells"]]
    levels = measure_noise_levels(subtraction, [cell.outer for cell in cells])
    assert_allclose(levels.science, [[cell["svar"] for cell in results["cells"]]], rtol=1e-9)
    assert_allclose(levels.template, [[cell["tvar"] for cell in results["cells"]]], rtol=1e-9)
    positions = ours(name, run).positions
    assert_array_equal(positions, [cell["kernel_position"] for cell in results["cells"]])


def _box(window: Window):
    """LSST's way to write a box: first and last pixel."""
    return [window.x0, window.y0, window.x1 - 1, window.y1 - 1]


def test_every_case_is_there():
    assert len(lsst.names()) == 13
    assert len(chosen(grid=False)) == 18
    assert len(chosen(grid=True)) == 5


# Where LSST errs


def test_signs_of_infinite_pixels_survive():
    name, number = next(run for run in ALL if run[0] == "varplane-nan-inf")
    difference = lsst.load_exposure(name, "difference").image
    result = ours(name, about(name, number)).exposure.image
    assert np.isneginf(difference).any()
    assert np.isposinf(difference).any()
    holes = ~np.isfinite(difference)
    assert_array_equal(result[holes], difference[holes])
    assert np.isposinf(lsst.expected(name, about(name, number))["IMAGE"][holes]).any()


def test_invalid_pixels_are_flagged():
    name, number = next(run for run in ALL if run[0] == "varplane-nan-inf")
    exposure = ours(name, about(name, number)).exposure
    flagged = (exposure.mask & exposure.mask_planes.value(["NO_DATA"])) != 0
    assert flagged[~np.isfinite(exposure.image)].all()


def test_all_nan_is_returned_unchanged(caplog):
    name, number = next(run for run in ALL if run[0] == "all-nan")
    result = ours(name, about(name, number))
    difference = lsst.load_exposure(name, "difference")
    assert_array_equal(result.exposure.image, difference.image)
    assert result.metrics.skipped is True
    assert "every pixel is NaN" in caplog.text
    assert_array_equal(result.exposure.image, lsst.expected(name, about(name, number))["IMAGE"])


def test_odd_sizes_are_fine():
    """LSST refuses an odd image that one expanded cell covers."""
    science, template, difference = (
        replace(
            exposure,
            image=exposure.image[:-1, :-1],
            variance=exposure.variance[:-1, :-1],
            mask=exposure.mask[:-1, :-1],
        )
        for exposure in exposures("tmpl-equal")
    )
    config = DecorrelationConfig(
        precision="double",
        cell_size=300,
        scale_by_fwhm=False,
        cell_border=10,
        blend="average",
        adjust_grid="none",
    )
    kernel = lsst.load_kernel("tmpl-equal")
    by_cell = decorrelate(science, template, difference, kernel, config=config)
    whole = DecorrelationConfig(precision="double", mode="whole")
    result = decorrelate(science, template, difference, kernel, config=whole)
    assert by_cell.exposure.image.shape == (117, 155)
    error = np.abs(by_cell.exposure.image - result.exposure.image).max()
    assert error < 1e-9 * result.exposure.image.std()


# What belongs to the callers


@pytest.mark.parametrize("blend", ["interpolate", "average"])
@pytest.mark.parametrize("variance", ["weighted", "full"])
def test_inputs_are_neither_changed_nor_need_be_writeable(blend, variance):
    images = exposures("varplane-nan-inf")
    kernel = lsst.load_kernel("varplane-nan-inf")
    arrays = [
        array
        for exposure in images
        for array in (exposure.image, exposure.variance, exposure.mask, exposure.psf.stamps)
    ]
    arrays += [kernel.stamps, kernel.positions]
    copies = [array.copy() for array in arrays]
    for array in arrays:
        array.flags.writeable = False
    config = DecorrelationConfig(
        blend=blend, variance=variance, cell_size=60, grid_step=50, scale_by_fwhm=False
    )
    result = decorrelate(*images, kernel, config=config)
    for array, copy in zip(arrays, copies, strict=True):
        assert_array_equal(array, copy)
    for plane in (result.exposure.image, result.exposure.variance, result.exposure.mask):
        assert not any(np.shares_memory(plane, array) for array in arrays)


def test_threads_do_not_disturb_each_other():
    jobs = [(name, number) for name, number in ALL if name in {"grid-options", "mask-planes"}] * 2
    serial = [ours(name, about(name, number)) for name, number in jobs]
    with ThreadPoolExecutor(4) as pool:
        threaded = list(pool.map(lambda job: ours(job[0], about(*job)), jobs))
    for one, other in zip(serial, threaded, strict=True):
        assert_array_equal(one.exposure.image, other.exposure.image)
        assert_array_equal(one.exposure.variance, other.exposure.variance)
        assert_array_equal(one.exposure.mask, other.exposure.mask)
