"""How the noise of the images is given, or measured."""

from __future__ import annotations

from diffdecor.cli.topics.blocks import Block, parsed, table, terms
from diffdecor.config import NOISE_KINDS

_KINDS = {
    "variance": "The variance of each pixel.",
    "sigma": "Its standard deviation; 0 means no data.",
    "ivar": "The inverse variance; 0 means no data. It is used as it is.",
    "weight": "A relative weight: it is scaled so that the source-free pixels of the image scatter "
    "as it says; the factor is logged. Weights that are 0, negative or below a thousandth of their "
    "median (which lossy compression leaves behind) mean no data.",
    "background": "The standard deviation of the sky only; --science-gain or --template-gain adds "
    "the noise of the sources.",
}
_LAG_IMAGE = (
    "a lag image",
    "odd, equal sides of up to {} pixels, the zero lag in the centre",
    "that of its BUNIT, the image's squared; without BUNIT that of the variance plane",
)
_OF_OUTPUT = (
    "{} of an output",
    "its name; EXTVER 2 is used for a difference, EXTVER 1 for the other images",
    "the image's squared",
)
_OF_PAN_STARRS = (
    "COVAR_* of Pan-STARRS",
    "its name; the cards COVARIANCE.CENTRE.X, .Y give the zero lag (0-based)",
    "that of the variance plane",
)
_REALISATIONS = (
    "realisations of the noise",
    "any other image, or a cube of them; NaN is left out",
    "that of the image",
)
_FILES = (_LAG_IMAGE, _OF_OUTPUT, _OF_PAN_STARRS, _REALISATIONS)
_TEXT = """
## The variance of each image

A noise plane is found in the image's file or beside it if it has the name that its survey gives it
(diffdecor help layouts). --science-noise, --template-noise and --difference-noise name one, and
--science-noise-kind and so on say what it holds, if its name does not:

{}

A negative variance or sigma in an unmasked pixel is an error.

Without a noise plane the variance can be computed from the pixels: --science-gain,
--science-read-noise and, if the sky was subtracted, --science-sky; for the template likewise. Or it
is one number: --science-variance, --template-variance.

--noise-kind, --gain and --read-noise say the same of the science image and the template at once.
What no option gives of a HOTPANTS triple is taken from HOTPANTS's command line, which the card
DIFFCMD holds, or from files beside the images (sci_sig.fits, sci_mask.fits for sci.fits); -v logs
what was found. --no-diffcmd takes nothing from there.

## White or measured noise

The noise of an image is white where no pixel has been interpolated. But templates are warped and
coadded, and images are drizzled: their noise is correlated before the subtraction.

- --noise-model white takes the noise of both images as white, as LSST's code does.
- --noise-model measured uses the correlation that the difference itself shows in its source-free
  pixels.
- --noise-model auto, the default, measures it, and uses it where the result is significantly
  whiter, or its variance closer to the true one, on pixels that were not used for the fit.
  Otherwise the noise is taken as white. So it is where there are fewer than 5000 sky pixels, where
  the variance is given as a number, and with LSST's --edges zero --fill mean.

auto may choose differently for two exposures of one night. A survey that wants all of them treated
alike sets measured or white. The card DDNMODEL records which one was used, DDNWHY why.

## Noise that is known from elsewhere

--science-noise-power, --template-noise-power and --difference-noise-power take the correlation of
the noise of an image from a file, where it is known better than the images can tell, or the images
are too small to measure it:

{}

The planes of a cube of lag images are averaged. Lags up to 31 pixels are used. A lag image whose
opposite lags differ is refused, and so is a variance that is ten times too large or too small for
the image: it is in another unit.

The noise of an image is given in one way: not for an image that has a kernel or a stack of its own
(diffdecor help stacks), and that of the difference, which is the noise of both images together, not
beside that of one of them.
"""


def blocks() -> tuple[Block, ...]:
    """Return the blocks of the topic."""
    from diffdecor.images.noise_power import LARGEST_LAG_IMAGE, NOISE_COVARIANCE

    kinds = {kind: _KINDS[kind] for kind in NOISE_KINDS}
    titles = {"holds": "the file holds", "recognised_by": "recognised by", "unit": "unit"}
    rows = [(holds.format(NOISE_COVARIANCE), by.format(LARGEST_LAG_IMAGE), unit)
            for holds, by, unit in _FILES]  # fmt: skip
    files = table("noise_power_files", titles, *rows)
    return parsed(_TEXT, terms("noise_kinds", ("kind", "meaning"), kinds), files)
