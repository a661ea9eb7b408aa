"""What a point-spread function is: a stamp at every position of an image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from diffdecor.core.interpolate import Stamps
from diffdecor.core.magnitudes import FARTHEST, are_factors, are_possible
from diffdecor.core.spatial import Term
from diffdecor.errors import InputError

_ABSURD = "the pixels of a PSF stamp are absurdly small or large; fetch or make it again"


def _require(holds: object, name: str, problem: str) -> None:
    if not holds:
        msg = f"{name}: {problem}"
        raise InputError(msg)


class PointSpreadFunction(Protocol):
    """A point-spread function that may vary over the image."""

    @property
    def origin(self) -> tuple[int, int]:
        """0-based pixel ``(cx, cy)`` of every stamp on which a point source is centred."""

    def stamp(self, x: float, y: float) -> NDArray[np.float64]:
        """Return the stamp ``(ny, nx)`` at the 0-based position ``(x, y)``, of unit sum."""


@dataclass(frozen=True, eq=False)
class StampPsf(Stamps):
    """A point-spread function known as stamps: one, or several at given positions.

    Several positions are interpolated as `Stamps` says.

    Parameters
    ----------
    stamps : array_like (n, ny, nx) or (ny, nx)
        Stamps in image pixels; each is normalised to unit sum, unless its sum is 1 to rounding.
    positions : array_like (n, 2), optional
        0-based ``(x, y)`` of every stamp. Not needed for one stamp.
    origin : tuple of int, optional
        0-based ``(cx, cy)`` in the stamp; ``(nx // 2, ny // 2)`` by default.
    name : str
        What error messages call it.
    cut : float
        Largest share of the flux of a stamp that was cut off around it.

    Raises
    ------
    InputError
        If a stamp is not finite or its sum is not positive, or if stamps and positions disagree.
    """

    # Given as anything that makes an array, kept as arrays.
    stamps: ArrayLike  # type: ignore[assignment]
    positions: ArrayLike | None = None  # type: ignore[assignment]
    origin: tuple[int, int] = (-1, -1)
    name: str = "PSF"
    cut: float = 0.0

    def __post_init__(self) -> None:
        """Check and normalise the stamps once, into private copies."""
        stamps = np.asarray(self.stamps, dtype=np.float64)
        stamps = stamps[np.newaxis] if stamps.ndim == 2 else stamps
        problem = f"a PSF is a stamp (ny, nx) or a cube of them, not {stamps.shape}"
        _require(stamps.ndim == 3 and 0 not in stamps.shape, self.name, problem)
        n, ny, nx = stamps.shape
        problem = "a PSF stamp must be finite with a positive sum"
        _require(np.isfinite(stamps).all(), self.name, problem)
        _require(are_possible(stamps), self.name, _ABSURD)
        sums = stamps.sum(axis=(1, 2))
        _require((sums > 0).all(), self.name, problem)
        _require(are_factors(sums), self.name, _ABSURD)
        problem = f"{n} PSF stamps without positions; give their X and Y"
        _require(n == 1 or self.positions is not None, self.name, problem)
        positions = np.zeros((1, 2)) if self.positions is None else np.array(self.positions, float)
        problem = f"{n} PSF stamps but positions of shape {positions.shape}"
        _require(positions.shape == (n, 2), self.name, problem)
        problem = "a position of a PSF is not finite, or far from any image; make it again"
        _require(are_possible(positions, FARTHEST), self.name, problem)
        cx, cy = self.origin if self.origin != (-1, -1) else (nx // 2, ny // 2)
        problem = f"the PSF origin {(cx, cy)} lies outside the {nx} x {ny} pixel stamp"
        _require(0 <= cx < nx and 0 <= cy < ny, self.name, problem)
        # What was normalised before stays as it is to the last bit, written and read again.
        sums[np.abs(sums - 1.0) < 1e-12] = 1.0
        object.__setattr__(self, "stamps", stamps / sums[:, np.newaxis, np.newaxis])
        object.__setattr__(self, "positions", positions)
        object.__setattr__(self, "origin", (cx, cy))


@dataclass(frozen=True, eq=False, kw_only=True)
class BasisPsf:
    """A point-spread function that is a sum of images with coefficients that vary smoothly.

    Before normalisation it is ``sum_n sum_m coefficients[n, m] term_m(u, v) basis[n]`` with
    ``u = (x - x0) / xs`` and ``v = (y - y0) / ys``.

    Parameters
    ----------
    basis : array (n, ny, nx)
        Images in image pixels.
    origin : tuple of int
        0-based ``(cx, cy)`` in them.
    terms : tuple of Term
        Functions of position.
    coefficients : array (n, nterm)
        Coefficient of every image for every term.
    x0, xs, y0, ys : float
        Scaling of 0-based positions.
    name : str
        What error messages call it.

    Raises
    ------
    InputError
        If a number is not finite, a scale is zero, shapes disagree, or the origin lies outside.
    """

    basis: NDArray[np.float64]
    origin: tuple[int, int]
    terms: tuple[Term, ...]
    coefficients: NDArray[np.float64]
    x0: float = 0.0
    xs: float = 1.0
    y0: float = 0.0
    ys: float = 1.0
    name: str = "PSF"

    def __post_init__(self) -> None:
        """Check what every file format must deliver."""
        problem = ""
        scaling = (self.x0, self.xs, self.y0, self.ys)
        expected = len(self.basis), len(self.terms)
        if self.basis.ndim != 3 or 0 in self.basis.shape or self.coefficients.shape != expected:
            problem = f"images {self.basis.shape} with coefficients {self.coefficients.shape}"
        elif not (np.isfinite(self.basis).all() and np.isfinite(self.coefficients).all()):
            problem = "a pixel or coefficient is NaN or infinite"
        elif not (are_possible(self.basis) and are_possible(self.coefficients)):
            problem = "a pixel or coefficient is absurdly large"
        elif not are_possible(scaling) or not are_factors((self.xs, self.ys)):
            problem = f"positions cannot be scaled with {scaling}"
        elif not all(0 <= c < n for c, n in zip(self.origin, self.basis.shape[:0:-1], strict=True)):
            problem = f"the origin {self.origin} lies outside of images {self.basis.shape}"
        _require(not problem, self.name, f"impossible PSF: {problem}; fetch or make it again")

    @np.errstate(over="ignore", invalid="ignore")  # what is not finite is refused
    def stamp(self, x: float, y: float) -> NDArray[np.float64]:
        """Return the stamp ``(ny, nx)`` at the 0-based position ``(x, y)``, of unit sum.

        Raises
        ------
        InputError
            If its sum is not positive there: functions run away far from where they were fitted.
        """
        u, v = (x - self.x0) / self.xs, (y - self.y0) / self.ys
        weights = self.coefficients @ np.array([term.value(u, v) for term in self.terms])
        stamp = np.tensordot(weights, self.basis, axes=1)
        total = stamp.sum()
        positive = np.isfinite(stamp).all() and total > 1e-9 * np.abs(stamp).sum()
        problem = f"the PSF has no positive sum at the 0-based ({x:g}, {y:g})"
        _require(positive, self.name, problem)
        return np.asarray(stamp / total, dtype=np.float64)
