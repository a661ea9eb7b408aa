"""The PSF of the result, and the significance of point sources that is measured with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffdecor import words
from diffdecor.core.fourier import Origin
from diffdecor.core.interpolate import KernelField, Stamps, at_nodes
from diffdecor.core.linear_lines import linear_lines
from diffdecor.core.planes import LazyPlane, Plane
from diffdecor.core.psf import corrected_psf, crop_stamp, energy_half_width, flux_half_width
from diffdecor.core.significance import matched_filter, point_source_planes
from diffdecor.core.thinning import Reducible
from diffdecor.decorrelation.filtering import FilterGrid, summed_variance
from diffdecor.decorrelation.mask import NEAR_FILLED
from diffdecor.decorrelation.nodes import largest_spacing, subdivided
from diffdecor.decorrelation.subtraction import Subtraction
from diffdecor.images.model import Exposure
from diffdecor.psfs.model import PointSpreadFunction, StampPsf

log = words.logger(__name__)

#: Share of a PSF's energy that significance need not have: it is lower by half of that.
_LOST_ENERGY = 1e-6
#: Half width of the cores of PSFs, and the share of their norm by which others may be off.
_CORE, _STRAIGHT = 12, 1e-4
#: Of the memory that may be used, what PSFs take.
_SHARE_OF_MEMORY = 0.2
#: Something that varies over the image: stamps at all nodes, of one or more kinds.
Seen = Callable[[Subtraction, FilterGrid], list[NDArray[np.float64]]]
#: Kernels ``(n, ky, kx)``, or one for all places, and their origin.
Kernels = tuple[NDArray[np.float64], Origin]


@dataclass(frozen=True, eq=False)
class Detection:
    """What the significance of point sources is measured with."""

    #: PSF of the result over the image, as far as its energy reaches.
    psf: KernelField
    #: Variance of the pixels summed with the PSF as weights ``(ny, nx)``.
    noise: Plane
    #: Least noise level, a variance; None for double precision.
    level: float | None


def correct_psf(subtraction: Subtraction, filters: FilterGrid) -> StampPsf | None:
    """Return the PSF of the result, wherever it may be another; None if no PSF is known.

    That is at the position of every filter, and so close together that it follows the PSF of the
    image. It is of unit sum everywhere.
    """
    if _known_psf(subtraction, filters) is None:
        if subtraction.is_alone:
            log.warning(
                "%s: it has no PSF, and neither will the result; give it with --difference-psf",
                subtraction.difference.name,
            )
        return None
    filters = _fewest(subtraction, _followed(subtraction, filters, _psf_and_kernel))
    cropped, cut = [], 0.0
    for stamp, origin in _corrected(subtraction, filters):
        cropped.append(crop_stamp(stamp, origin, flux_half_width(stamp, origin)))
        cut = max(cut, 1.0 - float(np.abs(cropped[-1]).sum() / np.abs(stamp).sum()))
    width = max(len(stamp) for stamp in cropped)
    square = np.zeros((len(cropped), width, width))
    for number in reversed(range(len(square))):
        stamp = cropped.pop()
        margin = (width - len(stamp)) // 2
        inner = slice(margin, width - margin)
        square[number, inner, inner] = stamp
    positions = filters.positions if len(square) > 1 else None
    return StampPsf(square, positions, name="PSF of the result", cut=cut)


def _fewest(subtraction: Subtraction, filters: FilterGrid) -> FilterGrid:
    """Return the filters at the nodes that interpolation of the PSF needs, if PSFs are large.

    What varies is looked for in the cores of the PSFs: filters blur little. Where `max_memory`
    leaves room for less than that, the nodes are those that are needed most.
    """
    psf, _ = _known_psf(subtraction, filters)  # type: ignore[misc]
    number, (ky, kx) = len(filters.positions), psf.stamp(*filters.positions[0]).shape
    size = 8 * (ky + 2 * filters.half_width) * (kx + 2 * filters.half_width)
    room = _SHARE_OF_MEMORY * subtraction.config.max_memory
    if number == 1 or number * size <= room:
        return filters
    cores = np.array([stamp for stamp, _ in _corrected(subtraction, filters, core=_CORE)])
    units = np.linalg.norm(cores, axis=(1, 2))
    stamps = Stamps(stamps=cores, positions=filters.positions, origin=(0, 0))
    reducible = Reducible.of(stamps, units, np.zeros(0))
    tolerance = _STRAIGHT
    while (plan := reducible.within(tolerance, 0.0)).number * size > room and plan.number > 1:
        tolerance *= 1.5
    if not plan.columns:
        return filters
    return filters.at(np.array(plan.columns), np.array(plan.rows))


def _corrected(
    subtraction: Subtraction, filters: FilterGrid, core: int | None = None
) -> Iterator[tuple[NDArray[np.float64], Origin]]:
    """Yield the PSF of the result at the position of every filter, with its origin.

    With `core` it is that of the PSF cut to this half width.
    """
    psf, (stamps, origin) = _known_psf(subtraction, filters)  # type: ignore[misc]
    centre = (filters.half_width,) * 2
    for number, (x, y) in enumerate(filters.positions.tolist()):
        stamp, middle = psf.stamp(x, y), psf.origin
        if core is not None:
            stamp, middle = crop_stamp(stamp, middle, core), (core, core)
        yield corrected_psf(
            stamp,
            middle,
            (stamps[min(number, len(stamps) - 1)], origin),
            (filters.stamps[number], centre),
        )


def _followed(subtraction: Subtraction, filters: FilterGrid, seen: Seen) -> FilterGrid:
    """Return filters at nodes that follow what varies and is seen with them."""
    if len(filters.positions) == 1:
        return _where_needed(subtraction, filters, seen)
    return _on_lines(subtraction, filters)


def _on_lines(subtraction: Subtraction, filters: FilterGrid) -> FilterGrid:
    """Return filters at nodes that are close enough for a PSF that varies over the image.

    They are the nodes of the filters, or the centres of cells if these form a grid, and others
    between and beyond these where they are far apart.
    """
    known = filters.positions
    lines = [np.unique(known[:, axis]) for axis in (0, 1)]
    if len(lines[0]) * len(lines[1]) != len(known):
        lines = [np.zeros(0), np.zeros(0)]
    spacing = largest_spacing(subtraction.shape)
    x, y = (
        subdivided(one, length, spacing)
        for one, length in zip(lines, subtraction.shape[::-1], strict=True)
    )
    if np.array_equal(x, filters.x) and np.array_equal(y, filters.y):
        return filters
    return _at(subtraction, filters, x, y)


def _at(
    subtraction: Subtraction, filters: FilterGrid, x: NDArray[np.float64], y: NDArray[np.float64]
) -> FilterGrid:
    """Return filters, and the noise that they were made for, on other nodes."""
    columns, rows = np.meshgrid(x, y)
    positions = np.column_stack([columns.ravel(), rows.ravel()])

    def there(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return at_nodes(filters.positions, values, x, y)

    levels = (
        np.array([there(one.level) for one in side.members])
        for side in (filters.science, filters.template)
    )
    sides = subtraction.noise_sides(positions, *levels)
    return FilterGrid(x, y, positions, there(filters.stamps), *sides, filters.tail)


def _where_needed(subtraction: Subtraction, filters: FilterGrid, seen: Seen) -> FilterGrid:
    """Return one filter on the nodes that what is `seen` with it needs; itself if that is constant.

    The nodes are so close together that what is seen is linear between them, or as close as those
    of a grid of filters are.
    """
    norms = [np.linalg.norm(one[0]) for one in seen(subtraction, filters)]

    def values(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
        number = len(x) * len(y)
        stamps = zip(seen(subtraction, _at(subtraction, filters, x, y)), norms, strict=True)
        flat = [one.reshape(len(one), -1) / norm for one, norm in stamps]
        return np.concatenate(
            [np.broadcast_to(one, (number, one.shape[1])) for one in flat], axis=1
        )

    x, y = linear_lines(values, subtraction.shape, largest_spacing(subtraction.shape))
    return filters if len(x) == len(y) == 1 else _at(subtraction, filters, x, y)


def _psf_and_kernel(subtraction: Subtraction, filters: FilterGrid) -> list[NDArray[np.float64]]:
    """Return what the PSF of the result is made of, at every node."""
    psf, (kernels, _) = _known_psf(subtraction, filters)  # type: ignore[misc]
    return [np.array([psf.stamp(x, y) for x, y in filters.positions.tolist()]), kernels]


def _everything(subtraction: Subtraction, filters: FilterGrid) -> list[NDArray[np.float64]]:
    """Return what fluxes and their noise are made of, at every node."""
    sides = (one for side in (filters.science, filters.template) for one in side.members)
    ways = [side.scale[:, np.newaxis, np.newaxis] * side.noise_stamps[0] for side in sides]
    return [*_psf_and_kernel(subtraction, filters), *ways]


def _known_psf(
    subtraction: Subtraction, filters: FilterGrid
) -> tuple[PointSpreadFunction, Kernels] | None:
    """Return a known PSF and the kernels that its image went through in the difference.

    The PSF of the difference is used unchanged; but that of a score image is the science image's,
    which is not yet correlated with the preconvolution kernel.
    """
    own, unchanged = subtraction.difference.psf, (np.ones((1, 1, 1)), (0, 0))
    known: list[tuple[PointSpreadFunction | None, Kernels]] = []
    if not subtraction.config.score:
        known = [(own, unchanged)]
    if not subtraction.is_alone:
        of_science, of_template = (exposure.psf for exposure in subtraction.pair)
        sides = filters.science, filters.template
        science, template = ((side.stamps, side.origin) for side in sides)
        known += [(of_science, science), (of_template, template), (own, science)]
    return next(((psf, kernels) for psf, kernels in known if psf is not None), None)


def prepare_detection(
    psf: StampPsf | None, subtraction: Subtraction, filters: FilterGrid
) -> Detection | None:
    """Return what significance is measured with, if it is requested.

    A score image is the output of a matched filter already, and needs none.
    """
    config = subtraction.config
    if not config.significance or config.score or psf is None:
        return None
    grid = _followed(subtraction, filters, _everything)
    stamps = np.asarray(psf.stamps)
    width = max(energy_half_width(stamp, psf.origin, _LOST_ENERGY) for stamp in stamps)
    known = np.array_equal(np.asarray(psf.positions), grid.positions)
    there = stamps if known else (psf.stamp(x, y) for x, y in grid.positions.tolist())
    inner = np.array([crop_stamp(stamp, psf.origin, width) for stamp in there])
    field = grid.kernels(inner)
    noise = summed_variance(subtraction, grid, matched_filter(field))
    level = None if config.precision == "double" else float(grid.power.min())
    return Detection(field, noise, level)


def point_source_significance(
    result: Exposure, unusable: Plane, detection: Detection | None
) -> tuple[LazyPlane | None, LazyPlane | None]:
    """Return the significance of a point source at every pixel of a result, and its flux error.

    Pixels that the filter made of filled ones do not count. None without variance. Without
    `detection` the significance is that of each pixel alone, and there is no flux.
    """
    if result.variance is None:
        return None, None
    image, variance, mask = result.image, result.variance, result.mask
    spoilt = result.mask_planes.value([NEAR_FILLED])

    def usable(rows: slice) -> NDArray[np.bool_]:
        good = ~unusable[rows]
        return good if mask is None else good & ((mask[rows] & spoilt) == 0)

    if detection is not None:
        counts = LazyPlane(result.shape, usable)
        return point_source_planes(
            image, variance, counts, detection.psf, detection.noise, detection.level
        )

    def ratio(rows: slice) -> NDArray[Any]:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(usable(rows), image[rows] / np.sqrt(variance[rows]), np.nan)

    return LazyPlane(result.shape, ratio), None
