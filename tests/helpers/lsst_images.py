"""Files of lsst.images, edited: another tree, other cards, HDUs left out."""

import json

import numpy as np
from astropy.io import fits


def edited(source, target, change=None, *, cards=None, without=(), text=None):
    """Write `source` to `target` with a changed tree; `cards` of the primary, None removes one.

    `change` gets the tree and may change it in place, or return another one; `text` (bytes) stands
    in for the whole JSON. HDUs of the names `without` are left out.
    """
    with fits.open(source) as hdus:
        tree = json.loads(bytes(hdus["JSON"].data["JSON"][0]))
        if change is not None:
            tree = change(tree) or tree
        content = json.dumps(tree).encode() if text is None else text
        kept = [hdu for hdu in hdus if hdu.name not in {"JSON", "INDEX", *without}]
        for keyword, value in (cards or {}).items():
            if value is None:
                del kept[0].header[keyword]
            else:
                kept[0].header[keyword] = value
        if "JSON" not in without:
            kept.append(json_hdu(content))
        fits.HDUList(kept).writeto(target, overwrite=True)
    return target


def json_hdu(content):
    """Return the table JSON."""
    rows = np.empty(1, dtype=object)
    rows[0] = np.frombuffer(content, np.uint8)
    return fits.BinTableHDU.from_columns([fits.Column("JSON", "PB()", array=rows)], name="JSON")
