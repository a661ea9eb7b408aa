"""Matching kernels of the LSST stack, from the archives in which it stores them.

The stack convolves without a flip, with the kernel at the parent position of the output pixel. Here
both are turned into true convolution and array pixels. Where the array lies in the parent (XY0) is
known to the difference alone; which image was convolved is not known to the file either.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

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
from diffdecor.kernels.model import BasisKernel, Box, MatchingKernel, Region, Side, StampKernel
from diffdecor.kernels.registry import KernelOptions, register
from diffdecor.kernels.source import Source, side_of

logger = logging.getLogger(__name__)

_SIDE_CARDS = ("CONVSIDE", "convolvedExposure")
_EVERYWHERE = (2**16, 2**16)
_ADVICE = (
    "evaluate it with the stack and give the stamp as an image with the card "
    "KERSENSE = 'CORRELATION'"
)


class _Frame(NamedTuple):
    """Where the pixels of the difference lie in the parent, and how many there are."""

    origin: tuple[float, float]
    shape: tuple[int, int] | None


@register("lsst", description="a matching kernel of the LSST stack (EXTTYPE = ARCHIVE_INDEX)")
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
        if not stored.varies:
            stamp, origin = reflect(stored.constant[np.newaxis], stored.center)
            kernel = StampKernel(
                stamps=stamp.copy(),
                origin=origin,
                convolved=side,
                image_shape=source.image_shape,
                name=source.name,
                format="lsst",
            )
            scale = _science_scale(kernel, 0.0, 0.0) if side == "science" else 1.0
            return replace(kernel, science_scale=scale)
        return _varying(stored, source, side)


def _varying(stored: StoredKernel, source: Source, side: Side | None) -> BasisKernel:
    """Return a kernel that depends on position."""
    frame = _frame(stored.domain, source)
    if side is None:
        logger.warning(
            "%s: the file does not say which image was convolved (--convolved says it)", source.name
        )
    basis, origin = reflect(stored.images, stored.center)
    ny, nx = frame.shape or _EVERYWHERE
    region = Region(
        box=Box(0, nx - 1, 0, ny - 1),
        side=side,
        coefficients=stored.coefficients,
        **stored.scaling(frame.origin),
    )
    kernel = BasisKernel(
        basis=basis.copy(),
        origin=origin,
        terms=stored.terms,
        regions=(region,),
        image_shape=frame.shape,
        name=source.name,
        format="lsst",
    )
    if side != "science":
        return kernel
    scale = _science_scale(kernel, (nx - 1) / 2, (ny - 1) / 2)
    return replace(kernel, regions=(replace(region, science_scale=scale),))


def _science_scale(kernel: MatchingKernel, x: float, y: float) -> float:
    """Return a_S with the science image convolved: D = (K * S) / k - T."""
    total = kernel.sum(x, y)
    if abs(total) <= 1e-9 * np.abs(kernel.stamp(x, y)).sum():
        msg = f"{kernel.name}: the sum of the kernel is zero, so it would remove all flux"
        raise KernelError(msg)
    return 1.0 / total


def _kernel_record(source: Source) -> Record:
    """Return the object of a file that is a kernel."""
    if is_exposure(source.hdus):
        msg = (
            f"{source.name}: this is an exposure, and the archive in it holds its PSF, not the "
            "matching kernel; give the file of the kernel with --kernel"
        )
        raise KernelError(msg)
    record = open_archive(source.hdus, source.name).record(1)
    if record.kind in KERNELS:
        return record
    if record.kind.endswith("Psf"):
        msg = f"{record.name} is a PSF, not a matching kernel; give the file of the kernel"
        raise KernelError(msg)
    return record.refuse_kind("matching kernel", _ADVICE, KernelError)


def _side(source: Source) -> Side | None:
    """Return the convolved side if a card says it; the stack itself writes none."""
    for keyword in _SIDE_CARDS:
        value = source.card(keyword)
        if value is not None:
            return side_of(source.name, keyword, value)
    return None


def _frame(domain: Domain | None, source: Source) -> _Frame:
    """Return where the pixels of the difference lie in the parent, and warn if that is a guess."""
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
        return _Frame(found, shape)
    if domain is not None and shape is not None and not _inside(domain, origin, shape):
        logger.warning(
            "%s: made for the parent pixels %s, but the difference begins at %s and has %d x %d "
            "pixels: is it another image's?", source.name, domain, origin, shape[1], shape[0],
        )  # fmt: skip
    return _Frame(origin, shape)


def _inside(domain: Domain, origin: tuple[float, float], shape: tuple[int, int]) -> bool:
    """Say whether an image lies in the domain of the functions, to the edges of its pixels."""
    x, y = origin
    return (
        domain.min_x <= x
        and domain.min_y <= y
        and x + shape[1] - 1 <= domain.max_x
        and y + shape[0] - 1 <= domain.max_y
    )
