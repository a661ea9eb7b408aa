"""How stamps of a PSF are sampled, by their cards: finer or coarser than the pixels of the image.

OVERSAMP = n says that n x n subpixels make up a pixel, each with the light that falls into it; they
are added up. PSF_SAMP = s says that samples of the PSF as the pixels see it are s pixels apart;
they are interpolated. So are those of the grids of ``webbpsf`` and ``photutils`` (cards DET_YX0,
...), where OVERSAMP gives the spacing, and subpixels have been smoothed over a pixel beforehand.
"""

from __future__ import annotations

import logging
import re
from math import dist
from typing import NamedTuple, TypeGuard

import numpy as np
from numpy.typing import NDArray

from diffdecor.core.resample import Method
from diffdecor.errors import InputError
from diffdecor.fits.formats import LARGEST_SIDE
from diffdecor.fits.open import Header

logger = logging.getLogger(__name__)

#: A point source this far off the middle of its stamp is not in it, image pixels; a centroid this
#: close to a sample is on it, samples.
_FAR, _NEAR = 1.0, 0.1
#: The core of a PSF is what is above this, in units of its peak.
_CORE = 0.2
_NUMBER = r"[-+]?\d+\.?\d*(?:[eE][-+]?\d+)?"


class Sampling(NamedTuple):
    """Distance of the samples in image pixels, and how to render them."""

    step: float
    method: Method


def sampling_of(header: Header, shape: tuple[int, ...], name: str) -> Sampling:
    """Return how stamps of a shape ``(..., ny, nx)`` are sampled; step 1 without cards.

    An error if the cards are impossible, contradict each other, or make a stamp too large.
    """
    steps = {}
    for keyword in ("OVERSAMP", "PSF_SAMP"):
        value = header.get(keyword, 1)
        check_sampling(keyword, value, 0, name)
        step = 1.0 / value if keyword == "OVERSAMP" else float(value)
        check_sampling(keyword, value, max(shape[-2:]) * step, name)
        steps[keyword] = step
    subpixels, samples = steps.values()
    if 1.0 not in {subpixels, samples} and not np.isclose(subpixels, samples, rtol=1e-3):
        msg = (
            f"{name}: OVERSAMP = {header['OVERSAMP']} and PSF_SAMP = {header['PSF_SAMP']} "
            "contradict each other; remove the wrong card"
        )
        raise InputError(msg)
    if "DET_YX0" in header:
        return Sampling(subpixels, "spline")
    if subpixels != 1.0 or samples == 1.0:
        return Sampling(subpixels, "integrate")
    return Sampling(samples, "lanczos4")


def check_sampling(keyword: str, value: object, side: float, name: str) -> None:
    """Refuse an impossible sampling.

    `value` is what the card says, samples in a pixel or pixels between samples; `side` is the size
    of the stamps in image pixels.
    """
    if not is_number(value) or not 0.01 <= value <= 100:
        msg = f"{name}: {keyword} = {value!r} is not a sampling; expected a number from 0.01 to 100"
        raise InputError(msg)
    if side > LARGEST_SIDE:
        msg = f"{name}: {side:g} pixels wide with {keyword} = {value}: an image, not a PSF"
        raise InputError(msg)


