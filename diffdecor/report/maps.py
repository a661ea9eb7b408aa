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

Values = NDArray[np.float64]


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
    side = WIDTH - LEFT - BAR
    figure, panel = panel_of(WIDTH, BELOW + side * ratio + ABOVE, (LEFT, BAR, BELOW, ABOVE))
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
                picture_of(
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
                picture_of(
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
                picture_of(
                    figure,
                    f"correlation_{name}",
                    f"Correlation of two pixels, {name}",
                    "By the distance of the two, one scale. Good, after: no pattern. Bad: a blot "
                    "around the centre, rings, or stripes.",
                    f"Map of the correlation by lag {name}; the largest is {largest:.3f}.",
                )
            )
    return found


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
                picture_of(
                    figure,
                    f"variance_{name}",
                    f"Claimed over measured variance, {name}",
                    f"In windows of the field: {low:.2f} to {high:.2f}. Good: about 1 everywhere. "
                    "Bad: far from 1, or a pattern of amplifiers, edges or bright stars.",
                    f"Map of claimed over measured variance {name}: {low:.2f} to {high:.2f}.",
                )
            )
    return found


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
        return picture_of(
            figure,
            "noise",
            "Noise level over the field",
            "Root of the variance plane of the result. Good: smooth, with the steps of depth that "
            "the exposures have. Bad: blocks as large as the nodes of the grid, holes.",
            "Map of the noise level of the result.",
        )
