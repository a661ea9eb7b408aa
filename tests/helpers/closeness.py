"""When two arrays of floats are the same on every processor."""

import numpy as np


def assert_same(found, expected, tolerance=1e-14):
    """Compare with the largest of the numbers: BLAS and FFT round differently everywhere."""
    peak = np.abs(expected).max(initial=0.0)
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * peak, strict=True)
