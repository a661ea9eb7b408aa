"""Unit and zero point of the result."""

from __future__ import annotations

from diffdecor.cli.topics.blocks import Block, parsed, table

_TEXT = """
The result has the unit and the zero point of the difference, and the difference's own cards for
them: filtering does not change fluxes. Which image the tool scaled the difference to decides the
factors a_S and a_T of both images (diffdecor help method):

{}

Here k is the sum of the matching kernel, the ratio of the fluxes. The factors come from the kernel
file, from --science-scale and --template-scale, or from the fit that finds a kernel; they are never
guessed. 1/k as value of these
options stands for one over the kernel sum at the image centre.

diffdecor verify SCIENCE TEMPLATE DIFFERENCE --kernel KERNEL rebuilds the difference with these
factors, and names the ones that fit if others do; run does so on a part of the image first.
"""


def blocks() -> tuple[Block, ...]:
    """Return the blocks of the topic."""
    rows = (
        ("HOTPANTS", "PHOTNORM t: template; i: science image; u: the image not convolved",
         "both are that factor"),
        ("SFFT", "the image not convolved", "1, 1"),
        ("LSST, template convolved", "science image", "1, 1"),
        ("LSST, science image convolved and divided by k", "template", "1/k, 1"),
        ("ficonv", "science image", "1, 1"),
    )  # fmt: skip
    titles = {"tool": "difference of", "level": "has the flux scale of", "scales": "a_S, a_T"}
    return parsed(_TEXT, table("scales", titles, *rows))
