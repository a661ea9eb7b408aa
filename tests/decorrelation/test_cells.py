"""Where LSST's cells lie, and how they become one image."""

from dataclasses import replace

import numpy as np
import pytest
from helpers import oracle
from helpers.simulate import in_pixels, masked_triple
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from diffdecor.core.planes import Window
from diffdecor.decorrelation.cells import (
    CellResult,
    axis_centres,
    cells_at,
    reduce_cells,
    regular_cells,
)
from diffdecor.decorrelation.decorrelate import prepare
from diffdecor.decorrelation.subtraction import Subtraction, as_kernel

SHAPE = (23, 17)


@oracle.EXAMPLES
@given(
    shape=st.tuples(st.integers(2, 300), st.integers(2, 300)),
    size=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    step=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    border=st.integers(0, 30),
    adjust=st.sampled_from(["spacing", "size", "none"]),
)
def test_cells_lie_within_the_image_and_their_margins(shape, size, step, border, adjust):
    cells = regular_cells(shape, size, step, (border, border), adjust)
    covered = np.zeros(shape, dtype=bool)
    for cell in cells:
        inner, outer = cell.inner, cell.outer
        assert 0 <= outer.x0 <= inner.x0 < inner.x1 <= shape[1]
        assert 0 <= outer.y0 <= inner.y0 < inner.y1 <= shape[0]
        covered[inner.rows, inner.columns] = True
    if adjust == "size":  # the option that promises it
        assert covered.all()


def test_spacing_spreads_centres_evenly():
    centres, size = axis_centres(150, 56, 40, "spacing")
    assert size == 56
    assert centres == pytest.approx([28, 75, 122])


def test_centroids_beyond_the_image_have_no_cell():
    cells = cells_at([(10, 10), (500, 10), (10, -90)], (20, 20), (5, 5), (60, 70))
    assert len(cells) == 1


def reduced_by_definition(cells, blend):
    """Every pixel by itself: the values of all cells that have it, in their order."""
    planes = np.full((2, *SHAPE), np.nan)
    for y, x in np.ndindex(SHAPE):
        here = [
            (cell.image[y - cell.window.y0, x - cell.window.x0],
             cell.variance[y - cell.window.y0, x - cell.window.x0])
            for cell in cells
            if cell.window.y0 <= y < cell.window.y1 and cell.window.x0 <= x < cell.window.x1
        ]  # fmt: skip
        known = [pair for pair in here if not np.isnan(pair).any()]
        if blend == "copy" and here:
            planes[:, y, x] = here[-1]
        elif blend == "sum" and here:
            planes[:, y, x] = np.sum(here, axis=0)
        elif blend in {"average", "none"} and known:
            planes[:, y, x] = np.mean(known, axis=0)
    return planes


def intervals(length):
    ends = st.tuples(st.integers(0, length - 1), st.integers(1, 9))
    return ends.map(lambda pair: (pair[0], min(length, pair[0] + pair[1])))


@settings(max_examples=60)
@given(
    st.lists(st.tuples(intervals(SHAPE[1]), intervals(SHAPE[0])), min_size=1, max_size=6),
    st.sampled_from(["average", "copy", "sum", "none"]),
    st.integers(1, 23),
)
def test_reducers_are_what_they_say(places, blend, height):
    random = np.random.default_rng(len(places))
    cells = []
    for columns, rows in places:
        window = Window(*columns, *rows)
        pixels = random.normal(size=(2, rows[1] - rows[0], columns[1] - columns[0]))
        pixels[random.random(pixels.shape) < 0.1] = np.nan
        cells.append(CellResult(window, *pixels))
    planes = reduce_cells(cells, SHAPE, blend)
    found = [
        np.concatenate([plane[y : min(y + height, 23)] for y in range(0, 23, height)])
        for plane in planes
    ]
    assert_allclose(found, reduced_by_definition(cells, blend), atol=1e-12)


@pytest.mark.parametrize("edges", ["extend", "zero"])
@pytest.mark.parametrize("options", [{}, {"variance": "full"}, {"fill": "mean"}])
def test_cells_do_not_depend_on_the_rows_that_are_read(edges, options):
    science, template, difference = masked_triple((150, 160))
    config = in_pixels(
        blend="average",
        cell_size=50,
        grid_step=40,
        cell_border=8,
        adjust_grid="none",
        edges=edges,
        **options,
    )
    config = replace(config, precision="double")
    kernel = oracle.gaussian(9, 1.2)
    prepared = prepare(Subtraction(science, template, difference, as_kernel(kernel), config))
    for plane in (prepared.exposure.image, prepared.exposure.variance):
        at_once = plane[0:150]
        for height in (7, 64):
            parts = [plane[y : min(y + height, 150)] for y in range(0, 150, height)]
            assert_allclose(np.concatenate(parts), at_once, atol=1e-11)


def test_cells_are_worked_out_when_they_are_read():
    science, template, difference = masked_triple((150, 160))
    read = []

    class Spied:
        shape = difference.shape

        def __getitem__(self, rows):
            read.append(rows)
            return difference.image[rows]

    config = in_pixels(blend="copy", cell_size=20, grid_step=20, cell_border=4)
    spied = replace(difference, image=Spied())
    kernel = oracle.gaussian(9, 1.2)
    prepared = prepare(Subtraction(science, template, spied, as_kernel(kernel), config))
    assert sum(rows.stop - rows.start for rows in read) < 20
    read.clear()
    prepared.exposure.image[0:20]
    assert max(rows.stop for rows in read) < 75
    assert_array_equal(prepared.exposure.image[0:20].shape, (20, 160))
