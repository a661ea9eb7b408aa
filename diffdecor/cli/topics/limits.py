"""What it cannot do."""

from __future__ import annotations

from diffdecor.cli.topics.blocks import Block, parsed

_TEXT = """
- Measured noise needs 5000 sky pixels, better 20000. With few of them, or with much faint light
  that no mask covers, the level of the result is uncertain: its pixel variance and its PSF go up or
  down together (by 5 per cent with 6000 pixels; the card DDPSIERR), while fluxes and their errors
  stay right.
- With --noise-model white the noise of both images is taken as white: the correlation from warping
  and coadding stays in the result.
- Changes of the noise over less than some 64 pixels are not followed. The resampling of the NIRCam
  samples leaves a moire pattern with periods of 37 and 80 pixels: there the variance is right on
  average, and up to 25 per cent wrong locally. diffdecor check reports such ripples; they are not
  removed.
- A kernel that is found from the images (--kernel fit) is as good as the family that it is looked
  for in: what it leaves of the difference is said, and limits what the result can be. Score images,
  and images that were convolved or stacked themselves, do not show it. The images must be those
  that were subtracted, pixel for pixel.
- Score images must be of differences with the template convolved.
- At the border of the image the pixels that continue it by reflection are not independent. The
  outermost pixels are flagged EDGE: those whose filter has more than the square of a quarter of
  --flag-share (0.000025) of its energy beyond the border, and the next one; usually four pixels,
  and five to seven where the noise of the convolved image is larger by 10 and more. There fluxes
  may be wrong by tens of per cent, and the noise of the outermost row by a quarter and more.
  Farther inside, fluxes are right within --flag-share (near a corner within twice that), and the
  noise within 10 per cent.
- Where both images were convolved with broad kernels, the noise at small scales has been lost, and
  cannot be made white: the filter is bounded at 1000.
- Single precision, the default, rounds by 6e-7 of the noise. Tiles with a pixel beyond 1e5 sigma
  are computed in double precision, so that a bright star does not degrade the sky around it, and so
  are images in units in which single precision has no numbers (variances of 1e-60).

## Memory

Images are processed in bands of rows, so memory hardly grows with their size (diffdecor help
speed). Held in memory completely is only what decorrelate returns in Python. Gzipped files are
unpacked into a temporary file (TMPDIR); tile-compressed images are kept unpacked in memory up to
half of --max-memory, and unpacked twice beyond that.
"""


def blocks() -> tuple[Block, ...]:
    """Return the blocks of the topic."""
    return parsed(_TEXT)
