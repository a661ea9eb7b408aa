"""The HDUs of an output."""

from __future__ import annotations

from diffdecor.cli.topics.blocks import Block, Row, Table, parsed
from diffdecor.config.kinds import WRITTEN
from diffdecor.pipeline.output_hdus import OUTPUT_HDUS

_TEXT = f"""
An output is one FITS file:

{{}}

Every image HDU has the WCS and its unit, every HDU DATASUM and CHECKSUM. fitsverify finds no error
and no warning. --dtype float64 writes images in double precision.

--write NAME=FILE writes a part of the result to a file of its own, too; NAME is one of:
{", ".join(WRITTEN)}.

For which image to use for what, see diffdecor help photometry.

## PSFs and filters

PSFs and filters have unit sum and single precision. Their margins are cut where they are negligible
(the card CUTSHARE says what was cut off: the fraction of the flux of a PSF, of the L2 norm of a
filter). There are only as many as linear interpolation between their positions needs (INTERROR is
the largest error of this interpolation); beyond the outermost positions they are constant. Away
from filled pixels, the filters applied to the difference give IMAGE to 1e-4 sigma.

If they would take more than half of the bytes of image, variance and mask (a fifth in images above
4 megapixels), they are made fewer and smaller, in the extreme one of each, which is complete; the
same two cards give the errors.

Filters of separate cells (--blend copy, average and so on) are not interpolated (the card INTERP is
NEAREST): each is for the pixels XMIN to XMAX, YMIN to YMAX of its row in PSIPOS.

## Lag images

A lag image is the covariance of two pixels that are LAGX columns and LAGY rows apart, in the unit
of the variance. NOISECOV has 41 x 41 pixels; the zero lag, which is the variance, is in the centre
(FITS pixel 21, 21). It is the mean over the sky pixels in the middle of the image, fitted with a
positive power spectrum, so that it is a possible covariance of noise. It is left out if there are
fewer than 1000 sky pixels, or their power cannot be determined.

--write noisecov=cov.fits writes that of the result to the primary HDU of a file of its own, which
GalSim reads as it is, with the pixel scale of the image in arcsec:

```python
galsim.getCOSMOSNoise(file_name="cov.fits", cosmos_scale=0.2)
```
"""


def blocks() -> tuple[Block, ...]:
    """Return the blocks of the topic."""
    rows = (
        Row(
            (name, f"{hdu.what} [{hdu.when}]" if hdu.when else hdu.what),
            {"hdu": name, "when": hdu.when or None, "what": hdu.what},
        )
        for name, hdu in OUTPUT_HDUS.items()
    )
    return parsed(_TEXT, Table("hdus", (), tuple(rows)))
