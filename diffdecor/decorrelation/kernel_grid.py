"""Find the regular grid of regions for which a tool solved separately, where no header says it."""

from __future__ import annotations

from collections.abc import Callable

from diffdecor.core.planes import Window
from diffdecor.kernels.model import Box, KernelArea

#: Numbers of regions along x and y that are looked for, those first that are used most.
_GRIDS = ((2, 1), (1, 2), (2, 2), (3, 1), (1, 3), (3, 2), (2, 3), (3, 3), (4, 4))
_USUAL = 3


def find_grid(
    shape: tuple[int, int], explains: Callable[[Window], bool], *, all_grids: bool
) -> tuple[int, int] | None:
    """Return the number of regions along x and y with a kernel each, of an image ``(ny, nx)``.

    `explains` says whether one kernel explains a window: it is asked of the first region of every
    grid, or of only the most usual ones. None if there is no such grid.
    """
    ny, nx = shape
    for along_x, along_y in _GRIDS if all_grids else _GRIDS[:_USUAL]:
        if explains(Window(0, nx // along_x, 0, ny // along_y)):
            return along_x, along_y
    return None


def grid_areas(shape: tuple[int, int], grid: tuple[int, int]) -> list[KernelArea]:
    """Return the regions of a grid as HOTPANTS cuts an image ``(ny, nx)``.

    Neighbours share a row or column, in which the later one counts.
    """
    (ny, nx), (along_x, along_y) = shape, grid
    x, y = (
        [number * (length - 1) // count for number in range(count + 1)]
        for length, count in ((nx, along_x), (ny, along_y))
    )
    return [
        KernelArea(Box(x[column], x[column + 1], y[row], y[row + 1]))
        for row in range(along_y)
        for column in range(along_x)
    ]
