"""Files of Rubin's package lsst.images: a tree in JSON, whose arrays are HDUs of the same file.

The primary header says that it is such a file; the table JSON holds the tree. Positions in the tree
are "box" pixels ``(x, y)``, integers at pixel centres, of which the first of the array is not 0.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from diffdecor.errors import InputError
from diffdecor.fits.formats import column_names
from diffdecor.fits.open import Hdu, Hdus, image_shape, read_pixels

#: Cards of the primary header of such files, of which one at least is there.
WORDS = ("DATAMODL", "JSONADDR")
#: Schemas that hold an image with mask and noise.
SCHEMAS = ("visit_image", "difference_image")
_CONTAINER, _READABLE = 1, 1
_SOURCE = re.compile(r"fits:([^,\[\]]+)(?:,(\d+))?(?:\[(.+)\])?")
_LARGEST, _FINITE = 1 << 31, 1e300
_REPAIR = "fetch it again, or write it with lsst.images"


def has_tree(hdus: Hdus) -> bool:
    """Say whether a file was written by lsst.images, whole or not."""
    header = hdus[0].header
    return "DATAMODL" in header or ("FMTVER" in header and "JSONADDR" in header)


@dataclass(frozen=True, eq=False)
class Node:
    """An object of the tree, and where it is."""

    hdus: Hdus
    #: What messages call the file, and the object.
    name: str
    path: str
    value: dict[str, Any]

    def refuse(self, problem: str, advice: str = _REPAIR) -> NoReturn:
        """Raise an `InputError` that names the file and the object."""
        where = f" at {self.path}" if self.path else ""
        msg = f"{self.name}: lsst.images file{where}: {problem}; {advice}"
        raise InputError(msg)

    def has(self, key: str) -> bool:
        """Say whether there is something, not null, under a key."""
        return self.value.get(key) is not None

    def get(self, key: str) -> Any:  # noqa: ANN401  JSON holds all types
        """Return what is under a key."""
        if key not in self.value:
            self.refuse(f"there is no {key!r}")
        return self.value[key]

    def node(self, *keys: str) -> Node:
        """Return an object below this one."""
        found = self
        for key in keys:
            found = found.as_node(key, found.get(key))
        return found

    def as_node(self, key: object, value: object) -> Node:
        """Return a value in this object as an object."""
        path = f"{self.path}.{key}" if self.path else str(key)
        if not isinstance(value, dict):
            self.refuse(f"{key!r} is not an object")
        return Node(self.hdus, self.name, path, value)

    def part(self, *keys: str) -> Node:
        """Return an object below this one that has a schema, which can be read."""
        return self.node(*keys).checked()

    def checked(self) -> Node:
        """Return this object if its schema says that it can be read; InputError if not."""
        least = self.value.get("min_read_version")
        if not isinstance(self.value.get("schema_version"), str):
            self.refuse("there is no schema_version")
        if not _is_whole(least) or least > _READABLE:  # type: ignore[operator]
            self.refuse(
                f"min_read_version = {least!r}, but diffdecor reads {_READABLE}",
                "write it with an older lsst.images, or use a newer diffdecor",
            )
        return self

    def nodes(self, key: str) -> list[Node]:
        """Return a list of objects."""
        values = self.get(key)
        if not isinstance(values, list):
            self.refuse(f"{key!r} is not a list")
        return [self.as_node(f"{key}[{n}]", value) for n, value in enumerate(values)]

    def number(self, key: str) -> float:
        """Return a finite number."""
        value = self.get(key)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not abs(value) < _FINITE:
            self.refuse(f"{key} = {value!r} is not a finite number")
        return float(value)

    def whole(self, key: str, default: int | None = None) -> int:
        """Return a whole number, a default where there is none."""
        value = self.value.get(key)
        if value is None and default is not None:
            return default
        if not _is_whole(value):
            self.refuse(f"{key} = {value!r} is not a whole number")
        return int(value)  # type: ignore[arg-type]

    def array(self, key: str) -> NDArray[np.float64]:
        """Return an array, inline or of the file, of any shape; it may hold NaN."""
        value = self.get(key)
        if isinstance(value, list):
            return self.inline(key, value)
        node = self.as_node(key, value)
        if node.has("data"):
            return node.inline("data", node.get("data"))
        hdu, column = node.source()
        if column is None:
            return read_pixels(hdu, self.name).astype(np.float64)
        shape = node.shape()
        cell = np.asarray(hdu.data.field(column)[0], dtype=np.float64)
        if cell.size != np.prod(shape):
            node.refuse(f"shape {shape}, but there are {cell.size} numbers")
        return cell.reshape(shape)

    def source(self) -> tuple[Hdu, int | None]:
        """Return the HDU that an array is in, and the 0-based number of a column, None for images.

        InputError if it is not there, or an image has another shape than the tree says.
        """
        text = self.get("source")
        match = _SOURCE.fullmatch(text) if isinstance(text, str) else None
        if match is None:
            self.refuse(f"source = {text!r} is not understood")
        name, version, column = match.groups()
        hdu = self.hdu(name, int(version or 1))
        if hdu is None:
            self.refuse(f"{text} is not in the file")
        if column is not None:
            return hdu, self._column(hdu, column)
        if image_shape(hdu) != self.shape():
            self.refuse(f"{text} has shape {image_shape(hdu)}, but the tree says {self.shape()}")
        return hdu, None

    def shape(self) -> tuple[int, ...]:
        """Return the shape of an array as the tree says it, slowest axis first."""
        shape = self.get("shape")
        if not isinstance(shape, list) or not all(_is_whole(n) and n >= 0 for n in shape):
            self.refuse(f"shape = {shape!r} is not a list of whole numbers")
        return tuple(shape)

    def hdu(self, name: str, version: int = 1) -> Hdu:
        """Return an HDU of the file, None if it is not there."""
        for hdu in self.hdus:
            if hdu.name.upper() == name.strip().upper() and hdu.ver == version:
                return hdu
        return None

    def _column(self, hdu: Hdu, column: str) -> int:
        names = [] if hdu.is_image else column_names(hdu)
        number = int(column) - 1 if column.isdigit() else -1
        if column in names:
            number = names.index(column)
        rows = 0 if hdu.is_image else int(hdu.header["NAXIS2"])
        if not (0 <= number < len(names) and rows):
            self.refuse(f"source = {self.get('source')!r}: there is no such column with a row")
        return number

    def inline(self, key: str, values: object) -> NDArray[np.float64]:
        """Return an array that is written out in the tree."""
        try:
            return np.array(values, dtype=np.float64)
        except (TypeError, ValueError, OverflowError):
            self.refuse(f"{key!r} is not an array of numbers")


def open_tree(hdus: Hdus, name: str) -> Node:
    """Return the tree of an open file.

    InputError if it is not complete, if it is of a container or a schema that is not known, or if
    a newer reader is needed.
    """
    header = hdus[0].header
    top = Node(hdus, name, "", {})
    version = header.get("FMTVER")
    if not _is_whole(version) or version > _CONTAINER:
        found = "there is no card FMTVER" if version is None else f"FMTVER = {version!r}"
        top.refuse(f"{found}; version {_CONTAINER} of the container is understood", _OTHERWISE)
    if "DATAMODL" not in header:
        top.refuse("there is no card DATAMODL that names its schema", _OTHERWISE)
    match = re.search(r"([a-z_]+)-(\d+)(\.\d+)*/?$", str(header["DATAMODL"]).strip())
    if match is None or match[1] not in SCHEMAS:
        top.refuse(
            f"its schema {header['DATAMODL']!r} is not understood",
            f"give a file of one of the schemas {', '.join(SCHEMAS)}",
        )
    return Node(hdus, name, "", _decoded(top)).checked()


#: What to do with a file that is none of lsst.images any more.
_OTHERWISE = (
    "write it with lsst.images, or, if only its planes count, say so with --layout lsst and give "
    "the kernel with --kernel"
)


def first_pixel(tree: Node, part: str = "image") -> tuple[int, int]:
    """Return the box position ``(x, y)`` of the first pixel of a plane's array."""
    start = tree.node(part).get("yx0")
    if not isinstance(start, list) or len(start) != 2 or not all(map(_is_whole, start)):
        tree.refuse(f"{part}.yx0 = {start!r} is not a pixel")
    return int(start[1]), int(start[0])


def _decoded(top: Node) -> dict[str, Any]:
    """Return the tree, from the first row of the table JSON."""
    table = top.hdu("JSON")
    is_table = isinstance(table, fits.BinTableHDU) and not isinstance(table, fits.CompImageHDU)
    if not is_table or "JSON" not in column_names(table) or not table.header["NAXIS2"]:
        top.refuse("there is no table JSON with a column JSON", _OTHERWISE)
    text = np.asarray(table.data["JSON"][0]).astype(np.uint8).tobytes()
    try:
        tree = json.loads(text.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        top.refuse(f"its JSON cannot be read ({type(error).__name__})")
    if not isinstance(tree, dict):
        top.refuse("its JSON is not an object")
    return tree


def _is_whole(value: object) -> bool:
    """Say whether a value is a whole number that a pixel or a count can be."""
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < _LARGEST
