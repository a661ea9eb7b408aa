"""The strongest line of a field: found with its period, and not where there is none."""

import numpy as np
import pytest

from diffdecor.core.periodic import strongest_line


def squares_of(rng, shape, amplitude=0.0, period=(37.0, 1e9), share=0.8):
    """Sky-masked squares of normal noise whose variance has a line."""
    y, x = np.indices(shape)
    variance = 1 + amplitude * np.cos(2 * np.pi * (x / period[0] + y / period[1]) + 0.7)
    sky = rng.random(shape) < share
    return rng.normal(size=shape) ** 2 * variance * sky, sky.astype(float)


def binned(values, cell):
    ny, nx = values.shape
    return values.reshape(ny // cell, cell, nx // cell, cell).sum(axis=(1, 3))


@pytest.mark.parametrize("cell", [1, 2, 4])
@pytest.mark.parametrize("period", [(37.0, 1e9), (1e9, 21.0), (60.0, -45.0)])
def test_a_line_is_found(cell, period):
    rng = np.random.default_rng(1)
    squares, sky = squares_of(rng, (640, 640), 0.1, period)
    line = strongest_line(binned(squares, cell), binned(sky, cell), cell)
    expected = 1 / np.hypot(1 / period[0], 1 / period[1])
    # Frequencies are known to half a step.
    assert 1 / line.period == pytest.approx(1 / expected, abs=0.8 / 640)
    assert 0.05 < line.amplitude < 0.12
    assert line.probability < 1e-6


def test_without_a_line_none_is_found():
    rng = np.random.default_rng(2)
    found = [strongest_line(*squares_of(rng, (200, 180)), 1).probability for _ in range(60)]
    assert np.mean(np.array(found) < 0.01) < 0.1


def test_slow_changes_are_no_line():
    rng = np.random.default_rng(3)
    squares, sky = squares_of(rng, (400, 400))
    y, x = np.indices(squares.shape)
    line = strongest_line(squares * (1 + x / 400 + (y / 400) ** 2), sky, 1)
    assert line.probability > 0.001


@pytest.mark.parametrize("shape", [(5, 5), (64, 20), (100, 100)])
def test_fields_without_any_pixels(shape):
    assert strongest_line(np.zeros(shape), np.zeros(shape), 1) is None
