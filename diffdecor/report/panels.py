"""The pictures of one output: each draws what was measured, and says what good and bad look like.

Every function returns None where there is nothing to show.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffdecor.report.drawing import (
    AROUND_ZERO,
    COLOURS,
    EXPECTED,
    LINES,
    NO_DATA,
    NUMBERS,
    PIXELS,
    Picture,
    colour_map,
    new_figure,
    panel_of,
    png_of,
    style,
)
from diffdecor.report.measures import Histogram, Pair, Side, stretch
from diffdecor.report.noise_numbers import radial_power, within
from diffdecor.report.psf_numbers import profile

#: Size of a picture, inches; CSS pixels to an inch, and pixels.
_WIDTH, _CSS, _DPI = 4.8, 100, 150
#: Margins of a panel, inches: on the left, right, right of a map with its colours, below, above.
_LEFT, _RIGHT, _BAR, _BELOW, _ABOVE = 0.62, 0.12, 1.05, 0.5, 0.14
#: Sky pixels of a window that counts in the map of variances.
_ENOUGH = 1000

Values = NDArray[np.float64]


def _picture(figure: Any, name: str, title: str, caption: str, alt: str) -> Picture:  # noqa: ANN401
    """Return a figure as a picture of a page."""
    width, height = (round(length * _CSS) for length in figure.get_size_inches())
    png = png_of(figure, _DPI, few_colours=True)
    return Picture(
        name=name, title=title, caption=caption, alt=alt, png=png, width=width, height=height
    )


def _map(
    values: Values,
    extent: tuple[float, float, float, float],
    limits: tuple[float, float],
    **about: Any,  # noqa: ANN401
) -> Any:  # noqa: ANN401
    """Draw a map with its colours beside it; return the figure."""
    left, right, bottom, top = extent
    whole = (top - bottom) / (right - left)
    ratio = min(max(whole, 0.35), 1.5)
    side = _WIDTH - _LEFT - _BAR
    figure, panel = panel_of(_WIDTH, _BELOW + side * ratio + _ABOVE, (_LEFT, _BAR, _BELOW, _ABOVE))
    low, high = limits
    shown = panel.imshow(
        np.ma.masked_invalid(values),
        extent=extent,
        vmin=low,
        vmax=high,
        cmap=colour_map(about.get("colours", PIXELS), about.get("missing", NO_DATA)),
        aspect="equal" if ratio == whole else "auto",
    )
    panel.set_xlabel(about.get("x", "x (0-based pixels)"))
    panel.set_ylabel(about.get("y", "y"))
    panel.locator_params(nbins=5)
    bar = figure.colorbar(shown, cax=panel.inset_axes((1.03, 0.0, 0.045, 1.0)))
    bar.set_label(about.get("unit", ""), parse_math=False)
    return figure


def field_pictures(pair: Pair, unit: str) -> list[Picture]:
    """Draw the whole field, before and after, on one stretch."""
    limits = stretch(*(side.field for side in pair.sides.values()))
    found = []
    for name, side in pair.sides.items():
        rows, columns = side.field.shape
        extent = (-0.5, columns * pair.step - 0.5, -0.5, rows * pair.step - 0.5)
        with style():
            figure = _map(side.field, extent, limits, unit=unit)
            found.append(
                _picture(
                    figure,
                    f"field_{name}",
                    f"The field, {name}",
                    "Same stretch (ZScale) before and after. Good: the same sources and level. "
                    "Bad: seams, rings around bright stars, a change of level.",
                    f"Map of the difference {name} decorrelation.",
                )
            )
    return found


def part_pictures(pair: Pair, unit: str) -> list[Picture]:
    """Draw a part of the image as it is, before and after, on one stretch."""
    limits = stretch(*(side.part for side in pair.sides.values()))
    window, found = pair.window, []
    extent = (window.x0 - 0.5, window.x1 - 0.5, window.y0 - 0.5, window.y1 - 0.5)
    for name, side in pair.sides.items():
        with style():
            figure = _map(side.part, extent, limits, unit=unit)
            found.append(
                _picture(
                    figure,
                    f"pixels_{name}",
                    f"Pixel by pixel, {name}",
                    "Same stretch. Good, after: fine grain, every pixel for itself. Bad: clumps "
                    "and stripes, which a search takes for sources.",
                    f"Some hundred pixels of the difference {name} decorrelation.",
                )
            )
    return found


def correlation_pictures(correlations: Mapping[str, Values], error: float) -> list[Picture]:
    """Draw the correlation of two pixels by their lag, before and after, on one scale."""
    parts = {name: within(values) for name, values in correlations.items()}
    if not parts:
        return []
    limit = max(5 * error if error > 0 else 0.0, *(np.nanmax(np.abs(p)) for p in parts.values()))
    found = []
    for name, part in parts.items():
        edge = part.shape[0] / 2
        largest = float(np.nanmax(np.abs(part)))
        with style():
            figure = _map(
                part,
                (-edge, edge, -edge, edge),
                (-limit, limit),
                colours=AROUND_ZERO,
                missing="#ffffff",
                x="lag in x (pixels)",
                y="lag in y (pixels)",
                unit="correlation",
            )
            found.append(
                _picture(
                    figure,
                    f"correlation_{name}",
                    f"Correlation of two pixels, {name}",
                    "By the distance of the two, one scale. Good, after: no pattern. Bad: a blot "
                    "around the centre, rings, or stripes.",
                    f"Map of the correlation by lag {name}; the largest is {largest:.3f}.",
                )
            )
    return found


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
        figure, panel = panel_of(_WIDTH, 3.9, (_LEFT, _RIGHT, _BELOW, _ABOVE))
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
        return _picture(
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


def variance_pictures(pair: Pair) -> list[Picture]:
    """Draw claimed over measured variance over the field, where a variance is claimed."""
    maps: dict[str, Values] = {}
    for name, side in pair.sides.items():
        if side.statistics.claimed:
            known = side.statistics.pixels >= _ENOUGH
            scatter = np.where(known, side.statistics.scatter, np.nan)
            ratio = np.divide(1.0, scatter, out=np.full(scatter.shape, np.nan), where=scatter > 0)
            if np.isfinite(ratio).any():
                maps[name] = ratio
    if not maps:
        return []
    spread = max(0.1, *(float(np.nanmax(np.abs(ratio - 1))) for ratio in maps.values()))
    found = []
    ny, nx = pair.after.exposure.shape
    for name, ratio in maps.items():
        low, high = float(np.nanmin(ratio)), float(np.nanmax(ratio))
        with style():
            figure = _map(
                ratio,
                (-0.5, nx - 0.5, -0.5, ny - 0.5),
                (1 - spread, 1 + spread),
                colours=AROUND_ZERO,
                unit="claimed / measured",
            )
            found.append(
                _picture(
                    figure,
                    f"variance_{name}",
                    f"Claimed over measured variance, {name}",
                    f"In windows of the field: {low:.2f} to {high:.2f}. Good: about 1 everywhere. "
                    "Bad: far from 1, or a pattern of amplifiers, edges or bright stars.",
                    f"Map of claimed over measured variance {name}: {low:.2f} to {high:.2f}.",
                )
            )
    return found


def power_picture(correlations: Mapping[str, Values]) -> Picture | None:
    """Draw the radial power of the noise, before and after."""
    if not correlations:
        return None
    with style():
        figure, panel = panel_of(_WIDTH, 3.6, (_LEFT, _RIGHT, _BELOW, _ABOVE))
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
        return _picture(
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
        figure = new_figure(_WIDTH, 4.6)
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
        return _picture(
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
        figure = new_figure(_WIDTH, 4.6)
        panels = figure.subplots(3, 3)
        places = {"upper left": 0, "upper right": 2, "centre": 4, "lower left": 6, "lower right": 8}
        shown = None
        for panel in panels.flat:
            panel.set_axis_off()
        for name, stamp in filters:
            panel = panels.flat[places[name]]
            half = stamp.shape[0] / 2
            shown = panel.imshow(
                stamp, norm=norm, cmap=AROUND_ZERO, extent=(-half, half, -half, half)
            )
            panel.set_axis_on()
            panel.locator_params(nbins=3)
            panel.set_title(name, fontsize=9)
        figure.colorbar(shown, ax=panels, shrink=0.8, ticks=[-peak, 0, peak], format="%.2g")
        return _picture(
            figure,
            "filters",
            "Decorrelation kernel psi over the field",
            f"One logarithmic scale; it changes by at most {100 * change:.1f} % of its norm. Good: "
            "compact, the same or slowly changing. Bad: fills the stamp, or one corner unlike the "
            "others.",
            "The decorrelation kernel at the centre and the four corners of the image.",
        )


def level_picture(side: Side, step: int, unit: str) -> Picture | None:
    """Draw the noise level over the field: the root of the variance plane."""
    if side.variance is None or not np.isfinite(side.variance).any():
        return None
    rows, columns = side.variance.shape
    sigma = np.sqrt(np.where(side.variance > 0, side.variance, np.nan))
    limits = stretch(sigma)
    with style():
        figure = _map(
            sigma,
            (-0.5, columns * step - 0.5, -0.5, rows * step - 0.5),
            limits,
            colours=NUMBERS,
            unit=f"sigma ({unit})" if unit else "sigma",
        )
        return _picture(
            figure,
            "noise",
            "Noise level over the field",
            "Root of the variance plane of the result. Good: smooth, with the steps of depth that "
            "the exposures have. Bad: blocks as large as the nodes of the grid, holes.",
            "Map of the noise level of the result.",
        )
