"""What a kernel of any format can be: its numbers are finite, and not absurd."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from diffdecor.core.fourier import Origin
from diffdecor.core.magnitudes import are_factors, are_possible
from diffdecor.core.spatial import Term
from diffdecor.errors import KernelError
from diffdecor.fits.damage import damage_named
from diffdecor.kernels.regions import Region

NOT_FINITE = "a kernel pixel or coefficient is NaN or infinite; make the kernel again"
SCALES = "a scale is zero, not finite, or absurdly small or large; make the kernel again"
#: Pixels along the axes of an image whose size is not known.
LONGEST_AXIS = 100_000
#: Pixels, the side of the largest kernel.
FARTHEST_ORIGIN = 1001
_ABSURD = (
    "a kernel pixel or coefficient is larger than any flux ratio, like that of a damaged file; "
    "fetch or make the kernel again"
)


def require(holds: object, name: str, problem: str) -> None:
    """Raise the error of a kernel that is called `name` unless something holds."""
    if not holds:
        msg = f"{name}: {problem}"
        raise KernelError(msg)


def check_numbers(values: NDArray[np.float64], name: str) -> None:
    """Refuse pixels or coefficients that are not finite, or absurdly large."""
    require(np.isfinite(values).all(), name, NOT_FINITE)
    require(are_possible(values), name, _ABSURD)


def check_origin(origin: Origin, name: str) -> None:
    """Refuse an origin that is farther away than any kernel is large: stamps are shifted by it."""
    whole = all(isinstance(c, int | np.integer) for c in origin)
    require(whole and len(origin) == 2, name, f"its origin {origin} is not a pixel (cx, cy)")
    problem = f"its origin is 0-based pixel {origin}, farther away than {FARTHEST_ORIGIN}"
    require(max(map(abs, origin)) <= FARTHEST_ORIGIN, name, f"{problem}; correct CTRX and CTRY")


def check_region(
    region: Region,
    basis: NDArray[np.float64],
    terms: tuple[tuple[Term, ...], tuple[Term, ...]],
    image_shape: tuple[int, int],
    name: str,
) -> None:
    """Refuse a region whose numbers disagree with basis images and terms, or run away.

    Terms are those of the kernel and of the background.
    """
    expected = (len(basis), len(terms[0])), (len(terms[1]),)
    shapes = region.coefficients.shape, region.background.shape
    problem = f"kernel and background coefficients {shapes}, expected {expected}"
    require(shapes == expected, name, problem)
    scales = (region.xs, region.ys, region.science_scale, region.template_scale)
    check_numbers(region.coefficients, name)
    check_numbers(np.array([region.x0, region.y0, *scales, *region.background]), name)
    require(are_factors(scales), name, SCALES)
    box = region.box
    some = box.xmin <= box.xmax and box.ymin <= box.ymax
    require(some, name, f"a region has no pixels, {box}; make the kernel again")
    what = "its functions of position are impossible"
    with damage_named(name, what, "make the kernel again", KernelError):
        sizes = (
            region.largest(terms[0], region.coefficients, image_shape) * float(np.abs(basis).max()),
            region.largest(terms[1], region.background, image_shape),
        )
    require(are_possible(sizes), name, _ABSURD)
