"""Kernel files that can be read."""

from __future__ import annotations

from diffdecor.cli.topics.blocks import Block, formats, parsed
from diffdecor.kernels.registry import described_formats

_TEXT = """
--kernel names the file of the matching kernel. Without it the kernel is taken from the difference,
if that carries one. The format is recognised. diffdecor kernel info KERNEL shows what is in a
file, kernel plot draws it, and kernel convert writes any of them in the native format.

{}

Which image was convolved, and the scales a_S and a_T, come from the kernel file, the difference or
the options; they are never guessed. ZOGY, which uses no matching kernel, and PSFs that are given as
kernels are refused, and the message says what to give instead. Nothing in a file is ever evaluated
or unpickled.

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
