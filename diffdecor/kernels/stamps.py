"""Kernels sampled at positions: a table of stamps, a cube with its positions, a grid in four axes.

All positions are 1-based FITS pixels. The cards of a plain stamp (CTRX, CTRY, CONVSIDE, SSCALE,
TSCALE, KERSENSE), and INTERP (LINEAR or NEAREST), count in the HDU of the stamps or the primary.

* table: columns X, Y and STAMP, one row per position;
* cube: one plane per row of a table with the columns X and Y (EXTNAME of the cube + ``POS``, or any
  that fits), the layout of PSF and PSI in the outputs of diffdecor, which are no kernels;
* grid: an image ``[y node, x node, ky, kx]``; node ``n`` (from 0) is at GRIDX0 + n GRIDDX,
  GRIDY0 + n GRIDDY.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from diffdecor.errors import KernelError
from diffdecor.fits.open import image_shape, read_pixels
from diffdecor.kernels.model import StampKernel
from diffdecor.kernels.registry import KernelOptions, register
from diffdecor.kernels.source import Source, scale_card, side_of
from diffdecor.kernels.stamp import LARGEST_SIDE

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ZERO_SUM = 1e-9  # of the sum of absolute values
_OF_OTHERS = ("DDKERN", "AR_CATN", "AR_NCAT", "NGAUSS", "FIJAB", "KTYPE")
_NO_KERNELS = {"PSF", "PSI"}
_GRID = ("GRIDX0", "GRIDDX", "GRIDY0", "GRIDDY")
_NEED = (
    "add a table with the columns X and Y (1-based FITS pixels), one row for every plane, or write "
    "a table with the columns X, Y and STAMP"
)

Stamps = tuple["NDArray[np.float64]", "NDArray[np.float64]"]


@register(
    "stamps", description="stamps at positions: table X, Y, STAMP; cube + table X, Y; 4-D grid"
)
class StampsReader:
    """Reads kernels sampled at positions."""

    @staticmethod
    def identify(hdus: Sequence[Any]) -> bool:
        """Say whether there are a table of stamps, or only images of more than two axes."""
        if any(card in hdu.header for hdu in hdus for card in _OF_OTHERS):
            return False
        if any({"X", "Y", "STAMP"} <= _columns(hdu) for hdu in hdus):
            return True
        deep = _deep(hdus)
        has_positions = any(_positions_of(image, hdus) is not None for image in deep)
        return has_positions or (bool(deep) and len(deep) == sum(map(bool, map(image_shape, hdus))))

    @staticmethod
    def read(source: Source, options: KernelOptions) -> StampKernel:
        """Read the stamps and their positions.

        Parameters
        ----------
        source : Source
            The opened file.
        options : KernelOptions
            Origin, sense, side and scales go before those of the cards.

        Returns
        -------
        StampKernel
            Not normalised; origin in pixel ``n // 2`` unless card or option say otherwise.

        Raises
        ------
        KernelError
            If there are no positions, or several kernels, or stamps that cannot be used.
        """
        hdu = _choose(source)
        stamps, positions = _read(source, hdu)
        _check(source.name, stamps)
        cards = _Cards(source, hdu)
        cx, cy = options.center or cards.origin(stamps.shape)
        if cards.word("KERSENSE", options.sense, ("CONVOLUTION", "CORRELATION")) == "CORRELATION":
            _, ky, kx = stamps.shape
            stamps, cx, cy = stamps[:, ::-1, ::-1].copy(), kx - 1 - cx, ky - 1 - cy
        side = cards.header.get("CONVSIDE")
        if side is not None and not options.convolved:
            side = side_of(source.name, "CONVSIDE", side)
        interpolation: Any = cards.word("INTERP", None, ("LINEAR", "NEAREST"))
        return StampKernel(
            stamps=stamps,
            positions=positions,
            origin=(int(cx), int(cy)),
            convolved=options.convolved or side,
            science_scale=scale_card(source.name, cards.header, "SSCALE"),
            template_scale=scale_card(source.name, cards.header, "TSCALE"),
            interpolation=interpolation,
            image_shape=None if source.difference is None else source.difference.image_shape,
            name=source.name,
            format="stamps",
        )


class _Cards:
    """The cards of the stamps, those of the primary where their own HDU has none."""

    def __init__(self, source: Source, hdu: Any) -> None:  # noqa: ANN401  astropy has no types
        self._name = source.name
        self.header = source.hdus[0].header.copy()
        self.header.update(hdu.header)

    def origin(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """Return the 0-based origin that the cards give, or the middle."""
        *_, ky, kx = shape
        values = self.header.get("CTRX", kx // 2 + 1), self.header.get("CTRY", ky // 2 + 1)
        if not all(type(v) in (int, float) and v == np.floor(v) for v in values):
            msg = f"{self._name}: CTRX, CTRY = {values} are no 1-based pixel; correct the cards"
            raise KernelError(msg)
        return int(values[0]) - 1, int(values[1]) - 1

    def word(self, keyword: str, chosen: str | None, allowed: tuple[str, ...]) -> str:
        """Return a card that is one of a few words, the first where there is none."""
        value = str(chosen or self.header.get(keyword, allowed[0])).strip().upper()
        if value not in allowed:
            msg = f"{self._name}: {keyword} = {value!r}; expected {' or '.join(allowed)}"
            raise KernelError(msg)
        return value


def _choose(source: Source) -> Any:  # noqa: ANN401  astropy has no types
    """Return the HDU with the stamps: one only."""
    tables = [hdu for hdu in source.candidates if {"X", "Y", "STAMP"} <= _columns(hdu)]
    deep = _deep(source.candidates)
    placed = [hdu for hdu in deep if _positions_of(hdu, source.hdus) is not None]
    found = tables or placed or deep
    if len(found) > 1:
        names = " and ".join(hdu.name or "the primary" for hdu in found)
        msg = f"{source.name}: {names} could all be the kernel; name one as file.fits[EXT]"
        raise KernelError(msg)
    return found[0]


def _deep(hdus: Sequence[Any]) -> list[Any]:
    """Return the images of more than two axes that may be kernels."""
    return [hdu for hdu in hdus if len(image_shape(hdu)) > 2 and hdu.name not in _NO_KERNELS]


def _read(source: Source, hdu: Any) -> Stamps:  # noqa: ANN401  astropy has no types
    if hdu.is_image:
        return _read_grid(source, hdu) if len(hdu.shape) == 4 else _read_cube(source, hdu)
    rows = hdu.data
    stamps = np.array(rows["STAMP"], dtype=np.float64)
    if stamps.ndim != 3:
        msg = (
            f"{source.name}: cells of shape {stamps.shape[1:]} in the column STAMP; give them two "
            "axes (TDIM)"
        )
        raise KernelError(msg)
    return stamps, _xy(source.name, rows)


def _read_cube(source: Source, hdu: Any) -> Stamps:  # noqa: ANN401  astropy has no types
    table = _positions_of(hdu, source.hdus)
    if table is None:
        _refuse_placeless(source.name, image_shape(hdu))
    return read_pixels(hdu, source.name).astype(np.float64), _xy(source.name, table.data)


def _read_grid(source: Source, hdu: Any) -> Stamps:  # noqa: ANN401  astropy has no types
    rows, columns, ky, kx = hdu.shape
    numbers = [hdu.header.get(keyword) for keyword in _GRID]
    if None in numbers:
        _refuse_placeless(source.name, hdu.shape)
    if not all(type(n) in (int, float) and np.isfinite(n) for n in numbers) or 0 in numbers[1::2]:
        msg = f"{source.name}: {', '.join(_GRID)} = {numbers} are no grid; correct the cards"
        raise KernelError(msg)
    x0, dx, y0, dy = numbers
    x, y = np.meshgrid(x0 + dx * np.arange(columns), y0 + dy * np.arange(rows))
    stamps = read_pixels(hdu, source.name).astype(np.float64).reshape(-1, ky, kx)
    return stamps, np.column_stack([x.ravel(), y.ravel()]) - 1.0


def _refuse_placeless(name: str, shape: tuple[int, ...]) -> NoReturn:
    need = f"give the cards {', '.join(_GRID)}" if len(shape) == 4 else _NEED
    msg = (
        f"{name}: an image of shape {shape}, but a kernel stamp has two axes, and more stamps need "
        f"positions: {need}"
    )
    raise KernelError(msg)


def _xy(name: str, rows: Any) -> NDArray[np.float64]:  # noqa: ANN401  astropy has no types
    """Return the 0-based positions ``(n, 2)`` of a table."""
    columns = [np.array(rows[axis], dtype=np.float64) for axis in ("X", "Y")]
    if any(column.shape != (len(rows),) for column in columns):
        msg = f"{name}: a cell of the columns X and Y holds more than one number; correct the table"
        raise KernelError(msg)
    return np.column_stack(columns) - 1.0


def _positions_of(cube: Any, hdus: Sequence[Any]) -> Any:  # noqa: ANN401  astropy has no types
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


def _columns(hdu: Any) -> set[str]:  # noqa: ANN401  astropy has no types
    """Return the names of the columns of a table in capitals."""
    if hdu.is_image:
        return set()
    return {str(name).strip().upper() for name in hdu.header["TTYPE*"].values()}


def _check(name: str, stamps: NDArray[np.float64]) -> None:
    """Refuse what no format may deliver: too large, NaN, without any flux."""
    problem = ""
    if max(stamps.shape[1:]) > LARGEST_SIDE or 0 in stamps.shape:
        problem = f"stamps of shape {stamps.shape} are no kernels; give the kernel's own HDU"
    elif not np.isfinite(stamps).all():
        problem = "a kernel pixel is NaN or infinite; make the kernel anew"
    else:
        sums = stamps.sum(axis=(1, 2))
        zero = np.abs(sums) <= _ZERO_SUM * np.abs(stamps).sum(axis=(1, 2))
        if zero.any():
            problem = f"kernel {np.argmax(zero) + 1} sums to zero; make it anew or leave it out"
    if problem:
        msg = f"{name}: {problem}"
        raise KernelError(msg)
