"""Matching kernels of the LSST stack, from the archives in which it stores them.

The stack convolves without a flip, with the kernel at the parent position of the output pixel. Here
both are turned into true convolution and array pixels. Where the array lies in the parent (XY0) is
known to the difference alone; which image was convolved is not known to the file either.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from diffdecor import words
from diffdecor.core.fourier import reflect
from diffdecor.errors import KernelError
from diffdecor.fits.lsst_archive import (
    Record,
    has_archive,
    is_exposure,
    open_archive,
    parent_origin,
)
from diffdecor.fits.lsst_kernels import KERNELS, Domain, StoredKernel, stored_kernel
from diffdecor.kernels.misreadings import on_side
from diffdecor.kernels.model import BasisKernel, Box, MatchingKernel, Region, Side, StampKernel
from diffdecor.kernels.registry import KernelOptions, register
from diffdecor.kernels.source import Source

logger = words.logger(__name__)

_EVERYWHERE = (2**16, 2**16)
_ADVICE = (
    "evaluate it with the stack and give the stamp as an image with the card "
    "KERSENSE = 'CORRELATION'"
)


@register(
    "lsst",
    description="a matching kernel of the LSST stack (EXTTYPE = ARCHIVE_INDEX)",
    notes="FixedKernel, DeltaFunctionKernel, and LinearCombinationKernel with polynomials or "
    "Chebyshev polynomials; every version of the tables. The corner XY0 is taken from the "
    "difference, the convolved side from its metadata or --convolved. Where the science image was "
    "convolved, a_S is one over the kernel sum at the image centre, and a_T is 1.",
)
class LsstReader:
    """Reads FixedKernel, DeltaFunctionKernel and LinearCombinationKernel."""

    @staticmethod
    def identify(hdus: Sequence[Any]) -> bool:
        """Say whether there is an archive."""
        return has_archive(hdus)

    @staticmethod
    def read(source: Source, options: KernelOptions) -> MatchingKernel:
        """Read a kernel that was written on its own; as a stamp if it is the same everywhere.

        With the science image convolved, a_S is the inverse of the kernel's sum at the middle of
        the image: the stack divides by it.
        """
        stored = stored_kernel(_kernel_record(source))
        side = options.convolved or _side(source)
        kernel = (
            _varying(stored, source, side) if stored.varies else _constant(stored, source, side)
        )
        if side != "science":
            return kernel
        ny, nx = kernel.image_shape or _EVERYWHERE
        x, y = (nx - 1) / 2, (ny - 1) / 2
        total = kernel.sum(x, y)
        if abs(total) <= 1e-9 * np.abs(kernel.stamp(x, y)).sum():
            source.refuse("the sum of the kernel is zero, so it would remove all flux")
        return on_side(kernel, side)


def _constant(stored: StoredKernel, source: Source, side: Side | None) -> StampKernel:
    stamp, origin = reflect(stored.constant[np.newaxis], stored.center)
    return StampKernel(
        stamps=stamp.copy(),
        origin=origin,
        convolved=side,
        image_shape=source.image_shape,
        name=source.name,
        format="lsst",
    )


def _varying(stored: StoredKernel, source: Source, side: Side | None) -> BasisKernel:
    """Return a kernel that depends on position."""
    first_pixel, shape = _frame(stored.domain, source)
    if side is None:
        logger.info(
            "%s: the file does not say which image was convolved (give it with --convolved)",
            source.name,
        )
    basis, origin = reflect(stored.images, stored.center)
    ny, nx = shape or _EVERYWHERE
    region = Region(
        box=Box(0, nx - 1, 0, ny - 1),
        side=side,
        coefficients=stored.coefficients,
        **stored.scaling(first_pixel),
    )
    return BasisKernel(
        basis=basis.copy(),
        origin=origin,
        terms=stored.terms,
        regions=(region,),
        image_shape=shape,
        name=source.name,
        format="lsst",
    )


def _kernel_record(source: Source) -> Record:
    """Return the object of a file that is a kernel."""
    if is_exposure(source.hdus):
        source.lack(
            "this is an exposure, and the archive in it holds its PSF, not the matching kernel",
            "give the file of the kernel with --kernel",
        )
    record = open_archive(source.hdus, source.name).record(1)
    if record.kind in KERNELS:
        return record
    if record.kind.endswith("Psf"):
        msg = f"{record.name} is a PSF, not a matching kernel; give the file of the kernel"
        raise KernelError(msg)
    return record.refuse_kind("matching kernel", _ADVICE, KernelError)


def _side(source: Source) -> Side | None:
    """Return the convolved side if a card says it; the stack itself writes none."""
    for keyword in ("CONVSIDE", "convolvedExposure"):
        value = source.card(keyword)
        if value is not None:
            return source.side(keyword, value)
    return None


def _frame(
    domain: Domain | None, source: Source
) -> tuple[tuple[float, float], tuple[int, int] | None]:
    """Return parent position and shape of the difference, and warn if the position is a guess."""
    difference = source.difference
    shape = source.image_shape
    origin = None if difference is None else parent_origin(difference.ordered)
    if origin is None and domain is not None:
        # The functions of a matching kernel are defined on its image, out to the pixels' edges.
        size = round(domain.max_y - domain.min_y), round(domain.max_x - domain.min_x)
        if shape in (None, size):
            shape, origin = size, (domain.min_x + 0.5, domain.min_y + 0.5)
    said = "no difference is given (--difference)" if difference is None else "no card LTV1, LTV2"
    if difference is None or origin is None:
        found = origin or (0.0, 0.0)
        logger.warning(
            "%s: %s to say where the pixels lie in the LSST parent; the first one is taken to be "
            "(%g, %g)", source.name, said, *found,
        )  # fmt: skip
        return found, shape
    if domain is not None and shape is not None and not _inside(domain, origin, shape):
        logger.warning(
            "%s: made for the parent pixels %s, but the difference begins at %s and has %d x %d "
            "pixels: is it the kernel of another image?", source.name, domain, origin, *shape[::-1],
        )  # fmt: skip
    return origin, shape


def _inside(domain: Domain, origin: tuple[float, float], shape: tuple[int, int]) -> bool:
    """Say whether an image lies in the domain of the functions, to the edges of its pixels."""
    x, y = origin
    return (
        domain.min_x <= x
        and domain.min_y <= y
        and x + shape[1] - 1 <= domain.max_x
        and y + shape[0] - 1 <= domain.max_y
    )
