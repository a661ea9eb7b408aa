"""Planes that are made as they are read."""

import numpy as np
from numpy.testing import assert_array_equal

from diffdecor.core.planes import ComputedPlane, bands, constant_plane


def test_constant_plane():
    plane = constant_plane(2.5, (7, 4))
    assert plane.shape == (7, 4)
    assert_array_equal(plane[2:5], np.full((3, 4), 2.5))


def test_computed_plane_makes_the_rows_asked_for():
    pixels = np.arange(20.0).reshape(5, 4)
    plane = ComputedPlane((5, 4), lambda rows: 2 * pixels[rows])
    assert_array_equal(plane[1:3], 2 * pixels[1:3])


def test_bands_go_through_all_rows():
    slices = bands((10, 3), 4)
    assert [(rows.start, rows.stop) for rows in slices] == [(0, 4), (4, 8), (8, 10)]
