"""Separate cells, and how they become one image."""

from dataclasses import replace

import numpy as np
import pytest
from helpers import oracle
from helpers.simulate import in_pixels, masked_triple
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from diffdecor.decorrelation.cells import CellResult, reduced_cells
from diffdecor.decorrelation.nodes import Window
from diffdecor.decorrelation.preparation import prepare

SHAPE = (23, 17)


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
    planes = reduced_cells(cells, SHAPE, blend)
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
    prepared = prepare(science, template, difference, oracle.gaussian(9, 1.2), config=config)
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
    prepared = prepare(science, template, spied, oracle.gaussian(9, 1.2), config=config)
    assert sum(rows.stop - rows.start for rows in read) < 20
    read.clear()
    prepared.exposure.image[0:20]
    assert max(rows.stop for rows in read) < 75
    assert_array_equal(prepared.exposure.image[0:20].shape, (20, 160))
