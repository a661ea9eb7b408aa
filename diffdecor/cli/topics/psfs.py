"""PSF files that can be read."""

from __future__ import annotations

from diffdecor.cli.topics.blocks import Block, formats, parsed
from diffdecor.psfs.registry import described_formats

_TEXT = """
A PSF that an image carries in its own file is found. --science-psf, --template-psf and
--difference-psf name one in a file of its own, and take precedence. The format is recognised:

{}

Without a PSF of the difference that of the result follows from the science image, or else from the
template (diffdecor help method). Without any PSF the result has none, and what needs one
(--significance, --max-factor) is refused.

Files of Piff itself, which contain pickles, and PSFs that only the software which made them can
evaluate are refused. The message says what to do: draw the PSF at some positions with that
software, and give the stamps as an HDU PSF with a table PSFPOS.
"""


def blocks() -> tuple[Block, ...]:
    """Return the blocks of the topic."""
    return parsed(_TEXT, formats("psfs", described_formats()))
