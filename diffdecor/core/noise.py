"""The noise of a difference: what each side contributes, and its power.

A difference ``D = a_S (A * S) - a_T (B * T)`` of images with white noise of variance s, t has the
noise power ``P(k) = s a_S^2 |A(k)|^2 + t a_T^2 |B(k)|^2`` (DMTN-021, with both sides convolved).
The noise of real images is correlated before any kernel is applied to them: it is white noise that
went through a noise kernel h, and its part of the power is ``|h(k)|^2`` times as large.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from diffdecor.core.fourier import Origin, convolve_stamps


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
    #: Noise kernel h, what white noise went through to be that of the image: symmetric
    #: ``(n, 2w + 1, 2w + 1)``, origin in the middle. The image itself, and its PSF, did not.
    noise: NDArray[np.float64] | None = None

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
            None if self.noise is None else self.noise[places],
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
        return reduce(
            np.add,
            (one.level * (one.scale * one.sums * one.noise_sums) ** 2 for one in self.members),
        )

    @property
    def noise_sums(self) -> NDArray[np.float64] | float:
        """Sum of the noise kernel at every place ``(n,)``: h(0)."""
        return 1.0 if self.noise is None else np.asarray(self.noise.sum(axis=(1, 2)))

    @property
    def reach(self) -> int:
        """Pixels across the kernel of the noise: image kernel and noise kernel."""
        wider = 0 if self.noise is None else self.noise.shape[-1] - 1
        return int(max(self.stamps.shape[1:])) + wider

    @property
    def noise_stamps(self) -> tuple[NDArray[np.float64], Origin]:
        """Kernel that white noise went through up to the difference, and its origin: A * h."""
        if self.noise is None:
            return self.stamps, self.origin
        centre = (self.noise.shape[-1] // 2,) * 2
        return convolve_stamps(self.noise, centre, self.stamps, self.origin)

    def gain(self, shape: tuple[int, int]) -> NDArray[np.float64]:
        """Return ``|kernel(k)|^2`` of the image on the frequencies of a real transform.

        The noise kernel does not count. The result is ``(n, ny, nx // 2 + 1)``.
        """
        if self.stamps.shape[1:] == (1, 1):
            return np.broadcast_to(self.stamps**2, (len(self), shape[0], shape[1] // 2 + 1))
        return _squared_transform(self.stamps, shape)

    def power(self, shape: tuple[int, int]) -> NDArray[np.float64]:
        """Return the noise power on the frequencies of a real transform, ``(n, ny, nx//2+1)``."""
        factors = ((one, one.level * one.scale**2) for one in self.members)
        powers = (
            factor[:, np.newaxis, np.newaxis] * one.noise_gain(shape) for one, factor in factors
        )
        return reduce(np.add, powers)

    def noise_gain(self, shape: tuple[int, int]) -> NDArray[np.float64]:
        """Return ``|kernel(k)|^2 |h(k)|^2`` on the frequencies of a real transform."""
        if self.noise is None:
            return self.gain(shape)
        return self.gain(shape) * _squared_transform(self.noise, shape)


def _squared_transform(stamps: NDArray[np.float64], shape: tuple[int, int]) -> NDArray[np.float64]:
    """Return the squared modulus of the real transforms of stamps ``(n, ny, nx // 2 + 1)``."""
    transform = np.fft.rfft2(stamps, shape)  # the origin affects the phase only
    return transform.real**2 + transform.imag**2


def with_noise(side: NoiseSide, noise: NDArray[np.float64]) -> NoiseSide:
    """Return a side whose noise went through one more noise kernel.

    Parameters
    ----------
    side : NoiseSide
        The noise of n places.
    noise : array (n, 2w + 1, 2w + 1)
        Symmetric kernels, with the origin in the middle.

    Returns
    -------
    NoiseSide
        With `noise` added to the noise kernels that it and its parts have already.
    """
    before, centre = side.noise, (noise.shape[-1] // 2,) * 2
    if before is None:
        after = np.broadcast_to(noise, (len(side), *noise.shape[1:]))
    else:
        after, _ = convolve_stamps(before, (before.shape[-1] // 2,) * 2, noise, centre)
    return replace(side, noise=after, parts=tuple(with_noise(part, noise) for part in side.parts))


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
