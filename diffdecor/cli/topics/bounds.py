"""The bounds that files must keep, from the constants of the code that holds them."""

from __future__ import annotations

from diffdecor.cli.topics.blocks import Table, table
from diffdecor.config.options import LARGEST_TOML
from diffdecor.fits.bounds import (
    LARGEST_CONSTANT,
    LARGEST_SIP_ORDER,
    MOST_AXES,
    MOST_CARDS_OF_A_FILE,
    MOST_HDUS,
    MOST_WCS_AXES,
)
from diffdecor.fits.formats import LARGEST_SIDE
from diffdecor.fits.raw_headers import MOST_CARDS
from diffdecor.fits.tiles import LARGEST_TILE, PIXELS_PER_BYTE
from diffdecor.fits.unpacking import MOST_OF_A_BYTE, MOST_OF_A_SMALL_FILE, MOST_PADDING
from diffdecor.kernels.possible import FARTHEST_ORIGIN
from diffdecor.kernels.textfile import LONGEST_TEXT
from diffdecor.pipeline.inputs import LARGEST_TABLE, LONGEST_LINE, MOST_CELLS
from diffdecor.pipeline.stacks import MOST_MEMBERS


def bounds_table() -> Table:
    """Return what files must keep to."""
    bounds = {
        "a header": f"{_grouped(MOST_CARDS)} cards; keywords of printable ASCII up to END; only "
        "one value for each card that sizes something",
        "a file": f"{MOST_HDUS} HDUs, {_grouped(MOST_CARDS_OF_A_FILE)} cards, "
        f"{_bytes(MOST_PADDING)} of padding after the last HDU",
        "numbers in headers": f"NAXIS, TFIELDS {MOST_AXES}; WCSAXES {MOST_WCS_AXES}; SIP orders "
        f"{LARGEST_SIP_ORDER}; data, rows and columns of the size that the header says",
        "a constant image (PIXVALUE)": f"{_power(LARGEST_CONSTANT)} pixels",
        "a tile-compressed image": f"tiles of {_power(LARGEST_TILE)} pixels; "
        f"{_grouped(PIXELS_PER_BYTE)} pixels for each byte of the data unit; streams inside the "
        "heap that do not overlap",
        "a packed file (gzip, bzip2, xz, zip)": f"{_bytes(MOST_OF_A_SMALL_FILE)}, or "
        f"{MOST_OF_A_BYTE} bytes for each byte of a larger one; the room in TMPDIR",
        "a kernel": f"{LARGEST_SIDE} x {LARGEST_SIDE} pixels, its origin {FARTHEST_ORIGIN} pixels "
        f"away; as text {_bytes(LONGEST_TEXT)}",
        "options and stacks in TOML": f"{_bytes(LARGEST_TOML)}; {MOST_MEMBERS} images of a stack",
        "positions of cells": f"{_grouped(MOST_CELLS)} rows, {_bytes(LARGEST_TABLE)}, "
        f"{_grouped(LONGEST_LINE)} characters in a line",
    }
    return table("bounds", {"of": "of", "at_most": "at most"}, *bounds.items())


def _grouped(number: int) -> str:
    return f"{number:,}".replace(",", " ")


def _bytes(number: int) -> str:
    return f"{number >> 30} GiB" if number >= 1 << 30 else f"{number >> 20} MiB"


def _power(number: int) -> str:
    return f"2^{number.bit_length() - 1}"
