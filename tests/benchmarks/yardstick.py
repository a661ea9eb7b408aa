"""A yardstick: the time of one FFT pair in numpy, `yardstick.py NYxNX`.

The pair is ``irfft2(rfft2(pixels), s=pixels.shape)`` of `numpy.fft` on random pixels in single
precision, as plain as that: a result of float32, computed by one thread. The first pair of the
process warms its caches; the second one is timed, from call to return. Prints JSON, seconds.
"""

import json
import sys
import time

import numpy as np

shape = tuple(map(int, sys.argv[1].split("x")))
pixels = np.random.default_rng(1).standard_normal(shape, dtype=np.float32)
for _ in range(2):
    start, cpu = time.perf_counter(), time.process_time()
    np.fft.irfft2(np.fft.rfft2(pixels), s=shape)
    found = {"seconds": time.perf_counter() - start, "cpu": time.process_time() - cpu}
print(json.dumps(found))  # noqa: T201
