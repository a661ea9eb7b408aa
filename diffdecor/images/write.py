"""The result out: one FITS file, complete or not there, that `read_exposure` reads back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from astropy.io import fits

from diffdecor.core.interpolate import Stamps
from diffdecor.core.planes import Plane, Window, bands
from diffdecor.fits.compress import Compression
from diffdecor.fits.headers import (
    COMMENTARY,
    carry_over,
    squared_unit,
    wcs_cards,
    whole_card,
    without_wcs,
)
from diffdecor.fits.open import Hdu, Header, quiet_astropy
from diffdecor.fits.output import fits_output
from diffdecor.fits.write_rows import ResultFile
from diffdecor.images.model import PLANES_PER_HDU, Exposure, MaskPlanes
from diffdecor.images.variance import narrowed
from diffdecor.images.write_stamps import filter_and_psf_hdus

#: Planes of which PSF and filters may take a share.
_PLANES = {"IMAGE", "MASK", "VARIANCE"}
#: HDUs that are small.
_STAMPS = ("PSF", "PSI", "NOISECOV")
#: Planes of noise.
_NOISY = ("IMAGE", "SIGNIF", "NOISEREAL", "CELL_IMAGE")


@contextmanager
def result_file(  # noqa: PLR0913  all but two are optional and named
    path: str | Path,
    exposure: Exposure,
    *,
    cards: Header = None,
    cards_room: int = 0,
    psi: Stamps | None = None,
    windows: Sequence[Window] = (),
    dtype: str = "float32",
    variance_dtype: str = "float32",
    bad_planes: Iterable[str] = (),
    significance: bool = False,
    flux_error: bool = False,
    noise_realisation: bool = False,
    overwrite: bool = False,
    inputs: Iterable[str | Path] = (),
    quantize: float | None = None,
    threads: int = 1,
) -> Iterator[ResultFile]:
    """Write an exposure whose pixels are still to come, and what it was made with.

    Every row of every plane must be assigned once before the block ends; the file appears then. Of
    the `exposure` it counts which planes there are, their shape, the names of the mask's and the
    PSF, and of its header what still holds. `cards` for the primary header, as far as they are
    known, replace those of the same keyword; there may be `cards_room` more in the end. `psi` is
    the decorrelation kernel, `windows` are the pixels of each where they are not interpolated;
    `bad_planes` are mask planes of pixels that are not to be used. The file is written as by
    `fits_output`: none of the `inputs` is ever replaced. A compressed one is packed by some threads
    at a time, and its floats of noise are quantised if `quantize` is given.
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
    packing = compression(quantize, threads)
    with fits_output(path, overwrite=overwrite, inputs=inputs, compression=packing) as file:
        with quiet_astropy(path):
            planes = _planes(exposure, header, dtypes, bad)
            result = ResultFile(
                file.fileno(),
                _primary(header),
                planes,
                cards=cards,
                cards_room=cards_room,
            )
        yield result
        with quiet_astropy(path):
            size = sum(hdu.size for hdu in planes if hdu.name in _PLANES)
            result.finish(*filter_and_psf_hdus(exposure, psi, windows, size))


def compression(quantize: float | None = None, threads: int = 1) -> Compression:
    """Return how results, and parts of them, are compressed: stamps and tables not at all.

    A number of steps per sigma quantises what is as noisy as the image. A variance could lose what
    makes it one: it is above 0.
    """
    return Compression(_STAMPS, () if quantize is None else _NOISY, quantize, threads)


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
        if of_plane := units.get(name):
            hdu.header.append(whole_card("BUNIT", of_plane, f"unit of {name}"))
        if name == "VARIANCE":
            # The name that astropy's CCDData knows; with any other it takes a sigma.
            hdu.header["UTYPE"] = ("VarianceUncertainty", "not a standard deviation")
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
        one.header.append(whole_card("BADPLANE", ",".join(bad_here), "planes of these"))
    return hdus


def plane_cards(planes: MaskPlanes) -> fits.Header:
    """Return ``MP_`` cards of mask planes, by bit, and a readable table of them in HISTORY."""
    header = fits.Header()
    ordered = sorted(planes.bits.items(), key=lambda item: (item[1], item[0]))
    for name, bit in ordered:
        keyword = f"MP_{name}"
        long = len(keyword) > 8
        header.append((f"HIERARCH {keyword}" if long else keyword, bit, "" if long else "mask bit"))
    if ordered:
        header.add_history("Mask planes: bit, value, name; pixels in those of BADPLANE are bad")
    for name, bit in ordered:
        header.add_history(f"{bit:4d} {1 << bit:11d}  {name}")
    return header
