"""How a difference is decorrelated: the options of the numerics."""

from __future__ import annotations

from dataclasses import dataclass

from diffdecor.config.options import (
    Checked,
    border,
    centroids,
    choice,
    count,
    documented,
    flag,
    memory,
    names,
    not_negative,
    option,
    position,
    scale,
    share,
    size,
)

#: Mask planes whose pixels do not count for noise levels.
IGNORED_PLANES = (
    "INTRP",
    "EDGE",
    "DETECTED",
    "SAT",
    "CR",
    "BAD",
    "NO_DATA",
    "DETECTED_NEGATIVE",
)
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
        If a value is not allowed; the message names the option.
    """

    mode: str = choice(
        "grid",
        "DDMODE",
        ("whole", "grid"),
        help="One filter for the whole image, or filters that follow kernel and noise on a grid.",
    )
    convolved: str = choice(
        "auto",
        "DDSIDE",
        ("template", "science", "auto"),
        help="The image that was convolved with the kernel; auto: what the kernel file says.",
    )
    score: bool = flag(
        False,
        "DDSCORE",
        help="The difference is a score image: the science image was correlated with its PSF, or "
        "with the preconvolution kernel, before the subtraction.",
    )
    variance: str = choice(
        "weighted",
        "DDVARIAN",
        ("weighted", "full"),
        help="Variance of the result: weighted sum of both variance planes, or each convolved with "
        "its squared filter.",
    )
    ignore_planes: tuple[str, ...] = option(
        IGNORED_PLANES,
        names,
        "DDIGNORE",
        metavar="A,B",
        help="Mask planes whose pixels do not count for noise levels.",
    )
    fill_planes: tuple[str, ...] = option(
        FILLED_PLANES,
        names,
        "DDFILLPL",
        metavar="A,B",
        help="Mask planes whose pixels are unusable: filled before filtering, put back after.",
    )
    kernel_position: tuple[float, float] | None = option(
        None,
        position,
        "DDKERPOS",
        metavar="X,Y",
        unit="0-based pixels",
        help="Position of the kernel in whole mode.  [default: image centre]",
    )
    science_variance: float | None = option(
        None,
        not_negative,
        "DDSCIVAR",
        metavar="V",
        unit="image unit squared",
        help="Noise variance of the science image, instead of measuring its variance plane.",
    )
    template_variance: float | None = option(
        None,
        not_negative,
        "DDTMPVAR",
        metavar="V",
        unit="image unit squared",
        help="Noise variance of the template, instead of measuring its variance plane.",
    )
    science_scale: float | str | None = option(
        None,
        scale,
        "DDSCISCA",
        metavar="A",
        help="Factor a_S of the science side in the difference; 1/k: one over the kernel sum at "
        "the image centre.  [default: of the kernel file]",
    )
    template_scale: float | str | None = option(
        None,
        scale,
        "DDTMPSCA",
        metavar="A",
        help="Factor a_T of the template side in the difference; 1/k likewise.  "
        "[default: of the kernel file]",
    )
    cell_size: tuple[float, float] | None = option(
        None,
        size,
        "DDCELL",
        metavar="N|NX,NY",
        unit="PSF FWHM or pixels",
        help="Size of a cell; with --blend interpolate, of the window around a node in which noise "
        "levels are measured.  [default: 41; interpolate: up to the next nodes]",
    )
    grid_step: tuple[float, float] | None = option(
        None,
        size,
        "DDSTEP",
        metavar="N|NX,NY",
        unit="PSF FWHM or pixels",
        help="Distance of cells; with --blend interpolate, the largest distance of nodes.  "
        "[default: 40; interpolate: an eighth of the image, 64 to 216 pixels, in large images up "
        "to a 25th]",
    )
    cell_border: tuple[float, float] = option(
        (8.0, 8.0),
        border,
        "DDBORDER",
        metavar="N|NX,NY",
        unit="PSF FWHM or pixels",
        help="Margin around a cell that counts for its noise levels. Not used by interpolate.",
    )
    adjust_grid: str = choice(
        "spacing",
        "DDADJUST",
        ("spacing", "size", "none"),
        help="How cells are made to fit the image. Not used by interpolate.",
    )
    scale_by_fwhm: bool = flag(
        True,
        "DDBYFWHM",
        help="Cell size, step and border are in units of the FWHM of the difference's PSF, else "
        "in pixels.",
    )
    cell_centroids: str | tuple[tuple[float, float], ...] | None = option(
        None,
        centroids,
        "DDCENTRS",
        metavar="FILE",
        unit="0-based pixels",
        help="Centres of the cells: a text or FITS table with columns x, y. Sizes are in pixels.",
    )
    blend: str = choice(
        "interpolate",
        "DDBLEND",
        ("interpolate", "average", "copy", "sum", "none"),
        help="How cells become one image: a filter that varies smoothly between nodes, or LSST's "
        "reducers of separate cells; none writes the cells separately.",
    )
    edges: str = choice(
        "extend",
        "DDEDGES",
        ("extend", "zero"),
        help="What lies beyond the border: the image reflected, or zeros as in LSST's code.",
    )
    fill: str = choice(
        "local",
        "DDFILL",
        ("local", "mean"),
        help="What unusable pixels are filled with: the local level, or (non-finite pixels only) "
        "the mean of all finite pixels as in LSST's code.",
    )
    flag_share: float = option(
        0.02,
        share,
        "DDSHARE",
        metavar="R",
        help="Flag pixels that take more than this share of their filter's energy from filled "
        "pixels (NEAR_FILLED) or from beyond the border (EDGE).",
    )
    significance: bool = flag(
        False,
        "DDSIGNIF",
        help="Also give the significance of a point source at every pixel (SIGNIF); needs a PSF.",
    )
    precision: str = choice(
        "single",
        "DDPRECIS",
        ("single", "double"),
        help="Precision of the filtered pixels; filters are always made in double precision.",
    )
    threads: int | None = option(
        None,
        count,
        "",
        metavar="N",
        help="Threads that work at a time; the result does not depend on it.  [default: all cores]",
    )
    max_memory: int = option(
        1 << 30,
        memory,
        "",
        metavar="SIZE",
        help="Memory that the pixels being worked on may take, roughly, like 500M or 2G.  "
        "[default: 1G]",
    )
