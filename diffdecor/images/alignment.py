"""Do two exposures show the same pixels of the same sky? Shapes and WCS are compared."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffdecor.core.parallel import once
from diffdecor.errors import InputError
from diffdecor.fits.damage import one_line
from diffdecor.fits.headers import wcs_cards
from diffdecor.fits.open import quiet_astropy
from diffdecor.images.model import Exposure

#: What wcslib says when it replaces a broken card by a default, which is not the WCS of this image.
_MENDED = ("cdfix", "value was expected")

logger = logging.getLogger(__name__)


def check_same_shape(a: Exposure, b: Exposure) -> None:
    """Check that two exposures have the same shape."""
    check_shapes((a.name, a.shape), (b.name, b.shape))


def check_shapes(a: tuple[str, tuple[int, ...]], b: tuple[str, tuple[int, ...]]) -> None:
    """Check that two images, each by its name and shape, have the same shape."""
    if a[1] != b[1]:
        msg = (
            f"{a[0]} has shape {a[1]} (ny, nx), but {b[0]} {b[1]}; give images of the same pixels, "
            "warped onto one grid"
        )
        raise InputError(msg)


def check_same_sky(a: Exposure, *others: Exposure, tolerance: float = 0.1) -> None:
    """Check that the pixels of exposures show the same sky as those of `a`, as their headers say.

    Where a header has no celestial WCS, or one that cannot be used, nothing is checked. Raises an
    InputError if a corner of `a` is more than `tolerance` pixels from where it is in another one.
    """
    own = once(lambda: _celestial(a))
    ny, nx = a.shape
    corners = np.array([(x, y) for x in (0.0, nx - 1.0) for y in (0.0, ny - 1.0)])
    for b in others:
        if a.header is None or b.header is None or _same_cards(a, b):
            continue
        wcs_a, wcs_b = own(), _celestial(b)
        if wcs_a is None or wcs_b is None:
            continue
        try:
            with quiet_astropy(f"{a.name}, {b.name}"), np.errstate(all="ignore"):
                offset = np.hypot(*(_mapped(wcs_a, wcs_b, corners) - corners).T)
        except Exception as error:  # noqa: BLE001  wcslib raises a dozen kinds; none is our subject
            logger.warning("%s and %s: WCS not compared (%s)", a.name, b.name, one_line(error))
            continue
        if not (offset <= tolerance).all() and _same_numbers(wcs_a, wcs_b, corners, tolerance):
            logger.warning(
                "%s and %s: their WCS agree in all numbers but name other frames (%s, %s), by "
                "which they would be up to %.3g pixels apart; taken as one grid (correct RADESYS "
                "and EQUINOX of one)",
                a.name,
                b.name,
                *(" ".join(map(str, _frame(wcs)[2:])) for wcs in (wcs_a, wcs_b)),
                np.max(offset),
            )
            continue
        if not (offset <= tolerance).all():  # True for NaN: no place in b shows that sky
            worst = float(np.max(offset)) if np.isfinite(offset).all() else np.inf
            msg = (
                f"{a.name} and {b.name} do not show the same sky: their WCS put the corners "
                f"{worst:.3g} pixels apart, {tolerance:g} are allowed; warp them onto one grid"
            )
            raise InputError(msg)


def _same_numbers(
    wcs_a: Any,  # noqa: ANN401
    wcs_b: Any,  # noqa: ANN401
    pixels: NDArray[np.float64],
    tolerance: float,
) -> bool:
    """Say whether WCS of the same axes put pixels on the same place, whatever their frames are."""
    if _frame(wcs_a) == _frame(wcs_b) or _frame(wcs_a)[:2] != _frame(wcs_b)[:2]:
        return False
    with np.errstate(all="ignore"):
        mapped = wcs_b.all_world2pix(wcs_a.all_pix2world(pixels, 0), 0)
        return bool((np.hypot(*(mapped - pixels).T) <= tolerance).all())


def _same_cards(a: Exposure, b: Exposure) -> bool:
    cards = [[(c.keyword, c.value) for c in wcs_cards(x.header).cards] for x in (a, b)]
    same = sorted(map(str, cards[0])) == sorted(map(str, cards[1]))
    if same:
        logger.debug("%s and %s have the same WCS cards, %d of them", a.name, b.name, len(cards[0]))
    return same


def _mapped(wcs_a: Any, wcs_b: Any, pixels: NDArray[np.float64]) -> NDArray[np.float64]:  # noqa: ANN401
    """Return where pixels ``(n, 2)`` of one image are in another; NaN beyond its sky."""
    if _frame(wcs_a) == _frame(wcs_b):
        mapped = wcs_b.all_world2pix(wcs_a.all_pix2world(pixels, 0), 0)
    else:
        from astropy.wcs.utils import pixel_to_pixel  # imports all of the coordinates

        mapped = np.column_stack(pixel_to_pixel(wcs_a, wcs_b, *pixels.T))
    return np.asarray(mapped, dtype=np.float64)


def _celestial(exposure: Exposure) -> Any:  # noqa: ANN401  astropy has no types
    """Return the celestial WCS of an exposure, None if it has none that works."""
    from astropy.wcs import WCS  # not needed where cards are equal, and slow to import

    try:
        with quiet_astropy(exposure.name) as complaints:
            wcs = WCS(wcs_cards(exposure.header)).celestial
        problem = next((text for text in complaints if any(c in text for c in _MENDED)), "")
    except Exception as error:  # noqa: BLE001
        problem = one_line(error)
    if problem:
        logger.warning("%s: WCS cannot be used (%s)", exposure.name, problem)
        return None
    if not wcs.has_celestial:
        logger.debug("%s: no celestial WCS", exposure.name)
        return None
    return wcs


def _frame(wcs: Any) -> tuple[str, ...]:  # noqa: ANN401
    """Return what the world coordinates are: two WCS in one frame can be compared directly."""
    axes = [str(axis)[:4] for axis in wcs.wcs.ctype]
    return (*axes, wcs.wcs.radesys, str(wcs.wcs.equinox))
