"""How the files of a job are read and its output is written."""

from __future__ import annotations

from dataclasses import dataclass, replace

from diffdecor.config.images import LAYOUTS, MASK_PRESETS, ImageOptions
from diffdecor.config.options import Checked, bits, choice, flag, nested, option, path, position

#: Options that the difference does not have.
_OF_SIDES = ("gain", "read_noise", "sky", "kernel", "stack")


@dataclass(frozen=True, kw_only=True)
class FilesConfig(Checked):
    """How the files of a job are read and its output is written.

    The options of the science image are called ``science_layout`` and so on, those of the template
    and the difference likewise.
    """

    science: ImageOptions = nested(ImageOptions, "science", image="the science image")  # noqa: RUF009
    template: ImageOptions = nested(ImageOptions, "template", image="the template")  # noqa: RUF009
    difference: ImageOptions = nested(  # noqa: RUF009  a field
        ImageOptions,
        "difference",
        without=_OF_SIDES,
        image="the difference",
        use=" (for metrics only)",
    )
    layout: str | None = choice(
        None,
        "DDLAYOUT",
        LAYOUTS,
        metavar="NAME",
        help=f"How the files of the science image and the template are laid out: "
        f"{', '.join(LAYOUTS)}.  [default: as recognised]",
    )
    mask_preset: str | None = choice(
        None,
        "DDMASKPR",
        MASK_PRESETS,
        metavar="NAME",
        help=f"What the bits mean in masks that do not name theirs: {', '.join(MASK_PRESETS)}.  "
        "[default: that of the layout]",
    )
    bad_bits: tuple[int, ...] | None = option(
        None,
        bits,
        "DDBADBIT",
        metavar="N,N|0xHEX",
        help="Bits that are BAD in masks that do not name theirs; without --mask-preset all others "
        "are harmless.",
    )
    ignore_bits: tuple[int, ...] | None = option(
        None,
        bits,
        "DDIGNBIT",
        metavar="N,N|0xHEX",
        help="Bits that are harmless in masks that do not name theirs.",
    )
    mask_codes: bool = flag(
        False, "DDMCODES", help="Masks that do not name their bits hold codes, one number a pixel."
    )
    zero_borders: bool = flag(
        True, "DDZEROB", help="A border of exactly 0 in an image has no data."
    )
    preconvolution_kernel: str | None = option(
        None,
        path,
        "DDPREKER",
        metavar="FILE",
        help="Stamp that the science image was correlated with, for --score.  [default: its PSF]",
    )
    kernel_sense: str | None = choice(
        None,
        "DDKSENSE",
        ("convolution", "correlation"),
        help="How a plain kernel stamp is to be applied.  [default: its cards, else convolution]",
    )
    kernel_center: tuple[float, float] | None = option(
        None,
        position,
        "DDKCENTR",
        metavar="X,Y",
        unit="0-based pixels",
        help="Origin of a plain kernel stamp.  [default: its cards, else NX//2,NY//2]",
    )
    verify: bool = flag(
        True,
        "DDVERIFY",
        help="Rebuild a part of the difference first; refuse files that do not belong together.",
    )
    dtype: str = choice(
        "float32", "DDDTYPE", ("float32", "float64"), help="Type of the pixels written."
    )
    force: bool = flag(
        False,
        "DDFORCE",
        help="Decorrelate even a difference whose cards say that it was decorrelated before.",
    )

    def of_image(self, role: str) -> ImageOptions:
        """Return the options of an image, with those that several images have in common."""
        own: ImageOptions = getattr(self, role)
        common = {name: getattr(self, name) for name in ("bad_bits", "ignore_bits", "mask_codes")}
        return replace(
            own,
            layout=own.layout or (self.layout if role != "difference" else None),
            mask_preset=own.mask_preset or self.mask_preset,
            zero_borders=self.zero_borders,
            **common,
        )
