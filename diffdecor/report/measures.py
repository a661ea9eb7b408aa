"""What pictures show of a difference before and after: numbers only, measured band by band."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from diffdecor.core.interpolate import KernelField
from diffdecor.core.parallel import ordered_map
from diffdecor.core.planes import Plane, Window, constant_plane, cut, part_of
from diffdecor.core.psf import crop_stamp, flux_half_width
from diffdecor.core.significance import point_source_planes
from diffdecor.decorrelation.judgement import unmasked
from diffdecor.decorrelation.mask import OF_OTHER_PIXELS
from diffdecor.decorrelation.noise_statistics import NoiseStatistics, Sky, measure_noise
from diffdecor.images.model import Exposure
from diffdecor.report.psf_numbers import Stamp

#: Windows of 256 x 256 pixels in which noise is measured, at most: 16 megapixels.
_WINDOWS = 256
#: Pixels of the maps of the whole field, and of the part that is shown as it is, along an axis.
FIELD, PART = 320, 96
#: Pixels that histograms of significance count, at most; rows of a band.
_MOST, _ROWS = 1 << 24, 256
#: Bins of the histograms of significance: up to so many sigma, so many to a sigma.
REACH, _PER_SIGMA = 12, 4
#: Share of the flux outside of the PSF that significances are made with.
_LOST = 1e-3

Values = NDArray[np.float64]


@dataclass(frozen=True, eq=False, kw_only=True)
class Histogram:
    """How many pixels there are of every significance, and beyond 5 sigma of either sign."""

    #: In bins up to `REACH` sigma; what is beyond is in none.
    counts: Values
    pixels: int
    above: int
    below: int

    @property
    def edges(self) -> Values:
        """Edges of the bins, sigma."""
        return np.linspace(-REACH, REACH, 2 * REACH * _PER_SIGMA + 1)

    @property
    def expected(self) -> float:
        """How many pixels of normal noise are beyond 5 sigma of one sign."""
        return self.pixels * math.erfc(5 / math.sqrt(2)) / 2

    @property
    def normal(self) -> Values:
        """Counts of normal noise in every bin."""
        below = np.array([math.erfc(-edge / math.sqrt(2)) / 2 for edge in self.edges])
        return np.asarray(self.pixels * np.diff(below))


@dataclass(frozen=True, eq=False, kw_only=True)
class Side:
    """A difference as it was, or as it is now."""

    exposure: Exposure
    statistics: NoiseStatistics
    #: Maps of the field: mean pixel, and mean variance where there is one.
    field: Values
    variance: Values | None
    #: Part of the image as it is.
    part: Values
    #: Significances of pixels; of point sources, where the PSF is known.
    pixels: Histogram
    sources: Histogram | None


@dataclass(frozen=True, eq=False, kw_only=True)
class Pair:
    """What was measured of a result, and of the difference that it was made of if that is there."""

    after: Side
    before: Side | None
    #: Pixels of the image along either axis that a pixel of the maps is the mean of.
    step: int
    #: The part that is shown as it is.
    window: Window

    @cached_property
    def sides(self) -> dict[str, Side]:
        """Both, by their name."""
        both = {"before": self.before, "after": self.after}
        return {name: side for name, side in both.items() if side is not None}


def measure(
    after: Exposure,
    before: Exposure | None,
    ignored: Collection[str],
    threads: int,
    stamps: Mapping[str, Stamp],
) -> Pair:
    """Measure a result, and the difference as it was, on the same pixels.

    Those in the mask planes `ignored` of the result do not count. `stamps` are PSFs ``(ny, nx)``
    with their origins, by ``before`` and ``after``, as far as they are known. Only bands of rows
    are in memory at a time.
    """
    usable = unmasked(after, {*ignored, *OF_OTHER_PIXELS})
    exposures = {"before": before, "after": after}
    known = {name: one for name, one in exposures.items() if one is not None}
    sky = Sky(images=[(one.image, one.variance) for one in known.values()], usable=usable)
    statistics = dict(zip(known, measure_noise(sky, _WINDOWS, threads), strict=True))
    step = -(-max(after.shape) // FIELD)
    window = quiet_window(statistics["after"], after.shape)
    sides = {
        name: _side(one, statistics[name], usable, step, window, stamps.get(name), threads)
        for name, one in known.items()
    }
    return Pair(after=sides["after"], before=sides.get("before"), step=step, window=window)


def _side(
    exposure: Exposure,
    statistics: NoiseStatistics,
    usable: Plane,
    step: int,
    window: Window,
    psf: Stamp | None,
    threads: int,
) -> Side:
    planes = [exposure.image, *([] if exposure.variance is None else [exposure.variance])]
    maps = binned(planes, step, threads)
    variance: Plane = constant_plane(statistics.variance, exposure.shape)
    if exposure.variance is not None:
        variance = exposure.variance
    sources = None
    if psf is not None and statistics.variance > 0:
        planes = [point_sources(exposure.image, variance, usable, *psf)]
        sources = histogram(planes[0], constant_plane(1.0, exposure.shape), usable, threads)
    return Side(
        exposure=exposure,
        statistics=statistics,
        field=maps[0],
        variance=maps[1] if len(maps) > 1 else None,
        part=np.asarray(part_of(exposure.image, window), dtype=np.float64),
        pixels=histogram(exposure.image, variance, usable, threads),
        sources=sources,
    )


def binned(planes: Sequence[Plane], step: int, threads: int) -> list[Values]:
    """Return planes as means of the finite pixels of blocks of `step` x `step`, NaN without any."""
    rows = cut(slice(0, planes[0].shape[0]), max(1, _ROWS // step) * step)

    def means(band: slice) -> list[Values]:
        return [block_means(np.asarray(plane[band], np.float64), step) for plane in planes]

    found = list(ordered_map(means, rows, threads))
    return [np.concatenate([band[number] for band in found]) for number in range(len(planes))]


def block_means(pixels: Values, step: int) -> Values:
    """Return the means of the finite pixels in blocks; those at the far edges may be smaller."""
    ny, nx = pixels.shape
    down, across = -(-ny // step), -(-nx // step)
    whole = np.full((down * step, across * step), np.nan)
    whole[:ny, :nx] = pixels
    blocks = whole.reshape(down, step, across, step)
    known = np.isfinite(blocks)
    number = known.sum(axis=(1, 3))
    with np.errstate(over="ignore"):
        total = np.where(known, blocks, 0.0).sum(axis=(1, 3))
    means = np.full(total.shape, np.nan)
    np.divide(total, number, out=means, where=number > 0)
    return means


def histogram(image: Plane, variance: Plane, usable: Plane, threads: int) -> Histogram:
    """Count usable pixels by ``image / sqrt(variance)``; of huge images, in bands all over them."""
    ny, nx = image.shape
    bands = cut(slice(0, ny), _ROWS)
    step = max(1, math.ceil(ny * nx / _MOST))

    def counted(rows: slice) -> tuple[Values, NDArray[np.int64]]:
        pixels, spread = image[rows], variance[rows]
        known = usable[rows] & np.isfinite(pixels) & np.isfinite(spread) & (spread > 0)
        z = np.asarray(pixels[known] / np.sqrt(spread[known]), dtype=np.float64)
        places = (z[np.abs(z) < REACH] + REACH) * _PER_SIGMA
        counts = np.bincount(places.astype(np.intp), minlength=2 * REACH * _PER_SIGMA)
        return counts.astype(np.float64), np.array([z.size, (z > 5).sum(), (z < -5).sum()])

    counts, numbers = np.zeros(2 * REACH * _PER_SIGMA), np.zeros(3, dtype=np.int64)
    for some, three in ordered_map(counted, bands[step // 2 :: step], threads):
        counts += some
        numbers += three
    pixels, above, below = numbers.tolist()
    return Histogram(counts=counts, pixels=pixels, above=above, below=below)


def point_sources(
    image: Plane, variance: Plane, usable: Plane, psf: Values, origin: tuple[int, int]
) -> Plane:
    """Return the significance of a point source at every pixel, as if pixels were independent.

    That is what a search takes for it that knows nothing of correlation.
    """
    stamp = crop_stamp(psf, origin, max(1, flux_half_width(psf, origin, _LOST)))
    half = stamp.shape[0] // 2
    field = KernelField.constant(stamp, (half, half))
    return point_source_planes(image, variance, usable, field)[0]


def quiet_window(statistics: NoiseStatistics, shape: tuple[int, int]) -> Window:
    """Return the part of an image that is shown as it is: where there is most sky.

    Of several such windows it is the one nearest to the middle.
    """
    rows, columns = statistics.pixels.shape
    y, x = np.indices((rows, columns))
    off = np.hypot((y + 0.5) / rows - 0.5, (x + 0.5) / columns - 0.5)
    best = np.where(statistics.pixels >= 0.9 * statistics.pixels.max(), off, np.inf)
    row, column = np.unravel_index(int(np.argmin(best)), best.shape)
    centres = (row + 0.5) / rows * shape[0], (column + 0.5) / columns * shape[1]
    (y0, height), (x0, width) = (
        (round(min(max(0, centre - PART / 2), max(0, length - PART))), min(PART, length))
        for centre, length in zip(centres, shape, strict=True)
    )
    return Window(x0, x0 + width, y0, y0 + height)


def stretch(*images: Values) -> tuple[float, float]:
    """Return the range of pixels that is shown, the same for several images: that of ZScale."""
    from astropy.visualization import ZScaleInterval

    pixels = np.concatenate([one[np.isfinite(one)].ravel() for one in images])
    if not pixels.size:
        return 0.0, 1.0
    low, high = ZScaleInterval().get_limits(pixels)
    if not low < high:
        low, high = float(pixels.min()), float(pixels.max())
    if low < high:
        return float(low), float(high)
    around = max(1.0, 1e-3 * abs(float(low)))
    return float(low) - around, float(low) + around
