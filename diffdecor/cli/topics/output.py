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

For which image to use for what, see diffdecor help photometry.

## Files of one image

--write NAME=FILE writes a part of the result to a file of its own, too, as its primary image, with
WCS, unit and cards; it may be repeated. NAME is one of {", ".join(WRITTEN)}. weight is 1/variance,
and 0 where a pixel should not be used; bad is 1 there; sigma is the root of the variance.
SExtractor takes them as they are:

```sh
diffdecor run sci.fits tmpl.fits diff.fits -o out.fits \\
    --write image=white.fits --write weight=weight.fits --write bad=bad.fits
source-extractor white.fits -BACK_TYPE MANUAL -BACK_VALUE 0 \\
    -WEIGHT_TYPE MAP_WEIGHT -WEIGHT_IMAGE weight.fits -FLAG_IMAGE bad.fits
```

ds9 'out.fits[IMAGE]' shows an image of the output itself. With astropy and photutils:

```python
from astropy.io import fits
from photutils.detection import find_peaks

with fits.open("out.fits") as hdus:  # run with --significance
    mask = hdus["MASK"]
    bad = mask.data & mask.header["BADVALUE"] != 0
    found = find_peaks(hdus["SIGNIF"].data, 5, box_size=9, mask=bad)
```

## Compressed outputs, and parts of an image

-o out.fits.fz compresses images in tiles without loss (floats by GZIP_2, masks by RICE_1): funpack
gives the same file. With --quantize 16 IMAGE, SIGNIF and NOISEREAL are rounded to a sixteenth of
their noise, with dithering: files several times smaller, and 0.03 per cent more variance (cards
QUANTLEV, QUANTVAR). -o out.fits.gz compresses the file as a whole.

--region 1000:1512,2000:2512 works on a part of the images (X0:X1,Y0:Y1; 0-based, ends not
included). WCS, kernel and PSF are those of the whole image, noise levels those of the part. Within
the reach of the filters (card DDHWIDTH) from its borders the result differs from that of the whole
image.

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
