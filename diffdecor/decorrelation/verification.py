"""Do these files belong together? Rebuild the difference from its parts, and compare."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from diffdecor.config import DecorrelationConfig
from diffdecor.core.planes import Plane
from diffdecor.core.statistics import robust_sigma
from diffdecor.core.whiteness import local_level
from diffdecor.decorrelation.filtering import Triple
from diffdecor.decorrelation.mask import unusable_pixels
from diffdecor.decorrelation.nodes import Window
from diffdecor.decorrelation.rebuild import rebuilt
from diffdecor.decorrelation.subtraction import Way
from diffdecor.kernels.misreadings import misreadings
from diffdecor.kernels.model import MatchingKernel, Side

EXACT = 1e-3
"""Residual, in units of the noise, below which no other reading of the kernel is tried."""
FITS = 0.5
"""Residual, in units of the noise, up to which files may belong together."""
FITS_BRIGHT = 3.0
"""The same on bright pixels, where a tool's interpolation of its kernel shows."""
_BETTER = 3.0
_BRIGHT = 10.0
_ENOUGH = 20
_PART = 256
_STEP = 32
_SAMPLE = 100_000
_LOOKED_AT = 1 << 20
"""Pixels among which the part with most light is looked for, in large images."""


@dataclass(frozen=True)
class Fit:
    """How well a rebuilt difference equals the one in the file.

    Parameters
    ----------
    residual : float
        Root mean square of the deviation in units of the expected noise, all good pixels.
    bright : float
        The same of bright pixels; NaN if there are none.
    pixels, bright_pixels : int
        Their numbers.
    """

    residual: float
    bright: float
    pixels: int
    bright_pixels: int

    @property
    def good(self) -> bool:
        """Whether the rebuilt difference may be the one in the file."""
        return self.residual <= FITS and not self.bright > FITS_BRIGHT

    @property
    def worst(self) -> float:
        """The larger residual of both."""
        return max(self.residual, 0.0 if np.isnan(self.bright) else self.bright)


@dataclass(frozen=True)
class Verdict:
    """Whether files belong together.

    Parameters
    ----------
    belongs : bool
        Whether they do.
    fit : Fit
        How well the kernel as it was read rebuilds the difference.
    cause : str
        What would have to be different, where that is known; empty if nothing is wrong.
    alternative : Fit, optional
        How well it would fit then.
    """

    belongs: bool
    fit: Fit
    cause: str = ""
    alternative: Fit | None = None


def verify(
    triple: Triple,
    kernel: MatchingKernel,
    config: DecorrelationConfig,
    *,
    lenient: bool = False,
) -> Verdict:
    """Rebuild a difference from its images and kernel, and say whether they belong together.

    Where the kernel as it was read does not rebuild the difference, the usual misreadings are tried
    and the one that fits is named.

    Parameters
    ----------
    triple : Triple
        Science image, template and difference.
    kernel : MatchingKernel
        The kernel.
    config : DecorrelationConfig
        Convolved side and scales, where they are given; planes that hold no sky.
    lenient : bool
        Try no other reading of a kernel that fits tolerably.

    Returns
    -------
    Verdict
        With residuals in units of the noise that the variance planes promise.
    """
    kernel = _as_configured(kernel, config)
    comparison = _comparison(triple, kernel, config)
    fit = comparison.fit(kernel)
    if not fit.pixels:
        return Verdict(belongs=False, fit=fit, cause="there is no pixel to compare")
    if fit.worst < EXACT or (lenient and fit.good):
        return Verdict(belongs=True, fit=fit)
    found = [(name, comparison.fit(other)) for name, other in misreadings(kernel)]
    found += [(name, comparison.fit(other)) for name, other in _cut_out(kernel, comparison)]
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


def _as_configured(kernel: MatchingKernel, config: DecorrelationConfig) -> MatchingKernel:
    """Return the kernel with the side that the options name, or the usual one."""
    side: Side = "science" if config.convolved == "science" else "template"
    return kernel.with_usage(lambda usage: usage._replace(side=usage.side or side))


