"""Models of PSFEx: images on a sampling grid of their own, times polynomials of position.

The samples are those of the PSF as the pixels see it, to be interpolated with the sinc of 4 lobes
with which PSFEx has fitted them. Positions in the file are 1-based FITS pixels.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NoReturn

import numpy as np
from astropy.io import fits

from diffdecor.core.resample import rendered
from diffdecor.core.spatial import Term
from diffdecor.errors import InputError
from diffdecor.fits.formats import column_names
from diffdecor.fits.open import Hdu, Hdus, Header
from diffdecor.psfs.model import BasisPsf
from diffdecor.psfs.registry import register
from diffdecor.psfs.sampling import check_sampling, is_number

_COLUMN = "PSF_MASK"
_X_AND_Y = (("X_IMAGE", "Y_IMAGE"), ("XWIN_IMAGE", "YWIN_IMAGE"))
_HIGHEST_DEGREE = 30
_MOST_AXES = 9
_ADVICE = "run PSFEx with PSFVAR_KEYS X_IMAGE,Y_IMAGE and PSFVAR_GROUPS 1,1, or give stamps"


@register(
    "psfex",
    description="a PSFEx model (a table with the column PSF_MASK)",
    notes="Rendered at the pixel scale of the image (card PSF_SAMP), its flux kept.",
)
class PsfexModel:
    """Reads the ``.psf`` files of PSFEx."""

    @staticmethod
    def identify(hdus: Hdus) -> bool:
        """Say whether there is a table with the column PSF_MASK."""
        return any(_is_model(hdu) for hdu in hdus)

    @staticmethod
    def read(hdus: Hdus, selected: Hdu, name: str) -> BasisPsf:
        """Read the model, and render its images on pixels."""
        models = [hdu for hdu in ([selected] if selected is not None else hdus) if _is_model(hdu)]
        if len(models) > 1:
            msg = (
                f"{name}: holds {len(models)} PSFEx models, one for every CCD; name the one of the "
                "image as file.psf[1]"
            )
            raise InputError(msg)
        name = f"{name}: PSF"
        model = sampled_model(models[0], name)
        step = models[0].header.get("PSF_SAMP", 1.0)
        check_sampling("PSF_SAMP", step, max(model.basis.shape[1:]) * step, name)
        basis, origin = rendered(model.basis, model.origin, float(step), "lanczos4")
        return replace(model, basis=basis, origin=origin)


def sampled_model(hdu: Hdu, name: str) -> BasisPsf:
    """Read a model on its own sampling grid.

    Positions are 0-based; the point source is on sample ``n // 2`` of odd and even sizes. An error
    if it depends on anything but the position in the image, or contradicts itself.
    """
    header = hdu.header
    degree, scaling = _polynomial(header, name)
    # The power of x is the fast one: 1, u, u^2, v, uv, v^2.
    terms = tuple(Term("POLY", i, j) for j in range(degree + 1) for i in range(degree + 1 - j))
    if hdu.data is None or len(hdu.data) != 1:
        _refuse(name, "a table without its one row")
    cell = np.array(hdu.data[_COLUMN][0], dtype=np.float64)
    nx, ny = (header.get(f"PSFAXIS{axis}", cell.shape[-axis]) for axis in (1, 2))
    if not (nx >= 1 and ny >= 1 and cell.size == len(terms) * nx * ny):
        problem = f"{cell.size} samples for {len(terms)} images of {nx} x {ny}"
        _refuse(name, problem)
    return BasisPsf(
        basis=cell.reshape(-1, ny, nx),
        origin=(nx // 2, ny // 2),
        terms=terms,
        coefficients=np.eye(len(terms)),
        name=name,
        **scaling,
    )


def _polynomial(header: Header, name: str) -> tuple[int, dict[str, float]]:
    """Return the degree of the polynomial and the scaling of its 0-based positions."""
    axes = header.get("POLNAXIS", 0)
    if axes == 0:
        return 0, {}
    if type(axes) is not int or not 0 < axes <= _MOST_AXES:
        _refuse(name, f"POLNAXIS = {axes!r}")
    names = tuple(str(header.get(f"POLNAME{axis}")).strip() for axis in range(1, axes + 1))
    if names not in _X_AND_Y or header.get("POLNGRP", 1) != 1:
        msg = (
            f"{name}: varies with {', '.join(names)} in {header.get('POLNGRP', 1)} groups, but "
            f"only polynomials of the position in the image are understood; {_ADVICE}"
        )
        raise InputError(msg)
    degree = header.get("POLDEG1")
    if not isinstance(degree, int) or not 0 <= degree <= _HIGHEST_DEGREE:
        _refuse(name, f"POLDEG1 = {degree!r}")
    cards = {key: header.get(key) for key in ("POLZERO1", "POLSCAL1", "POLZERO2", "POLSCAL2")}
    if not all(is_number(value) for value in cards.values()):
        _refuse(name, f"{cards} are not all numbers")
    return degree, {
        "x0": cards["POLZERO1"] - 1.0,
        "xs": float(cards["POLSCAL1"]),
        "y0": cards["POLZERO2"] - 1.0,
        "ys": float(cards["POLSCAL2"]),
    }


def _is_model(hdu: Hdu) -> bool:
    return isinstance(hdu, fits.BinTableHDU) and _COLUMN in column_names(hdu)


def _refuse(name: str, problem: str) -> NoReturn:
    msg = f"{name}: damaged PSFEx model: {problem}; make it again"
    raise InputError(msg)
