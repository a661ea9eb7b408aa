"""Check that files belong together: rebuild the difference from its parts, and compare."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from diffdecor.core.planes import Plane, Window, part_of
from diffdecor.core.statistics import robust_sigma
from diffdecor.core.whiteness import local_level
from diffdecor.decorrelation.mask import unusable_pixels
from diffdecor.decorrelation.rebuild import rebuild
from diffdecor.decorrelation.subtraction import ROLES, SCALES, Subtraction
from diffdecor.kernels.misreadings import misreadings
from diffdecor.kernels.model import MatchingKernel, Side

#: Residual, in units of the noise, below which no other reading of the kernel is tried.
EXACT = 1e-3
#: Residual, in units of the noise, up to which files may belong together.
FITS = 0.5
#: The same on bright pixels, where a tool's interpolation of its kernel is visible.
FITS_BRIGHT = 3.0
#: Factor by which another reading must fit better to be named.
_BETTER = 3.0
#: Bright pixels are _BRIGHT sigma above the local level; fewer than _ENOUGH are not judged.
_BRIGHT = 10.0
_ENOUGH = 20
#: The quick check takes a square of this side, pixels, found in every _STEP-th row.
_PART = 256
_STEP = 32
#: Sample of pixels that gives the level of bright ones, roughly.
_SAMPLE = 100_000
#: Pixels among which the part with most light is searched, in large images.
_LOOKED_AT = 1 << 20


@dataclass(frozen=True)
class Fit:
    """How well a rebuilt difference matches the one in the file."""

    #: Root mean square of the deviation in units of the expected noise, all usable pixels.
    residual: float
    #: The same of bright pixels; NaN if there are none.
    bright: float
    pixels: int
    bright_pixels: int

    @property
    def good(self) -> bool:
        """Whether the rebuilt difference can be the one in the file."""
        return self.residual <= FITS and not self.bright > FITS_BRIGHT

    @property
    def worst(self) -> float:
        """The larger of both residuals."""
        return max(self.residual, 0.0 if np.isnan(self.bright) else self.bright)


@dataclass(frozen=True)
class Verdict:
    """Whether files belong together."""

    belongs: bool
    #: How well the kernel as it was read rebuilds the difference.
    fit: Fit
    #: What is wrong, where that is known; empty if nothing is.
    cause: str = ""
    #: The fit with that put right.
    alternative: Fit | None = None


def verify(subtraction: Subtraction, *, lenient: bool = False) -> Verdict:
    """Rebuild a difference from its images and kernel, and say whether they belong together.

    Where the kernel as it was read does not rebuild the difference exactly (with `lenient`, well
    enough), the usual misreadings are tried and the one that fits is named.
    """
    subtraction = replace(subtraction, kernel=_as_configured(subtraction))
    kernel, comparison = subtraction.kernel, _comparison(subtraction)
    fit = comparison.fit(kernel)
    if not fit.pixels:
        return Verdict(belongs=False, fit=fit, cause="there is no pixel to compare")
    if fit.worst < EXACT or (lenient and fit.good):
        return Verdict(belongs=True, fit=fit)
    others = itertools.chain(misreadings(kernel), _cut_out(kernel, comparison))
    found = [(name, comparison.fit(other)) for name, other in others]
    found += [
        (name, comparison.measure(model, level=level))
        for name, model, level in comparison.other_models(kernel)
    ]
    name, best = min(found, key=lambda one: np.nan_to_num(one[1].worst, nan=np.inf))
    if best.worst * _BETTER < fit.worst:
        return Verdict(belongs=False, fit=fit, cause=name, alternative=best)
    if fit.good:
        return Verdict(belongs=True, fit=fit)
    return Verdict(belongs=False, fit=fit, cause="none of the usual misreadings fits either")


def _as_configured(subtraction: Subtraction) -> MatchingKernel:
    """Return the kernel with the scales of the options, and a side where the file names none."""
    config = subtraction.config
    side: Side = "science" if config.convolved == "science" else "template"
    given = {name: scale for name in SCALES if (scale := getattr(config, name)) is not None}
    return subtraction.kernel.with_usage(
        lambda usage: usage._replace(side=usage.side or side, **given)
    )


@dataclass(frozen=True, eq=False)
class Comparison:
    """A difference as it is, and what is needed to compare a rebuilt one with it ``(ny, nx)``."""

    science: NDArray[np.float64]
    template: NDArray[np.float64]
    difference: NDArray[np.float64]
    #: Expected noise of the difference, one sigma.
    noise: NDArray[np.float64]
    #: Pixels that count, and those of them with light of sources.
    good: NDArray[np.bool_]
    bright: NDArray[np.bool_]

    def fit(self, kernel: MatchingKernel) -> Fit:
        """Measure how well a kernel rebuilds the difference."""
        model = rebuild(kernel, self.science, self.template)
        return self.measure(model, level=not kernel.has_background)

    def measure(self, model: NDArray[np.float64], *, level: bool = False) -> Fit:
        """Measure how well a model matches the difference, with `level` up to its local level."""
        known = self.good & np.isfinite(model)
        residual = np.where(known, model - self.difference, 0.0)
        if level:
            residual = np.where(known, residual - local_level(residual, known), 0.0)
        residual /= self.noise
        shown = known & self.bright
        return Fit(
            residual=_rms(residual[known], 1),
            bright=_rms(residual[shown], _ENOUGH),
            pixels=int(known.sum()),
            bright_pixels=int(shown.sum()),
        )

    def other_models(
        self, kernel: MatchingKernel
    ) -> Iterator[tuple[str, NDArray[np.float64], bool]]:
        """Yield causes that lie in the images, with the difference they predict and its `level`."""
        level = not kernel.has_background
        model = rebuild(kernel, self.science, self.template)
        yield "the difference has the other sign (template minus science)", -model, level
        exchanged = rebuild(kernel, self.template, self.science)
        yield "science image and template are exchanged", exchanged, level
        science_scale, template_scale = kernel.scales(*_somewhere(kernel))
        subtracted = science_scale * self.science - template_scale * self.template
        yield "one of the images is matched already (the kernel is in it)", subtracted, True


def _rms(values: NDArray[np.float64], enough: int) -> float:
    return float(np.sqrt(np.mean(values**2))) if values.size >= enough else float("nan")


def _somewhere(kernel: MatchingKernel) -> tuple[float, float]:
    """Return a position at which there is a kernel."""
    if not kernel.boxes:
        return 0.0, 0.0
    box = kernel.boxes[-1]
    return (box.xmin + box.xmax) / 2, (box.ymin + box.ymax) / 2


def _comparison(subtraction: Subtraction) -> Comparison:
    """Read the planes of a subtraction, and select the pixels that count."""
    images = (*subtraction.pair, subtraction.difference)
    science, template, difference = (_pixels(one.image) for one in images)
    good = ~np.asarray(unusable_pixels(subtraction))
    noise = _noise(subtraction, difference[good])
    good &= np.isfinite(noise) & (noise > 0)
    known = good & np.isfinite(science)
    above = np.where(known, science - local_level(np.where(known, science, 0.0), known), 0.0)
    spread = robust_sigma(above[known]) if known.any() else 1.0
    return Comparison(
        science=science,
        template=template,
        difference=difference,
        noise=np.where(good, noise, 1.0),
        good=good,
        bright=known & (above > _BRIGHT * spread),
    )


def _pixels(plane: Plane) -> NDArray[np.float64]:
    return np.asarray(plane[0 : plane.shape[0]], dtype=np.float64)


def _noise(subtraction: Subtraction, pixels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the expected noise of the difference, one sigma at every pixel ``(ny, nx)``.

    If an image has neither variance plane nor level, it is the scatter of the usable `pixels`.
    """
    x, y = _somewhere(subtraction.kernel)
    energy = float((subtraction.kernel.stamp(x, y) ** 2).sum())
    gains = np.array(subtraction.scales(x, y)) ** 2
    gains[0 if subtraction.side(x, y) == "science" else 1] *= energy
    total = np.zeros(subtraction.shape)
    for role, exposure, gain in zip(ROLES, subtraction.pair, gains, strict=True):
        level = subtraction.given_level(role)
        if exposure.variance is not None:
            total += gain * _pixels(exposure.variance)
        elif level is not None:
            total += gain * level
        else:
            return np.full(subtraction.shape, robust_sigma(pixels) if pixels.size else np.nan)
    return np.sqrt(np.maximum(total, 0.0))


