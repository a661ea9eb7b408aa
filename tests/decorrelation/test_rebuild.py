"""Kernel, blocks, scales and background together: they rebuild the tool's difference image."""

import numpy as np
import pytest
from astropy.io import fits

from diffdecor.decorrelation.rebuild import rebuild
from diffdecor.kernels.registry import read_kernel

CASES = ["A1", "A2", "A3", "B1", "B2", "B3", "C1", "C2", "M1", "S1"]


@pytest.mark.reference
@pytest.mark.parametrize("case", CASES)
def test_hotpants_difference_is_rebuild(reference, case):
    folder = reference / "hotpants"
    names = (f"{case[0]}_sci", f"{case[0]}_tmpl", f"{case}_diff")
    science, template, difference = (
        fits.getdata(folder / f"{name}.fits", 0).astype(np.float64) for name in names
    )
    model = rebuild(read_kernel(folder / f"{case}_diff.fits"), science, template)
    good = np.isfinite(model) & (np.abs(difference) > 1e-29)
    residual = (model - difference)[good]
    assert good.sum() > 0.5 * difference.size
    assert np.sqrt(np.mean(residual**2)) < 2.5e-5
    assert np.abs(residual).max() < 2e-3
