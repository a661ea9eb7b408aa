"""Pictures of maps: the field, its pixels, correlation by lag, variance.

Every function returns what there is to show: no picture, or several.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffdecor.report.drawing import (
    ABOVE,
    AROUND_ZERO,
    BAR,
    BELOW,
    LEFT,
    NO_DATA,
    NUMBERS,
    PIXELS,
    WIDTH,
    Picture,
    colour_map,
    panel_of,
    picture_of,
    style,
)
from diffdecor.report.measures import Pair, Side, stretch
from diffdecor.report.noise_numbers import within

#: Sky pixels of a window that counts in the map of variances.
_ENOUGH = 1000
_WORDS = ("name", "title", "caption", "alt")

Values = NDArray[np.float64]


def _map(
    values: Values,
    extent: tuple[float, float, float, float],
    limits: tuple[float, float],
    **about: Any,  # noqa: ANN401
) -> Picture:
    """Draw a map with its colours beside it; `about` has the words of `picture_of`, too."""
    left, right, bottom, top = extent
    whole = (top - bottom) / (right - left)
    ratio = min(max(whole, 0.35), 1.5)
    side = WIDTH - LEFT - BAR
    low, high = limits
    with style():
        figure, panel = panel_of(WIDTH, BELOW + side * ratio + ABOVE, (LEFT, BAR, BELOW, ABOVE))
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
        return picture_of(figure, *(about[word] for word in _WORDS))


def _whole(shape: tuple[int, ...], step: int = 1) -> tuple[float, float, float, float]:
    """Return the extent of a map of the whole field, whose pixels are means of step x step."""
    rows, columns = shape
    return -0.5, columns * step - 0.5, -0.5, rows * step - 0.5


def field_pictures(pair: Pair, unit: str) -> list[Picture]:
    """Draw the whole field, before and after, on one stretch."""
    limits = stretch(*(side.field for side in pair.sides.values()))
    return [
        _map(
            side.field,
            _whole(side.field.shape, pair.step),
            limits,
            unit=unit,
            name=f"field_{name}",
            title=f"The field, {name}",
            caption="Same stretch (ZScale) before and after. Good: the same sources and level. "
            "Bad: seams, rings around bright stars, a change of level.",
            alt=f"Map of the difference {name} decorrelation.",
        )
        for name, side in pair.sides.items()
    ]


def part_pictures(pair: Pair, unit: str) -> list[Picture]:
    """Draw a part of the image as it is, before and after, on one stretch."""
    limits, window = stretch(*(side.part for side in pair.sides.values())), pair.window
    extent = (window.x0 - 0.5, window.x1 - 0.5, window.y0 - 0.5, window.y1 - 0.5)
    return [
        _map(
            side.part,
            extent,
            limits,
            unit=unit,
            name=f"pixels_{name}",
            title=f"Pixel by pixel, {name}",
            caption="Same stretch. Good, after: fine grain, every pixel for itself. Bad: clumps "
            "and stripes, which a search takes for sources.",
            alt=f"Some hundred pixels of the difference {name} decorrelation.",
        )
        for name, side in pair.sides.items()
    ]


def correlation_pictures(correlations: Mapping[str, Values], error: float) -> list[Picture]:
    """Draw the correlation of two pixels by their lag, before and after, on one scale."""
    parts = {name: within(values) for name, values in correlations.items()}
    largest = {name: float(np.nanmax(np.abs(part))) for name, part in parts.items()}
    limit = max([5 * error if error > 0 else 0.0, *largest.values()])
    return [
        _map(
            part,
            (-len(part) / 2, len(part) / 2, -len(part) / 2, len(part) / 2),
            (-limit, limit),
            colours=AROUND_ZERO,
            missing="#ffffff",
            x="lag in x (pixels)",
            y="lag in y (pixels)",
            unit="correlation",
            name=f"correlation_{name}",
            title=f"Correlation of two pixels, {name}",
            caption="By the distance of the two, one scale. Good, after: no pattern. Bad: a blot "
            "around the centre, rings, or stripes.",
            alt=f"Map of the correlation by lag {name}; the largest is {largest[name]:.3f}.",
        )
        for name, part in parts.items()
    ]


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
    spread = max([0.1, *(float(np.nanmax(np.abs(ratio - 1))) for ratio in maps.values())])
    ranges = {name: f"{np.nanmin(one):.2f} to {np.nanmax(one):.2f}" for name, one in maps.items()}
    return [
        _map(
            ratio,
            _whole(pair.after.exposure.shape),
            (1 - spread, 1 + spread),
            colours=AROUND_ZERO,
            unit="claimed/measured",
            name=f"variance_{name}",
            title=f"Claimed over measured variance, {name}",
            caption=f"In windows of the field: {ranges[name]}. Good: about 1 everywhere. "
            "Bad: far from 1, or a pattern of amplifiers, edges or bright stars.",
            alt=f"Map of claimed over measured variance {name}: {ranges[name]}.",
        )
        for name, ratio in maps.items()
    ]


def level_picture(side: Side, step: int, unit: str) -> Picture | None:
    """Draw the noise level over the field: the root of the variance plane."""
    if side.variance is None or not np.isfinite(side.variance).any():
        return None
    sigma = np.sqrt(np.where(side.variance > 0, side.variance, np.nan))
    return _map(
        sigma,
        _whole(sigma.shape, step),
        stretch(sigma),
        colours=NUMBERS,
        unit=f"sigma ({unit})" if unit else "sigma",
        name="noise",
        title="Noise level over the field",
        caption="Root of the variance plane of the result. Good: smooth, with the steps of depth "
        "that the exposures have. Bad: blocks as large as the nodes of the grid, holes.",
        alt="Map of the noise level of the result.",
    )
