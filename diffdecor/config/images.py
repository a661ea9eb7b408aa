"""What can be said of an image: the same options for science image, template and difference."""

from __future__ import annotations

from dataclasses import dataclass

from diffdecor.config.options import Checked, choice, not_negative, number, option, path, positive

#: What a noise plane may hold.
NOISE_KINDS = ("variance", "sigma", "ivar", "weight", "background")
#: Each is described in `diffdecor.images.surveys`, in the module of its name.
LAYOUTS = (
    "lsst", "hst", "jwst", "ccddata", "hotpants", "plain", "decam", "ztf", "ps1", "meerlicht",
)  # fmt: skip
#: Each is described there, too; of a preset with a dash the module is what comes before it.
MASK_PRESETS = (
    "lsst", "decam", "decam-bits", "decam-codes", "desdm", "ztf", "ps1", "meerlicht", "hst",
    "jwst", "hotpants", "pyzogy", "nonzero",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ImageOptions(Checked):
    """How the files of one image are read.

    In the help, ``{image}`` is what the image is called, and ``{use}`` says what it is for. The
    last four are options of all images together, declared in `FilesConfig`.
    """

    role: str = "science"
    layout: str | None = choice(
        None,
        "LAYOU",
        LAYOUTS,
        metavar="NAME",
        help="How the files of {image} are laid out.  [default: as recognised]",
    )
    noise: str | None = option(
        None, path, "NFILE", metavar="FILE", help="Noise plane of {image}{use}."
    )
    noise_kind: str | None = choice(
        None,
        "NKIND",
        NOISE_KINDS,
        help="What the {role} noise plane holds.  [default: what its name says]",
    )
    mask: str | None = option(None, path, "MFILE", metavar="FILE", help="Mask of {image}.")
    mask_preset: str | None = choice(
        None,
        "MPRES",
        MASK_PRESETS,
        metavar="NAME",
        help="Meaning of the bits of the {role} mask, unless it names them.  "
        "[default: --mask-preset]",
    )
    gain: float | None = option(
        None,
        positive,
        "GAIN",
        metavar="G",
        unit="electrons per image unit",
        help="Gain of {image}, to make its variance from its pixels.",
    )
    read_noise: float | None = option(
        None,
        not_negative,
        "READN",
        metavar="R",
        unit="electrons",
        help="Read noise of {image}, with its gain.",
    )
    sky: float | None = option(
        None,
        number,
        "SKY",
        metavar="B",
        unit="image unit",
        help="Sky level that was subtracted from {image}, with its gain.",
    )
    psf: str | None = option(None, path, "PSF", metavar="FILE", help="PSF of {image}, as it is.")
    kernel: str | None = option(
        None,
        path,
        "KERN",
        metavar="FILE",
        before="preconvolution_kernel",
        help="Kernel that {image} itself was convolved with, besides the matching kernel.",
    )
    stack: str | None = option(
        None,
        path,
        "STACK",
        metavar="FILE",
        before="preconvolution_kernel",
        help="TOML list of the images that {image} is the weighted sum of.",
    )
    bad_bits: tuple[int, ...] | None = None
    ignore_bits: tuple[int, ...] | None = None
    mask_codes: bool = False
    zero_borders: bool = True
