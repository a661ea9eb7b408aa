"""Check that files belong together: rebuild the difference from its parts, and compare."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from diffdecor.core.parallel import affordable_threads, ordered_map
from diffdecor.core.planes import CachedPlane, Plane, Progress, Window, windowed
from diffdecor.decorrelation.comparison import Comparison, Fit, compare, somewhere
from diffdecor.decorrelation.kernel_fit import KernelFit
from diffdecor.decorrelation.mask import unusable_pixels
from diffdecor.decorrelation.named_kernel import NOTHING_FITS, name_by_fit
from diffdecor.decorrelation.parts import part, part_around, squares, together
from diffdecor.decorrelation.readings import cut_out, is_whitened, other_models
from diffdecor.decorrelation.rebuild import rebuild
from diffdecor.decorrelation.subtraction import SCALES, Subtraction
from diffdecor.errors import ConfigError
from diffdecor.kernels.misreadings import misreadings, on_side, other_side
from diffdecor.kernels.model import MatchingKernel, Side
from diffdecor.psfs.model import PointSpreadFunction, StampPsf

#: Factor by which another reading must fit better to be named.
_BETTER = 3.0
#: Readings that fit worse than the best by up to this factor are as good.
_AS_GOOD = 1.5
_WHITENED = (
    "it is that difference with its noise decorrelated already (psi * (S - K * T) fits, S - K * T "
    "does not)"
)
_NOTHING = "there is no pixel to compare"
#: Pixels of images that are verified at once, and the side of the parts of others.
_AT_ONCE, _CORE = 1 << 20, 512
#: Memory of a thread per pixel of the rows it works on, roughly, bytes.
_BYTES = 60
#: The quick check takes a square of this side, pixels, found in every _STEP-th row.
_PART = 256
_STEP = 32
#: Sample of pixels that gives the level of bright ones, roughly.
_SAMPLE = 100_000
#: Pixels among which the part with most light is searched, in large images.
_LOOKED_AT = 1 << 20


@dataclass(frozen=True)
class Verdict:
    """Whether a difference belongs to its images and kernel: what `verify` returns.

    Parameters
    ----------
    belongs : bool
        Whether it does.
    fit : Fit
        How well the kernel as it was given rebuilds the difference: `residual` of all pixels and
        `bright` of bright ones are in units of the expected noise.
    cause : str
        What is wrong, or doubtful, where that is known; empty if nothing is.
    alternative : Fit, optional
        The fit with that put right.
    side : {"template", "science"}, optional
        The side that was convolved, where the kernel does not say it and only this one fits
        exactly.
    decorrelated : bool
        Whether the difference is one whose noise has been whitened already.
    fitted : KernelFit, optional
        The kernel that was fitted to the images, where no usual misreading explains the difference.
    exact : bool
        Whether the kernel as it was given rebuilds the difference up to rounding.

    Examples
    --------
    >>> import numpy as np
    >>> from diffdecor import Exposure, verify
    >>> science, template = np.random.default_rng(4).normal(size=(2, 64, 64))
    >>> images = [Exposure(image=image, variance=1.0) for image in (science, template)]
    >>> verify(*images, Exposure(image=science - template), np.ones((1, 1))).belongs
    True
    """

    belongs: bool
    fit: Fit
    cause: str = ""
    alternative: Fit | None = None
    side: Side | None = None
    decorrelated: bool = False
    fitted: KernelFit | None = None
    exact: bool = False


def check_verifiable(subtraction: Subtraction) -> None:
    """Raise a `ConfigError` if a difference cannot be rebuilt from its images and kernel."""
    if not subtraction.can_be_rebuilt:
        msg = (
            f"{subtraction.difference.name}: score images, images that were convolved themselves, "
            "and a difference alone cannot be verified"
        )
        raise ConfigError(msg)


def verify(subtraction: Subtraction, progress: Progress | None = None) -> Verdict:
    """Rebuild a difference from its images and kernel, and say whether they belong together.

    Large images are rebuilt part by part; `progress` is told of the parts that are done. Where the
    kernel as it was read does not rebuild the difference exactly, the usual misreadings are tried,
    in large images on the part that fits worst, and the one that fits is named. Where none does,
    a kernel is fitted, and what is wrong is named by it.
    """
    verdict = _named(subtraction, _verify(subtraction, progress))
    if not verdict.belongs or verdict.cause or verdict.exact:
        return verdict
    # It may belong, but is not rebuilt exactly: is there a kernel that does it?
    cause, fitted = name_by_fit(_configured(subtraction))
    if fitted is None or not fitted.is_exact or fitted.residual * _BETTER > verdict.fit.residual:
        return verdict
    return replace(verdict, belongs=False, cause=cause, fitted=fitted)


def _named(subtraction: Subtraction, verdict: Verdict) -> Verdict:
    """Name what is wrong by a kernel that is fitted, where no usual misreading explains it."""
    other = verdict.alternative
    is_known = verdict.belongs or verdict.decorrelated or (other is not None and other.good)
    if is_known or not verdict.fit.pixels:
        return verdict
    cause, fitted = name_by_fit(_configured(subtraction))
    return replace(verdict, cause=cause, alternative=None, fitted=fitted)


def _verify(subtraction: Subtraction, progress: Progress | None) -> Verdict:
    """Rebuild a difference at once or part by part, and try the usual misreadings."""
    ny, nx = subtraction.shape
    if ny * nx <= _AT_ONCE:
        return _verify_at_once(subtraction)
    subtraction = replace(subtraction, preconvolution=_at_centre(subtraction))
    fits = _fits_of_parts(subtraction, progress)
    total = together([fit for _, fit, _ in fits])
    if not total.pixels:
        return Verdict(belongs=False, fit=total, cause=_NOTHING)
    if all(not fit.pixels or fit.worst < exact for _, fit, exact in fits):
        known = _side(_configured(subtraction)) if _side_is_open(subtraction) else None
        return Verdict(belongs=True, fit=total, side=known, exact=True)
    worst, _, _ = max(fits, key=lambda part: np.nan_to_num(part[1].worst, nan=-1.0))
    verdict = _verify_at_once(part_around(subtraction, worst)[0])
    if verdict.side is not None:  # does the other side fit everywhere?
        sided = replace(subtraction, kernel=on_side(subtraction.kernel, verdict.side))
        return replace(_verify(sided, None), side=verdict.side)
    if verdict.belongs:
        return replace(verdict, belongs=total.good, fit=total)
    return replace(verdict, fit=total)


def _fits_of_parts(
    subtraction: Subtraction, progress: Progress | None
) -> list[tuple[Window, Fit, float]]:
    """Return how well every part of an image is rebuilt, and the residual of an exact one."""
    rows, config = squares(subtraction.shape, _CORE), subtraction.config
    height = _CORE + 2 * max(subtraction.kernel.shape)
    each = _BYTES * height * subtraction.shape[1]
    threads = affordable_threads(subtraction.threads, config.max_memory, each)
    # Every row is read once for all parts that it crosses.
    cached = subtraction.with_planes(CachedPlane)

    def measured(parts: Sequence[Window]) -> list[tuple[Window, Fit, float]]:
        return [(window, *_fit_of_part(cached, window)) for window in parts]

    fits: list[tuple[Window, Fit, float]] = []
    for found in ordered_map(measured, rows, threads):
        for one in found:
            fits.append(one)
            if progress is not None:
                progress(len(fits), len(rows) * len(rows[0]))
    return fits


def _fit_of_part(subtraction: Subtraction, window: Window) -> tuple[Fit, float]:
    """Return how well a part is rebuilt, and the residual of an exact one."""
    part, inside = part_around(subtraction, window, windowed)
    part = _configured(part)
    comparison = compare(part).within(inside)
    return comparison.fit(part.kernel), comparison.exact


def _configured(subtraction: Subtraction) -> Subtraction:
    """Return a subtraction whose kernel has the scales of the options, and a side."""
    return replace(subtraction, kernel=_as_configured(subtraction))


def _verify_at_once(subtraction: Subtraction) -> Verdict:
    """Verify a difference whose images are small, or a part of one."""
    is_open = _side_is_open(subtraction)
    subtraction = replace(_configured(subtraction), preconvolution=_at_centre(subtraction))
    kernel, comparison = subtraction.kernel, compare(subtraction)
    fit = comparison.fit(kernel)
    if not fit.pixels:
        return Verdict(belongs=False, fit=fit, cause=_NOTHING)
    if fit.worst < comparison.exact:
        side = _side(subtraction) if is_open else None
        return Verdict(belongs=True, fit=fit, side=side, exact=True)
    name, best = _best_reading(subtraction, comparison)
    is_exact = best.worst < comparison.exact
    if is_open and is_exact and name == other_side(kernel):
        other: Side = "science" if _side(subtraction) == "template" else "template"
        return Verdict(belongs=True, fit=best, side=other, exact=True)
    # A whitened difference resembles one of other scales.
    if not is_exact and is_whitened(subtraction, comparison):
        return Verdict(belongs=False, fit=fit, cause=_WHITENED, decorrelated=True)
    if not fit.good and not is_exact and (found := comparison.without_holes(kernel)) is not None:
        return Verdict(belongs=False, fit=fit, cause=found[0], alternative=found[1])
    return _compared(
        fit, name, best, comparison.measure(rebuild(kernel, *comparison.pair), level=True)
    )


def _compared(fit: Fit, name: str, best: Fit, levelled: Fit) -> Verdict:
    """Judge a fit by that of the best other reading, and by that up to the local level."""
    is_level = levelled.worst * _BETTER < fit.worst
    usual = levelled if is_level else fit
    if best.good and best.worst * _BETTER < usual.worst:
        return Verdict(belongs=False, fit=fit, cause=name, alternative=best)
    if is_level:
        cause = "the background of the difference is another one than the kernel file says"
        return Verdict(belongs=usual.good, fit=fit, cause=cause, alternative=usual)
    cause = "" if fit.good else NOTHING_FITS
    return Verdict(belongs=fit.good, fit=fit, cause=cause)


def _best_reading(subtraction: Subtraction, comparison: Comparison) -> tuple[str, Fit]:
    """Return the other reading that fits best, and how well.

    Of those that fit equally well it is the first, which says most.
    """
    found = [
        (name, comparison.measure(model, level=level))
        for name, model, level in _readings(subtraction, comparison)
    ]
    known = [one for one in found if not np.isnan(one[1].worst)]
    least = min((fit.worst for _, fit in known), default=np.inf)
    limit = max(comparison.exact, _AS_GOOD * least)
    return next((one for one in known if one[1].worst <= limit), found[0])


def _side(subtraction: Subtraction) -> Side | None:
    """Return the side that is taken as convolved."""
    return subtraction.kernel.side(*somewhere(subtraction.kernel))


def _side_is_open(subtraction: Subtraction) -> bool:
    """Say whether neither an option nor the kernel file says which image was convolved."""
    return subtraction.config.convolved == "auto" and _side(subtraction) is None


def _at_centre(subtraction: Subtraction) -> PointSpreadFunction | None:
    """Return the kernel that the science image of a score image was correlated with: one stamp."""
    psf, (ny, nx) = subtraction.preconvolution, subtraction.shape
    if psf is None:
        return None
    return StampPsf(psf.stamp((nx - 1) / 2, (ny - 1) / 2)[np.newaxis], origin=psf.origin)


def _readings(
    subtraction: Subtraction, comparison: Comparison
) -> Iterator[tuple[str, NDArray[np.float64], bool]]:
    """Yield what else the files could mean, with the difference it predicts, and its `level`."""
    kernel = subtraction.kernel
    level = not kernel.has_background
    for name, other in itertools.chain(misreadings(kernel), cut_out(kernel, comparison)):
        yield name, rebuild(other, *comparison.pair), level
    yield from other_models(subtraction, comparison)


def _as_configured(subtraction: Subtraction) -> MatchingKernel:
    """Return the kernel with the scales of the options, and a side where the file names none."""
    config = subtraction.config
    side: Side = "science" if config.convolved == "science" else "template"
    given = {name: scale for name in SCALES if (scale := getattr(config, name)) is not None}
    return subtraction.kernel.with_usage(
        lambda usage: usage._replace(side=usage.side or side, **given)
    )


def verify_quickly(subtraction: Subtraction) -> Verdict:
    """Do the same as `verify` with the part of the image with most light of sources."""
    side = max(_PART, 3 * max(subtraction.kernel.shape))
    science, _ = subtraction.pair
    window = _brightest(science.image, unusable_pixels(subtraction), side)
    centred = replace(subtraction, preconvolution=_at_centre(subtraction))
    return _named(centred, _verify_at_once(part(centred, window)))


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
