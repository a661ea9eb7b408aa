"""Real differences, and how white what is made of them is, measured apart from the package.

Sky is what a mask says that was made for this, or what has no source in either image; levels of
blocks of 128 pixels are removed, and pixels beyond 5 sigma left out.
"""

import json
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from astropy.io import fits
from helpers.scoring import correlations, lag_sums

from diffdecor import DecorrelationConfig, decorrelate, read_exposure, read_kernel
from diffdecor.core.lag_statistics import psf_overlap
from diffdecor.core.sources import find_sources
from diffdecor.decorrelation.mask import unusable_pixels
from diffdecor.decorrelation.subtraction import Subtraction

SAMPLES = Path(__file__).parents[2] / "sample_data"
#: Differences of `real-nircam`, and the files of their kernels.
NIRCAM = {
    "sfft_ref": "sfft_ref_solution.fits",
    "sfft_sci": "sfft_sci_solution.fits",
    "hotpants": "hotpants_diff.fits",
}
ROLES = ("science", "template")
#: Pixels at the border that do not count: filters reach as far.
BORDER = 44
BLOCK, CLIP, REACH = 128, 5.0, 14


@dataclass(frozen=True, eq=False)
class Case:
    """A science image, a template, their difference and its kernel, and which pixels are sky."""

    exposures: tuple
    kernel: object
    sky: np.ndarray

    @property
    def raw(self):
        """The difference, with the variance of white noise that went through the kernel."""
        subtraction = Subtraction(*self.exposures, self.kernel)
        ny, nx = subtraction.shape
        middle = np.array([[(nx - 1) / 2, (ny - 1) / 2]])
        sides = subtraction.noise_sides(middle, np.ones(1), np.ones(1))
        variance = sum(
            one.variance * float(side.scale[0]) ** 2 * (side.stamps[0] ** 2).sum()
            for one, side in zip(self.exposures[:2], sides, strict=True)
        )
        return replace(self.exposures[2], variance=variance, psf=subtraction.psf)

    def result(self, model):
        """What is made of it with a noise model."""
        return _decorrelated(*self.exposures, self.kernel, model)

    def fitted_to(self, free, pixels):
        """The result with noise measured on some of the pixels `free` of light of sources.

        The difference hides the others: variances of both images stay known everywhere.
        """
        hidden = (~free, ~free, ~pixels)
        exposures = map(_with_light, self.exposures, hidden)
        return _decorrelated(*exposures, self.kernel, "measured")


def _decorrelated(science, template, difference, kernel, model):
    config = DecorrelationConfig(noise_model=model)
    return decorrelate(science, template, difference, kernel, config=config)


def _with_light(exposure, pixels):
    """The exposure with DETECTED in some pixels, and nowhere else."""
    planes = exposure.mask_planes.adding("DETECTED")
    mask = pixels.astype(np.int32) * planes.value(["DETECTED"])
    if exposure.mask is not None:
        assert "DETECTED" not in exposure.mask_planes
        mask |= exposure.mask
    return replace(exposure, mask=mask, mask_planes=planes)


def nircam(folder, name, kernel):
    """One of the NIRCam differences, in a folder with the images and their noise."""
    exposures = [
        read_exposure(
            folder / f"{role}.fits",
            role=role,
            noise=folder / f"{role}_sigma.fits",
            noise_kind="sigma",
            psf=folder / f"{role}_psf.fits",
        )
        for role in ROLES
    ]
    difference = folder / name
    sky = fits.getdata(folder / "source_free.fits") == 1
    return Case(
        (*exposures, read_exposure(difference, role="difference")),
        read_kernel(folder / kernel, difference),
        sky & away_from_border(sky.shape),
    )


def nircam_sample():
    """The cut-out of the samples."""
    return nircam(SAMPLES / "nircam", "difference.fits", "kernel.fits")


def hotpants_sample():
    """The HOTPANTS case of the samples."""
    folder = SAMPLES / "hotpants"
    images = [folder / f"{role}.fits" for role in (*ROLES, "difference")]
    masks = [folder / f"{role}_mask.fits" for role in ROLES]
    psf = folder / "difference_psf.fits"
    return simulated(images, images[2], masks, psf=psf)


def hotpants(folder, name):
    """A HOTPANTS case of the reference sets, with gains and read noises of its command."""
    case = json.loads((folder / "expected.json").read_text(encoding="utf-8"))["cases"][name]
    words = case["command"].split()
    option = dict(pairwise(words))
    pair = [folder / f"{name[0]}_{which}.fits" for which in ("sci", "tmpl")]
    masks = [folder / f"{name[0]}_{which}_msk.fits" for which in ("sci", "tmpl")]
    own = folder / f"{name}_kernel.fits"
    difference = folder / f"{name}_diff.fits"
    noise = [(float(option[f"-{c}g"]), float(option[f"-{c}r"])) for c in "it"]
    return simulated([*pair, difference], own if own.exists() else difference, masks, noise)


