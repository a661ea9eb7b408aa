"""Matching kernels in difference images of Rubin's package lsst.images.

A kernel is a sum of basis images with fields of box positions. It is applied like those of afw,
which it takes over unchanged: without a flip, evaluated at the output pixel. Here it is turned into
true convolution and array pixels. It convolves the template, as the package's documentation says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffdecor.core.fourier import reflect
from diffdecor.core.spatial import Term
from diffdecor.fits.formats import LARGEST_SIDE
from diffdecor.fits.lsst_archive import parent_origin
from diffdecor.fits.lsst_images import Node, first_pixel, has_tree, open_tree
from diffdecor.kernels.lsst_fields import Field, Polynomial, read_field
from diffdecor.kernels.model import BasisKernel, Box, Region
from diffdecor.kernels.registry import KernelOptions, register
from diffdecor.kernels.source import Source

_STAMPS = "evaluate it with lsst.images and give it as stamps with --kernel"


@register(
    "lsst-images",
    description="the kernel in a difference image of lsst.images (DATAMODL)",
    notes="Basis images with coefficients that vary as Chebyshev polynomials, Akima splines, or "
    "sums and products of these. The template is the convolved image. Such files do not record "
    "whether the difference has been decorrelated; there is a warning where rebuilding it does not "
    "tell.",
)
class LsstImagesReader:
    """Reads kernels of the type IMAGE_BASIS."""

    @staticmethod
    def identify(hdus: Sequence[Any]) -> bool:
        """Say whether lsst.images wrote the file."""
        return has_tree(hdus)

    @staticmethod
    def read(source: Source, options: KernelOptions) -> BasisKernel:
        """Read the kernel of the difference."""
        tree = open_tree(source.hdus, source.name)
        if not tree.has("kernel"):
            source.lack(
                "there is no matching kernel in this lsst.images file",
                "give the kernel file with --kernel",
            )
        node = tree.part("kernel")
        if node.get("kernel_type") != "IMAGE_BASIS":
            node.refuse(f"a kernel of the unknown type {node.get('kernel_type')!r}", _STAMPS)
        images, center = _basis(node)
        basis, origin = reflect(images, center)
        ny, nx = shape = _shape(source, tree)
        fields = [read_field(part) for part in node.nodes("spatial")]
        if len(fields) != len(basis):
            node.refuse(f"{len(basis)} basis images, but {len(fields)} fields")
        terms, varying = _terms(fields, _origin(source, tree))
        return BasisKernel(
            basis=basis.copy(),
            origin=origin,
            terms=terms,
            regions=(
                Region(
                    box=Box(0, nx - 1, 0, ny - 1), side=options.convolved or "template", **varying
                ),
            ),
            image_shape=shape,
            name=source.name,
            format="lsst-images",
        )


@dataclass(frozen=True, eq=False)
class FieldTerm(Term):
    """A field as a function of position: of box pixels."""

    field: Field | None = None

    def value(self, u: float, v: float) -> float:
        """Evaluate the field at the box position ``(u, v)``."""
        return float(self.grid(np.array([u]), np.array([v]))[0, 0])

    def grid(self, u: NDArray[np.float64], v: NDArray[np.float64]) -> NDArray[np.float64]:
        """Evaluate the field at all pairs of positions ``(len(v), len(u))``."""
        assert self.field is not None  # noqa: S101  it has a default only as its parent's have
        return self.field.grid(u, v)


def _basis(node: Node) -> tuple[NDArray[np.float64], tuple[int, int]]:
    """Return the basis images as they are stored, and their origin ``(cx, cy)``."""
    images = node.array("basis")
    if images.ndim != 3 or 0 in images.shape or max(images.shape[1:]) > LARGEST_SIDE:
        node.refuse(f"basis images of shape {images.shape}")
    _, ny, nx = images.shape
    return images, (node.whole("center_x", nx // 2), node.whole("center_y", ny // 2))


def _terms(
    fields: Sequence[Field], first: tuple[float, float]
) -> tuple[tuple[Term, ...], dict[str, Any]]:
    """Return functions of position, their coefficients ``(nfield, nterm)`` and their scaling.

    `first` is the box position of the first array pixel.
    """
    polynomials = [field for field in fields if isinstance(field, Polynomial)]
    domains = {field.domain for field in polynomials}
    x, y = first
    if len(polynomials) < len(fields) or len(domains) != 1:
        coefficients = np.eye(len(fields))
        own = tuple(FieldTerm("FIELD", n, n, field=field) for n, field in enumerate(fields))
        return own, {"coefficients": coefficients, "x0": -x, "y0": -y}
    scaling = polynomials[0].domain.scaling
    ny, nx = np.max([field.coefficients.shape for field in polynomials], axis=0)
    table = np.zeros((len(fields), ny, nx))
    for n, field in enumerate(polynomials):
        table[n, : field.coefficients.shape[0], : field.coefficients.shape[1]] = field.coefficients
    used = np.argwhere(table.any(axis=0) | (np.indices((ny, nx)).sum(axis=0) == 0))
    coefficients = np.array([table[:, q, p] for q, p in used]).T
    scaling |= {"x0": scaling["x0"] - x, "y0": scaling["y0"] - y}
    terms = tuple(Term("CHEB1", int(p), int(q)) for q, p in used)
    return terms, {"coefficients": coefficients, **scaling}


def _shape(source: Source, tree: Node) -> tuple[int, int]:
    """Return the shape of the image that the kernel is for: of the difference, else of its own."""
    difference = source.difference
    if difference is not None and has_tree(difference.hdus):
        tree = open_tree(difference.hdus, difference.name)
    ny, nx = tree.node("image", "data", "value").shape()
    return ny, nx


def _origin(source: Source, tree: Node) -> tuple[float, float]:
    """Return the box position of the first pixel of the difference, else of the kernel's image."""
    difference = source.difference
    if difference is None:
        return first_pixel(tree)
    if has_tree(difference.hdus):
        return first_pixel(open_tree(difference.hdus, difference.name))
    return parent_origin(difference.ordered) or first_pixel(tree)
