"""Pictures of curves and stamps: significance, noise power, PSF, filters.

Every function returns None where there is nothing to show.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffdecor.report.drawing import (
    ABOVE,
    AROUND_ZERO,
    BELOW,
    COLOURS,
    EXPECTED,
    LEFT,
    LINES,
    NUMBERS,
    RIGHT,
    WIDTH,
    Picture,
    new_figure,
    panel_of,
    picture_of,
    style,
)
from diffdecor.report.measures import Histogram, Pair
from diffdecor.report.noise_numbers import radial_power
from diffdecor.report.psf_numbers import profile

Values = NDArray[np.float64]


def histogram_picture(pair: Pair, *, of_sources: bool) -> Picture | None:
    """Draw how significant pixels, or point sources at every pixel, are; and what noise has."""
    found: dict[str, Histogram] = {}
    for name, side in pair.sides.items():
        one = side.sources if of_sources else side.pixels
        if one is not None and one.pixels:
            found[name] = one
    if not found:
        return None
    what = "point source" if of_sources else "pixel"
    with style():
        figure, panel = panel_of(WIDTH, 3.9, (LEFT, RIGHT, BELOW, ABOVE))
        draw_histograms(panel, found, what)
        counts = "; ".join(
            f"{name} {one.above:,} above 5 sigma and {one.below:,} below -5"
            for name, one in found.items()
        )
        expected = f"{next(iter(found.values())).expected:.2g}"
        meaning = (
            "as a search with the PSF has it that takes pixels for independent"
            if of_sources
            else "pixel over its claimed sigma"
        )
        return picture_of(
            figure,
            "significance_of_sources" if of_sources else "significance_of_pixels",
            "Significance of a point source at every pixel"
            if of_sources
            else "Significance of single pixels",
            f"All unmasked pixels, {meaning}: {counts}; noise alone has {expected} of either. "
            "Good: the core follows the line, the tails are sources. Bad: wider than the line on "
            "both sides.",
            f"Histogram of significances of every {what}: {counts}; expected {expected}.",
        )


def draw_histograms(panel: Any, found: Mapping[str, Histogram], what: str) -> None:  # noqa: ANN401
    """Draw histograms of significance, and that of normal noise."""
    last = list(found.values())[-1]
    for name, one in found.items():
        shown = np.where(one.counts > 0, one.counts, 0.3)
        panel.stairs(
            shown, one.edges, color=COLOURS[name], linestyle=LINES[name], label=name, linewidth=1.4
        )
    middles = (last.edges[1:] + last.edges[:-1]) / 2
    panel.plot(middles, last.normal, color=EXPECTED, linestyle=":", label="noise alone")
    for limit in (-5, 5):
        panel.axvline(limit, color="0.6", linewidth=0.7)
    panel.set_yscale("log")
    panel.set_ylim(0.5, 4 * max(float(one.counts.max()) for one in found.values()))
    panel.set_xlim(-12, 12)
    panel.set_xlabel(f"significance of a {what} (sigma)")
    panel.set_ylabel("pixels")
    panel.legend(loc="upper left")


def power_picture(correlations: Mapping[str, Values]) -> Picture | None:
    """Draw the radial power of the noise, before and after."""
    if not correlations:
        return None
    with style():
        figure, panel = panel_of(WIDTH, 3.6, (LEFT, RIGHT, BELOW, ABOVE))
        for name, correlation in correlations.items():
            found = radial_power(correlation)
            panel.plot(
                found.frequency,
                found.power,
                color=COLOURS[name],
                linestyle=LINES[name],
                label=name,
                linewidth=1.6,
            )
        panel.axhline(1, color=EXPECTED, linestyle=":", label="independent pixels")
        panel.set_xlim(0, 0.5)
        panel.set_ylim(bottom=0)
        panel.set_xlabel("spatial frequency (cycles per pixel)")
        panel.set_ylabel("noise power / variance")
        panel.legend()
        return picture_of(
            figure,
            "power",
            "Power of the noise by frequency",
            "Good, after: flat at 1. Bad: high on the left (noise in clumps), or a bump (ripples).",
            "Curves of the noise power by spatial frequency, before and after.",
        )


def psf_picture(stamps: Mapping[str, Values], depth: float) -> Picture | None:
    """Draw the PSFs and their profiles, before and after."""
    if not stamps:
        return None
    with style():
        figure = new_figure(WIDTH, 4.6)
        above, below = figure.subfigures(2, 1, height_ratios=(1.15, 1))
        panels = above.subplots(1, 2)
        peak = max(float(stamp.max()) for stamp in stamps.values())
        for panel, name in zip(panels, ("before", "after"), strict=True):
            panel.set_title(name)
            if name in stamps:
                half = stamps[name].shape[0] / 2
                panel.imshow(
                    np.sqrt(np.clip(stamps[name] / peak, 0, 1)),
                    extent=(-half, half, -half, half),
                    cmap=NUMBERS,
                )
                panel.locator_params(nbins=5)
            else:
                panel.text(0.5, 0.5, "not known", ha="center", transform=panel.transAxes)
                panel.set_axis_off()
        panel = below.subplots()
        for name, stamp in stamps.items():
            at, values = profile(stamp)
            panel.plot(
                at,
                values,
                "o" if name == "after" else "x",
                color=COLOURS[name],
                markersize=4,
                label=name,
                zorder=3,
            )
        panel.axhline(0, color="0.6", linewidth=0.7)
        panel.set_xlim(-0.4, 12)
        panel.set_xlabel("distance from the centre (pixels)")
        panel.set_ylabel("PSF")
        panel.legend()
        gain = (
            f"A point source is detected {abs(depth):.2f} mag "
            f"{'fainter' if depth >= 0 else 'brighter'} than before at the same real "
            "significance. "
            if np.isfinite(depth)
            else ""
        )
        return picture_of(
            figure,
            "psf",
            "Point-spread function",
            f"{gain}Root of the PSF (above), profile (below). Good: round, narrower or as wide as "
            "before, shallow dips beside the core. Bad: deep rings or stripes.",
            "The point-spread function before and after, as images and as profiles.",
        )


def filters_picture(filters: list[tuple[str, Values]], change: float) -> Picture:
    """Draw the decorrelation kernel at the centre and the corners."""
    from matplotlib.colors import SymLogNorm

    peak = max(float(np.abs(stamp).max()) for _, stamp in filters) or 1.0
    norm = SymLogNorm(linthresh=0.01 * peak, vmin=-peak, vmax=peak)
    with style():
        figure, whole = panel_of(WIDTH, 4.0, (0.12, 0.9, 0.12, 0.12))
        whole.set_axis_off()
        places = {
            "upper left": (0, 0.7),
            "upper right": (0.7, 0.7),
            "centre": (0.35, 0.35),
            "lower left": (0, 0),
            "lower right": (0.7, 0),
        }
        shown = None
        for name, stamp in filters:
            panel = whole.inset_axes((*places[name], 0.28, 0.28))
            shown = panel.imshow(stamp, norm=norm, cmap=AROUND_ZERO)
            panel.set_xticks([])
            panel.set_yticks([])
            panel.set_title(name, fontsize=9, pad=3)
        bar = figure.colorbar(shown, cax=whole.inset_axes((1.03, 0.0, 0.045, 1.0)))
        bar.set_ticks([-peak, 0, peak], labels=[f"{-peak:.2g}", "0", f"{peak:.2g}"])
        bar.minorticks_off()
        side = len(filters[0][1])
        return picture_of(
            figure,
            "filters",
            "Decorrelation kernel psi over the field",
            f"Its inner {side} x {side} pixels, on one logarithmic scale; it changes by at most "
            f"{100 * change:.1f} % of its norm. Good: compact, the same or slowly changing. "
            "Bad: fills the stamp, or one corner unlike the others.",
            "The decorrelation kernel at the centre and the four corners of the image.",
        )
