"""How the files of a job are read and its output is written."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

from diffdecor.config import kinds
from diffdecor.config.options import Checked, nested, option, options

#: What a noise plane may hold.
NOISE_KINDS = ("variance", "sigma", "ivar", "weight", "background")
#: Each is described in `diffdecor.images.surveys`, in the module of its name.
LAYOUTS = (
    "lsst", "lsst-images", "hst", "jwst", "ccddata", "hotpants", "plain", "decam", "ztf", "ps1",
    "meerlicht",
)  # fmt: skip
#: Each is described there, too; of a preset with a dash the module is what comes before it.
MASK_PRESETS = (
    "lsst", "decam", "decam-bits", "decam-codes", "desdm", "ztf", "ps1", "meerlicht", "hst",
    "jwst", "hotpants", "pyzogy", "nonzero",
)  # fmt: skip
_LAYOUT = kinds.one_of(*LAYOUTS, metavar="NAME")
_PRESET = kinds.one_of(*MASK_PRESETS, metavar="NAME")
#: Options that the difference does not have.
_OF_SIDES = ("gain", "read_noise", "sky", "kernel", "stack")


@dataclass(frozen=True, kw_only=True)
class ImageOptions(Checked):
    """How the files of one image are read: science image, template or difference.

    In the help, ``{image}`` is what the image is called, and ``{use}`` says what it is for. The
    last ones are options of several images together, declared in `FilesConfig`.
    """

    role: str = "science"
    # fmt: off
    # A table: keyword of the card without DD and the image, default, kind; help.
    layout: str | None = option("LAYOU", None, _LAYOUT,
        "How the files of {image} are laid out.  [default: as recognised]")
    noise: str | None = option("NFILE", None, kinds.FILE,
        "Noise plane of {image}{use}.  [default: where its layout has it, or found by --diffcmd]",
        daily=True)
    noise_kind: str | None = option("NKIND", None, kinds.one_of(*NOISE_KINDS),
        "What the {role} noise plane contains.  [default: --noise-kind, or as its name says]")
    mask: str | None = option("MFILE", None, kinds.FILE,
        "Mask of {image}.  [default: where its layout has it, or found by --diffcmd]", daily=True)
    mask_preset: str | None = option("MPRES", None, _PRESET,
        "Meaning of the bits of the {role} mask if it does not name them.  "
        "[default: --mask-preset]")
    gain: float | None = option("GAIN", None, kinds.GAIN,
        "Gain of {image}, to compute its variance from its pixels.  [default: --gain, or found by "
        "--diffcmd]")
    read_noise: float | None = option("READN", None, kinds.READ_NOISE,
        "Read noise of {image}; used with its gain.  [default: --read-noise, or found by "
        "--diffcmd]")
    sky: float | None = option("SKY", None, kinds.LEVEL,
        "Sky level that was subtracted from {image}; used with its gain.  [default: 0, less a "
        "pedestal found by --diffcmd]")
    psf: str | None = option("PSF", None, kinds.FILE, "PSF of {image} itself.", daily=True)
    noise_power: str | None = option("NPOWR", None, kinds.FILE,
        "Noise of {image} as known from elsewhere: a lag image of its covariance, or realisations "
        "of it.")
    kernel: str | None = option("KERN", None, kinds.FILE,
        "Kernel that {image} itself was convolved with, in addition to the matching kernel.",
        before="preconvolution_kernel")
    stack: str | None = option("STACK", None, kinds.FILE,
        "TOML list of the images of which {image} is the weighted sum.",
        before="preconvolution_kernel")
    # fmt: on
    shared_noise_kind: str | None = None
    shared_gain: float | None = None
    shared_read_noise: float | None = None
    diffcmd: bool = True
    bad_bits: tuple[int, ...] | None = None
    ignore_bits: tuple[int, ...] | None = None
    mask_codes: bool = False
    zero_borders: bool = True
    ignore_checksums: bool = False


@dataclass(frozen=True, kw_only=True)
class FilesConfig(Checked):
    """How the files of a job are read and its output is written.

    The options of the science image are called ``science_layout`` and so on, those of the template
    and the difference likewise.
    """

    # fmt: off
    # A table: keyword of the card, default, kind; help.
    science: ImageOptions = nested(ImageOptions, "science",  # noqa: RUF009
        image="the science image", use="")
    template: ImageOptions = nested(ImageOptions, "template",  # noqa: RUF009
        image="the template", use="")
    difference: ImageOptions = nested(ImageOptions, "difference", without=_OF_SIDES,  # noqa: RUF009
        image="the difference", use=" (only for metrics, unless it is alone)")
    layout: str | None = option("DDLAYOUT", None, _LAYOUT,
        "How the files of the science image and the template are laid out: "
        f"{', '.join(LAYOUTS)}.  [default: as recognised]", daily=True)
    noise_kind: str | None = option("DDNKIND", None, kinds.one_of(*NOISE_KINDS),
        "What the noise planes contain that --science-noise, --template-noise and "
        "--difference-noise name, or that do not say it themselves.", daily=True)
    gain: float | None = option("DDGAIN", None, kinds.GAIN,
        "Gain of the science image and the template, if they have no noise plane.", daily=True)
    read_noise: float | None = option("DDREADN", None, kinds.READ_NOISE,
        "Read noise of the science image and the template; used with their gains.", daily=True)
    diffcmd: bool = option("DDDIFCMD", True, kinds.SWITCH,
        "For a HOTPANTS triple, take noise and masks that nothing else gives from HOTPANTS's "
        "command line (card DIFFCMD), or else from files beside the images (sci_sig.fits, "
        "sci_mask.fits for sci.fits).")
    mask_preset: str | None = option("DDMASKPR", None, _PRESET,
        f"Meaning of the bits of masks that do not name them: {', '.join(MASK_PRESETS)}.  "
        "[default: that of the layout]", daily=True)
    bad_bits: tuple[int, ...] | None = option("DDBADBIT", None, kinds.BITS,
        "Bits that are BAD in masks that do not name their bits; without --mask-preset all others "
        "are harmless.")
    ignore_bits: tuple[int, ...] | None = option("DDIGNBIT", None, kinds.BITS,
        "Bits that are harmless in masks that do not name their bits.")
    mask_codes: bool = option("DDMCODES", False, kinds.SWITCH,
        "Masks that do not name their bits contain codes, one number per pixel.")
    zero_borders: bool = option("DDZEROB", True, kinds.SWITCH,
        "Treat a border of exact zeros in an image as missing data.")
    preconvolution_kernel: str | None = option("DDPREKER", None, kinds.FILE,
        "Stamp with which the science image was correlated, for --score.  [default: its PSF]")
    kernel_sense: str | None = option("DDKSENSE", None, kinds.one_of("convolution", "correlation"),
        "How a plain kernel stamp is applied.  [default: its cards, else convolution]")
    kernel_center: tuple[float, float] | None = option("DDKCENTR", None, kinds.POSITION,
        "Origin of a plain kernel stamp.  [default: its cards, else NX//2,NY//2]")
    region: str | None = option("DDREGION", None, kinds.REGION,
        "Decorrelate only this part of the images; noise levels are those of the part.  "
        "[default: all]", daily=True)
    verify: bool = option("DDVERIFY", True, kinds.SWITCH,
        "First rebuild a part of the difference, and refuse files that do not belong together.")
    dtype: str = option("DDDTYPE", "float32", kinds.one_of("float32", "float64"),
        "Data type of the output images.")
    filters: bool = option("DDFILTRS", True, kinds.SWITCH,
        "Also write the decorrelation filters (PSI).")
    max_rho: float | None = option("", None, kinds.LIMIT,
        "Largest correlation of two pixels within 5 pixels that the result may have. If it is "
        "exceeded, and not by chance, the output is kept and the exit code is 4.", daily=True)
    max_factor: float | None = option("", None, kinds.LIMIT,
        "Largest deviation from 1 of the point-source noise I of the result; needs a PSF.")
    write: tuple[str, ...] | None = option("", None, kinds.WRITES,
        "Also write a part of the result to a file of its own, as the primary image. NAME: image, "
        "variance, sigma, weight (1/variance, 0 where bad), mask, bad (1 where not to be used), "
        "signif, fluxerr, psf, psi, noisecov (the lag image of the noise) or noisereal. May be "
        "repeated.", daily=True)
    quantize: float | None = option("DDQUANT", None, kinds.QUANTUM,
        "In an output .fits.fz, quantise the pixels of IMAGE, SIGNIF and NOISEREAL in steps of the "
        "noise of their row divided by L (16 adds 0.03 % to the variance). Everything else is "
        "lossless.")
    noise_realisation: int | None = option("DDNREAL", None, kinds.SEED,
        "Also write a realisation of the noise of the result, made with this seed (NOISEREAL).")
    force: bool = option("DDFORCE", False, kinds.SWITCH,
        "Decorrelate even a difference whose cards say that it has been decorrelated.")
    ignore_checksums: bool = option("DDIGNSUM", False, kinds.SWITCH,
        "Use inputs whose data do not agree with their DATASUM, and do not warn of a wrong "
        "CHECKSUM.")
    strict: bool = option("", False, kinds.SWITCH,
        "Treat warnings as errors: nothing is written, and the exit code is 4.", daily=True)
    # fmt: on

    @classmethod
    def of(cls, **values: Any) -> Self:  # noqa: ANN401
        """Return a config of values by the names of options: flat, as on the command line."""
        images: dict[str, dict[str, Any]] = {}
        for item in options(cls):
            if item.role and item.name in values:
                images.setdefault(item.role, {})[item.own_name] = values.pop(item.name)
        values |= {role: ImageOptions(role=role, **given) for role, given in images.items()}
        return cls(**values)

    @property
    def written(self) -> dict[str, str]:
        """Files that parts of the result are written to, by the name of the part."""
        return dict(text.split("=", 1) for text in self.write or ())

    def of_image(self, role: str) -> ImageOptions:
        """Return the options of an image, with those that several images have in common."""
        own: ImageOptions = getattr(self, role)
        of_both = self if role != "difference" else FilesConfig()
        return replace(
            own,
            layout=own.layout or of_both.layout,
            noise_kind=own.noise_kind or (self.noise_kind if own.noise else None),
            shared_noise_kind=self.noise_kind,
            shared_gain=of_both.gain,
            shared_read_noise=of_both.read_noise,
            diffcmd=self.diffcmd,
            mask_preset=own.mask_preset or self.mask_preset,
            bad_bits=self.bad_bits,
            ignore_bits=self.ignore_bits,
            mask_codes=self.mask_codes,
            zero_borders=self.zero_borders,
            ignore_checksums=self.ignore_checksums,
        )
