"""The noise of a difference: what each side contributes, and its power.

A difference ``D = a_S (A * S) - a_T (B * T)`` of images with white noise of variance s, t has the
noise power ``P(k) = s a_S^2 |A(k)|^2 + t a_T^2 |B(k)|^2`` (DMTN-021, with both sides convolved).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from diffdecor.core.fourier import Origin


@dataclass(frozen=True, eq=False)
class NoiseSide:
    """The noise of one side of a difference, and the kernels it went through, at n places.

    The noise of a stack is the sum of the independent noises of its images, each with a kernel of
    its own; the other attributes describe the stack as if it were one image.
    """

    #: Noise variance of the image (s or t), image unit squared ``(n,)``.
    level: NDArray[np.float64]
    #: Factor of the image in the difference (a_S or a_T) ``(n,)``.
    scale: NDArray[np.float64]
    #: Kernel that the image was convolved with (A or B) ``(n, ky, kx)``, true convolution;
    #: ``[[1]]`` for none. Its origin ``(cx, cy)`` is 0-based.
    stamps: NDArray[np.float64]
    origin: Origin
    #: Noise of every image of a stack, with all kernels and factors up to the difference.
    parts: tuple[NoiseSide, ...] = ()

    def __len__(self) -> int:
        """Return the number of places."""
        return len(self.level)

    def __getitem__(self, places: slice | NDArray[np.intp]) -> NoiseSide:
        """Return the side at some of its places."""
        return NoiseSide(
            self.level[places],
            self.scale[places],
            self.stamps[places],
            self.origin,
            tuple(part[places] for part in self.parts),
        )

    @property
    def members(self) -> tuple[NoiseSide, ...]:
        """The independent noises of the side: itself, or those of the images of a stack."""
        return self.parts or (self,)

    @property
    def sums(self) -> NDArray[np.float64]:
        """Sum of the kernel at every place ``(n,)``: A(0) or B(0)."""
        return np.asarray(self.stamps.sum(axis=(1, 2)))

    @property
    def zero_power(self) -> NDArray[np.float64]:
        """Noise power at zero frequency ``(n,)``."""
        return reduce(np.add, (one.level * (one.scale * one.sums) ** 2 for one in self.members))

    def gain(self, shape: tuple[int, int]) -> NDArray[np.float64]:
        """Return ``|kernel(k)|^2`` on the frequencies of a real transform, ``(n, ny, nx//2+1)``."""
        if self.stamps.shape[1:] == (1, 1):
            return np.broadcast_to(self.stamps**2, (len(self), shape[0], shape[1] // 2 + 1))
        kernel = np.fft.rfft2(self.stamps, shape)  # the origin affects the phase only
        return kernel.real**2 + kernel.imag**2

    def power(self, shape: tuple[int, int]) -> NDArray[np.float64]:
        """Return the noise power on the frequencies of a real transform, ``(n, ny, nx//2+1)``."""
        factors = ((one, one.level * one.scale**2) for one in self.members)
        powers = (factor[:, np.newaxis, np.newaxis] * one.gain(shape) for one, factor in factors)
        return reduce(np.add, powers)


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
