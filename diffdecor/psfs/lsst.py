"""PSFs of the LSST stack, from the archive in an exposure or from one of their own.

A PSF is drawn as its kernel is stored: no flip, unlike a kernel that is applied. Its functions are
those of parent pixels; where the array lies in the parent (XY0) is on cards of the image.
"""

from __future__ import annotations

import logging

import numpy as np

from diffdecor.errors import InputError
from diffdecor.fits.formats import LARGEST_SIDE
from diffdecor.fits.lsst_archive import (
    Record,
    has_archive,
    is_exposure,
    open_archive,
    parent_origin,
    psf_number,
)
from diffdecor.fits.lsst_kernels import KERNELS, stored_kernel
from diffdecor.fits.open import Hdu, Hdus
from diffdecor.psfs.model import BasisPsf, PointSpreadFunction, StampPsf
from diffdecor.psfs.registry import register

logger = logging.getLogger(__name__)

_WITH_KERNEL = ("KernelPsf", "PcaPsf")
_ADVICE = (
    "evaluate it with the stack (computeKernelImage) and give an image of it, or a cube named PSF "
    "with a table PSFPOS of X and Y"
)


@register(
    "lsst",
    description="the PSF of an LSST exposure (EXTTYPE = ARCHIVE_INDEX)",
    notes="KernelPsf, PcaPsf and GaussianPsf. CoaddPsf and others, which only the LSST stack can "
    "evaluate, are refused.",
)
class LsstPsf:
    """Reads KernelPsf, PcaPsf and GaussianPsf."""

    @staticmethod
    def identify(hdus: Hdus) -> bool:
        """Say whether there is an archive, in an exposure one with a PSF."""
        return has_archive(hdus) and (not is_exposure(hdus) or psf_number(hdus) > 0)

    @staticmethod
    def read(hdus: Hdus, selected: Hdu, name: str) -> PointSpreadFunction:
        """Read the PSF of the exposure, or the one that was written on its own."""
        number = psf_number(hdus) if is_exposure(hdus) else 1
        if number == 0:
            msg = f"{name}: this exposure has no PSF (PSF_ID = 0); give the file of the PSF"
            raise InputError(msg)
        record = open_archive(hdus, name).record(number)
        if record.kind == "GaussianPsf":
            return _gaussian(record)
        if record.kind in _WITH_KERNEL:
            images = [*([] if selected is None else [selected]), *hdus]
            return _kernel_psf(record, parent_origin(images))
        if record.kind in KERNELS:
            msg = f"{record.name} is a kernel, not a PSF; give the file of the PSF"
            raise InputError(msg)
        return record.refuse_kind("PSF", _ADVICE)


def _kernel_psf(record: Record, origin: tuple[float, float] | None) -> PointSpreadFunction:
    """Return a PSF that is drawn by a kernel."""
    part = record.part("kernel")
    if part.kind not in KERNELS:
        part.refuse_kind(f"kernel of a {record.kind}", _ADVICE)
    stored = stored_kernel(part)
    if not stored.varies:
        return StampPsf(stored.constant, origin=stored.center, name=record.name)
    if origin is None:
        logger.warning(
            "%s: no card LTV1, LTV2 to say where the pixels lie in the LSST parent; the first one "
            "is taken to be (0, 0)", record.name,
        )  # fmt: skip
    return BasisPsf(
        basis=stored.images,
        origin=stored.center,
        terms=stored.terms,
        coefficients=stored.coefficients,
        name=record.name,
        **stored.scaling(origin or (0.0, 0.0)),
    )


def _gaussian(record: Record) -> StampPsf:
    """Return a circular Gaussian, sampled at the middle of every pixel."""
    (nx, ny), sigma = record.pixel("dimensions"), record.number_in("sigma")
    if not (0 < nx <= LARGEST_SIDE and 0 < ny <= LARGEST_SIDE and sigma > 0):
        record.archive.refuse(f"{record.kind} of {nx} x {ny} pixels with sigma = {sigma:g}")
    x, y = np.arange(nx) - nx // 2, np.arange(ny) - ny // 2
    profile_x, profile_y = (np.exp(-0.5 * (offset / sigma) ** 2) for offset in (x, y))
    return StampPsf(np.outer(profile_y, profile_x), origin=(nx // 2, ny // 2), name=record.name)
