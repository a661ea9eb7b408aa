"""Parts of the kernel fit: grids of regions, families, steps of rounding, supports, blocks."""

import numpy as np
import pytest

from diffdecor.core.kernel_solver import Equations, Solution, Windows
from diffdecor.core.planes import Window
from diffdecor.core.support import Support
from diffdecor.decorrelation.kernel_area import AreaFitter
from diffdecor.decorrelation.kernel_assembly import assembled
from diffdecor.decorrelation.kernel_blocks import find_blocks
from diffdecor.decorrelation.kernel_families import polynomials, splines
from diffdecor.decorrelation.kernel_grid import find_grid, grid_areas
from diffdecor.decorrelation.kernel_proof import rounding_of
from diffdecor.decorrelation.kernel_support import significant_support
from diffdecor.decorrelation.kernel_windows import Pixels, window_grid
from diffdecor.decorrelation.subtraction import Subtraction, as_kernel
from diffdecor.images.model import Exposure
from diffdecor.kernels.model import Blocks, Box

AREA = Window(0, 200, 0, 160)


def pixels(difference, science=0.0, template=0.0):
    """One window of images of one value each."""
    difference = np.asarray(difference, dtype=np.float64)[np.newaxis]
    images = (np.full(difference.shape, one) for one in (science, template))
    good = np.ones(difference.shape, dtype=bool)
    return Pixels(*images, difference, good, np.zeros((1, 2), dtype=int), 0)


@pytest.mark.parametrize("grid", [(2, 1), (1, 2), (2, 2), (3, 1)])
def test_a_grid_is_found_by_its_first_region(grid):
    ny, nx = 300, 480

    def explains(window):
        return window.x1 <= nx // grid[0] and window.y1 <= ny // grid[1]

    assert find_grid((ny, nx), explains, all_grids=True) == grid


def test_no_grid_is_found_where_nothing_is_explained():
    assert find_grid((100, 100), lambda _: False, all_grids=True) is None


def test_regions_share_a_row_or_column():
    boxes = [area.box for area in grid_areas((300, 440), (2, 2))]
    assert boxes[0] == Box(0, 219, 0, 149)
    assert boxes[3] == Box(219, 439, 149, 299)


def test_every_second_window_is_held_out():
    grid = window_grid(AREA, 40)
    assert len(grid.places) == 20
    assert grid.held_out.sum() == 10
    first, last = grid.places.min(axis=0), grid.places.max(axis=0) + 40
    assert (*first, *last) == (0, 0, 200, 160)


@pytest.mark.parametrize(
    "family", [polynomials(AREA, 3), splines(AREA, 3)], ids=["polynomials", "splines"]
)
def test_values_at_pixels_are_those_at_positions(family):
    """The values of a window, and those at a position."""
    places = np.array([[30, 40], [150, 100]])
    shape = 2, 9, 9
    some = Pixels(*np.zeros((3, *shape)), np.ones(shape, dtype=bool), places, 0)
    values = family.values(some)
    assert values.shape == (len(family.terms), *shape)
    np.testing.assert_allclose(values[:, 1, 4, 2], family.at(152, 104), atol=1e-12)


@pytest.mark.parametrize(("step", "zero"), [(1.0, 0.0), (0.25, 3.0), (7.5, -1e4)])
def test_steps_are_seen(step, zero):
    noise = np.random.default_rng(1).normal(0, 10 * step, (60, 60))
    rounding, found = rounding_of(pixels(np.rint(noise / step) * step + zero))
    assert found == pytest.approx(step)
    assert rounding == pytest.approx(step / np.sqrt(12))


def test_floats_have_no_steps():
    noise = np.random.default_rng(2).normal(0, 10, (60, 60)).astype(np.float32)
    rounding, step = rounding_of(pixels(noise, science=1000.0))
    assert step == 0
    assert rounding == pytest.approx(2.0**-14 / np.sqrt(12))


def test_a_known_step_is_believed():
    """Dithered values show none."""
    noise = np.random.default_rng(3).normal(size=(40, 40))
    assert rounding_of(pixels(noise), 0.5) == pytest.approx((0.5 / np.sqrt(12), 0.5))