def sfft(folder, name):
    """An SFFT case: images of the same kind, whose sky was subtracted."""
    pair = [folder / f"{name[0]}_{which}.fits" for which in ("sci", "ref")]
    difference = folder / f"{name}_diff.fits"
    return simulated([*pair, difference], folder / f"{name}_solution.fits", sky=100.0)


def simulated(images, kernel, masks=(None, None), noise=((1.6, 5.0), (6.6, 5.1962)), **more):
    """A simulated pair: noise from gain and read noise, sky where neither image has sources."""
    sky, psf = more.get("sky"), more.get("psf")
    *pair, difference = images
    exposures = [
        read_exposure(file, role=role, mask=mask, gain=gain, read_noise=read_noise, sky=sky)
        for file, role, mask, (gain, read_noise) in zip(pair, ROLES, masks, noise, strict=True)
    ]
    exposures.append(read_exposure(difference, role="difference", psf=psf))
    matching = read_kernel(kernel, difference)
    usable = ~unusable_pixels(Subtraction(*exposures, matching))[0 : exposures[0].shape[0]]
    free = usable & away_from_border(usable.shape, 20)
    for one in exposures[:2]:
        free &= ~find_sources(one.image, usable)
    return Case(tuple(exposures), matching, free)


def away_from_border(shape, pixels=BORDER):
    """Which pixels are not near the border."""
    inside = np.zeros(shape, dtype=bool)
    inside[pixels:-pixels, pixels:-pixels] = True
    return inside


def chessboard(shape, size=80, first=0):
    """The black squares; one of them starts at the pixel `first` along both axes."""
    y, x = (np.indices(shape) - first) // size
    return (x + y) % 2 == 0


@dataclass(frozen=True, eq=False)
class Whiteness:
    """How white some pixels are."""

    #: Correlations of the 44 lags of a half plane within 5 pixels.
    rhos: np.ndarray
    #: The error of one of them, and the number of pixels.
    error: float
    pixels: int
    #: Matched-filter noise factor I, NaN without a PSF; and claimed over measured variance.
    factor: float
    ratio: float

    @property
    def rho(self):
        """The largest correlation."""
        return float(np.abs(self.rhos).max())


def whiteness(exposure, sky):
    """Judge the pixels of an exposure that are sky."""
    with np.errstate(invalid="ignore", divide="ignore"):
        z = np.asarray(exposure.image / np.sqrt(exposure.variance), dtype=float)
    sky = sky & np.isfinite(z)
    if exposure.mask is not None:
        own = {"BAD", "SAT", "CR", "NO_DATA", "NEAR_FILLED", "EDGE"}
        named = [name for name in own if name in exposure.mask_planes]
        sky = sky & (exposure.mask & exposure.mask_planes.value(named) == 0)
    z = np.where(sky, z, 0.0)
    lower, upper = np.percentile(z[sky], [25, 75])
    sky = sky & (np.abs(z - (lower + upper) / 2) < CLIP * 0.7413 * (upper - lower))
    blocks = list(blocks_of(sky.shape))
    parts = np.zeros((2, 2 * REACH + 1, 2 * REACH + 1))
    taken = np.zeros_like(parts[0])
    for block in blocks:
        number = np.count_nonzero(sky[block])
        if number:
            z[block] -= z[block][sky[block]].mean()
            taken += lag_sums(z[block], sky[block], REACH)[1] / number
    parts += lag_sums(np.where(sky, z, 0.0), sky, REACH)
    # What the means of the blocks have taken from the products of white noise.
    parts[0] += taken * parts[0, REACH, REACH] / parts[1, REACH, REACH]
    near = slice(REACH - 5, REACH + 6)
    rho = correlations(parts[:, near, near])
    covariance = parts[0] / np.maximum(parts[1], 1)
    factor = np.nan
    if exposure.psf is not None:
        ny, nx = sky.shape
        stamp = np.asarray(exposure.psf.stamp((nx - 1) / 2, (ny - 1) / 2), dtype=float)
        factor = float(np.sqrt(np.sum(covariance * psf_overlap(stamp, REACH))))
    return Whiteness(
        rhos=rho,
        error=float(1 / np.sqrt(np.median(parts[1, near, near]))),
        pixels=int(np.count_nonzero(sky)),
        factor=factor,
        ratio=float(1 / covariance[REACH, REACH]),
    )


def blocks_of(shape):
    """Blocks of about 128 pixels."""
    edges = [
        np.linspace(0, length, max(1, round(length / BLOCK)) + 1).astype(int) for length in shape
    ]
    rows, columns = ([slice(a, b) for a, b in pairwise(e)] for e in edges)
    return ((row, column) for row in rows for column in columns)
