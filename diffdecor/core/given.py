"""What Python programs give where numbers are expected: an array of them, or refused."""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from diffdecor.errors import InputError


def refuse(name: str, what: str, problem: str) -> NoReturn:
    """Raise an `InputError` on a part of what was given."""
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
            "one unit and its square, mask and noise as planes of their own; of a CCDData or "
            "NDData Exposure.from_ccddata makes an exposure",
        )
    if isinstance(value, np.ndarray):
        return np.asarray(value)
    own = type(value).__module__.startswith("diffdecor.")
    if own or (hasattr(value, "shape") and not hasattr(value, "__array__")):
        return value
    try:
        return np.asarray(value)
    except ValueError as error:  # rows of several lengths
        refuse(name, what, f"is not an array of numbers ({error})")


def stamp_array(value: Any, name: str, error: type[InputError] = InputError) -> NDArray[np.float64]:  # noqa: ANN401
    """Return a copy of stamps ``(n, ny, nx)``, of one stamp ``(ny, nx)`` too."""
    array = plain_array(value, name, "stamp")
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "iuf":
        msg = f"{name}: is not an array of numbers; read_kernel and read_psf read files"
        raise error(msg)
    stamps = np.array(array, dtype=np.float64)
    stamps = stamps[np.newaxis] if stamps.ndim == 2 else stamps
    if stamps.ndim != 3 or 0 in stamps.shape:
        msg = f"{name}: is one stamp (ny, nx), or several (n, ny, nx), not {array.shape}"
        raise error(msg)
    return stamps


def position_array(
    value: Any,  # noqa: ANN401
    count: int,
    name: str,
    error: type[InputError] = InputError,
) -> NDArray[np.float64]:
    """Return positions ``(n, 2)`` of stamps; one stamp needs none."""
    if value is None and count > 1:
        msg = f"{name}: {count} stamps without positions; give the position (x, y) of each"
        raise error(msg)
    positions = np.zeros((1, 2)) if value is None else np.array(value, dtype=np.float64)
    if positions.shape != (count, 2):
        msg = f"{name}: {count} stamps but positions of shape {positions.shape}, not ({count}, 2)"
        raise error(msg)
    return positions
