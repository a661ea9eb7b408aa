"""What is known before the pixels are worked out: how many threads may work on them."""

import numpy as np
import pytest

from diffdecor.config import DecorrelationConfig
from diffdecor.core import parallel
from diffdecor.core.parallel import threads_for
from diffdecor.core.planes import bands, constant_plane
from diffdecor.decorrelation import preparation
from diffdecor.decorrelation.preparation import Prepared
from diffdecor.decorrelation.subtraction import Subtraction, as_kernel
from diffdecor.images.model import Exposure

SHAPE = NY, NX = 300, 30_000
BAND = 256 * NX * 64
"""Memory that a thread takes, bytes."""


def prepared(**options):
    """A result that is there already: ones, of which no pixel was filled."""
    exposure = Exposure(image=constant_plane(1, SHAPE))
    return Prepared(
        subtraction=Subtraction(
            exposure, exposure, exposure, as_kernel(None), config=DecorrelationConfig(**options)
        ),
        exposure=exposure,
        filled=constant_plane(0, SHAPE),
        bands=bands(SHAPE, 256),
    )


@pytest.mark.parametrize(
    ("threads", "memory", "expected"),
    [
        (8, 100 * BAND, 8),
        (8, 3 * BAND, 3),
        (8, 3 * BAND - 1, 2),
        (2, 3 * BAND, 2),
        (8, BAND // 2, 1),
        (1, 100 * BAND, 1),
    ],
)
def test_memory_limits_the_threads(threads, memory, expected):
    assert prepared(threads=threads, max_memory=memory).threads == expected


def test_cores_work_that_pixels_keep_busy_and_memory_allows(monkeypatch):
    monkeypatch.setattr(parallel, "cores", lambda: 40)
    few = threads_for(NY * NX)
    assert 1 < few < 40
    assert prepared(max_memory=40 * BAND).threads == few
    assert prepared(max_memory=(few - 1) * BAND).threads == few - 1


def test_so_many_threads_work_out_the_pixels(monkeypatch):
    used = []
    copy = preparation.copy_planes

    def watched(pairs, parts, threads, progress):
        used.append(threads)
        copy(pairs, parts, threads, progress)

    monkeypatch.setattr(preparation, "copy_planes", watched)
    pixels = np.zeros(SHAPE, np.float32)
    assert prepared(threads=8, max_memory=2 * BAND).into(pixels, None, None) == 0
    assert used == [2]
    assert (pixels == 1).all()
