"""Exposures from astropy's NDData and CCDData, and back: nothing is lost on the way.

The variance is a VarianceUncertainty. The mask of an exposure has a bit for every plane: that goes
into `flags`, its names into cards ``MP_<NAME>`` of the header; `mask` is True where a pixel is in a
plane that makes it useless. The WCS is in the header of an exposure, and beside that of a CCDData.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Mapping
from typing import Any, NoReturn

import numpy as np
from astropy import nddata, units
from astropy.io import fits
from astropy.wcs import WCS
from numpy.typing import NDArray

from diffdecor.config import FILLED_PLANES
from diffdecor.core.given import refuse
from diffdecor.core.planes import in_memory
from diffdecor.errors import InputError
from diffdecor.fits.headers import is_structural, is_wcs
from diffdecor.fits.open import quiet_astropy
from diffdecor.images.arrays import image_plane, mask_plane
from diffdecor.images.model import ArrayExposure, Exposure, MaskPlanes
from diffdecor.images.units import parsed_unit
from diffdecor.images.variance import inverse, to_variance

logger = logging.getLogger(__name__)

#: Pixels in one of these planes are masked in a CCDData.
USELESS = (*FILLED_PLANES, "EDGE", "NEAR_FILLED")
#: Classes of uncertainty: what is in them, and its power of the unit of the image.
_KINDS = (
    (nddata.StdDevUncertainty, "sigma", 1),
    (nddata.VarianceUncertainty, "variance", 2),
    (nddata.InverseVariance, "ivar", -2),
)
#: Cards of the main WCS, and others that astropy's WCS knows, too.
_MAIN_WCS = re.compile(
    r"WCSAXES|WCSNAME|(CTYPE|CUNIT|CRVAL|CRPIX|CDELT|CROTA|CRDER|CSYER|CNAME)\d+"
    r"|(PC|CD|PV|PS)\d+_\d+|PC\d{6}|LONPOLE|LATPOLE|(A|B|AP|BP)_(ORDER|DMAX|\d_\d)"
)


def exposure_of(
    data: nddata.NDData,
    psf: Any,  # noqa: ANN401  as of an Exposure
    mask_planes: MaskPlanes | Mapping[str, int] | None,
    name: str,
) -> ArrayExposure:
    """Return an NDData as an exposure; arrays are shared where they are what is needed."""
    if not isinstance(data, nddata.NDData):
        refuse(name, "data", f"are a {type(data).__name__}, not a CCDData or another NDData")
    image = image_plane(data.data, name)
    _check_linear(data.unit, name)
    header = _header_of(data, name)
    mask, planes = _mask_of(data, mask_planes, header, name)
    own_psf = getattr(data, "psf", None)
    exposure = Exposure(
        image=image,
        variance=_variance_of(data, mask, name),
        mask=mask,
        mask_planes=planes,
        psf=own_psf if psf is None else psf,
        header=header,
        name=name,
    )
    return ArrayExposure.of(exposure)


def ccddata_of(exposure: Exposure, unit: Any, mask_planes: Collection[str] | None) -> Any:  # noqa: ANN401  astropy has no types
    """Return an exposure as a CCDData; arrays are shared."""
    own = fits.Header() if exposure.header is None else exposure.header
    header = fits.Header([card for card in own.cards if not is_structural(card.keyword)])
    known = _unit_of(exposure, unit)
    mask = flags = None
    if exposure.mask is not None:
        flags = in_memory(exposure.mask)
        bad = exposure.mask_planes.value(USELESS if mask_planes is None else mask_planes)
        mask = (flags & bad) != 0
        header = fits.Header([c for c in header.cards if not c.keyword.startswith("MP_")])
        for plane, bit in exposure.mask_planes.bits.items():
            header[f"{'HIERARCH ' if len(plane) > 5 else ''}MP_{plane}"] = bit
    wcs = _wcs_of(header, exposure)
    if wcs is not None:
        header = fits.Header([c for c in header.cards if not _MAIN_WCS.fullmatch(c.keyword)])
    variance = exposure.variance
    return nddata.CCDData(
        in_memory(exposure.image),
        uncertainty=None if variance is None else nddata.VarianceUncertainty(in_memory(variance)),
        mask=mask,
        flags=flags,
        wcs=wcs,
        meta=header,
        unit=known,
        psf=_stamp_of(exposure),
    )


def _variance_of(data: Any, mask: Any, name: str) -> NDArray[Any] | None:  # noqa: ANN401
    """Return the variance ``(ny, nx)`` in the unit of the image squared."""
    uncertainty = data.uncertainty
    if uncertainty is None:
        return None
    kind = type(uncertainty).__name__
    known = next((row for row in _KINDS if isinstance(uncertainty, row[0])), None)
    if known is None or uncertainty.array is None:
        refuse(
            name,
            "uncertainty",
            f"is {'an empty' if known else 'of the class'} {kind}; make it a StdDevUncertainty, "
            "VarianceUncertainty or InverseVariance",
        )
    _, what, power = known
    values = image_plane(uncertainty.array, name, "uncertainty")
    factor = _factor(uncertainty.unit, data.unit, power, name)
    if factor != 1.0:
        values = values * values.dtype.type(factor)  # type: ignore[attr-defined]
    shape = tuple(values.shape)
    if shape != tuple(data.data.shape):
        refuse(name, "uncertainty", f"has shape {shape} but the image {data.data.shape} (ny, nx)")
    if what == "ivar":
        return inverse(in_memory(values), 0.0)
    return in_memory(to_variance(values, what, mask=mask, file=name))


def _factor(own: Any, of_image: Any, power: int, name: str) -> float:  # noqa: ANN401
    """Return what to multiply an uncertainty by to have it in the unit of its image."""
    if own is None:
        return 1.0
    if of_image is None:
        refuse(name, "uncertainty", f"is in {own}, but the image has no unit; give both or neither")
    try:
        return float(units.Unit(own).to(units.Unit(of_image) ** power))
    except units.UnitConversionError:
        refuse(
            name,
            "uncertainty",
            f"is in {own}, which is not of the kind of {units.Unit(of_image) ** power}: the image "
            f"is in {of_image}",
        )


def _mask_of(
    data: Any,  # noqa: ANN401
    given: MaskPlanes | Mapping[str, int] | None,
    header: fits.Header,
    name: str,
) -> tuple[Any, MaskPlanes]:
    """Return the mask ``(ny, nx)`` and its planes: those of `flags`, and the pixels masked."""
    named = given if given is None or isinstance(given, MaskPlanes) else MaskPlanes(dict(given))
    mask = None if data.mask is None or data.mask is np.ma.nomask else np.asarray(data.mask)
    flags = getattr(data, "flags", None)
    if flags is None:
        if mask is None:
            return None, named or MaskPlanes()
        plane, of_mask = mask_plane(mask, dict((named or MaskPlanes()).bits), name)
        return plane, MaskPlanes(of_mask)
    bits: Any
    if isinstance(flags, Mapping):  # a FlagCollection: one array of each name
        planes = MaskPlanes().adding(*(named or MaskPlanes()).bits, *flags)
        bits = np.zeros(np.shape(data.data), planes.dtype)
        for plane, values in flags.items():
            bits[np.asarray(values) != 0] |= planes.value([plane])
    else:
        planes = _named_in(header) if named is None else named
        if not planes.bits and np.any(flags):
            refuse(name, "array of flags", "has bits without names; give them as mask_planes")
        bits, _ = mask_plane(flags, dict(planes.bits), name)
    return _united(bits, mask, planes, name)


def _united(flags: Any, mask: Any, planes: MaskPlanes, name: str) -> tuple[Any, MaskPlanes]:  # noqa: ANN401
    """Add the pixels that are masked, and in no plane that makes them useless, to BAD."""
    if mask is None:
        return flags, planes
    if mask.shape != np.shape(flags):
        refuse(name, "mask", f"has shape {mask.shape}, but its flags {np.shape(flags)}")
    others = (mask != 0) & ((flags & planes.value(USELESS)) == 0)
    if not others.any():
        return flags, planes
    planes = planes.adding("BAD")
    flags = np.array(flags, planes.dtype)
    flags[others] |= planes.value(["BAD"])
    return flags, planes


def _named_in(header: fits.Header) -> MaskPlanes:
    """Return the planes that cards ``MP_<NAME>`` name, and take these cards out."""
    bits = {word[3:]: header[word] for word in header if word.startswith("MP_")}
    for plane in bits:
        header.remove(f"MP_{plane}", remove_all=True)
    return MaskPlanes(bits)


def _header_of(data: Any, name: str) -> fits.Header:  # noqa: ANN401
    """Return the header of an NDData, with its unit and its WCS."""
    header = _cards_of(data.meta, name)
    if data.unit is not None:
        there = header.get("BUNIT")
        if there is None or parsed_unit(str(there)) != data.unit:
            header["BUNIT"] = _unit_text(data.unit)
    if data.wcs is None:
        return header
    wcs = getattr(data.wcs, "low_level_wcs", data.wcs)
    if not isinstance(wcs, WCS):
        logger.warning(
            "%s: its WCS is a %s, which no header can hold, and is left out; give an "
            "astropy.wcs.WCS, such as that of its method to_fits_sip",
            name,
            type(wcs).__name__,
        )
        return header
    if wcs.cpdis1 is not None or wcs.cpdis2 is not None or wcs.det2im1 is not None:
        logger.warning("%s: the look-up tables of its WCS are left out: no header holds them", name)
    return _with_wcs(header, wcs)


def _unit_text(unit: Any) -> str:  # noqa: ANN401
    """Return a unit as FITS writes it, if it knows it."""
    try:
        return str(unit.to_string("fits"))
    except ValueError:
        return str(unit.to_string())


def _with_wcs(header: fits.Header, wcs: Any) -> fits.Header:  # noqa: ANN401
    """Return a header with a WCS instead of its own, in all its digits."""
    with quiet_astropy("WCS"):
        cards = wcs.to_header(relax=True)
    inner, exact = wcs.wcs, dict[str, Any]()
    for i in range(inner.naxis):
        exact |= {
            f"CRPIX{i + 1}": inner.crpix[i],
            f"CRVAL{i + 1}": inner.crval[i],
            f"CDELT{i + 1}": inner.get_cdelt()[i],
        }
        exact |= {f"PC{i + 1}_{j + 1}": inner.get_pc()[i, j] for j in range(inner.naxis)}
    exact |= {f"PV{i}_{m}": value for i, m, value in inner.get_pv()}
    for which in ("a", "b", "ap", "bp") if wcs.sip is not None else ():
        matrix = getattr(wcs.sip, which)
        places = () if matrix is None else np.ndindex(matrix.shape)
        exact |= {f"{which.upper()}_{i}_{j}": matrix[i, j] for i, j in places}
    for keyword, value in exact.items():
        if keyword in cards:
            cards[keyword] = float(value)
    kept = fits.Header([c for c in header.cards if not _MAIN_WCS.fullmatch(c.keyword)])
    kept.extend(cards, unique=True)
    return kept


def _cards_of(meta: Any, name: str) -> fits.Header:  # noqa: ANN401
    """Return a header of any mapping; what no card can hold is left out, with a warning."""
    if isinstance(meta, fits.Header):
        return meta.copy()
    header = fits.Header()
    for key, value in dict(meta or {}).items():
        keyword = str(key)
        try:
            with quiet_astropy(keyword):
                plain = value.item() if isinstance(value, np.generic) else value
                long = len(keyword) > 8 or " " in keyword
                header[f"HIERARCH {keyword}" if long else keyword] = plain
        except (ValueError, TypeError):
            kind = type(value).__name__
            logger.warning(
                "%s: no card can hold %r of its meta (%s); left out", name, keyword, kind
            )
    return header


def _unit_of(exposure: Exposure, given: Any) -> Any:  # noqa: ANN401
    """Return the unit of the pixels: as given, or that of the header."""
    if given is not None:
        try:
            unit = units.Unit(given)
        except (ValueError, TypeError):
            refuse(exposure.name, "unit", f"{given!r} is not one that astropy knows")
        _check_linear(unit, exposure.name)
        return unit
    text = str("" if exposure.header is None else exposure.header.get("BUNIT") or "").strip()
    known = parsed_unit(text) if text else None
    if known is None:
        _refuse_unit(exposure.name, text)
    return known


def _check_linear(unit: Any, name: str) -> None:  # noqa: ANN401
    """Refuse magnitudes and decibels: noise has a variance in linear units only."""
    if isinstance(unit, units.function.FunctionUnitBase) or unit in {units.mag, units.dex}:
        refuse(name, "unit", f"{unit} is logarithmic; convert the pixels to a linear unit")


def _refuse_unit(name: str, text: str) -> NoReturn:
    problem = f"BUNIT = {text!r} is not a unit that astropy knows" if text else "there is no BUNIT"
    msg = f'{name}: {problem}, but a CCDData has a unit; give it, as in to_ccddata(unit="adu")'
    raise InputError(msg)


def _wcs_of(header: fits.Header, exposure: Exposure) -> Any:  # noqa: ANN401
    """Return the WCS of a header; None without one."""
    cards = fits.Header([card for card in header.cards if is_wcs(card.keyword)])
    if not cards.get("CTYPE1"):
        return None
    dates = ("DATE-OBS", "MJD-OBS", "DATE-AVG", "MJD-AVG", "RADESYS", "EQUINOX")
    cards.extend([header.cards[word] for word in dates if word in header], unique=True)
    try:
        with quiet_astropy(exposure.name):
            wcs = WCS(cards)
    except Exception as error:  # noqa: BLE001  wcslib has many of its own
        logger.warning("%s: its WCS cannot be used (%s)", exposure.name, error)
        return None
    wcs.pixel_shape = exposure.shape[::-1]
    return wcs


def _stamp_of(exposure: Exposure) -> NDArray[np.float64] | None:
    """Return the PSF at the middle of an image ``(ny, nx)``, with its origin in the middle."""
    psf, (ny, nx) = exposure.psf, exposure.shape
    if psf is None:
        return None
    if len(getattr(psf, "stamps", ())) != 1:
        logger.warning("%s: its PSF varies; that of the middle is kept", exposure.name)
    stamp = psf.stamp((nx - 1) / 2, (ny - 1) / 2)
    # An array has its origin on pixel n // 2: what lies before that is filled up with zeros.
    widths = []
    for length, origin in zip(stamp.shape, psf.origin[::-1], strict=True):
        short = origin - length // 2
        before, after = (0, 2 * origin - length) if short > 0 else (length - 1 - 2 * origin, 0)
        widths.append((max(0, before), max(0, after)) if short else (0, 0))
    if any(map(any, widths)):
        stamp = np.pad(stamp, widths)
    return np.array(stamp)
