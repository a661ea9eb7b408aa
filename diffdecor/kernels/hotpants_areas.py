"""Where HOTPANTS solved for kernels, by the header of its difference: no kernel table is needed."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from diffdecor.errors import KernelError
from diffdecor.fits.formats import LARGEST_SIDE
from diffdecor.fits.open import Header
from diffdecor.kernels.hotpants_layout import (
    Command,
    Layout,
    cut_out,
    parse_command,
    region_box,
    region_layout,
)
from diffdecor.kernels.regions import Box, KernelArea
from diffdecor.kernels.registry import KernelOptions
from diffdecor.kernels.source import Source

logger = logging.getLogger(__name__)

#: Half width of its kernels where its command line does not say it.
_HALF_WIDTH = 10
#: Its cards count regions with two digits.
_MOST = 100


@dataclass(frozen=True, eq=False, kw_only=True)
class _Headers(Source):
    """A difference of which only the header is known, and the shape ``(ny, nx)``."""

    header: Any = field(default_factory=dict)
    shape: tuple[int, int] = (0, 0)

    @property
    def image_shape(self) -> tuple[int, int]:
        return self.shape

    def card(self, keyword: str) -> Any:  # noqa: ANN401  cards hold all types
        return self.header.get(keyword)


def hotpants_areas(
    header: Header, shape: tuple[int, int], name: str = "difference", *, diffcmd: bool = True
) -> tuple[KernelArea, ...]:
    """Return the areas of an image ``(ny, nx)`` with a kernel each, in the order of their numbers.

    Where they overlap the later one counts. Blocks are None where nothing says them: without its
    command line (DIFFCMD), or where that is not to be believed. None at all if the image is no
    difference of HOTPANTS, or a cut-out of one and no card says of where.
    """
    if header is None or not any(f"REGION{n:02d}" in header for n in range(_MOST)):
        return ()
    path = Path(name)
    source = _Headers(path=path, name=name, hdus=(), header=header, shape=shape)
    try:
        boxes = _boxes(source)
        if not boxes:
            return ()
        command = parse_command(source.card("DIFFCMD")) if diffcmd else {}
        cut = cut_out(source, boxes)
        layout, width = _layout(source, command, boxes, cut)
    except KernelError as error:
        logger.info("%s; its regions are not used to find the kernel", error)
        return ()
    except ArithmeticError:  # of numbers that are not counts
        logger.info("%s: its DIFFCMD cannot be; not used to find the kernel", name)
        return ()
    areas = (
        KernelArea(box, None if layout is None else layout.blocks(box, width))
        for _, box in sorted(boxes.items())
    )
    return tuple(areas if cut is None else (_moved(area, *cut) for area in areas))


def _boxes(source: _Headers) -> dict[int, Box]:
    """Return the regions with a solution by their numbers: those with a convolved side."""
    solved = (n for n in range(_MOST) if source.card(f"CONVOL{n:02d}") is not None)
    return {n: box for n in solved if (box := region_box(source, n)) is not None}


def _layout(
    source: _Headers, command: Command, boxes: Mapping[int, Box], cut: tuple[int, int] | None
) -> tuple[Layout | None, int]:
    """Return how regions are laid out and the width of the kernel; None without a command."""
    half, *_ = command.get("r", ()) or (_HALF_WIDTH,)
    if not command or not 0 <= half <= LARGEST_SIDE // 2:
        return None, 0
    width = 2 * int(half) + 1
    in_x, in_y = (int((command.get(key, ()) or (1,))[0]) for key in ("nrx", "nry"))
    count = max(in_x * in_y, max(boxes) + 1)
    return region_layout(source, KernelOptions(), command, boxes, count, width, cut=cut), width


def _moved(area: KernelArea, x: int, y: int) -> KernelArea:
    """Return the area of a cut-out whose first pixel is ``(x, y)``."""
    blocks = area.blocks
    if blocks is not None:
        blocks = replace(blocks, start_x=blocks.start_x - x, start_y=blocks.start_y - y)
    return KernelArea(area.box.moved(x, y), blocks)