@dataclass(frozen=True, eq=False)
class Comparison:
    """A difference as it is, and what is needed to compare a rebuilt one with it.

    Parameters
    ----------
    science, template, difference : array (ny, nx)
        Pixels.
    noise : array (ny, nx)
        Expected noise of the difference, one sigma.
    good, bright : array (ny, nx)
        Pixels that count, and those of them with light of sources.
    """

    science: NDArray[np.float64]
    template: NDArray[np.float64]
    difference: NDArray[np.float64]
    noise: NDArray[np.float64]
    good: NDArray[np.bool_]
    bright: NDArray[np.bool_]

    def fit(self, kernel: MatchingKernel) -> Fit:
        """Say how well a kernel rebuilds the difference."""
        model = rebuilt(kernel, self.science, self.template)
        return self.measure(model, level=not kernel.has_background)

    def measure(self, model: NDArray[np.float64], *, level: bool = False) -> Fit:
        """Say how well a model equals the difference; with `level`, but for its local level."""
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
        """Go through what could be wrong with the images rather than with the kernel."""
        level = not kernel.has_background
        model = rebuilt(kernel, self.science, self.template)
        yield "the difference has the other sign (template minus science)", -model, level
        exchanged = rebuilt(kernel, self.template, self.science)
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


def _comparison(triple: Triple, kernel: MatchingKernel, config: DecorrelationConfig) -> Comparison:
    """Read the planes of a triple, and choose the pixels that count."""
    everything = slice(0, triple.shape[0])
    science, template, difference = (
        np.asarray(exposure.image[everything], dtype=np.float64) for exposure in triple.exposures
    )
    good = ~np.asarray(unusable_pixels(triple, kernel.boxes, config)[everything])
    noise = _noise(triple, kernel, config, good)
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


def _noise(
    triple: Triple, kernel: MatchingKernel, config: DecorrelationConfig, good: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return the noise that the difference should have, one sigma at every pixel."""
    everything = slice(0, triple.shape[0])
    x, y = _somewhere(kernel)
    way = Way(kernel, config)
    energy = float((kernel.stamp(x, y) ** 2).sum())
    gains = np.array(way.scales(x, y)) ** 2
    gains[0 if way.side(x, y) == "science" else 1] *= energy
    total = np.zeros(triple.shape)
    given = (config.science_variance, config.template_variance)
    pairs = zip(triple.exposures[:2], given, gains, strict=True)
    for exposure, level, gain in pairs:
        if exposure.variance is not None:
            total += gain * np.asarray(exposure.variance[everything], dtype=np.float64)
        elif level is not None:
            total += gain * level
        else:
            pixels = np.asarray(triple.difference.image[everything], dtype=np.float64)
            return np.full(triple.shape, robust_sigma(pixels[good]) if good.any() else np.nan)
    return np.sqrt(np.maximum(total, 0.0))


def _cut_out(
    kernel: MatchingKernel, comparison: Comparison
) -> Iterator[tuple[str, MatchingKernel]]:
    """Find where in the image of the kernel a smaller image fits best: it may be a cut-out."""
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


def verify_quickly(triple: Triple, kernel: MatchingKernel, config: DecorrelationConfig) -> Verdict:
    """Do what a lenient `verify` does, on the part of the image with most light of sources.

    Parameters
    ----------
    triple, kernel, config
        As for `verify`.

    Returns
    -------
    Verdict
        Of that part.
    """
    bad = unusable_pixels(triple, kernel.boxes, config)
    window = _brightest(triple.science.image, bad, max(_PART, 3 * max(kernel.shape)))
    # Nobody asks for the variance of the difference, so it is not read.
    difference = replace(triple.difference, variance=None)
    part = replace(triple, difference=difference).cut(window)
    return verify(part, kernel.moved(window.x0, window.y0), config, lenient=True)


def _brightest(image: Plane, bad: Plane, side: int) -> Window:
    """Return the square of an image with most pixels that stand out.

    Only a sample of rows is looked at.
    """
    ny, nx = image.shape
    step = min(max(_STEP, ny * nx // _LOOKED_AT), side // 2, max(1, ny // _STEP))
    rows = np.arange(step // 2, ny, step)
    sample = np.concatenate([image[y : y + 1] for y in rows.tolist()])
    good = np.isfinite(sample)
    good &= ~np.concatenate([bad[y : y + 1] for y in rows.tolist()])
    some = sample[good]
    level = np.percentile(some[:: some.size // _SAMPLE | 1], 99) if some.size else np.inf
    bright = good & (sample > level)
    columns = np.arange(0, nx, side)
    firsts = np.unique(rows // side, return_index=True)[1]
    count = np.add.reduceat(bright, columns, axis=1, dtype=np.int64)
    count = np.add.reduceat(count, firsts, axis=0)
    number, column = np.unravel_index(int(count.argmax()), count.shape)
    # The last square begins earlier, to be a whole one.
    x0 = max(0, min(int(columns[column]), nx - side))
    y0 = max(0, min(int(rows[firsts[number]]) // side * side, ny - side))
    return Window(x0, min(nx, x0 + side), y0, min(ny, y0 + side))
