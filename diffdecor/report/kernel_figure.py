"""A figure of a matching kernel: stamps over the image, and the map of their sums."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffdecor.kernels.describe import covers, extent
from diffdecor.kernels.model import MatchingKernel
from diffdecor.report.drawing import new_figure, png_of, title_of

_ACROSS = 3
_MAP = 41
_LINEAR = 0.01  # share of the peak below which the colour scale is linear


def plot_kernel(kernel: MatchingKernel) -> bytes:
    """Return a PNG file of a kernel at 3 x 3 positions, and of its sum over the image.

    All stamps share one colour scale, symmetric about 0 and logarithmic except near it. Where there
    is no kernel the place is empty.
    """
    figure = new_figure(11.0, 5.5)
    halves: Any = figure.subfigures(1, 2, width_ratios=(1.1, 1.0))
    _draw_stamps(halves[0], kernel)
    _draw_sums(halves[1], kernel)
    ky, kx = kernel.shape
    title = f"{kernel.name}: {kernel.format} kernel of {kx} x {ky} pixels"
    title_of(figure, title, 12.0)
    return png_of(figure)


def _draw_stamps(figure: Any, kernel: MatchingKernel) -> None:  # noqa: ANN401  matplotlib's types
    """Draw the kernel at 3 x 3 positions."""
    from matplotlib.colors import SymLogNorm

    xs, ys = _axes(kernel, _ACROSS)
    stamps = {(x, y): kernel.stamp(x, y) for y in ys for x in xs if covers(kernel, x, y)}
    peak = max((float(np.abs(stamp).max()) for stamp in stamps.values()), default=0.0) or 1.0
    norm = SymLogNorm(linthresh=_LINEAR * peak, vmin=-peak, vmax=peak)
    (cx, cy), (ky, kx) = kernel.origin, kernel.shape
    limits = (-cx - 0.5, kx - cx - 0.5, -cy - 0.5, ky - cy - 0.5)
    panels = figure.subplots(_ACROSS, _ACROSS, sharex=True, sharey=True)
    shown = None
    for panel, (y, x) in zip(panels.flat, [(y, x) for y in ys[::-1] for x in xs], strict=True):
        panel.set_title(f"({x:.0f}, {y:.0f})", fontsize=8)
        panel.tick_params(labelsize=7)
        if (x, y) in stamps:
            shown = panel.imshow(
                stamps[x, y], origin="lower", norm=norm, cmap="RdBu_r", extent=limits
            )
            panel.plot(0, 0, "+", color="k", markersize=4)
    if shown is not None:
        figure.colorbar(shown, ax=list(panels.flat), shrink=0.8)


def _draw_sums(figure: Any, kernel: MatchingKernel) -> None:  # noqa: ANN401
    """Draw the map of the kernel's sum, with the regions and positions it is known at."""
    from matplotlib.patches import Rectangle

    xs, ys = _axes(kernel, _MAP)
    sums = np.array(
        [[kernel.sum(x, y) if covers(kernel, x, y) else np.nan for x in xs] for y in ys]
    )
    panel = figure.subplots()
    xmin, xmax, ymin, ymax = extent(kernel)
    limits = (xmin - 0.5, xmax + 0.5, ymin - 0.5, ymax + 0.5)
    shown = panel.imshow(sums, origin="lower", extent=limits, interpolation="nearest")
    for box in kernel.boxes:
        corner, size = (box.xmin, box.ymin), (box.xmax - box.xmin, box.ymax - box.ymin)
        panel.add_patch(Rectangle(corner, *size, fill=False, linewidth=0.7))
    panel.set_title("sum of the kernel")
    panel.set_xlabel("x (0-based pixels)")
    panel.set_ylabel("y")
    figure.colorbar(shown, ax=panel, shrink=0.8)


def _axes(kernel: MatchingKernel, count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return `count` positions along both axes, in the middle of equal parts of the image."""
    xmin, xmax, ymin, ymax = extent(kernel)
    parts = (np.arange(count) + 0.5) / count
    return xmin + (xmax - xmin) * parts, ymin + (ymax - ymin) * parts
