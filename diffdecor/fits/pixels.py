"""The numbers that a FITS image stores, as pixels: byte order, BSCALE and BZERO, BLANK."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffdecor.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """What the cards of an image say of its stored numbers."""

    #: A pixel is ``zero + scale * stored``.
    scale: float = 1
    zero: float = 0
    #: The stored integer of a pixel without value.
    blank: int | None = None

    @property
    def is_shift(self) -> bool:
        """Whether integers stay integers, as they do in unsigned images."""
        return self.scale == 1 and self.zero == int(self.zero)

    def pixels(self, stored: NDArray[Any]) -> NDArray[Any]:
        """Return stored numbers, of any type and byte order, as pixels in native byte order.

        Floats keep their type; integers of up to 16 bits become float32, longer ones float64. What
        is BLANK is NaN. The stored numbers are not changed.
        """
        scale, zero = self.scale, self.zero
        if stored.dtype.kind == "f":
            pixels = stored.astype(stored.dtype.newbyteorder("="), copy=False)
        else:
            dtype = np.float32 if stored.dtype.itemsize <= 2 else np.float64
            if self.is_shift:
                pixels, zero = _shifted(stored, zero).astype(dtype), 0
            else:
                pixels = stored.astype(dtype)
            if self.blank is not None:
                pixels[stored == self.blank] = np.nan
        if scale != 1:
            pixels = pixels * pixels.dtype.type(scale)
        if zero != 0:
            pixels = pixels + pixels.dtype.type(zero)
        return pixels

    def integers(self, stored: NDArray[Any], name: object) -> NDArray[np.integer[Any]]:
        """Return stored numbers, of any type and byte order, as the integers of a mask.

        `name` is their file, for the InputError that says that one of them is not an integer.
        """
        if stored.dtype.kind != "f" and self.is_shift:
            if self.zero == 0:
                return stored.astype(stored.dtype.newbyteorder("="), copy=False)
            return _shifted(stored, self.zero)
        pixels = self.pixels(stored)
        whole = np.rint(pixels)
        if not (np.isfinite(pixels).all() and np.allclose(pixels, whole, rtol=0, atol=1e-3)):
            msg = f"{name}: a mask needs whole numbers, and this image has others; is it the mask?"
            raise InputError(msg)
        return np.asarray(np.clip(whole, -(2.0**62), 2.0**62), dtype=np.int64)


def fill(array: NDArray[Any], descriptor: int, place: int) -> int:
    """Fill an array ``(n,)`` from byte `place` of a file on; return how many bytes there were."""
    left = array.view(np.uint8).data
    start = place
    while left and (count := os.preadv(descriptor, [left], place)):
        left, place = left[count:], place + count
    return place - start


def numbers_at(
    descriptor: int, place: int, shape: tuple[int, int], stored: np.dtype[Any]
) -> NDArray[Any]:
    """Read numbers ``(n, nx)`` from byte `place` of a file on; return them in native byte order.

    EOFError if the file ends before they do.
    """
    numbers = np.empty(math.prod(shape), stored.newbyteorder("="))
    if fill(numbers, descriptor, place) < numbers.nbytes:
        msg = "the file became shorter while it was read"
        raise EOFError(msg)
    if not stored.isnative:  # along one axis numpy does that in place
        numbers[:] = numbers.view(stored)
    return numbers.reshape(shape)


def scaling_of(header: Any, name: object) -> Scaling:  # noqa: ANN401  astropy has no types
    """Return the scaling of an image by its header as it is on disk; `name` is for messages."""
    scale, zero = header.get("BSCALE", 1), header.get("BZERO", 0)
    if not all(isinstance(value, int | float) for value in (scale, zero)):
        msg = f"{name}: BSCALE, BZERO = {scale!r}, {zero!r} are not numbers; correct the cards"
        raise InputError(msg)
    blank = header.get("BLANK")
    return Scaling(scale=scale, zero=zero, blank=blank if isinstance(blank, int) else None)


def _shifted(stored: NDArray[Any], zero: float) -> NDArray[np.int64]:
    """Add a whole BZERO, modulo 2**64: that makes long unsigned numbers (BZERO = 2**63) exact."""
    shifted = stored.astype(np.int64).view(np.uint64) + np.uint64(int(zero) % 2**64)
    return shifted.view(np.int64)
