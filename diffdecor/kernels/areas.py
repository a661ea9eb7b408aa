"""What the header of a difference says of where and how its kernel varies, without the kernel."""

from __future__ import annotations

from diffdecor.fits.open import Header
from diffdecor.kernels.hotpants_areas import hotpants_areas
from diffdecor.kernels.regions import Box, KernelArea

#: Cards that SFFT writes into a difference.
_OF_SFFT = ("CONVD", "KERHW", "KERORDER")


def kernel_areas(
    header: Header, shape: tuple[int, int], name: str = "difference", *, diffcmd: bool = True
) -> tuple[KernelArea, ...]:
    """Return the areas of an image ``(ny, nx)`` with a solution for the kernel each.

    None where the header is not that of a tool that is known. With `diffcmd` the command line of
    HOTPANTS is believed.
    """
    if header is not None and all(card in header for card in _OF_SFFT):
        return (KernelArea(Box(0, shape[1] - 1, 0, shape[0] - 1), at_source=True),)
    return hotpants_areas(header, shape, name, diffcmd=diffcmd)
