"""The noise of a difference: what either side brings in, and its power.

A difference ``D = a_S (A * S) - a_T (B * T)`` of images with white noise of variance s, t has the
noise power ``P(k) = s a_S^2 |A(k)|^2 + t a_T^2 |B(k)|^2`` (DMTN-021, with both sides convolved).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diffdecor.core.fourier import Origin


@dataclass(frozen=True, eq=False)
class NoiseSide:
    """The noise of one image, and the way it took into the difference, at n places.

    Parameters
    ----------
    level : array (n,)
        Noise variance of the image (s or t), image unit squared.
    scale : array (n,)
        Factor of the image in the difference (a_S or a_T).
    stamps : array (n, ky, kx)
        Kernel that the image was convolved with (A or B), true convolution; ``[[1]]`` for none.
    origin : tuple of int
        0-based origin ``(cx, cy)`` of the stamps.
    """

    level: NDArray[np.float64]
    scale: NDArray[np.float64]
    stamps: NDArray[np.float64]
    origin: Origin

    def __len__(self) -> int:
        """Return the number of places."""
        return len(self.level)

    def __getitem__(self, places: slice | NDArray[np.intp]) -> NoiseSide:
        """Return the side at some of its places."""
        return NoiseSide(self.level[places], self.scale[places], self.stamps[places], self.origin)

    @property
    def members(self) -> tuple[NoiseSide, ...]:
        """The independent noises that the side consists of: itself."""
        return (self,)

    @property
    def sums(self) -> NDArray[np.float64]:
        """Sum of the kernel at every place ``(n,)``: A(0) or B(0)."""
        return np.asarray(self.stamps.sum(axis=(1, 2)))

    @property
    def zero_power(self) -> NDArray[np.float64]:
        """Noise power at zero frequency ``(n,)``."""
        return self.level * (self.scale * self.sums) ** 2

    def gain(self, shape: tuple[int, int]) -> NDArray[np.float64]:
        """Return ``|kernel(k)|^2`` on the frequencies of a real transform, ``(n, ny, nx//2+1)``."""
        if self.stamps.shape[1:] == (1, 1):
            return np.broadcast_to(self.stamps**2, (len(self), shape[0], shape[1] // 2 + 1))
        kernel = np.fft.rfft2(self.stamps, shape)  # the origin is a matter of the phase only
        return kernel.real**2 + kernel.imag**2

    def power(self, shape: tuple[int, int]) -> NDArray[np.float64]:
        """Return the noise power on the frequencies of a real transform, ``(n, ny, nx//2+1)``."""
        return _along(self.level * self.scale**2) * self.gain(shape)


@dataclass(frozen=True, eq=False)
class StackedSide:
    """The noise of a weighted sum of images, each convolved with a kernel of its own, at n places.

    Parameters
    ----------
    stack : NoiseSide
        The way of the sum into the difference, as if it were one image.
    members : tuple of NoiseSide
        Every image's own noise and whole way, its own kernel and weight included.
    """

    stack: NoiseSide
    members: tuple[NoiseSide, ...]

    def __len__(self) -> int:
        """Return the number of places."""
        return len(self.stack)

    def __getitem__(self, places: slice | NDArray[np.intp]) -> StackedSide:
        """Return the side at some of its places."""
        return StackedSide(self.stack[places], tuple(one[places] for one in self.members))

    @property
    def level(self) -> NDArray[np.float64]:
        """Noise variance of the sum if nothing were convolved ``(n,)``, image unit squared."""
        return self.stack.level

    @property
    def scale(self) -> NDArray[np.float64]:
        """Factor of the sum in the difference ``(n,)``."""
        return self.stack.scale

    @property
    def stamps(self) -> NDArray[np.float64]:
        """Kernel that the sum was convolved with ``(n, ky, kx)``."""
        return self.stack.stamps

    @property
    def origin(self) -> Origin:
        """Origin ``(cx, cy)`` of these stamps."""
        return self.stack.origin

    @property
    def zero_power(self) -> NDArray[np.float64]:
        """Noise power at zero frequency ``(n,)``."""
        return np.asarray(sum(one.zero_power for one in self.members))

    def power(self, shape: tuple[int, int]) -> NDArray[np.float64]:
        """Return the noise power on the frequencies of a real transform, ``(n, ny, nx//2+1)``."""
        return np.asarray(sum(one.power(shape) for one in self.members))


AnySide = NoiseSide | StackedSide


def _along(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give per-place values ``(n,)`` the axes of an image."""
    return values[:, np.newaxis, np.newaxis]


def white_side(level: NDArray[np.float64], scale: NDArray[np.float64] | float = 1.0) -> NoiseSide:
    """Return the side of an image that was not convolved.

    Parameters
    ----------
    level : array (n,)
        Noise variance of the image.
    scale : array (n,) or float
        Its factor in the difference.

    Returns
    -------
    NoiseSide
        With the kernel ``[[1]]``.
    """
    level = np.atleast_1d(np.asarray(level, dtype=np.float64))
    return NoiseSide(
        level, np.broadcast_to(scale, level.shape), np.ones((len(level), 1, 1)), (0, 0)
    )
