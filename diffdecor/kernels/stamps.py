"""Kernels as stamps: a plain image that holds everywhere, or stamps sampled at positions.

All positions are 1-based FITS pixels. The cards CTRX, CTRY, CONVSIDE, SSCALE, TSCALE and KERSENSE
of the HDU count; for stamps at positions INTERP (LINEAR or NEAREST) does, too, and the cards may be
in the primary header.

* plain stamp: an image ``[ky, kx]``;
* table: columns X, Y and STAMP, one row per position;
* cube: one plane per row of a table with the columns X and Y (EXTNAME of the cube + ``POS``, or any
  that fits), the layout of PSF and PSI in the outputs of diffdecor, which are not kernels;
* grid: an image ``[y node, x node, ky, kx]``; node ``n`` (from 0) is at GRIDX0 + n GRIDDX,
  GRIDY0 + n GRIDDY.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from diffdecor.fits.formats import LARGEST_SIDE, column_names
from diffdecor.fits.open import Hdu, Header, image_shape, read_pixels
from diffdecor.kernels.model import StampKernel
from diffdecor.kernels.registry import KernelOptions, register
from diffdecor.kernels.source import Source

_OF_EXPOSURES = {"MASK", "VARIANCE", "VAR", "WEIGHT", "WHT", "ERR", "DQ", "UNCERT"}
_OF_OTHERS = ("DDKERN", "AR_CATN", "AR_NCAT", "NGAUSS", "FIJAB", "KTYPE")
_NO_KERNELS = {"PSF", "PSI"}
#: Of the sum of absolute values: far above rounding, far below any flux ratio.
_ZERO_SUM = 1e-9
_GRID = ("GRIDX0", "GRIDDX", "GRIDY0", "GRIDDY")
_NEED = (
    "add a table with the columns X and Y (1-based FITS pixels), one row for every plane, or write "
    "a table with the columns X, Y and STAMP"
)

Hdus = Sequence[Hdu]
Placed = tuple[NDArray[np.float64], NDArray[np.float64]]


@register(
    "stamp",
    description="a 2-D image (cards CTRX, CTRY, CONVSIDE, SSCALE, TSCALE, KERSENSE)",
    fallback=True,
    notes="A constant kernel, which is not normalised: its sum is the flux ratio. The origin is "
    "(NX//2, NY//2) unless CTRX, CTRY (1-based) or --kernel-center (0-based) say otherwise. It is "
    "applied as a true convolution unless KERSENSE or --kernel-sense says correlation. The "
    "convolved side is that of CONVSIDE or --convolved; the scales are those of SSCALE, TSCALE or "
    "--science-scale, --template-scale.",
)
class StampReader:
    """Reads a bare kernel image."""

    @staticmethod
    def identify(hdus: Hdus) -> bool:
        """Say whether there is any image; only asked when nothing else claims the file."""
        return any(image_shape(hdu) for hdu in hdus)

    @staticmethod
    def read(source: Source, options: KernelOptions) -> StampKernel:
        """Read the first two-dimensional image, or the HDU that was named."""
        hdu = _plain_image(source)
        stamp = read_pixels(hdu, source.name).astype(np.float64)
        return _kernel(source, options, hdu.header, stamps=stamp[np.newaxis], format="stamp")


@register(
    "stamps",
    description="stamps at positions: table X, Y, STAMP; cube + table X, Y; 4-D grid",
    notes="Positions are 1-based FITS pixels. The cards of a 4-D image are GRIDX0, GRIDDX, GRIDY0, "
    "GRIDDY. Between the nodes of a full grid the kernel is interpolated linearly, otherwise the "
    "nearest stamp is taken. The cards of a plain stamp count, too.",
)
class StampsReader:
    """Reads kernels sampled at positions."""

    @staticmethod
    def identify(hdus: Hdus) -> bool:
        """Say whether there are a table of stamps, or only images of more than two axes."""
        if any(card in hdu.header for hdu in hdus for card in _OF_OTHERS):
            return False
        if any(_is_table_of_stamps(hdu) for hdu in hdus):
            return True
        deep = _deep(hdus)
        has_positions = any(_positions_of(image, hdus) is not None for image in deep)
        return has_positions or (bool(deep) and len(deep) == sum(map(bool, map(image_shape, hdus))))

    @staticmethod
    def read(source: Source, options: KernelOptions) -> StampKernel:
        """Read the stamps and their positions."""
        hdu = _choose(source)
        stamps, positions = _read(source, hdu)
        header = source.hdus[0].header.copy()
        header.update(hdu.header)
        return _kernel(
            source,
            options,
            header,
            stamps=stamps,
            positions=positions,
            interpolation=source.word(header, "INTERP", "LINEAR", "NEAREST"),
            image_shape=None if source.difference is None else source.difference.image_shape,
            format="stamps",
        )


def _kernel(
    source: Source,
    options: KernelOptions,
    header: Header,
    *,
    stamps: NDArray[np.float64],
    **fields: Any,  # noqa: ANN401  of the kernel
) -> StampKernel:
    """Return the kernel that stamps are by their cards; options take precedence."""
    _check(source, stamps)
    cx, cy = options.center or _origin(source, header, stamps.shape)
    sense = options.sense or source.word(header, "KERSENSE", "CONVOLUTION", "CORRELATION")
    if sense.upper() == "CORRELATION":
        _, ky, kx = stamps.shape
        stamps, cx, cy = stamps[:, ::-1, ::-1].copy(), kx - 1 - cx, ky - 1 - cy
    side = options.convolved
    if side is None and header.get("CONVSIDE") is not None:
        side = source.side("CONVSIDE", header["CONVSIDE"])
    return StampKernel(
        stamps=stamps,
        origin=(int(cx), int(cy)),
        convolved=side,
        science_scale=source.scale(header, "SSCALE"),
        template_scale=source.scale(header, "TSCALE"),
        name=source.name,
        **fields,
    )


def _origin(source: Source, header: Header, shape: tuple[int, ...]) -> tuple[int, int]:
    """Return the 0-based origin that the cards give, by default pixel ``n // 2``."""
    *_, ky, kx = shape
    values = header.get("CTRX", kx // 2 + 1), header.get("CTRY", ky // 2 + 1)
    if not all(type(v) in (int, float) and v == np.floor(v) for v in values):
        source.refuse(f"CTRX, CTRY = {values} are not a 1-based pixel; correct the cards")
    return int(values[0]) - 1, int(values[1]) - 1


def _check(source: Source, stamps: NDArray[np.float64]) -> None:
    """Refuse stamps that are too large, not finite, or without any flux."""
    if max(stamps.shape[1:]) > LARGEST_SIDE or 0 in stamps.shape:
        source.refuse(f"stamps of shape {stamps.shape} are not kernels; give the kernel's own HDU")
    if not np.isfinite(stamps).all():
        source.refuse("a kernel pixel is NaN or infinite; make the kernel again")
    sums = stamps.sum(axis=(1, 2))
    zero = np.abs(sums) <= _ZERO_SUM * np.abs(stamps).sum(axis=(1, 2))
    if zero.any():
        which = "the kernel" if len(stamps) == 1 else f"kernel {np.argmax(zero) + 1}"
        source.refuse(f"{which} sums to zero, so it would remove all flux; make it again")


def _plain_image(source: Source) -> Hdu:
    """Return the HDU of a plain stamp."""
    candidates = source.candidates
    exposure = sorted(_OF_EXPOSURES & {hdu.name.upper() for hdu in candidates})
    if exposure:
        source.refuse(
            f"the HDU {exposure[0]} is part of an exposure, not a kernel; name the kernel's HDU as "
            "file.fits[EXT]"
        )
    hdu = next((hdu for hdu in candidates if len(image_shape(hdu)) == 2), None)
    if hdu is None:
        shapes = ", ".join(str(image_shape(hdu)) for hdu in candidates if image_shape(hdu))
        source.refuse(f"an image of shape {shapes}, but a kernel stamp has two axes")
    ky, kx = image_shape(hdu)
    if max(ky, kx) > LARGEST_SIDE:
        source.refuse(
            f"{kx} x {ky} pixels are an image, not a kernel; give the kernel's own file or HDU"
        )
    return hdu


def _choose(source: Source) -> Hdu:
    """Return the HDU with the stamps: one only."""
    tables = [hdu for hdu in source.candidates if _is_table_of_stamps(hdu)]
    deep = _deep(source.candidates)
    placed = [hdu for hdu in deep if _positions_of(hdu, source.hdus) is not None]
    found = tables or placed or deep
    if len(found) > 1:
        names = " and ".join(hdu.name or "the primary" for hdu in found)
        source.refuse(f"{names} could all be the kernel; name one as file.fits[EXT]")
    return found[0]


def _deep(hdus: Hdus) -> list[Hdu]:
    """Return the images of more than two axes that may be kernels."""
    return [hdu for hdu in hdus if len(image_shape(hdu)) > 2 and hdu.name not in _NO_KERNELS]


def _read(source: Source, hdu: Hdu) -> Placed:
    """Return stamps ``(n, ky, kx)`` and their 0-based positions ``(n, 2)``."""
    if hdu.is_image:
        return _read_grid(source, hdu) if len(hdu.shape) == 4 else _read_cube(source, hdu)
    rows = hdu.data
    stamps = np.array(rows["STAMP"], dtype=np.float64)
    if stamps.ndim != 3:
        source.refuse(
            f"cells of shape {stamps.shape[1:]} in the column STAMP; give them two axes (TDIM)"
        )
    return stamps, _xy(source, rows)


def _read_cube(source: Source, hdu: Hdu) -> Placed:
    table = _positions_of(hdu, source.hdus)
    if table is None:
        _refuse_placeless(source, image_shape(hdu), _NEED)
    return read_pixels(hdu, source.name).astype(np.float64), _xy(source, table.data)


def _read_grid(source: Source, hdu: Hdu) -> Placed:
    rows, columns, ky, kx = hdu.shape
    numbers = [hdu.header.get(keyword) for keyword in _GRID]
    if None in numbers:
        _refuse_placeless(source, hdu.shape, f"give the cards {', '.join(_GRID)}")
    if not all(type(n) in (int, float) and np.isfinite(n) for n in numbers) or 0 in numbers[1::2]:
        source.refuse(f"{', '.join(_GRID)} = {numbers} are not a grid; correct the cards")
    x0, dx, y0, dy = numbers
    x, y = np.meshgrid(x0 + dx * np.arange(columns), y0 + dy * np.arange(rows))
    stamps = read_pixels(hdu, source.name).astype(np.float64).reshape(-1, ky, kx)
    return stamps, np.column_stack([x.ravel(), y.ravel()]) - 1.0


def _refuse_placeless(source: Source, shape: tuple[int, ...], need: str) -> NoReturn:
    source.refuse(
        f"an image of shape {shape}, but a kernel stamp has two axes, and more stamps need "
        f"positions: {need}"
    )


def _xy(source: Source, rows: Any) -> NDArray[np.float64]:  # noqa: ANN401  astropy has no types
    """Return the 0-based positions ``(n, 2)`` of a table."""
    columns = [np.array(rows[axis], dtype=np.float64) for axis in ("X", "Y")]
    if any(column.shape != (len(rows),) for column in columns):
        source.refuse("a cell of the columns X and Y holds more than one number; correct the table")
    return np.column_stack(columns) - 1.0


def _positions_of(cube: Hdu, hdus: Hdus) -> Hdu | None:
    """Return the table with one position for every plane; None where there is none, or several."""
    if len(cube.shape) != 3:
        return None
    planes = image_shape(cube)[0]
    fitting = [
        hdu for hdu in hdus if {"X", "Y"} <= _columns(hdu) and hdu.header.get("NAXIS2") == planes
    ]
    named = [hdu for hdu in fitting if hdu.name == f"{cube.name}POS"]
    found = named or fitting
    return found[0] if len(found) == 1 else None


def _is_table_of_stamps(hdu: Hdu) -> bool:
    return {"X", "Y", "STAMP"} <= _columns(hdu)


def _columns(hdu: Hdu) -> set[str]:
    return {name.upper() for name in column_names(hdu)}
