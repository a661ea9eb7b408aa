"""Kernel, blocks, scales and background together: they rebuild the tool's difference image."""

import numpy as np
import pytest
from astropy.io import fits
from scipy.signal import convolve

from diffdecor.kernels.registry import read_kernel

CASES = ["A1", "A2", "A3", "B1", "B2", "B3", "C1", "C2", "M1", "S1"]


def blocks(kernel, shape):
    """Yield every block of every region: the rows and columns of it, and its stamp."""
    border = kernel.origin[0]
    for region in kernel.regions:
        ys, xs = (
            range(max(low, border), min(high, n - 1 - border) + 1)
            for low, high, n in (
                (region.box.ymin, region.box.ymax, shape[0]),
                (region.box.xmin, region.box.xmax, shape[1]),
            )
        )
        positions_x = np.array([region.blocks.position(x, 0)[0] for x in xs])
        positions_y = np.array([region.blocks.position(0, y)[1] for y in ys])
        for by in np.unique(positions_y):
            for bx in np.unique(positions_x):
                rows = np.array(ys)[positions_y == by]
                columns = np.array(xs)[positions_x == bx]
                stamp = np.tensordot(region.weights(kernel.terms, bx, by), kernel.basis, axes=1)
                yield region, rows, columns, stamp


def rebuilt(kernel, science, template):
    """Return the difference that the kernel promises, NaN outside of its regions."""
    h = kernel.origin[0]
    difference = np.full(science.shape, np.nan)
    for region, rows, columns, stamp in blocks(kernel, science.shape):
        box = np.ix_(rows, columns)
        around = np.s_[rows[0] - h : rows[-1] + h + 1, columns[0] - h : columns[-1] + h + 1]
        if region.side == "template":
            matched = convolve(template[around], stamp, mode="valid", method="direct")
            value = region.science_scale * science[box] - region.template_scale * matched
        else:
            matched = convolve(science[around], stamp, mode="valid", method="direct")
            value = region.science_scale * matched - region.template_scale * template[box]
        u, v = (columns - region.x0) / region.xs, (rows - region.y0) / region.ys
        for coefficient, term in zip(region.background, kernel.background_terms, strict=True):
            value += coefficient * np.outer(v**term.j, u**term.i)
        difference[box] = value
    return difference


@pytest.mark.reference
@pytest.mark.parametrize("case", CASES)
def test_difference_is_rebuilt(reference, case):
    folder = reference / "hotpants"
    names = (f"{case[0]}_sci", f"{case[0]}_tmpl", f"{case}_diff")
    science, template, difference = (
        fits.getdata(folder / f"{name}.fits", 0).astype(np.float64) for name in names
    )
    model = rebuilt(read_kernel(folder / f"{case}_diff.fits"), science, template)
    good = np.isfinite(model) & (np.abs(difference) > 1e-29)
    residual = (model - difference)[good]
    assert good.sum() > 0.5 * difference.size
    assert np.sqrt(np.mean(residual**2)) < 2.5e-5
    assert np.abs(residual).max() < 2e-3
