"""The result out: one FITS file, complete or not there, that `read_exposure` reads back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from astropy.io import fits

from diffdecor.core.interpolate import Stamps
from diffdecor.core.planes import Plane, bands
from diffdecor.core.thinning import cropped, thinned
from diffdecor.fits.atomic import atomic_output
from diffdecor.fits.headers import COMMENTARY, carry_over, squared_unit, wcs_cards, without_wcs
from diffdecor.fits.open import Hdu, Header, quiet_astropy
from diffdecor.fits.write_rows import ResultFile
from diffdecor.images.model import PLANES_PER_HDU, Exposure, MaskPlanes
from diffdecor.images.variance import narrowed
from diffdecor.psfs.stamp import psf_stamps, stamp_hdus

#: What may be cut off filters, and by how much those left out may be off: sigmas of the result.
_LOST, _TOLERANCE = 2e-5, 1e-4
#: PSFs and filters take at most this share of the bytes of the planes; of large ones, in pixels.
_SHARE_OF_PLANES, _SHARE_OF_LARGE, _LARGE = 0.5, 0.2, 4_000_000


@contextmanager
def result_file(  # noqa: PLR0913  all but two are optional and named
    path: str | Path,
    exposure: Exposure,
    *,
    cards: Header = None,
    cards_room: int = 0,
    psi: Stamps | None = None,
    dtype: str = "float32",
    variance_dtype: str = "float32",
    bad_planes: Iterable[str] = (),
    significance: bool = False,
    flux_error: bool = False,
    noise_realisation: bool = False,
    overwrite: bool = False,
    inputs: Iterable[str | Path] = (),
) -> Iterator[ResultFile]:
    """Write an exposure whose pixels are still to come, and what it was made with.

    Every row of every plane must be assigned once before the block ends; the file appears then. Of
    the `exposure` it counts which planes there are, their shape, the names of the mask's and the
    PSF, and of its header what still holds. `cards` for the primary header, as far as they are
    known, replace those of the same keyword; there may be `cards_room` more in the end. `psi` is
    the decorrelation kernel; `bad_planes` are mask planes of pixels that are not to be used. The
    file is written as by `atomic_output`: none of the `inputs` is ever replaced.
    """
    header = fits.Header() if exposure.header is None else exposure.header
    bad = [name for name in bad_planes if name in exposure.mask_planes.bits]
    dtypes = {"IMAGE": dtype}
    if exposure.mask is not None:
        dtypes["MASK"] = "int32"
    if exposure.variance is not None:
        dtypes["VARIANCE"] = variance_dtype
    if significance:
        dtypes["SIGNIF"] = "float32"
    if flux_error:
        dtypes["FLUXERR"] = dtype
    if noise_realisation:
        dtypes["NOISEREAL"] = "float32"
    with atomic_output(path, overwrite=overwrite, inputs=inputs) as file:
        with quiet_astropy(path):
            result = ResultFile(
                file.fileno(),
                _primary(header),
                _planes(exposure, header, dtypes, bad),
                cards=cards,
                cards_room=cards_room,
            )
        yield result
        with quiet_astropy(path):
            result.finish(*_stamps(exposure, psi, dtype))


def fitting_dtype(variance: Plane, dtype: str) -> str:
    """Return the type that a variance is written in, looking through all of it.

    It is ``float64`` where single precision would make a variance 0 or infinite.
    """
    if dtype == "float64":
        return dtype
    fits_it = all(
        narrowed(np.asarray(variance[rows]), dtype).dtype == dtype for rows in bands(variance.shape)
    )
    return dtype if fits_it else "float64"


def _primary(header: Header) -> Header:
    """Return the primary header: no data, what is known of the observation."""
    primary = fits.PrimaryHDU().header
    kept = without_wcs(carry_over(header, drop=("BUNIT", "DATE"))).cards
    # Comments last, and all at the end: anywhere else, astropy looks through the whole header for
    # each card (10 s for 10 000 cards).
    last = [card for card in kept if card.keyword in COMMENTARY]
    first = [card for card in kept if card.keyword not in COMMENTARY]
    primary.extend([*first, *last], unique=True, end=True)
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S")
    primary["DATE"] = (now, "[UTC] when this file was written")
    return primary


def _planes(
    exposure: Exposure, header: Header, dtypes: dict[str, str], bad: Sequence[str]
) -> list[Hdu]:
    """Return the HDUs of the planes, each with the WCS and without pixels that take memory."""
    wcs = wcs_cards(header)
    unit = str(header.get("BUNIT", "")).strip()
    units = {"IMAGE": unit, "FLUXERR": unit, "NOISEREAL": unit, "VARIANCE": squared_unit(unit)}
    hdus = []
    for name, dtype in dtypes.items():
        pixel = np.zeros((), np.dtype(dtype).newbyteorder(">"))
        hdu = fits.ImageHDU(np.broadcast_to(pixel, exposure.shape), header=wcs)
        hdu.header["EXTNAME"] = name
        hdu.header["INHERIT"] = (True, "the primary header holds for this image, too")
        if units.get(name):
            hdu.header["BUNIT"] = (units[name], f"unit of {name}")
        if name == "VARIANCE":
            hdu.header["UTYPE"] = ("VARIANCE", "not a standard deviation")
        hdus.append(hdu)
        if name == "MASK":
            hdus[-1:] = _mask_hdus(hdu, exposure.mask_planes, bad)
    return hdus


def _mask_hdus(hdu: Hdu, planes: MaskPlanes, bad: Sequence[str]) -> list[Hdu]:
    """Return the HDUs of a mask: of more than 31 planes a second one, with EXTVER 2."""
    count = 2 if planes.dtype.itemsize > hdu.data.dtype.itemsize else 1
    hdus = [hdu, *(hdu.copy() for _ in range(count - 1))]
    for number, one in enumerate(hdus):
        first = number * PLANES_PER_HDU
        here = {n: b - first for n, b in planes.bits.items() if 0 <= b - first < PLANES_PER_HDU}
        if number:
            one.header.set("EXTVER", number + 1, "further planes of the mask", after="EXTNAME")
        one.header.extend(plane_cards(MaskPlanes(here)))
        bad_here = [name for name in bad if name in here]
        value = MaskPlanes(here).value(bad_here)
        one.header["BADVALUE"] = (value, "MASK & BADVALUE: bad pixels")
        one.header["BADPLANE"] = (",".join(bad_here), "planes of these")
    return hdus


def _stamps(exposure: Exposure, psi: Stamps | None, dtype: str) -> list[Hdu]:
    """Return the HDUs of the PSF and of the decorrelation kernels, as small as they may be."""
    described = []
    if exposure.psf is not None:
        psf = psf_stamps(exposure.psf, exposure.shape)
        described.append(("PSF", "point-spread function of IMAGE", psf, 0.0))
    if psi is not None:
        small, lost = cropped(psi, _LOST / _largest_norm(psi))
        described.append(("PSI", "decorrelation kernel: IMAGE is PSI * input", small, lost))
    hdus: list[Hdu] = []
    fitting = _fitting([stamps for _, _, stamps, _ in described], exposure.shape, dtype)
    for (name, what, _, lost), (stamps, off) in zip(described, fitting, strict=True):
        image, *table = stamp_hdus(name, stamps, what, dtype)
        image.header["CUTSHARE"] = (lost, "share of the L2 norm that was cut off")
        image.header["INTERROR"] = (off, "largest error of interpolation, same unit")
        hdus += [image, *table]
    return hdus


def _largest_norm(stamps: Stamps) -> float:
    """Return the largest L2 norm of any stamp, or 1: by it, errors of a filter are sigmas."""
    return max(1.0, float(np.sqrt(np.square(stamps.stamps).sum(axis=(1, 2)).max(initial=0.0))))


def _fitting(
    several: Sequence[Stamps], shape: tuple[int, int], dtype: str
) -> list[tuple[Stamps, float]]:
    """Leave out stamps until all take little beside the planes; say how far off others then are.

    As many as interpolation needs are kept, or as there is room for, and always one.
    """
    ny, nx = shape
    size = np.dtype(dtype).itemsize
    share = _SHARE_OF_LARGE if ny * nx > _LARGE else _SHARE_OF_PLANES
    limit = share * ny * nx * (2 * size + 4)
    tolerance = _TOLERANCE
    while tolerance < 1:
        fitting = [thinned(one, tolerance / _largest_norm(one)) for one in several]
        if sum(one.stamps.size * size for one, _ in fitting) <= limit:
            return fitting
        tolerance *= 2
    return [_only(one, ((nx - 1) / 2, (ny - 1) / 2)) for one in several]


def _only(stamps: Stamps, place: tuple[float, float]) -> tuple[Stamps, float]:
    """Return the one stamp at a place, and how far others are from it."""
    if len(stamps.stamps) == 1:
        return stamps, 0.0
    one = stamps.stamp(*place)
    off = np.sqrt(np.square(stamps.stamps - one).sum(axis=(1, 2)).max() / np.square(one).sum())
    alone = Stamps(stamps=one[np.newaxis], positions=np.array([place]), origin=stamps.origin)
    return alone, float(off)


def plane_cards(planes: MaskPlanes) -> fits.Header:
    """Return ``MP_`` cards of mask planes, by bit, and a readable table of them in HISTORY."""
    header = fits.Header()
    ordered = sorted(planes.bits.items(), key=lambda item: (item[1], item[0]))
    for name, bit in ordered:
        keyword = f"MP_{name}"
        long = len(keyword) > 8
        header.append((f"HIERARCH {keyword}" if long else keyword, bit, "" if long else "mask bit"))
    if ordered:
        header.add_history("Mask planes: bit, value, name; a pixel of value 0 is good")
    for name, bit in ordered:
        header.add_history(f"{bit:4d} {1 << bit:11d}  {name}")
    return header
