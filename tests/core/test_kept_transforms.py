"""Transforms of kernels that serve several bands of rows are made once, and few are held."""

import tracemalloc
from collections import Counter

import numpy as np
import pytest

from diffdecor.core import convolve as module
from diffdecor.core.convolve import Convolution
from diffdecor.core.interpolate import KernelField

STAMP = np.ones((5, 5)) / 25


def field(nodes_x, nodes_y):
    """The stamp, with the number of its node in the middle."""
    stamps = np.tile(STAMP, (len(nodes_y), len(nodes_x), 1, 1))
    stamps[:, :, 2, 2] = np.arange(stamps.shape[0] * stamps.shape[1]).reshape(stamps.shape[:2])
    return KernelField(np.array(nodes_x, float), np.array(nodes_y, float), stamps, (2, 2))


@pytest.fixture
def made(monkeypatch):
    """How often the kernel with each number is transformed."""
    counts = Counter()
    transfer = module.transfer

    def counting(stamp, *arguments):
        counts[float(stamp[2, 2])] += 1
        return transfer(stamp, *arguments)

    monkeypatch.setattr(module, "transfer", counting)
    return counts


def test_every_node_is_transformed_once(made):
    plane = np.random.default_rng(0).normal(size=(128, 96))
    convolution = Convolution((plane, field([0, 32, 64, 95], [0, 32, 64, 96, 127])))
    assert len(convolution.bands) == 4
    for rows in convolution.bands:
        convolution[rows]
    assert made == dict.fromkeys(range(20), 1)


def test_one_kernel_is_transformed_once_for_all_tiles(made, monkeypatch):
    monkeypatch.setattr(module, "TILE", 64)
    plane = np.random.default_rng(1).normal(size=(300, 300))
    convolution = Convolution((plane, KernelField.constant(STAMP, (2, 2))))
    assert len(convolution.bands) > 3
    for rows in convolution.bands:
        convolution[rows]
    assert made.total() == 1


def test_few_transforms_are_held_whichever_bands_are_read():
    """Of every second band, no node is wanted twice."""
    nodes = [*range(0, 800, 8), 799]
    plane = np.random.default_rng(2).normal(size=(800, 20))
    bands = Convolution((plane, field([0, 19], nodes))).bands
    assert len(bands) == 100
    Convolution((plane, field([0, 19], nodes)))[bands[0]]  # memory that every thread has for good
    tracemalloc.start()
    try:
        convolution = Convolution((plane, field([0, 19], nodes)))
        before = tracemalloc.get_traced_memory()[0]
        for rows in bands[::2]:
            convolution[rows]
        held = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    transform = 32 * 17 * np.dtype(np.complex64).itemsize
    assert held < 20 * transform  # not all 200
