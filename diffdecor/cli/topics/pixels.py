"""Which pixels count, which are filled, which are flagged."""

from __future__ import annotations

from diffdecor.cli.topics.blocks import Block, parsed, table, terms
from diffdecor.decorrelation.mask import EDGE, NEAR_FILLED, NO_DATA, NOISE_FALLBACK

_TEXT = """
{}

The unusable pixels are replaced by the local level before filtering, so that they do not spread
into their neighbours, and have their old values in the result.

## Planes that are added to the mask

{}

## Pixels without data

Besides NaN and infinite pixels, these have no data:

- pixels that are NO_DATA in a mask;
- pixels of infinite variance: weight or inverse variance 0, sigma 0;
- the fill value of a MASKVAL card. In HOTPANTS's images this is exactly that value, and 0 in the
  noise image;
- pixels that are 1e15 sigma and more from zero: values like 1e30 stand for missing data;
- a border of exactly 0: whole outermost rows or columns, and all zeros that are connected to them.
  --no-zero-borders takes them for data. What is found is logged.

In images of whole numbers, and after lossy compression, the sky contains zeros, too. There only
blocks of 0 (or of a fill value that was lost) that cannot be chance count as borders and holes; a
warning says that smaller holes cannot be found without a mask.

Where the difference is exactly 0 and the science image or the template has no data, the difference
has none either.
"""


def blocks() -> tuple[Block, ...]:
    """Return the blocks of the topic."""
    titles = {
        "pixels": "pixels",
        "noise_levels": "noise levels",
        "before": "before the filter",
        "output": "in the output",
    }
    rows = (
        ("planes of --ignore-planes", "not used (own mask of each image)", "-", "filtered"),
        ("planes of --fill-planes", "-", "filled", "old value"),
        ("NaN, infinite, or 1e15 sigma and more from zero", "not used", "filled",
         f"old value, {NO_DATA}"),
        ("variance NaN or infinite in either image", "not used", "filled",
         "old value, variance as it was"),
        ("no kernel there", "-", "filled", f"old value, {NO_DATA}"),
    )  # fmt: skip
    planes = {
        NO_DATA: "No data, see below, or no kernel there.",
        NEAR_FILLED: "More than --flag-share of the filter's energy is from filled pixels.",
        EDGE: "So near the border of the image that fluxes may be wrong by more than --flag-share.",
        NOISE_FALLBACK: "There is no usable noise level nearby: that of the neighbouring nodes was "
        "taken, or else that of the whole image.",
    }
    return parsed(_TEXT, table("pixels", titles, *rows), terms("planes", ("plane", "when"), planes))
