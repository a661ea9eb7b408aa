"""PSFs in images of Rubin's package lsst.images: Gaussians, and Piff's pixel grids.

Nothing in the tree names the class of a PSF but its schema. All stamps are centred in their middle
pixel and have unit sum. Functions of position are those of box pixels.
"""

from __future__ import annotations

import itertools
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from diffdecor.core.spatial import Term
from diffdecor.fits.formats import LARGEST_SIDE
from diffdecor.fits.lsst_images import Node, first_pixel, has_tree, open_tree
from diffdecor.fits.open import Hdu, Hdus
from diffdecor.psfs.model import BasisPsf, PointSpreadFunction, StampPsf
from diffdecor.psfs.registry import register

_ADVICE = (
    "draw the PSF with lsst.images and give an image of it, or a cube named PSF with a table "
    "PSFPOS of X and Y"
)
#: Highest order of polynomials: more terms than this are damage.
_HIGHEST = 20


@register(
    "lsst-images",
    description="the PSF of an image of lsst.images: Gaussian, Piff PixelGrid",
    notes="The Piff PSF must be a PixelGrid with polynomials.",
)
class LsstImagesPsf:
    """Reads gaussian_psf, and piff_psf where it is a pixel grid with polynomials."""

    @staticmethod
    def identify(hdus: Hdus) -> bool:
        """Say whether lsst.images wrote the file."""
        return has_tree(hdus)

    @staticmethod
    def read(hdus: Hdus, selected: Hdu, name: str) -> PointSpreadFunction:  # noqa: ARG004
        """Read the PSF of the image."""
        tree = open_tree(hdus, name)
        if not tree.has("psf"):
            tree.refuse("there is no PSF in it (psf is null)", "give the file of the PSF")
        node = tree.part("psf")
        schema = str(node.value.get("schema_url", "")).rstrip("/").rpartition("/")[2]
        kind = schema.partition("-")[0]
        if kind == "gaussian_psf":
            return _gaussian(node)
        if kind == "piff_psf":
            return _piff(node, first_pixel(tree))
        return node.refuse(
            f"a PSF of the kind {kind or 'without a schema'}, which is not read", _ADVICE
        )


def _gaussian(node: Node) -> StampPsf:
    """Return a circular Gaussian, sampled at the middle of every pixel."""
    size, sigma = _size(node), node.number("sigma")
    if sigma <= 0:
        node.refuse(f"a Gaussian with sigma = {sigma:g}")
    middle = size // 2
    profile = np.exp(-0.5 * ((np.arange(size) - middle) / sigma) ** 2)
    stamp = np.outer(profile, profile)
    return StampPsf(stamp, origin=(middle, middle), name=f"{node.name}: PSF")


def _piff(node: Node, first: tuple[int, int]) -> BasisPsf:
    """Return a pixel grid whose pixels are polynomials of the box position.

    `first` is the box position of the first array pixel.
    """
    piff = node.node("piff")
    model = piff.node("objects", "piff", "structs", "model")
    interpolation = piff.node("objects", "piff", "structs", "interp")
    kind = piff.node("structs", "piff").value.get("type")
    if (kind, model.value.get("type")) != ("Simple", "PixelGrid"):
        _unread(node, f"a model of the type {kind}, {model.value.get('type')}")
    step = piff.node("objects", "piff", "wcs", "wcs").number("scale")
    if step <= 0 or abs(model.number("scale") - step) > 1e-9 * step:
        _unread(node, f"pixels of {model.value['scale']} in an image with pixels of {step}")
    order: Any = interpolation.value.get("order")
    keys: Any = interpolation.value.get("keys")
    is_polynomial = interpolation.value.get("type") == "BasisPolynomial"
    scales = {("x", "y"): 1.0, ("u", "v"): 1.0 / step}
    keys = tuple(map(str, keys)) if isinstance(keys, list) else ()
    whole = isinstance(order, int) and not isinstance(order, bool) and 0 <= order <= _HIGHEST
    if not is_polynomial or not whole or interpolation.has("max_order") or keys not in scales:
        kind = interpolation.value.get("type")
        _unread(node, f"{kind} of order {order!r} (at most {_HIGHEST} is) in {keys!r}")
    terms = tuple(
        Term("POLY", i, j)
        for i, j in itertools.product(range(order + 1), repeat=2)
        if i + j <= order
    )
    images = _grown(node, _solution(piff, model.whole("size"), len(terms)))
    middle = images.shape[-1] // 2
    return BasisPsf(
        basis=images,
        origin=(middle, middle),
        terms=terms,
        coefficients=np.eye(len(terms)),
        x0=-float(first[0]),
        y0=-float(first[1]),
        xs=scales[keys],
        ys=scales[keys],
        name=f"{node.name}: PSF",
    )


def _solution(piff: Node, size: int, terms: int) -> NDArray[np.float64]:
    """Return the images ``(terms, size, size)`` that the terms multiply."""
    tables = piff.node("objects", "piff", "objects", "interp", "tables")
    columns = tables.node("solution", "table").nodes("columns")
    column = next((one for one in columns if one.value.get("name") == "q"), None)
    if column is None:
        piff.refuse("its solution has no column q")
    values = column.array("data")
    if values.shape != (size * size, terms) or not np.isfinite(values).all():
        piff.refuse(
            f"its solution has shape {values.shape}, expected {(size * size, terms)}, all finite"
        )
    return values.T.reshape(terms, size, size)


def _grown(node: Node, images: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return images with zeros around them, up to the size of the stamps."""
    size, given = _size(node), images.shape[-1]
    if given > size or given % 2 == 0:
        _unread(node, f"stamps of {size} pixels from a grid of {given}")
    margin = (size - given) // 2
    return np.pad(images, ((0, 0), (margin, margin), (margin, margin)))


def _size(node: Node) -> int:
    """Return the side of the stamps, pixels: an odd number."""
    size = node.whole("stamp_size")
    if not (0 < size <= LARGEST_SIDE and size % 2):
        node.refuse(f"stamp_size = {size} is not an odd number up to {LARGEST_SIDE}")
    return size


def _unread(node: Node, what: str) -> NoReturn:
    node.refuse(f"a Piff PSF that is not read without Piff: {what}", _ADVICE)
