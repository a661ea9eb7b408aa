"""How to cite: the facts of CITATION.cff, which is not installed, as text to paste."""

from __future__ import annotations

from typing import NamedTuple

from diffdecor._version import __version__


class Work(NamedTuple):
    """A work to cite."""

    key: str
    authors: str
    year: int
    title: str
    #: Journal, volume and page; or institution.
    where: str
    link: str


WORKS = (
    Work(
        "alard1998",
        "Alard, C. and Lupton, R. H.",
        1998,
        "A Method for Optimal Image Subtraction",
        "The Astrophysical Journal 503, 325",
        "https://doi.org/10.1086/305984",
    ),
    Work(
        "reiss2016",
        "Reiss, D. J. and Lupton, R. H.",
        2016,
        "Image differencing for the LSST: noise decorrelation (DMTN-021)",
        "LSST Data Management",
        "https://dmtn-021.lsst.io",
    ),
    Work(
        "dmtn179",
        "Rubin Observatory Data Management",
        0,
        "Decorrelation of Alard-Lupton difference images with pre-convolution (DMTN-179)",
        "Vera C. Rubin Observatory",
        "https://dmtn-179.lsst.io",
    ),
    Work(
        "zackay2016",
        "Zackay, B., Ofek, E. O. and Gal-Yam, A.",
        2016,
        "Proper Image Subtraction: Optimal Transient Detection, Photometry, and Hypothesis Testing",
        "The Astrophysical Journal 830, 27",
        "https://doi.org/10.3847/0004-637X/830/1/27",
    ),
)
SOFTWARE = (
    f"The diffdecor developers, diffdecor {__version__}: white noise, true variance and true PSF "
    "for difference images"
)


def sentence(version: str = __version__) -> str:
    """Return a sentence for a paper, of the version that made an output."""
    return (
        f"The noise of the difference images (Alard & Lupton 1998) was decorrelated with diffdecor "
        f"{version}, after Reiss & Lupton (2016, DMTN-021), Rubin Observatory's DMTN-179 and "
        "Zackay et al. (2016)."
    )
