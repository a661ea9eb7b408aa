"""Kernel files that can be read."""

from __future__ import annotations

from diffdecor.cli.topics.blocks import Block, formats, parsed
from diffdecor.kernels.registry import described_formats

_TEXT = """
--kernel names the file of the matching kernel. Without it the kernel is taken from the difference,
if that carries one; if not, it is found from the images (below). The format is recognised.
diffdecor kernel info KERNEL shows what is in a file, kernel plot draws it, and kernel convert
writes any of them in the native format.

{}

## No kernel? It is in the images

A difference was computed from its two images, so both show the kernel: the noise of the image that
was convolved is in the difference as the kernel left it, at all frequencies. run and verify find
the kernel from the images where there is none in the difference, and say so in the log; with
--kernel fit they do so in any case (a file called fit is ./fit). In Python it is
decorrelate(..., kernel="fit").

```sh
# no kernel file, and none in the difference
diffdecor run sci.fits tmpl.fits diff.fits -o out.fits

# the kernel by itself; no noise planes are needed
diffdecor kernel fit sci.fits tmpl.fits diff.fits -o kernel.fits
```

Which kernel is used, in this order: the file that --kernel names; that of the difference; the one
that the images show. Where they show none there is an error, and the difference alone can still be
decorrelated (diffdecor run DIFFERENCE), with measured noise.

Found are the convolved side, the scales, size and centre of the kernel, how it varies (constant, by
polynomials or by B-splines; in blocks where the tool held it constant, and in regions, those of the
header of a HOTPANTS difference or of a regular grid), and the background. --convolved, --science-
scale and --template-scale hold where they are given. The proof is what the kernel leaves of the
difference in pixels that it was not fitted to: the card DDFITRES has it in sigma of the difference,
DDFITRND in units of the rounding of its numbers. A kernel that leaves no more than rounding is
exact (DDFITEX). One that leaves more is used with a warning. One that leaves more than a tenth of
the noise, or 0.4 of what either image's noise is in the difference, is refused: then the images are
not those that were subtracted, or they or the difference were changed since. Score images, and
images with kernels or stacks of their own, do not show their matching kernel.

Which image was convolved, and the scales a_S and a_T, come from the kernel file, the difference or
the options, or from the fit; they are never guessed. ZOGY, which uses no matching kernel, and PSFs
that are given as kernels are refused, and the message says what to give instead. Nothing in a file
is ever evaluated or unpickled.

CONTRIBUTING.md describes how to add a format: in the source, or as a plug-in of your own package
(entry-point group diffdecor.kernels).

## A command for each tool

```sh
# HOTPANTS -hki: the difference carries its kernel; noise images are sigma
diffdecor run sci.fits tmpl.fits diff.fits -o out.fits \\
    --science-noise sci_sigma.fits --science-noise-kind sigma \\
    --template-noise tmpl_sigma.fits --template-noise-kind sigma

# SFFT: the solution is the kernel file
diffdecor run sci.fits ref.fits sfft_diff.fits --kernel solution.fits \\
    --science-noise sci_sigma.fits --science-noise-kind sigma \\
    --template-noise ref_sigma.fits --template-noise-kind sigma -o out.fits

# LSST: the exposures contain noise, masks and PSF
diffdecor run science.fits template.fits difference.fits \\
    --kernel psfMatchKernel.fits --convolved template -o out.fits

# Rubin, lsst.images: the difference carries its kernel
diffdecor run visit_image.fits template.fits difference_image.fits \\
    -o out.fits

# a plain stamp; noise from gain and read noise
diffdecor run sci.fits tmpl.fits diff.fits -o out.fits \\
    --kernel stamp.fits --convolved template \\
    --science-gain 1.6 --science-read-noise 5 \\
    --template-gain 6.6 --template-read-noise 5

# nothing but the difference: its noise is measured
diffdecor run diff.fits -o out.fits
```
"""


def blocks() -> tuple[Block, ...]:
    """Return the blocks of the topic."""
    return parsed(_TEXT, formats("kernels", described_formats()))
