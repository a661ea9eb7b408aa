"""Which image to use for what, and how right its errors are."""

from __future__ import annotations

from diffdecor.cli.topics.blocks import Block, parsed, terms

_USES = {
    "detection": "SIGNIF (--significance), against a threshold in sigma.",
    "PSF photometry": "IMAGE with PSF, with equal weights for all pixels; the error from FLUXERR.",
    "aperture photometry": "IMAGE, whose zero point is that of the difference, with the aperture "
    "correction of PSF. The error from VARIANCE is right in the sky and on faint hosts.",
    "bright hosts": "The original difference may be used as well: fluxes are the same in both.",
}
_TEXT = """
{}

Mask with MASK & BADVALUE. Pixels with NEAR_FILLED are left out of SIGNIF and FLUXERR; both are NaN
where usable pixels have less than a ten-thousandth of the PSF's energy.

The PSF follows that of the input images over the field in every mode, also where one filter serves
the whole image.

## Inside bright sources

Inside bright sources, and within a PSF of an abrupt change of the noise level, the pixels of the
result are correlated although those of the sky around are not. There FLUXERR is right: it is the
variance of both images, propagated through filter and PSF together,
v_S (psf psi A)^2 + v_T (psf psi B)^2. A sum of VARIANCE over the pixels may be wrong by a third
there. SIGNIF scatters by 1.00 in the cores of galaxies, in every mode
(tests/decorrelation/test_significance.py).

## What FLUXERR cannot know

- Measured noise is the noise of the difference, and both images are assumed to be correlated
  alike. Where one of them dominates, as in a galaxy that is much brighter in the noisier image, and
  only its noise was correlated by warping, errors may be wrong by as much as that noise is
  correlated (for a template interpolated linearly by half a pixel: by a half). With
  --template-noise-power and --science-noise-power, which say how each image is correlated, they are
  right there, too.
- In the outermost three pixels FLUXERR is up to a tenth too large.
- With separate cells (--blend average and others) the filter changes in steps, while PSF and
  FLUXERR are those of filters that change steadily between the centres of the cells. Fluxes may be
  wrong by a per cent where noise levels triple over the image.
"""


def blocks() -> tuple[Block, ...]:
    """Return the blocks of the topic."""
    return parsed(_TEXT, terms("uses", ("use", "image"), _USES))
