"""Writes archives in the layout of the LSST stack, for tests."""

import numpy as np
from astropy.io import fits

PAIRS = ("dimensions", "center", "pixel", "averagePosition", "min", "max")
WHOLE = ("dimensions", "center", "pixel", "components", "spatialfunctions", "kernel")


def archive(objects, version=3, psf=None, xy0=None):
    """Return the HDUs of a file: objects are ``{id: (class, {column: value})}``.

    Of an exposure if ``psf``, the number of its PSF, is given.
    """
    tables, index = {}, []
    for number, (kind, given) in objects.items():
        cells = columns(given, version)
        layout = (kind, tuple((name, np.shape(value)) for name, value in cells.items()))
        rows = tables.setdefault(layout, [])
        index.append((number, list(tables).index(layout) + 1, len(rows), kind))
        rows.append(cells)
    hdus = [fits.PrimaryHDU()]
    if psf is not None:
        hdus[0].header.update({"AR_HDU": 3, "PSF_ID": psf})
        hdus.append(fits.ImageHDU(np.ones((30, 40), dtype="f4")))
        hdus[1].header["EXTTYPE"] = "IMAGE"
        if xy0:
            hdus[1].header.update({"LTV1": -xy0[0], "LTV2": -xy0[1]})
    hdus.append(index_table(index, len(tables) + 1, version))
    for catalog, (layout, rows) in enumerate(tables.items(), start=1):
        hdus.append(data_table(layout[0], rows, catalog, version))
    return fits.HDUList(hdus)


def columns(cells, version):
    """Spell pairs of numbers as tables of this version do."""
    spelled = {}
    for name, value in cells.items():
        if name in PAIRS and version == 3:
            spelled.update({f"{name}_x": value[0], f"{name}_y": value[1]})
        else:
            spelled[name] = value
    return spelled


def index_table(index, catalogs, version):
    dot = "." if version else "_"
    numbers, tables, rows, kinds = zip(*index, strict=True)
    made = [
        fits.Column("id", "J", array=numbers),
        fits.Column(f"cat{dot}archive", "J", array=tables),
        fits.Column(f"cat{dot}persistable", "J", array=np.zeros(len(rows))),
        fits.Column("row0", "J", array=rows),
        fits.Column("nrows", "J", array=np.ones(len(rows))),
        fits.Column("name", "64A", array=kinds),
        fits.Column("module", "64A", array=["lsst.afw.math"] * len(rows)),
    ]
    return _hdu(made, {"EXTTYPE": "ARCHIVE_INDEX", "AR_CATN": 0, "AR_NCAT": catalogs}, version)


def data_table(kind, rows, catalog, version):
    made = []
    for name, value in rows[0].items():
        whole = name.removesuffix("_x").removesuffix("_y") in WHOLE
        form = f"{np.size(value)}{'J' if whole else 'D'}"
        values = np.array([np.ravel(row[name]) for row in rows])
        values = values[:, 0] if np.size(value) == 1 else values
        made.append(fits.Column(name, form, array=values))
    cards = {"EXTTYPE": "ARCHIVE_DATA", "AR_CATN": catalog, "AR_NAME": kind}
    hdu = _hdu(made, cards, version)
    if version == 3:
        hdu.name = kind
    return hdu


def _hdu(made, cards, version):
    hdu = fits.BinTableHDU.from_columns(made)
    hdu.header.update(cards)
    if version:
        hdu.header["HIERARCH AFW_TABLE_VERSION"] = version
    return hdu


def fixed(image, center):
    ny, nx = image.shape
    return "FixedKernel", {"dimensions": (nx, ny), "center": center, "image": image.ravel()}


def delta(shape, center, pixel):
    ny, nx = shape
    return "DeltaFunctionKernel", {"dimensions": (nx, ny), "center": center, "pixel": pixel}


def combination(shape, center, components, **how):
    ny, nx = shape
    cells = {"dimensions": (nx, ny), "center": center, "components": components, **how}
    return "LinearCombinationKernel", cells


def polynomial(*coefficients):
    return "PolynomialFunction2D", {"coefficients": coefficients}


def chebyshev(coefficients, low, high):
    return "Chebyshev1Function2D", {"coefficients": coefficients, "min": low, "max": high}
