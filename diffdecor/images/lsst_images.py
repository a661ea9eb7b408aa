"""Images of Rubin's package lsst.images: its tree against the HDUs, and its mask.

A mask has 31 planes an HDU: plane k of those that are not null is bit ``k % 31`` of the HDU MASK
with EXTVER ``k // 31 + 1``. Their order differs from file to file: they are known by their names.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from diffdecor import words
from diffdecor.core.planes import LazyPlane
from diffdecor.errors import InputError
from diffdecor.fits.lsst_images import Node, first_pixel, open_tree
from diffdecor.fits.open import Hdu, Hdus, Header, image_shape
from diffdecor.fits.read_rows import stored_integers
from diffdecor.fits.reading import Reading
from diffdecor.images.model import MOST_PLANES, PLANES_PER_HDU, MaskPlanes, mapped

logger = words.logger(__name__)

#: Planes that have another name in afw, and in diffdecor.
NAMES = {
    "SATURATED": "SAT",
    "COSMIC_RAY": "CR",
    "INTERPOLATED": "INTRP",
    "DETECTION_EDGE": "EDGE",
    "UNMASKED_NAN": "UNMASKEDNAN",
}
#: Other planes that are known: their pixels are used, or the names are those of diffdecor.
_KNOWN = {
    *("BAD", "NO_DATA", "DETECTED", "DETECTED_NEGATIVE", "SUSPECT", "VIGNETTED", "CROSSTALK"),
    *("PARTLY_VIGNETTED", "ITL_DIP", "NOT_DEBLENDED", "SPIKE", "SAT_TEMPLATE", "HIGH_VARIANCE"),
    "STREAK",
    *NAMES.values(),
}


def check_tree(hdus: Hdus, image: Hdu, name: str, *, with_psf: bool) -> Node:
    """Return the tree of an image, after checking that it is the one of these HDUs.

    InputError if a part of it that is used cannot be read: with `with_psf` the PSF is used.
    """
    tree = open_tree(hdus, name)
    there = ["image", *(["variance"] if tree.has("variance") else [])]
    for part in there:
        hdu, column = tree.part(part).node("data", "value").source()
        if column is not None or hdu.name != part.upper() or hdu.ver != 1:
            tree.refuse(f"the {part} is not in the HDU {part.upper()}")
        if image_shape(hdu) != image_shape(image) or first_pixel(tree, part) != first_pixel(tree):
            tree.refuse(f"{part} and image are not of the same pixels")
    if with_psf and tree.has("psf"):
        tree.part("psf")
    return tree


def read_tree_mask(
    tree: Node, reading: Reading, file: object
) -> tuple[LazyPlane | None, MaskPlanes]:
    """Return the mask of an image and its planes, under the names of afw; None if there is none."""
    if not tree.has("mask"):
        return None, MaskPlanes()
    node = tree.part("mask")
    if first_pixel(tree, "mask") != first_pixel(tree):
        node.refuse("it begins at another pixel than the image")
    listed = node.get("planes")
    if not isinstance(listed, list):
        node.refuse("its planes are not a list")
    names = [_plane_name(node, n, plane) for n, plane in enumerate(listed)]
    planes = _planes(node, [name for name in names if name is not None])
    data = node.get("data")
    arrays = data if isinstance(data, list) else [data]
    parts = [node.as_node(f"data[{n}]", array).source() for n, array in enumerate(arrays)]
    hdus = [hdu for hdu, column in parts if column is None]
    if len(hdus) != len(parts) or len(hdus) != -(-len(planes.bits) // PLANES_PER_HDU):
        node.refuse(f"{len(planes.bits)} planes, but {len(hdus)} images")
    if not hdus:
        return None, planes
    for number, hdu in enumerate(hdus):
        _check_cards(node, hdu.header, planes, number)
    logger.info("%s: mask with the planes %s", file, ", ".join(sorted(planes.bits)))
    unknown = sorted(set(planes.bits) - _KNOWN)
    if unknown:
        logger.warning(
            "%s: mask planes %s are not known to diffdecor and do not count as bad; name those "
            "that do in --fill-planes", file, ", ".join(unknown),
        )  # fmt: skip
    numbers = [stored_integers(hdu, file, reading) for hdu in hdus]
    return joined_mask(numbers, file), planes


def joined_mask(numbers: list[LazyPlane], file: object) -> LazyPlane:
    """Return the mask of several planes of 31 bits: int32 of one, int64 of more."""

    def join(*parts: NDArray[np.integer]) -> NDArray[np.integer]:
        for part in parts:
            if part.min(initial=0) < 0 or part.max(initial=0) >= 1 << PLANES_PER_HDU:
                msg = (
                    f"{file}: a pixel of the mask has bits beyond {PLANES_PER_HDU - 1}; fetch it "
                    "again, or write it with lsst.images"
                )
                raise InputError(msg)
        if len(parts) == 1:
            return parts[0].astype(np.int32, copy=False)
        mask = parts[0].astype(np.int64)
        for n, part in enumerate(parts[1:], start=1):
            mask |= part.astype(np.int64) << (PLANES_PER_HDU * n)
        return mask

    return mapped(join, *numbers)


def _plane_name(node: Node, number: int, plane: object) -> str | None:
    if plane is None:
        return None
    name = node.as_node(f"planes[{number}]", plane).get("name")
    if not isinstance(name, str) or not name.strip():
        node.refuse(f"plane {number} has the name {name!r}")
    return name.strip().upper()


def _planes(node: Node, names: list[str]) -> MaskPlanes:
    """Return the planes by their bits, under the names of afw unless these are others'."""
    if len(set(names)) < len(names):
        node.refuse("two planes have the same name")
    if len(names) > MOST_PLANES:
        node.refuse(f"{len(names)} planes, but diffdecor reads {MOST_PLANES}", "leave some out")
    taken = set(names)
    known = [NAMES[name] if NAMES.get(name, name) not in taken else name for name in names]
    return MaskPlanes({name: bit for bit, name in enumerate(known)})


def _check_cards(node: Node, header: Header, planes: MaskPlanes, number: int) -> None:
    """Refuse an HDU whose cards name its bits otherwise."""
    names = {bit: name for name, bit in planes.bits.items()}
    for bit in range(PLANES_PER_HDU):
        card = header.get(f"MSKN{bit:04d}")
        found = None if card is None else str(card).strip().upper()
        name = names.get(number * PLANES_PER_HDU + bit)
        if found is not None and name not in {found, NAMES.get(found)}:
            node.refuse(f"bit {bit} of MASK is {found} in its header, but {name} in the tree")