def _cut_out(
    kernel: MatchingKernel, comparison: Comparison
) -> Iterator[tuple[str, MatchingKernel]]:
    """Yield the best-fitting position of a smaller image in that of the kernel: a cut-out."""
    if kernel.image_shape is None:
        return
    free = [
        large - small
        for large, small in zip(kernel.image_shape[::-1], comparison.good.shape[::-1], strict=True)
    ]
    if min(free) < 0 or max(free) == 0:
        return

    def misfit(offset: tuple[int, int]) -> float:
        return float(np.nan_to_num(comparison.fit(kernel.moved(*offset)).worst, nan=np.inf))

    best, step = (free[0] // 2, free[1] // 2), max(free) // 4 + 1
    while True:
        near = [
            (x, y)
            for x in range(best[0] - 2 * step, best[0] + 2 * step + 1, step)
            for y in range(best[1] - 2 * step, best[1] + 2 * step + 1, step)
            if 0 <= x <= free[0] and 0 <= y <= free[1]
        ]
        best = min(near, key=misfit)
        if step == 1:
            break
        step = -(-step // 3)
    name = f"the images are a cut-out whose first pixel was ({best[0] + 1}, {best[1] + 1}), 1-based"
    yield name, kernel.moved(*best)


def verify_quickly(subtraction: Subtraction) -> Verdict:
    """Do a lenient `verify` of the part of the image with most light of sources."""
    kernel = subtraction.kernel
    side = max(_PART, 3 * max(kernel.shape))
    science, _ = subtraction.pair
    window = _brightest(science.image, unusable_pixels(subtraction), side)
    # The variance of the difference is not needed, so it is not read.
    difference = replace(subtraction.difference, variance=None)
    part = replace(subtraction, difference=difference).with_planes(
        lambda plane: part_of(plane, window)
    )
    return verify(replace(part, kernel=kernel.moved(window.x0, window.y0)), lenient=True)


def _brightest(image: Plane, unusable: Plane, side: int) -> Window:
    """Return the square of an image with most bright pixels in a sample of its rows."""
    ny, nx = image.shape
    step = min(max(_STEP, ny * nx // _LOOKED_AT), side // 2, max(1, ny // _STEP))
    rows = np.arange(step // 2, ny, step)
    sample = np.concatenate([image[y : y + 1] for y in rows.tolist()])
    good = np.isfinite(sample)
    good &= ~np.concatenate([unusable[y : y + 1] for y in rows.tolist()])
    some = sample[good]
    level = np.percentile(some[:: some.size // _SAMPLE | 1], 99) if some.size else np.inf
    bright = good & (sample > level)
    columns = np.arange(0, nx, side)
    firsts = np.unique(rows // side, return_index=True)[1]
    count = np.add.reduceat(bright, columns, axis=1, dtype=np.int64)
    count = np.add.reduceat(count, firsts, axis=0)
    number, column = np.unravel_index(int(count.argmax()), count.shape)
    # The last square is shifted inwards, so that it is complete.
    x0 = max(0, min(int(columns[column]), nx - side))
    y0 = max(0, min(int(rows[firsts[number]]) // side * side, ny - side))
    return Window(x0, min(nx, x0 + side), y0, min(ny, y0 + side))
