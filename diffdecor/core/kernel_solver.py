"""Solve ``y = a u + sum_m phi_m(x, y) (c_m * v) + background`` for kernels c_m and the factor a.

The images u and v and the difference y are given in square windows of an image. Every window has a
smooth background of its own, so that steps and slopes of the sky between windows do not matter.
Kernels have no shape but free pixels within a rectangle of offsets.

The equations are solved by conjugate gradients with Fourier transforms of the windows (CGLS, e.g.
Bjorck 1996, Numerical Methods for Least Squares Problems, sec. 7.4), so that the matrix, thousands
of columns for every pixel, is never made. Since y was computed from u and v, the equations hold
exactly and their weights are free: every pixel is weighted down by the light of sources that the
kernel reaches. Without that, stars dominate the equations, and hundreds of steps are needed instead
of tens.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from diffdecor.core.box_sums import box_sums
from diffdecor.core.fourier import fast_shape
from diffdecor.core.statistics import robust_sigma
from diffdecor.core.support import Support

#: Order of the polynomial that is the background of a window.
_BACKGROUND_ORDER = 3
#: Most steps of an iteration.
_STEPS = 300
#: The iteration ends where further steps would change the residual, or the first one, by less.
_NEGLIGIBLE, _CONVERGED = 1e-2, 1e-11
#: Larger kernels than this, pixels, are conditioned by the autocovariance of v alone.
_LARGE = 1700
#: Square of a pixel, in units of the usual one, of half the weight.
_BRIGHT = 10.0
#: Pixels in the sample that conditions the equations, for every pixel of the kernel.
_SAMPLE = 15
#: Pixels whose surroundings are held at once.
_AT_ONCE = 2000


@dataclass(frozen=True, eq=False)
class Windows:
    """Square windows of two images and their difference; what lies beyond the images is NaN.

    The unconvolved image `u`, the difference `y` and `good`, ``(nwindow, n, n)``, are on the same
    pixels; the convolved image `v`, ``(nwindow, n + 2 reach, n + 2 reach)``, reaches further.
    """

    u: NDArray[np.float64]
    v: NDArray[np.float64]
    y: NDArray[np.float64]
    #: Pixels of the difference that count.
    good: NDArray[np.bool_]
    reach: int

    @property
    def side(self) -> int:
        """Pixels n along either axis of a window."""
        return int(self.y.shape[1])


@dataclass(frozen=True, eq=False)
class Solution:
    """Kernels ``(nterm, ky, kx)``, and the factor of the unconvolved image."""

    kernels: NDArray[np.float64]
    factor: float
    #: Weighted root mean square of what they leave, backgrounds removed.
    rms: float
    #: Error of the pixels of every kernel ``(nterm,)``, if the residual is noise.
    errors: NDArray[np.float64]


class Equations:
    """The linear equations of some windows, for one rectangle of offsets.

    Parameters
    ----------
    windows : Windows
        The pixels.
    support : Support
        Offsets of the kernels, within the windows' reach.
    """

    def __init__(self, windows: Windows, support: Support) -> None:
        self.support, self.side = support, windows.side
        ky, kx = support.shape
        n, reach = windows.side, windows.reach
        patch = windows.v[
            :,
            reach - support.y1 : reach + n - support.y0,
            reach - support.x1 : reach + n - support.x0,
        ]
        missing = ~np.isfinite(patch)
        level = float(np.median(patch[~missing])) if not missing.all() else 0.0
        self._patch = np.where(missing, 0.0, patch - level)
        self._level = level
        self.known = windows.good & (box_sums(missing.astype(np.float64), (ky, kx)) < 0.5)
        self.known &= np.isfinite(windows.u) & np.isfinite(windows.y)
        self._u = np.where(self.known, windows.u, 0.0)
        self._y = np.where(self.known, windows.y, 0.0)
        self._shape = fast_shape(n + ky - 1, n + kx - 1)
        self._transform = np.fft.rfft2(self._patch, self._shape)
        self.weights = self._light_weights() * self.known

    def _light_weights(self) -> NDArray[np.float64]:
        """Return weights that fall with the light that a kernel reaches, and that of the pixel.

        Bright pixels are rounded more coarsely, too.
        """
        squares = self._patch**2
        light = box_sums(squares, self.support.shape) / self.support.size
        bright = self._u**2 / _usual(self._u[self.known] ** 2)
        return 1.0 / (1.0 + light / _usual(squares) + bright / _BRIGHT)

    @property
    def pixels(self) -> int:
        """Number of pixels that count."""
        return int(np.count_nonzero(self.weights))

    def copy(self) -> Equations:
        """Return the same equations, of which pixels may be left out."""
        return copy(self)

    def to_solve(self) -> Equations:
        """Return such a copy; all of them share what conditions the equations, which takes time."""
        _ = self._inverse
        return self.copy()

    def leave_out(self, pixels: NDArray[np.bool_]) -> None:
        """Leave out pixels ``(nwindow, n, n)`` from now on."""
        self.weights = np.where(pixels, 0.0, self.weights)
        for name in ("_roots", "_mixing", "_backgrounds", "_plain", "_target"):
            self.__dict__.pop(name, None)

    @cached_property
    def _roots(self) -> NDArray[np.float64]:
        return np.sqrt(self.weights)

    @cached_property
    def _polynomials(self) -> NDArray[np.float64]:
        """Polynomials at the pixels of a window ``(n * n, nterm)``."""
        t = np.linspace(-1.0, 1.0, self.side)
        orders = range(_BACKGROUND_ORDER + 1)
        terms = [
            np.outer(t**j, t**i).ravel() for i in orders for j in orders if i + j < len(orders)
        ]
        return np.array(terms).T

    @cached_property
    def _mixing(self) -> NDArray[np.float64]:
        """What makes polynomials orthonormal under the weights ``(nwindow, nterm, nterm)``.

        Windows with hardly a pixel have fewer.
        """
        weighted = self._roots.reshape(len(self._roots), -1, 1) * self._polynomials
        norms, vectors = np.linalg.eigh(np.einsum("wpk,wpl->wkl", weighted, weighted))
        usable = norms > 1e-9 * np.maximum(norms[:, -1:], 1e-300)
        scale = np.where(usable, 1 / np.sqrt(np.where(usable, norms, 1.0)), 0.0)
        return np.asarray(vectors * scale[:, np.newaxis])

    @cached_property
    def _backgrounds(self) -> NDArray[np.float64]:
        """Orthonormal weighted polynomials of every window ``(nwindow, n * n, nterm)``."""
        weighted = self._roots.reshape(len(self._roots), -1, 1) * self._polynomials
        return np.asarray(weighted @ self._mixing)

    def _levelled(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Remove the background of every window from weighted values ``(nwindow, n, n)``."""
        flat = values.reshape(len(values), -1, 1)
        smooth = self._backgrounds @ (self._backgrounds.transpose(0, 2, 1) @ flat)
        return np.asarray((flat - smooth).reshape(values.shape))

    @cached_property
    def _plain(self) -> tuple[NDArray[np.float64], float]:
        """The unconvolved image, levelled and of unit length, and its length."""
        plain = self._levelled(self._u * self._roots)
        length = float(np.sqrt((plain**2).sum()))
        return (plain / length if length > 0 else plain), length

    @cached_property
    def _target(self) -> NDArray[np.float64]:
        return self._levelled(self._y * self._roots)

    def _free(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Remove backgrounds and the unconvolved image from weighted values."""
        values, (plain, _) = self._levelled(values), self._plain
        return np.asarray(values - plain * float((plain * values).sum()))

    def matched(
        self, kernels: NDArray[np.float64], terms: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return ``sum_m phi_m (c_m * v)`` at the pixels ``(nwindow, n, n)``.

        `terms` are the values phi_m ``(nterm, nwindow, n, n)``, or broadcast to it.
        """
        (ky, kx), n = self.support.shape, self.side
        total = np.zeros(self._y.shape)
        for kernel, values in zip(kernels, terms, strict=True):
            product = self._transform * np.fft.rfft2(kernel, self._shape)
            valid = np.fft.irfft2(product, self._shape)[:, ky - 1 : ky - 1 + n, kx - 1 : kx - 1 + n]
            total += values * (valid + self._level * kernel.sum())
        return total

    def _correlated(
        self, values: NDArray[np.float64], terms: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return the adjoint of `matched`: kernels ``(nterm, ky, kx)`` of values at the pixels."""
        (ky, kx), n = self.support.shape, self.side
        found = np.empty((len(terms), ky, kx))
        padded = np.zeros((len(values), *self._shape))
        conjugate = self._transform.conj()
        for number, factor in enumerate(terms):
            product = factor * values
            padded[:, ky - 1 : ky - 1 + n, kx - 1 : kx - 1 + n] = product
            total = (np.fft.rfft2(padded) * conjugate).sum(axis=0)
            correlated = np.fft.irfft2(total, self._shape)[:ky, :kx]
            found[number] = correlated + self._level * product.sum()
        return found

    @cached_property
    def _inverse(self) -> NDArray[np.float64]:
        """Inverse of the matrix of one kernel without variation, roughly: the preconditioner."""
        normal = (
            self._sampled_normal() if self.support.size <= _LARGE else self._stationary_normal()
        )
        size = len(normal)
        normal.flat[:: size + 1] += 1e-4 * np.trace(normal) / size or 1.0
        inverse = np.linalg.inv(normal)
        return np.asarray((inverse + inverse.T) / 2)

    def _sampled_normal(self) -> NDArray[np.float64]:
        """Return the normal matrix, ``(size, size)``, by a sample of pixels."""
        ky, kx = self.support.shape
        size, pixels = self.support.size, np.flatnonzero(self._roots)
        wanted = _SAMPLE * size
        chosen = pixels[np.linspace(0, len(pixels) - 1, min(wanted, len(pixels))).astype(int)]
        around = sliding_window_view(self._patch, (ky, kx), axis=(1, 2))
        normal, mean, total = np.zeros((size, size)), np.zeros(size), 0.0
        for start in range(0, len(chosen), _AT_ONCE):
            some = chosen[start : start + _AT_ONCE]
            root = self._roots.ravel()[some]
            rows = around[np.unravel_index(some, self._y.shape)][:, ::-1, ::-1]
            rows = rows.reshape(len(some), size) * root[:, np.newaxis]
            normal += rows.T @ rows
            mean += rows.T @ root
            total += float(root @ root)
        normal -= np.outer(mean, mean) / max(total, 1e-300)
        return normal * (float(self.weights.sum()) / max(total, 1e-300))

    def _stationary_normal(self) -> NDArray[np.float64]:
        """Return the normal matrix of an image whose autocovariance is the same everywhere."""
        (ky, kx), n = self.support.shape, self.side
        middle = self._patch[:, ky // 2 : ky // 2 + n, kx // 2 : kx // 2 + n]
        shape = fast_shape(n + ky, n + kx)
        power = np.abs(np.fft.rfft2(self._levelled(middle * self._roots), shape)) ** 2
        covariance = np.fft.irfft2(power.sum(axis=0), shape)
        dy, dx = (
            np.subtract.outer(np.arange(k), np.arange(k)) % length
            for k, length in zip((ky, kx), shape, strict=True)
        )
        lags = covariance[dy[:, np.newaxis, :, np.newaxis], dx[np.newaxis, :, np.newaxis, :]]
        return np.array(lags.reshape(ky * kx, ky * kx))

    def solve(
        self, terms: NDArray[np.float64], start: NDArray[np.float64] | None = None
    ) -> Solution:
        """Solve the equations for functions of position, their values as in `matched`.

        `start` are kernels ``(nterm, ky, kx)`` to begin with; without them all are zero.
        """
        values, mixing = self._orthonormal(terms)
        size = self.support.size

        def conditioned(gradient: NDArray[np.float64]) -> NDArray[np.float64]:
            return (gradient.reshape(-1, size) @ self._inverse).reshape(gradient.shape)

        whole = float((self._free(self._target) ** 2).sum())
        left = self._free(self._target)
        if start is not None:
            left = self._free(self._target - self._roots * self.matched(start, terms))
        kernels = np.zeros((len(values), *self.support.shape))
        gradient = self._correlated(self._roots * left, values)
        direction = conditioned(gradient)
        slope = float((gradient * direction).sum())
        for _ in range(_STEPS):
            change = self._free(self._roots * self.matched(direction, values))
            power = float((change**2).sum())
            if not power > 0:
                break
            step = slope / power
            kernels += step * direction
            left -= step * change
            gradient = self._correlated(self._roots * left, values)
            downwards = conditioned(gradient)
            before, slope = slope, float((gradient * downwards).sum())
            if slope <= max(_NEGLIGIBLE**2 * float((left**2).sum()), _CONVERGED**2 * whole):
                break
            direction = downwards + slope / before * direction
        kernels = np.tensordot(mixing.T, kernels, 1)
        return self._solution(kernels if start is None else kernels + start, terms, mixing)

    def _orthonormal(
        self, terms: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return functions that are orthonormal on the pixels, and how they are mixed."""
        flat = terms.reshape(len(terms), -1) * self._roots.ravel()
        norms, vectors = np.linalg.eigh(flat @ flat.T / max(float(self.weights.sum()), 1e-300))
        usable = norms > 1e-12 * norms[-1]
        mixing = (vectors[:, usable] / np.sqrt(norms[usable])).T
        return np.tensordot(mixing, terms, 1), mixing

    def _solution(
        self,
        kernels: NDArray[np.float64],
        terms: NDArray[np.float64],
        mixing: NDArray[np.float64],
    ) -> Solution:
        (plain, length), matched = self._plain, self.matched(kernels, terms)
        left = self._target - self._levelled(self._roots * matched)
        factor = float((plain * left).sum())
        left -= factor * plain
        total = float(self.weights.sum())
        rms = float(np.sqrt((left**2).sum() / total)) if total > 0 else np.nan
        error = rms * float(np.sqrt(np.median(np.diag(self._inverse))))
        errors = error * np.sqrt((mixing**2).sum(axis=0))
        return Solution(kernels, factor / length if length > 0 else 0.0, rms, errors)

    def backgrounds_left(
        self, solution: Solution, terms: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return ``y - a u - sum_m phi_m (c_m * v)``, backgrounds kept; NaN where unknown."""
        left = self._y - solution.factor * self._u - self.matched(solution.kernels, terms)
        return np.where(self.known, left, np.nan)

    def deviation(self, solution: Solution, terms: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the same less the backgrounds, also of pixels that were left out."""
        left = np.nan_to_num(self.backgrounds_left(solution, terms))
        weighted = (left * self._roots).reshape(len(left), -1, 1)
        amounts = self._mixing @ (self._backgrounds.transpose(0, 2, 1) @ weighted)
        smooth = (self._polynomials @ amounts).reshape(left.shape)
        return np.where(self.known, left - smooth, np.nan)

    def residual_of(self, solution: Solution, terms: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the deviation of pixels that count; NaN elsewhere."""
        return np.where(self.weights > 0, self.deviation(solution, terms), np.nan)

    def usual_residual(self, solution: Solution, terms: NDArray[np.float64]) -> float:
        """Return the usual size of the weighted residual; NaN where no pixel counts."""
        used = self._roots > 0
        weighted = self.deviation(solution, terms)[used] * self._roots[used]
        return robust_sigma(weighted) if weighted.size else np.nan

    def contributions(self, solution: Solution, terms: NDArray[np.float64]) -> tuple[float, float]:
        """Return the usual size of what both images give: unconvolved, convolved.

        It is weighted as the residual is, backgrounds are removed: it is their noise.
        """
        used = self._roots > 0
        matched = self._levelled(self._roots * self.matched(solution.kernels, terms))
        plain = abs(solution.factor) * self._plain[1] * self._plain[0]
        return robust_sigma(plain[used]), robust_sigma(matched[used])


def _usual(squares: NDArray[np.float64]) -> float:
    """Return what squares are mostly: of noise its variance."""
    some = squares.size > 0
    return (float(np.median(squares)) / 0.455 or float(squares.mean()) or 1.0) if some else 1.0
