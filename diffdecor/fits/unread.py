"""An image left in its file until somebody wants its pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from diffdecor.fitsfile import find_extension, open_fits, read_pixels


class UnreadPlane:
    """An image left in its file until somebody wants its pixels.

    Parameters
    ----------
    path : str or Path
        The file.
    index : int
        0-based number of the HDU.
    shape : tuple of int
        ``(ny, nx)``.
    """

    def __init__(self, path: str | Path, index: int, shape: tuple[int, ...]) -> None:
        self.path = path
        self.index = index
        self.shape = shape
        self._pixels: NDArray[Any] | None = None

    def __getitem__(self, rows: slice, /) -> NDArray[Any]:
        if self._pixels is None:
            with open_fits(self.path) as (hdus, _):
                self._pixels = read_pixels(find_extension(hdus, self.index, self.path), self.path)
        return self._pixels[rows]

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:  # noqa: FBT001
        return np.array(self[0 : self.shape[0]], dtype=dtype, copy=copy)
