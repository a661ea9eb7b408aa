"""The basis images of HOTPANTS kernels: Gaussians times polynomials."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from astropy.io import fits

from diffdecor.errors import KernelError
from diffdecor.fits.formats import LARGEST_SIDE
from diffdecor.kernels.model import Term

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MOST = 50  # Gaussians, or order of a polynomial; the tool is used with up to 8


@dataclass(frozen=True, eq=False)
class BasisModel:
    """What the header of a kernel table says."""

    #: Degree of the polynomial and sigma (pixels) of every Gaussian.
    gaussians: tuple[tuple[int, float], ...]
    width: int
    terms: tuple[Term, ...]
    background_terms: tuple[Term, ...]

    @property
    def n_basis(self) -> int:
        """Number of basis images."""
        return sum((degree + 1) * (degree + 2) // 2 for degree, _ in self.gaussians)

    @property
    def n_rows(self) -> int:
        """Rows of the table: an unused one, kernel, background and padding."""
        return self.n_basis * len(self.terms) + len(self.background_terms) + 1


def read_model(name: str, header: fits.Header) -> BasisModel:
    """Read the header of a kernel table; an error if a card is missing or impossible."""
    count = _whole(name, header, "NGAUSS", 1)
    gaussians = []
    for k in range(1, count + 1):
        sigma = header.get(f"SGAUSS{k}")
        if not isinstance(sigma, (int, float)) or not sigma > 0:
            msg = (
                f"{name}: SGAUSS{k} = {sigma!r} is not the width of a Gaussian (made with -pca?);"
                " only Gaussian bases can be read"
            )
            raise KernelError(msg)
        gaussians.append((_whole(name, header, f"DGAUSS{k}", 0), float(sigma)))
    width = _whole(name, header, "FWKERN", 1)
    if width % 2 == 0:
        msg = f"{name}: FWKERN = {width} is even; HOTPANTS kernels have odd widths"
        raise KernelError(msg)
    terms, background_terms = (
        tuple(Term("POLY", a, b) for a in range(order + 1) for b in range(order + 1 - a))
        for order in (_whole(name, header, key, 0) for key in ("CKORDER", "BGORDER"))
    )
    return BasisModel(tuple(gaussians), width, terms, background_terms)


def _whole(name: str, header: fits.Header, keyword: str, least: int) -> int:
    value = header.get(keyword)
    if type(value) is int and least <= value <= (LARGEST_SIDE if keyword == "FWKERN" else _MOST):
        return value
    found = "is missing" if value is None else f"= {value!r} is impossible"
    msg = f"{name}: {keyword} {found} in the HOTPANTS kernel table; make the kernel again"
    raise KernelError(msg)


@np.errstate(all="ignore")  # of widths and sigmas that cannot be: the kernel refuses NaN itself
def basis_images(model: BasisModel) -> NDArray[np.float64]:
    """Return the basis images ``(nbasis, ky, kx)``: Gaussians times polynomials.

    Only the first has a sum; the origin is the middle pixel.
    """
    t = np.arange(-(model.width // 2), model.width // 2 + 1, dtype=np.float64)
    images: list[NDArray[np.float64]] = []
    for degree, sigma in model.gaussians:
        # The tool keeps these two numbers in single precision, and the stamps show it.
        exponent = float(np.float32(1.0 / (2.0 * float(np.float32(sigma)) ** 2)))
        profile = [t**n * np.exp(-exponent * t**2) for n in range(degree + 1)]
        for i in range(degree + 1):
            for j in range(degree + 1 - i):
                px, py = profile[i], profile[j]
                if i % 2 == 0 and j % 2 == 0:
                    # Of a damaged width there may be nothing to normalise: refused as not finite.
                    with np.errstate(divide="ignore", invalid="ignore"):
                        image = np.outer(py / py.sum(), px / px.sum())
                    images.append(image - images[0] if images else image)
                else:
                    images.append(np.outer(py, px))
    return np.array(images)
