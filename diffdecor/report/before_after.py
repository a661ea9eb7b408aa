"""One picture of what decorrelation did: the difference before and after, and its significances."""

from __future__ import annotations

from typing import Any

import numpy as np

from diffdecor.fits.headers import ascii_text
from diffdecor.report.curves import draw_histograms
from diffdecor.report.drawing import (
    AROUND_ZERO,
    COLOURS,
    PIXELS,
    colour_map,
    new_figure,
    png_of,
    style,
    title_of,
)
from diffdecor.report.measures import Pair, Side, stretch
from diffdecor.report.noise_numbers import correlation_of_sums, within

#: Size in inches; pixels to an inch in a file of its own, and on a page.
_SIZE, _DPI, PAGE_DPI = (9.0, 3.65), 200, 100
#: Size of the letters of the caption, points, and height of a line in units of it.
_LETTER, _LINE = 9.5, 1.3
#: Largest lag in the corner, pixels, and the correlation that has the strongest colours.
_LAG, _STRONG = 6, 0.4


def before_after_png(
    pair: Pair, caption: str, dpi: int = _DPI, *, few_colours: bool = False
) -> bytes:
    """Return a PNG file that shows a difference before and after, to be shown 900 pixels wide.

    Some of the pixels on one stretch, the correlation by lag in their corners, and beside them the
    significances: of point sources where the PSF is known, else of pixels.
    """
    with style():
        figure = new_figure(*_SIZE)
        panels = figure.subplots(1, 3)
        limits = stretch(*(side.part for side in pair.sides.values()))
        for panel, name in zip(panels, ("before", "after"), strict=False):
            _draw_part(panel, pair.sides.get(name), name, limits)
        _draw_significance(panels[2], pair)
        lines = title_of(figure, ascii_text(caption), _LETTER)
        figure.set_size_inches(_SIZE[0], _SIZE[1] + max(0, lines - 1) * _LINE * _LETTER / 72)
        return png_of(figure, dpi, few_colours=few_colours)


def _draw_part(panel: Any, side: Side | None, name: str, limits: tuple[float, float]) -> None:  # noqa: ANN401
    """Draw pixels as they are, with the correlation by lag in a corner."""
    panel.set_xticks([])
    panel.set_yticks([])
    panel.set_box_aspect(1)
    panel.set_title(name, color=COLOURS[name], fontweight="bold")
    if side is None:
        panel.text(0.5, 0.5, "not at hand", ha="center", va="center", transform=panel.transAxes)
        return
    low, high = limits
    panel.imshow(np.ma.masked_invalid(side.part), vmin=low, vmax=high, cmap=colour_map(PIXELS))
    correlation = correlation_of_sums(side.statistics.sums)
    if correlation is None:
        return
    inset = panel.inset_axes((0.64, 0.0, 0.36, 0.36))
    part = within(correlation, _LAG)
    inset.imshow(
        np.ma.masked_invalid(part),
        vmin=-_STRONG,
        vmax=_STRONG,
        cmap=colour_map(AROUND_ZERO, "#ffffff"),
    )
    inset.set_xticks([])
    inset.set_yticks([])
    panel.text(
        0.995,
        0.375,
        "correlation by lag",
        fontsize=8,
        ha="right",
        va="bottom",
        transform=panel.transAxes,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5, "alpha": 0.9},
    )


def _draw_significance(panel: Any, pair: Pair) -> None:  # noqa: ANN401
    """Draw the histograms of significance."""
    panel.set_box_aspect(1)
    of_sources = all(side.sources is not None for side in pair.sides.values())
    found = {
        name: (side.sources if of_sources else side.pixels) for name, side in pair.sides.items()
    }
    there = {name: one for name, one in found.items() if one is not None and one.pixels}
    if not there:
        panel.text(0.5, 0.5, "no data", ha="center", transform=panel.transAxes)
        panel.set_axis_off()
        return
    draw_histograms(panel, there, "point source" if of_sources else "pixel")
    counts = " -> ".join(f"{one.above + one.below:,}" for one in there.values())
    expected = 2 * next(iter(there.values())).expected
    panel.set_title(f"pixels beyond 5 sigma: {counts}\n(noise alone: {expected:.2g})", fontsize=8.5)