def center_of(
    header: Header, stamps: NDArray[np.float64], sampling: Sampling, name: str
) -> tuple[float, float]:
    """Return the 0-based position ``(cx, cy)`` of the point source in stamps ``(..., ny, nx)``.

    From the 1-based cards CTRX and CTRY; without them sample ``n // 2``, or the centroid of stamps
    of an odd size if it is a pixel off. Grids are centred on their
    middle; so are subpixels of an even number if their centroid is closer to it.
    """
    ny, nx = stamps.shape[-2:]
    middle = (nx - 1) / 2, (ny - 1) / 2
    given = header.get("CTRX"), header.get("CTRY")
    if given != (None, None):
        return _given(given, (nx, ny), sampling, name)
    if "DET_YX0" in header:
        return middle
    if 0 not in {nx % 2, ny % 2}:
        return _own_center(stamps, middle, sampling, name)
    centroid, center = _centroid(stamps), (float(nx // 2), float(ny // 2))
    if sampling.step != 1.0 and dist(centroid, middle) < dist(centroid, center):
        center = middle
    logger.warning(
        "%s: %d x %d pixels, an even size, have no central one: taken to be centred on the "
        "1-based pixel (%g, %g), with the centroid at (%.2f, %.2f); cards CTRX, CTRY set it",
        name, nx, ny, *(c + 1 for c in center), *(c + 1 for c in centroid),
    )  # fmt: skip
    return center


def _own_center(
    stamps: NDArray[np.float64], middle: tuple[float, float], sampling: Sampling, name: str
) -> tuple[float, float]:
    """Return the middle of stamps, or their centroid if it is a pixel off, and so is the peak."""
    mean = np.nan_to_num(stamps.reshape(-1, *stamps.shape[-2:]).mean(axis=0))
    y, x = np.unravel_index(int(mean.argmax()), mean.shape)
    peak = float(x), float(y)
    # The centroid of the core: wings and noise count more the farther out they are.
    core = np.maximum(mean - _CORE * mean.max(), 0.0)
    centroid = _centroid(core)
    if min(dist(centroid, middle), dist(peak, middle)) * sampling.step < _FAR:
        return middle
    whole = round(centroid[0]), round(centroid[1])
    # Moving it by a small part of a pixel would only blur it.
    center = (float(whole[0]), float(whole[1])) if dist(centroid, whole) < _NEAR else centroid
    logger.warning(
        "%s: its point source is on the 1-based pixel (%.2f, %.2f), not in the middle (%g, %g) of "
        "the stamp; taken to be centred there; cards CTRX, CTRY set it",
        *(name, *(c + 1 for c in center), *(c + 1 for c in middle)),
    )
    return center


def grid_positions(header: Header, n: int, name: str) -> NDArray[np.float64] | None:
    """Return the 0-based positions ``(n, 2)`` of the planes of a grid.

    The cards DET_YX0, DET_YX1, ... hold the text ``(y, x)``, 0-based; None if there are none.
    """
    if "DET_YX0" not in header:
        return None
    positions = []
    for plane in range(n):
        text = str(header.get(f"DET_YX{plane}"))
        numbers = re.findall(_NUMBER, re.sub(r"np\.float\d+", "", text))
        if len(numbers) != 2:
            msg = f"{name}: DET_YX{plane} = {text!r} is not a position; expected '(y, x)'"
            raise InputError(msg)
        positions.append([float(numbers[1]), float(numbers[0])])
    return np.array(positions)


def is_number(value: object) -> TypeGuard[float]:
    """Say whether a card holds a finite number."""
    return isinstance(value, int | float) and bool(np.isfinite(value))


def _given(
    given: tuple[object, object], size: tuple[int, int], sampling: Sampling, name: str
) -> tuple[float, float]:
    whole = sampling.step == 1.0
    x, y = given
    if is_number(x) and is_number(y):
        place = float(x) - 1.0, float(y) - 1.0
        inside = all(-0.5 <= c <= n - 0.5 for c, n in zip(place, size, strict=True))
        if inside and not (whole and any(c % 1.0 for c in place)):
            return place
    kind = "whole numbers" if whole else "numbers"
    msg = f"{name}: CTRX, CTRY = {given} are not a pixel; give both as 1-based {kind}"
    raise InputError(msg)


def _centroid(stamps: NDArray[np.float64]) -> tuple[float, float]:
    """Return the centroid of the sum of stamps; their middle where the sum is not positive."""
    total = np.nan_to_num(stamps.reshape(-1, *stamps.shape[-2:]).sum(axis=0))
    ny, nx = total.shape
    if not total.sum() > 0:
        return (nx - 1) / 2, (ny - 1) / 2
    y, x = np.indices(total.shape)
    return float((x * total).sum() / total.sum()), float((y * total).sum() / total.sum())