def test_the_support_is_around_what_is_not_zero():
    kernels = np.zeros((2, 11, 13))
    kernels[0, 3, 4], kernels[1, 8, 6] = 1.0, -1e-3
    solution = Solution(kernels, 1.0, 0.0, np.array([1e-3, 1e-5]))
    assert significant_support(solution, Support(-6, 6, -5, 5)) == Support(-2, 0, -2, 3)


@pytest.mark.parametrize(("step", "start"), [(21, (10, 10)), (5, (8, 6)), (13, (0, 7))])
def test_blocks_show_in_what_a_smooth_fit_leaves(step, start):
    rng = np.random.default_rng(step)
    places = np.array([[0, 0], [60, 0], [0, 70], [90, 90]])
    side, support = 60, Support.square(2)
    family = polynomials(AREA, 1)
    held = family.in_blocks(Blocks(*map(float, start), float(step), float(step // 2)))
    template = rng.normal(0, 3, (4, side + 4, side + 4))
    shape = 4, side, side
    empty = Pixels(*np.zeros((3, *shape)), np.ones(shape, dtype=bool), places, 2)
    kernels = rng.normal(size=(3, *support.shape))
    good, science = np.ones(shape, dtype=bool), rng.normal(size=shape)
    of_kernel = Equations(Windows(science, template, np.zeros(shape), good, 2), support)
    difference = science - of_kernel.matched(kernels, held.values(empty))
    equations = Equations(Windows(science, template, difference, good, 2), support)
    solution = equations.solve(family.values(empty))
    found = find_blocks(family, empty, equations, solution)
    assert found is not None
    assert found.step == step
    assert (found.start_x % step, found.start_y % step) == (start[0] % step, start[1] % step)


def test_no_blocks_are_seen_in_noise():
    rng = np.random.default_rng(6)
    places = np.array([[0, 0], [60, 60]])
    shape = 2, 60, 60
    empty = Pixels(*np.zeros((3, *shape)), np.ones(shape, dtype=bool), places, 2)
    windows = Windows(
        rng.normal(size=shape),
        rng.normal(size=(2, 64, 64)),
        rng.normal(size=shape),
        np.ones(shape, dtype=bool),
        2,
    )
    family, equations = polynomials(AREA, 1), Equations(windows, Support.square(2))
    solution = equations.solve(family.values(empty))
    assert find_blocks(family, empty, equations, solution) is None


def test_splines_that_vary_more_are_tried():
    """None is exact here, and no blocks are looked for in what they leave."""
    rng = np.random.default_rng(8)
    area, support = Window(0, 260, 0, 240), Support.square(1)
    science, template = rng.normal(size=(2, 240, 260))
    x, y = np.arange(260.0), np.arange(240.0)
    family = splines(area, 6)
    amounts = rng.normal(size=len(family.terms))
    x0, xs, y0, ys = family.scaling
    change = sum(
        amount * term.grid((x - x0) / xs, (y - y0) / ys)
        for amount, term in zip(amounts, family.terms, strict=True)
    )
    matched = 0.6 * template + 0.3 * (1 + change) * np.roll(template, 1, axis=1)
    images = [Exposure(image=one) for one in (science, template, science - matched)]
    subtraction = Subtraction(*images, as_kernel(None))
    fit = AreaFitter(subtraction, area, "template", None, 1e-9, splines=True).fit(support)
    assert fit.family.name == splines(area, 4).name
    assert 1e-6 < fit.left < 0.3


def test_a_background_of_a_part_is_none():
    """Where the sky of one region is not a polynomial, the kernel has no background at all."""
    rng = np.random.default_rng(9)
    science, template = rng.normal(size=(2, 200, 400))
    difference = science - 0.8 * template + 5.0
    difference[:, 200:] += 3.0 * np.sin(np.arange(200) / 25.0)[:, np.newaxis]
    images = [Exposure(image=one) for one in (science, template, difference)]
    subtraction = Subtraction(*images, as_kernel(None))
    fits = []
    for x0, smooth in ((0, True), (200, False)):
        area = Window(x0, x0 + 200, 0, 200)
        fit = AreaFitter(subtraction, area, "template", None, 1e-7).fit(Support.square(1))
        fits.append(fit)
        assert assembled(subtraction, [fit], 1e-7).has_background == smooth
    assert not assembled(subtraction, fits, 1e-7).has_background
