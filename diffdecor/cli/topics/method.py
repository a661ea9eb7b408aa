"""What is computed."""

from __future__ import annotations

from diffdecor.cli.topics.blocks import Block, parsed, terms

_FORMULAE = {
    "noise power": "P(k) = s a_S^2 |A(k)|^2 + t a_T^2 |B(k)|^2. Here s and t are the noise "
    "variances of both images: clipped means of the variance planes over unmasked pixels. For "
    "measured noise P is multiplied by R(k), which is fitted to the correlation that sky pixels "
    "still have after whitening with P.",
    "filter": "psi(k) = sqrt(P(0) / P(k)). Its sum is 1, so that fluxes are preserved.",
    "result": "psi * D",
    "variance": "a_S^2 v_S * (psi*A)^2 + a_T^2 v_T * (psi*B)^2, where v_S and v_T are the variance "
    "planes and the squares are taken in pixel space (--variance full). By default (weighted) each "
    "of these convolutions is replaced by a multiplication with the sum of the squared kernel.",
    "PSF": "psi * PSF of the difference; if that is not given, psi * A * PSF of the science image; "
    "or else psi * B * PSF of the template.",
    "score images": "With --score, A is the reflected preconvolution kernel, and the filter is the "
    "likelihood correction |A(k)|^2 P(0) / P(k) of DMTN-179.",
}
_TEXT = """
Image subtraction after Alard & Lupton convolves one image of a pair with a PSF-matching kernel.
That correlates the noise of neighbouring pixels of the difference. A variance plane may be right
for each single pixel, but whatever is summed over pixels (the flux of a source, a matched filter)
scatters more than it says. diffdecor multiplies the Fourier transform of the finished difference by
the filter that makes its noise white again.

S is the science image, T the template on the pixels of S (before it was matched in PSF), and * a
convolution. The difference is

```text
D = a_S (A * S) - a_T (B * T) + background
```

A and B are the kernels that the images were convolved with. Usually one of them is the matching
kernel, and the other a delta function: that image was not convolved.

{}

The method is the one of LSST (DMTN-021, DMTN-179), with measured noise and smoothly varying filters
in addition. CITATION.cff names the papers.

The kernel comes from its file, from the difference, or from the images themselves: the difference
is linear in it and nearly free of noise, since it was computed from them (diffdecor help kernels).

## A difference alone

With a difference alone, P(k) is measured in it. Its variance is that of its variance plane or, if
it has none, measured in blocks of 40 x 40 source-free pixels. Options of the other images or of a
kernel are refused.

## Where the filter is evaluated

- Grid (--mode grid, the default): filters on the nodes of a grid, each from the local kernel and
  the local noise levels, and interpolated bilinearly between them, so that there are no seams. The
  nodes are at most an eighth of the image apart (from 64 to 216 pixels; in large images up to a
  25th of it), closer where the ratio of the noise levels changes abruptly, as at amplifiers or
  edges of a coadd (down to 16 pixels), and on both sides of every border between kernel regions.
  The noise level of a node is that of the pixels nearest to it; of more than 32768 it is taken from
  a quarter of the rows where that tells it to 4e-4.
- Whole image (--mode whole): one filter, from the kernel at one position and the noise of the whole
  image.
- Cells as in LSST's code (--blend average, copy, sum or none): separate cells with LSST's grid
  settings and reducers. With none the output also has each cell by itself, as CELL_IMAGE and
  CELL_VARIANCE.

--edges zero --fill mean reproduce LSST's treatment of borders and of pixels without data, and its
kernel position, half a pixel off the centre. The defaults are better: at the border the image is
continued by reflection; unusable pixels are filled with the local level before filtering, and put
back as they were.

If every pixel of an image is NaN the difference is left as it is, with a warning and DDSKIP = T.
A difference alone with fewer than 5000 usable pixels is refused, because its noise cannot be
measured.
"""


def blocks() -> tuple[Block, ...]:
    """Return the blocks of the topic."""
    return parsed(_TEXT, terms("formulae", ("quantity", "formula"), _FORMULAE))
