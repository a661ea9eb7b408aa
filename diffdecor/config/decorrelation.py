"""How a difference is decorrelated: the options of the numerics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from diffdecor.config import kinds
from diffdecor.config.options import Checked, documented, option

# The values of the options that have a few. Declared once: the choices are made of them.
Mode = Literal["whole", "grid"]
Convolved = Literal["template", "science", "auto"]
NoiseModel = Literal["white", "measured", "auto"]
VarianceModel = Literal["weighted", "full"]
Scale = float | Literal["1/k"] | None
AdjustGrid = Literal["spacing", "size", "none"]
Blend = Literal["interpolate", "average", "copy", "sum", "none"]
Edges = Literal["extend", "zero"]
Fill = Literal["local", "mean"]
Precision = Literal["single", "double"]

#: Mask planes whose pixels do not count for noise levels.
IGNORED_PLANES = (
    "INTRP", "EDGE", "DETECTED", "SAT", "CR", "BAD", "NO_DATA", "DETECTED_NEGATIVE",
)  # fmt: skip
#: Mask planes whose pixels are unusable: they are filled before filtering.
FILLED_PLANES = ("SAT", "CR", "BAD", "NO_DATA")


@documented
@dataclass(frozen=True, kw_only=True)
class DecorrelationConfig(Checked):
    """How a difference is decorrelated.

    Positions are 0-based pixels, integers at pixel centres. Every field is an option of the command
    line, with ``-`` for ``_``.

    Raises
    ------
    ConfigError
        If a value is not allowed; the message names the field.
    """

    # fmt: off
    # A table: keyword of the card, default, kind; help.
    mode: Mode = option("DDMODE", "grid", kinds.one_of(*get_args(Mode)),
        "One filter for the whole image, or a grid of filters that follow the local kernel and "
        "noise.")
    convolved: Convolved = option("DDSIDE", "auto", kinds.one_of(*get_args(Convolved)),
        "The image that was convolved with the kernel; auto: as the kernel file says.", daily=True)
    score: bool = option("DDSCORE", False, kinds.SWITCH,
        "The difference is a score image: the science image was correlated with its PSF, or with "
        "the preconvolution kernel, before the subtraction.")
    noise_model: NoiseModel = option("DDNOISEM", "auto", kinds.one_of(*get_args(NoiseModel)),
        "Noise of the input images: white, as in LSST's code; measured, with the correlation that "
        "the difference itself shows; auto: measured where that makes the result whiter.",
        daily=True)
    variance: VarianceModel = option("DDVARIAN", "weighted", kinds.one_of(*get_args(VarianceModel)),
        "Variance of the result: the weighted sum of both variance planes, or the sum of both "
        "convolved with their squared filters.")
    ignore_planes: tuple[str, ...] = option("DDIGNORE", IGNORED_PLANES, kinds.PLANES,
        "Mask planes whose pixels are not used to measure noise levels.")
    fill_planes: tuple[str, ...] = option("DDFILLPL", FILLED_PLANES, kinds.PLANES,
        "Mask planes of unusable pixels: filled before filtering, restored afterwards.")
    kernel_position: tuple[float, float] | None = option("DDKERPOS", None, kinds.POSITION,
        "Where the kernel is evaluated in whole mode.  [default: image centre]")
    science_variance: float | None = option("DDSCIVAR", None, kinds.VARIANCE,
        "Noise variance of the science image, instead of the level of its variance plane.")
    template_variance: float | None = option("DDTMPVAR", None, kinds.VARIANCE,
        "Noise variance of the template, instead of the level of its variance plane.")
    science_scale: Scale = option("DDSCISCA", None, kinds.SCALE,
        "Factor a_S of the science image in the difference; 1/k: one over the kernel sum at the "
        "image centre.  [default: from the kernel file]")
    template_scale: Scale = option("DDTMPSCA", None, kinds.SCALE,
        "Factor a_T of the template in the difference; 1/k likewise.  "
        "[default: from the kernel file]")
    cell_size: tuple[float, float] | None = option("DDCELL", None, kinds.SIZE,
        "Size of a cell; with --blend interpolate, of the window around a node in which noise "
        "levels are measured.  [default: 41; interpolate: as far as the next nodes]")
    grid_step: tuple[float, float] | None = option("DDSTEP", None, kinds.SIZE,
        "Distance between cells; with --blend interpolate, the largest distance between nodes.  "
        "[default: 40; interpolate: an eighth of the image, 64 to 216 pixels, in large images up "
        "to a 25th]")
    cell_border: tuple[float, float] = option("DDBORDER", (8.0, 8.0), kinds.BORDER,
        "Margin around a cell in which its noise levels are measured, too. Not used by "
        "--blend interpolate.")
    adjust_grid: AdjustGrid = option("DDADJUST", "spacing", kinds.one_of(*get_args(AdjustGrid)),
        "What is adjusted so that the cells fit the image. Not used by --blend interpolate.")
    scale_by_fwhm: bool = option("DDBYFWHM", True, kinds.SWITCH,
        "Cell size, step and border are in units of the FWHM of the difference's PSF, otherwise "
        "in pixels.")
    cell_centroids: str | tuple[tuple[float, float], ...] | None = option(
        "DDCENTRS", None, kinds.CENTROIDS,
        "Centres of the cells: a text or FITS table with the columns x and y. Cell sizes are in "
        "pixels then.")
    blend: Blend = option(
        "DDBLEND", "interpolate", kinds.one_of(*get_args(Blend)),
        "How the filtered cells are combined into one image: with a filter that varies smoothly "
        "between nodes, or by LSST's reducers of separate cells; none also writes each cell.")
    edges: Edges = option("DDEDGES", "extend", kinds.one_of(*get_args(Edges)),
        "How the image is continued beyond its border: by reflection, or with zeros as in LSST's "
        "code.")
    fill: Fill = option("DDFILL", "local", kinds.one_of(*get_args(Fill)),
        "What unusable pixels are filled with: the local level; or, as in LSST's code, the mean "
        "of all finite pixels, for non-finite pixels only.")
    flag_share: float = option("DDSHARE", 0.02, kinds.SHARE,
        "Flag pixels for which more than this fraction of the filter's energy is from filled "
        "pixels (NEAR_FILLED), or which are so near the border that fluxes may be wrong by more "
        "than it (EDGE).")
    significance: bool = option("DDSIGNIF", False, kinds.SWITCH,
        "Also write the significance of a point source at every pixel (SIGNIF), and the error of "
        "its flux (FLUXERR); needs a PSF.", daily=True)
    precision: Precision = option("DDPRECIS", "single", kinds.one_of(*get_args(Precision)),
        "Precision of the filtered pixels; filters are always computed in double precision.")
    threads: int | None = option("", None, kinds.COUNT,
        "Number of threads; the result does not depend on it.  [default: one a core, fewer for "
        "small images]", daily=True)
    max_memory: int = option("", 1 << 30, kinds.MEMORY,
        "Rough limit of the memory for the pixels being worked on, like 500M or 2G.  "
        "[default: 1G]", daily=True)
    # fmt: on
