"""What Python programs give as planes: made what the numerics expect, or refused."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffdecor.core.given import plain_array, refuse
from diffdecor.core.planes import Plane, constant_plane

_LARGEST = 1 << 31


def image_plane(value: Any, name: str, what: str = "image") -> Plane:  # noqa: ANN401
    """Return pixels as floats in native byte order; those are returned as they are."""
    plane = plain_array(value, name, what)
    if not isinstance(plane, np.ndarray):
        return plane  # type: ignore[no-any-return]
    if plane.dtype.kind not in "iuf":
        refuse(name, what, f"holds {plane.dtype}, not real numbers")
    if plane.dtype.kind == "f" and plane.dtype.itemsize in (4, 8):
        return plane.astype(plane.dtype.newbyteorder("="), copy=False)
    return plane.astype(np.float32 if plane.dtype.itemsize <= 2 else np.float64)


def variance_plane(value: Any, shape: tuple[int, ...], name: str) -> Plane:  # noqa: ANN401
    """Return a variance as a plane; one number holds for all pixels."""
    plane = image_plane(value, name, "variance")
    if isinstance(plane, np.ndarray) and plane.ndim == 0:
        number = float(plane)
        if not (np.isfinite(number) and number > 0):
            refuse(name, "variance", f"is {number:g}; it must be above zero")
        return constant_plane(number, (shape[0], shape[1]))
    return plane


def split_masked(value: Any) -> tuple[Any, NDArray[np.bool_] | None]:  # noqa: ANN401
    """Return the data of a masked array without a unit, and where it is masked; else None."""
    if isinstance(value, np.ma.MaskedArray) and getattr(value, "unit", None) is None:
        return value.data, np.ma.getmaskarray(value)
    return value, None


def mask_plane(
    value: Any,  # noqa: ANN401
    bits: dict[str, int],
    name: str,
) -> tuple[Plane, dict[str, int]]:
    """Return a mask of bits and the names of its planes.

    True is BAD, or the only plane that has a name. What is not 0 in whole numbers without names is
    BAD too, as in files.
    """
    plane = plain_array(value, name, "mask")
    if not isinstance(plane, np.ndarray):
        return plane, bits
    if plane.dtype.kind == "b":
        if len(bits) > 1 and "BAD" not in bits:
            refuse(name, "mask", f"is True or False, but has {len(bits)} planes; give bits")
        bits = bits or {"BAD": 0}
        plane_bit = bits["BAD"] if "BAD" in bits else next(iter(bits.values()))
        return plane.astype(np.int32) << np.int32(plane_bit), bits
    if plane.dtype.kind not in "iu":
        refuse(name, "mask", f"holds {plane.dtype}; it must be whole numbers, or True and False")
    # A plane beyond bit 30 is one of a mask of 64 bits.
    largest = _LARGEST**2 if max(bits.values(), default=0) > 30 else _LARGEST
    if plane.size and (plane.min() < 0 or plane.max() >= largest):
        refuse(name, "mask", "has numbers below 0 or above 31 bits; give bits 0 to 30")
    if not bits and plane.any():
        return (plane != 0).astype(np.int32), {"BAD": 0}
    return plane.astype(plane.dtype.newbyteorder("="), copy=False), bits
