"""What Python programs give as planes: made what the numerics expect, or refused."""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from diffdecor.core.planes import Plane, constant_plane
from diffdecor.errors import InputError

_LARGEST = 1 << 31


def refuse(name: str, what: str, problem: str) -> NoReturn:
    """Raise an `InputError` on a part of an exposure."""
    msg = f"{name}: the {what} {problem}"
    raise InputError(msg)


def plain_array(value: Any, name: str, what: str) -> Any:  # noqa: ANN401  whatever a user gives
    """Return what holds numbers as an array; a plane that is no array is returned as it is.

    What carries a unit, a mask or an uncertainty of its own is refused: they would be lost.
    """
    if isinstance(value, np.ma.MaskedArray):
        refuse(name, what, "is a masked array; give its data, and its mask as a mask")
    unit = getattr(value, "unit", None)
    if unit is not None or hasattr(value, "uncertainty"):
        kind = type(value).__name__
        refuse(
            name,
            what,
            f"is a {kind} ({unit}); give plain numbers (its value or data), image and variance in "
            "one unit and its square, mask and noise as planes of their own",
        )
    if isinstance(value, np.ndarray):
        return np.asarray(value)
    own = type(value).__module__.startswith("diffdecor.")
    if own or (hasattr(value, "shape") and not hasattr(value, "__array__")):
        return value
    try:
        return np.asarray(value)
    except ValueError as error:  # rows of several lengths
        refuse(name, what, f"is no array of numbers ({error})")


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
