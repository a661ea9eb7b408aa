"""What is in an output: every HDU that a run may write, in words.

They are written by `images.write` (planes, PSF, filters), `pipeline.noise_outputs` and, of separate
cells, `pipeline.run`; a test compares this table with what they write.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class OutputHdu(NamedTuple):
    """An HDU of an output."""

    #: When it is there; empty for always.
    when: str
    #: What it holds, in sentences.
    what: str


#: By EXTNAME; PRIMARY is the primary HDU, which has no name.
OUTPUT_HDUS: Mapping[str, OutputHdu] = {
    "PRIMARY": OutputHdu(
        "",
        "No data: the observation cards of the difference, and those of diffdecor help cards.",
    ),
    "IMAGE": OutputHdu("", "The result, in the unit of the difference."),
    "MASK": OutputHdu(
        "",
        "The mask of the difference, and the planes that diffdecor adds (diffdecor help pixels). "
        "MP_* cards name its bits, and HISTORY has them as a table. BADPLANE names the planes of "
        "the pixels that should not be used; MASK & BADVALUE selects them. If there are more than "
        "31 planes the others are in a second HDU MASK, with cards of its own.",
    ),
    "VARIANCE": OutputHdu(
        "if the variance is known",
        "The variance of every pixel of IMAGE, in the unit of the difference squared. Its card "
        "UTYPE tells astropy's CCDData what it is.",
    ),
    "SIGNIF": OutputHdu(
        "with --significance",
        "The flux of a point source centred on each pixel, sum(psf d) / sum(psf^2), in units of "
        "its error.",
    ),
    "FLUXERR": OutputHdu(
        "with --significance, but not for score images",
        "The error of that flux; the flux is SIGNIF * FLUXERR.",
    ),
    "NOISEREAL": OutputHdu(
        "with --noise-realisation SEED",
        "Gaussian noise with the variance plane and the correlation of the result; NaN where the "
        "variance is not known.",
    ),
    "CELL_IMAGE": OutputHdu("with --blend none", "A cell by itself; each has its own EXTVER."),
    "CELL_VARIANCE": OutputHdu("with --blend none", "The variance of that cell."),
    "PSF": OutputHdu(
        "if a PSF is known",
        "The PSF of the result, normalised to unit sum. Where it varies it is a cube.",
    ),
    "PSFPOS": OutputHdu(
        "if PSF is a cube", "A table: the 1-based position X, Y of every plane of PSF."
    ),
    "PSI": OutputHdu(
        "unless --no-filters",
        "The decorrelation filters psi, normalised to unit sum, likewise.",
    ),
    "PSIPOS": OutputHdu(
        "if PSI is a cube",
        "A table: the position of every plane of PSI. For the filters of separate cells it also "
        "has XMIN, XMAX, YMIN, YMAX: the pixels that each filter is for.",
    ),
    "NOISECOV": OutputHdu(
        "if there are enough sky pixels",
        "The lag image of the noise: EXTVER 1 that of the result, EXTVER 2 that of the difference "
        "as it was.",
    ),
}
