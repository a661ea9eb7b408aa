"""The PSF of the result predicts injected sources: fluxes, positions and their scatter."""

import tracemalloc
from dataclasses import dataclass, replace

import numpy as np
import pytest
import scipy.signal
from helpers import oracle, simulate

from diffdecor import DecorrelationConfig, Exposure, decorrelate
from diffdecor.core.interpolate import KernelField
from diffdecor.core.psf import crop_stamp, noise_equivalent_area
from diffdecor.psfs.model import StampPsf

STEP = 46
SHAPE = (782, 782)
#: Where there is no noise, sources need not be many.
SMALL = (322, 322)
FLUX = 2e4


def injected(rng, flux=FLUX, step=STEP, shape=SHAPE):
    """Sources on a grid, each at its own place between the pixels."""
    x, y = np.meshgrid(*(np.arange(step, size - step // 2, step) for size in shape[::-1]))
    places = np.column_stack([x.ravel(), y.ravel()]) + rng.uniform(-0.5, 0.5, size=(x.size, 2))
    return np.column_stack([places, np.full(len(places), flux)])


GAUSSIAN = simulate.gaussian_profile(1.4, axis_ratio=0.85, angle=0.5)
MOFFAT = simulate.moffat_profile(3.6, 3.5)
KERNEL = oracle.gaussian(19, 1.5, centre=(9.4, 8.7), axis_ratio=0.8, angle=-0.3)


@dataclass(frozen=True)
class Case:
    """A way to make a difference, and the factor of source fluxes in it."""

    options: dict
    profile: simulate.Profile
    gain: float = 1.0
    score: bool = False
    total: float = 1.0


CASES = {
    "template": Case({"template_variance": 2.0}, GAUSSIAN, total=0.7),
    "template-noisy": Case({"science_variance": 0.2}, MOFFAT),
    "science": Case({"side": "science", "science_variance": 2.0}, GAUSSIAN, 1.6, total=1.6),
    "science-scaled": Case(
        {"side": "science", "scales": (1 / 0.7, 1 / 0.7)}, MOFFAT, 1.0, total=0.7
    ),
    "score": Case({"preconvolution": GAUSSIAN.stamp}, GAUSSIAN, score=True),
}


def results(case, seed=40, **changes):
    rng = np.random.default_rng(seed)
    shape = changes.pop("shape", SHAPE)
    sources = changes.pop("sources", None)
    if sources is None:
        sources = injected(rng, shape=shape)
    field = changes.pop("field", KernelField.constant(case.total * KERNEL, (9, 9)))
    triple = simulate.simulate_triple(
        rng, shape, field, profile=case.profile, sources=sources, **case.options, **changes
    )
    options = {"mode": "whole", "score": case.score}
    config = DecorrelationConfig(
        precision="double", **(options | ({"mode": "grid"} if len(field.x) > 1 else {}))
    )
    return sources, triple, decorrelate(*triple.inputs, config=config)


def errors(sources, exposure, psf, gain):
    """Relative error of the flux, errors of x and y, of every source."""
    fits = np.array(
        [simulate.fit_source(exposure.image, exposure.variance, psf, (x, y)) for x, y, _ in sources]
    )
    return np.column_stack([fits[:, 0] / (gain * sources[:, 2]) - 1, fits[:, 1:] - sources[:, :2]])


@pytest.mark.parametrize("name", CASES)
def test_fluxes_and_positions_are_not_biased(name):
    case = CASES[name]
    sources, _, result = results(case)
    bias = errors(sources, result.exposure, result.exposure.psf, case.gain).mean(axis=0)
    assert abs(bias[0]) < 0.005
    assert np.abs(bias[1:]).max() < 0.01


@pytest.mark.parametrize("name", CASES)
def test_no_source_is_biased_without_noise(name):
    """Whatever its place between the pixels."""
    case = CASES[name]
    sources, _, result = results(case, noise=0.0, shape=SMALL)
    assert len(sources) >= 25
    error = np.abs(errors(sources, result.exposure, result.exposure.psf, case.gain))
    assert error[:, 0].max() < 0.005
    assert error[:, 1:].max() < 0.01


@pytest.mark.parametrize("name", ["template", "science", "score"])
def test_the_uncorrected_psf_is_wrong(name):
    case = CASES[name]
    sources, triple, result = results(case, noise=0.0, shape=SMALL)
    stale = triple.science.psf
    bias = errors(sources[:6], result.exposure, stale, case.gain).mean(axis=0)
    assert abs(bias[0]) > 0.02


def test_fluxes_scatter_as_claimed():
    """The flux of a known position scatters by sqrt(variance x noise-equivalent area)."""
    case = CASES["template"]
    step = 20
    sources = injected(np.random.default_rng(41), flux=0.0, step=step)
    _, _, result = results(case, sources=sources)
    exposure = result.exposure
    stamp = crop_stamp(exposure.psf.stamp(0, 0), exposure.psf.origin, 9)
    fluxes = []
    for x, y, _ in sources.round().astype(int):
        pixels = exposure.image[y - 9 : y + 10, x - 9 : x + 10]
        fluxes.append(np.sum(pixels * stamp) / np.sum(stamp**2))
    claimed = np.sqrt(exposure.variance[0, 0] * noise_equivalent_area(stamp))
    assert len(fluxes) > 1400
    assert np.std(fluxes) / claimed == pytest.approx(1, abs=4 / np.sqrt(2 * len(fluxes)))
    # With the stale PSF the claim would be wrong by more than that.
    stale = np.sqrt(2 * noise_equivalent_area(GAUSSIAN.stamp))
    assert abs(np.std(fluxes) / stale - 1) > 0.1


def test_a_varying_psf_follows_the_filter():
    """On a grid, the PSF of the result at every source's own place."""
    x = y = np.array([0.0, 390.0, 781.0])
    stamps = np.array(
        [[oracle.gaussian(21, 0.9 + 0.5 * i / 781 + 0.5 * j / 781) for i in x] for j in y]
    )
    field = KernelField(x, y, stamps, (10, 10))
    case = replace(CASES["template"], options={"template_variance": 4.0}, total=1.0)
    sources, _, result = results(case, field=field, noise=0.0)
    assert len(result.positions) > 9
    error = np.abs(errors(sources[::7], result.exposure, result.exposure.psf, 1.0))
    assert error[:, 0].max() < 0.005
    assert error[:, 1:].max() < 0.01
    centre = result.exposure.psf.stamp(390, 390)
    widths = [np.sum(result.exposure.psf.stamp(p, p) ** 2) for p in (0, 781)]
    assert abs(widths[0] / widths[1] - 1) > 0.05  # one PSF for all would not do
    assert centre.sum() == pytest.approx(1)


@pytest.mark.parametrize("name", CASES)
def test_unit_sum_and_origin(name):
    _, _, result = results(CASES[name], sources=np.zeros((0, 3)), shape=SMALL)
    stamp, (cx, cy) = result.exposure.psf.stamp(3, 4), result.exposure.psf.origin
    assert stamp.sum() == pytest.approx(1, abs=1e-12)
    assert stamp.shape == (2 * cy + 1, 2 * cx + 1)


@pytest.mark.parametrize("name", ["science", "score"])
def test_a_psf_of_the_difference(name):
    """That of a difference is what sources look like in it; a score image has the science PSF."""
    _, triple, result = results(CASES[name], sources=np.zeros((0, 3)), shape=SMALL)
    if name == "science":
        stamp = oracle.convolved_stamps(GAUSSIAN.stamp, KERNEL)
        known = StampPsf(stamp, origin=(29, 29))
    else:
        known = triple.science.psf
    difference = replace(triple.difference, psf=known)
    science = replace(triple.science, psf=MOFFAT.psf())
    config = DecorrelationConfig(precision="double", mode="whole", score=name == "score")
    again = decorrelate(
        science if name == "science" else replace(science, psf=None),
        triple.template,
        difference,
        triple.kernel,
        config=config,
        preconvolution=GAUSSIAN.stamp if name == "score" else None,
    )
    wanted, found = result.exposure.psf, again.exposure.psf
    assert found.origin == wanted.origin
    np.testing.assert_allclose(found.stamp(0, 0), wanted.stamp(0, 0), atol=1e-12)


def test_without_any_psf_there_is_none():
    rng = np.random.default_rng(43)
    triple = simulate.simulate_triple(rng, (80, 80), KernelField.constant(KERNEL, (9, 9)))
    result = decorrelate(
        *triple.inputs, config=DecorrelationConfig(precision="double", mode="whole")
    )
    assert result.exposure.psf is None


def test_the_psf_of_the_template_serves_where_no_other_is_known():
    """The template's PSF through the matching kernel and the filter: that of the static sky."""
    rng = np.random.default_rng(44)
    triple = simulate.simulate_triple(rng, (80, 80), KernelField.constant(KERNEL, (9, 9)))
    template = replace(triple.template, psf=GAUSSIAN.psf())
    config = DecorrelationConfig(precision="double", mode="whole")
    result = decorrelate(triple.science, template, triple.difference, triple.kernel, config=config)
    psf = result.exposure.psf
    half_width = result.filters.shape[-1] // 2
    whole = oracle.convolved_stamps(
        oracle.convolved_stamps(GAUSSIAN.stamp, KERNEL), result.filters[0]
    )
    middle = (20 + 9 + half_width,) * 2
    part = crop_stamp(whole / whole.sum(), middle, psf.origin[0])
    np.testing.assert_allclose(psf.stamp(0, 0), part, atol=1e-5 * part.max())


def test_figures_describe_the_psf():
    _, triple, result = results(CASES["template"], sources=np.zeros((0, 3)), shape=SMALL)
    metrics = result.metrics
    assert metrics.fwhm_after < metrics.fwhm_before
    assert metrics.moment_fwhm_before == pytest.approx(2.3548 * 1.4 * np.sqrt(0.85), rel=1e-4)
    assert metrics.area_before == pytest.approx(noise_equivalent_area(triple.science.psf.stamps))
    assert metrics.area_after == pytest.approx(
        noise_equivalent_area(result.exposure.psf.stamp(0, 0))
    )


def test_large_psfs_on_many_nodes_keep_to_the_memory():
    """Only as many as there is room for, those that are needed most; each is right."""
    rng = np.random.default_rng(8)
    shape, step = (96, 96), np.ones((96, 96))
    step[:, 48:] = 9.0
    y, x = np.mgrid[-100:101, -100:101]
    wings = (1 + (x**2 + y**2) / 4) ** -2.0
    science, template = rng.normal(size=(2, *shape))
    images = (
        Exposure(image=science, variance=np.ones(shape), psf=StampPsf(wings)),
        Exposure(image=template, variance=step),
        Exposure(
            image=science - scipy.signal.fftconvolve(template, oracle.gaussian(9, 1.2), "same")
        ),
    )
    results = []
    for memory in (64 << 20, 1 << 30):
        config = DecorrelationConfig(
            grid_step=(8.0, 8.0),
            scale_by_fwhm=False,
            noise_model="white",
            max_memory=memory,
        )
        tracemalloc.start()
        result = decorrelate(*images, oracle.gaussian(9, 1.2), config=config)
        results.append((result.exposure.psf, tracemalloc.get_traced_memory()[1]))
        tracemalloc.stop()
    (few, small), (many, large) = results
    assert len(few.stamps) < len(many.stamps)
    assert small < (60 << 20) < large
    for place in [(0, 0), (47, 48), (95, 95)]:
        one, other = few.stamp(*place), many.stamp(*place)
        width = min(len(one), len(other)) // 2
        a, b = (crop_stamp(s, (len(s) // 2,) * 2, width) for s in (one, other))
        assert np.linalg.norm(a - b) < 0.02 * np.linalg.norm(b)
