"""A figure of how white the noise of an image is."""

from __future__ import annotations

from typing import Any

import numpy as np

from diffdecor.core.covariance import opposite
from diffdecor.decorrelation.judgement import Judgement, describe
from diffdecor.report.drawing import new_figure, png_of, title_of


def plot_judgement(judgement: Judgement, name: str) -> bytes:
    """Return a PNG file of a judgement.

    The map of correlation by lag and its profile, the map of claimed over measured variance, and
    the histogram of significances with a normal one.
    """
    figure = new_figure(10.0, 8.0)
    panels: Any = figure.subplots(2, 2)
    _draw_correlation(figure, panels[0, 0], judgement)
    _draw_profile(panels[0, 1], judgement)
    _draw_variance(figure, panels[1, 0], judgement)
    _draw_histogram(panels[1, 1], judgement)
    title_of(figure, f"{name}: {describe(judgement)}", 9.0)
    return png_of(figure)


def _draw_correlation(figure: Any, panel: Any, judgement: Judgement) -> None:  # noqa: ANN401
    """Draw the correlation at every lag."""
    sums = judgement.statistics.sums
    rho = opposite(sums.covariance) / sums.covariance[0, sums.max_lag]
    rho[sums.max_lag, sums.max_lag] = np.nan
    limit = max(5 * judgement.whiteness.error, judgement.whiteness.largest)
    edge = sums.max_lag + 0.5
    shown = panel.imshow(
        rho, origin="lower", cmap="RdBu_r", vmin=-limit, vmax=limit, extent=(-edge, edge) * 2
    )
    panel.set_title("correlation of two pixels", fontsize=9)
    panel.set_xlabel("lag in x (pixels)")
    panel.set_ylabel("lag in y (pixels)")
    figure.colorbar(shown, ax=panel, shrink=0.8)


def _draw_profile(panel: Any, judgement: Judgement) -> None:  # noqa: ANN401
    """Draw the correlation by the length of the lag, and the error of one coefficient."""
    sums = judgement.statistics.sums
    rho = sums.covariance / sums.covariance[0, sums.max_lag]
    dy, dx = np.indices(rho.shape)
    dx -= sums.max_lag
    lags = (sums.pairs > 0) & ((dy > 0) | (dx > 0))
    error = judgement.whiteness.error
    panel.axhspan(-error, error, color="0.85", label="one sigma if white")
    panel.axhline(0, color="0.5", linewidth=0.7)
    panel.plot(np.hypot(dy, dx)[lags], rho[lags], ".", markersize=3)
    panel.set_title("correlation by distance", fontsize=9)
    panel.set_xlabel("distance (pixels)")
    panel.set_ylabel("correlation")
    panel.legend(fontsize=8)


def _draw_variance(figure: Any, panel: Any, judgement: Judgement) -> None:  # noqa: ANN401
    """Draw the map of claimed over measured variance."""
    statistics = judgement.statistics
    panel.set_title("claimed/measured variance", fontsize=9)
    if not statistics.claimed:
        panel.text(0.5, 0.5, "no variance plane", ha="center", transform=panel.transAxes)
        panel.set_axis_off()
        return
    shown = panel.imshow(1 / statistics.scatter, origin="lower", cmap="viridis")
    panel.set_xlabel("window in x")
    panel.set_ylabel("window in y")
    figure.colorbar(shown, ax=panel, shrink=0.8)


def _draw_histogram(panel: Any, judgement: Judgement) -> None:  # noqa: ANN401
    """Draw the histogram of significances, and that of normal noise of the claimed variance."""
    statistics = judgement.statistics
    counts = statistics.histogram
    edges = np.linspace(-statistics.reach, statistics.reach, len(counts) + 1)
    middles, width = 0.5 * (edges[1:] + edges[:-1]), edges[1] - edges[0]
    normal = counts.sum() * width / np.sqrt(2 * np.pi) * np.exp(-(middles**2) / 2)
    panel.stairs(counts, edges, label="sky pixels")
    panel.plot(middles, normal, label="normal")
    panel.set_yscale("log")
    panel.set_ylim(0.5, 2 * max(float(counts.max()), 1.0))
    panel.set_title(
        "pixels in units of the claimed sigma"
        if statistics.claimed
        else "pixels in units of their sigma",
        fontsize=9,
    )
    panel.set_xlabel("sigma")
    panel.set_ylabel("pixels")
    panel.legend(fontsize=8)
