"""The steps in which pixels are stored: whole numbers, or floats of a lossy compression."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from diffdecor.core.parallel import once
from diffdecor.fits.open import Hdu, damaged_pixels, image_shape, quiet_astropy
from diffdecor.fits.pixels import scaling_of

_EXACT_ZERO = "SUBTRACTIVE_DITHER_2"


@dataclass(frozen=True, eq=False, kw_only=True)
class Quantum:
    """Steps of the values that pixels can have."""

    #: Of some rows: the step ``(n, nx)``, or what numpy makes that of.
    step: Callable[[slice], Any]
    #: A value that pixels have exactly; all others are off by a random part of half a step.
    exact: float | None = None
    #: All pixels are ``zero + step * n``, without dither.
    zero: float | None = None
    #: What made the steps, for people.
    reason: str = ""

    def holds(self, value: float) -> bool:
        """Say whether pixels of a value are stored as that."""
        if self.zero is None:
            return value == self.exact
        return bool(np.float32(self._nearest(value)) == np.float32(value))

    def usual_step(self, ny: int) -> float:
        """Return the median step of an image of so many rows."""
        return float(np.median(self.step(slice(0, ny))))

    def reach(self, rows: slice, value: float) -> Any:  # noqa: ANN401  a number or an array
        """Return how far from a value pixels may be that had it, with room for rounding."""
        if self.zero is not None:
            return abs(self._nearest(value) - value) + 1e-4 * self.step(rows)
        return 0.5001 * self.step(rows)

    def _nearest(self, value: float) -> float:
        step, zero = self.step(slice(0, 1)), self.zero or 0.0
        return float(zero + step * np.rint((value - zero) / step))


def quantum_of(hdu: Hdu, file: object) -> Quantum | None:
    """Return the steps of the pixels of an image HDU, None where they are floats as they were."""
    if isinstance(hdu, fits.CompImageHDU) and hdu.header.get("BITPIX", 8) < 0:
        return _of_compression(hdu, file)
    if hdu.header.get("BITPIX", -32) < 0:
        return None
    scaling = scaling_of(hdu.header, file)
    size = abs(scaling.scale)
    return Quantum(step=lambda _: size, zero=scaling.zero, reason="whole numbers") if size else None


def _of_compression(hdu: Hdu, file: object) -> Quantum | None:
    """Return the steps of tile-compressed floats, of ZSCALE; None if nothing was lost."""
    with damaged_pixels(file), quiet_astropy(file):
        table = hdu._bintable  # noqa: SLF001  astropy has no public name for it
        header, names = table.header, table.columns.names
        if "ZSCALE" in names:
            scales = np.abs(np.asarray(table.data["ZSCALE"], dtype=np.float64))
        elif header.get("ZSCALE"):
            scales = np.array([abs(float(header["ZSCALE"]))])
        else:
            return None
    ny, nx = image_shape(hdu)
    tile_x, tile_y = int(header.get("ZTILE1", nx)), int(header.get("ZTILE2", 1))
    across, down = -(-nx // tile_x), -(-ny // tile_y)
    if not scales.any():
        return None
    grid = np.resize(scales, (down, across))

    @once
    def columns() -> NDArray[np.intp]:
        return np.arange(nx) // tile_x

    def step(rows: slice) -> NDArray[np.float64]:
        first, last, _ = rows.indices(ny)
        part = grid[np.arange(first, last) // tile_y]
        return part if across == 1 else part[:, columns()]

    method = str(header.get("ZQUANTIZ", "NO_DITHER")).strip().upper()
    exact = 0.0 if method == _EXACT_ZERO else None
    return Quantum(step=step, exact=exact, reason=f"compression, {method}")
