"""What two threads gain that call numpy over and over: `calls.py`.

Numpy lets other threads run Python while it works. Between its calls the threads wait for each
other: to hand the interpreter over takes longer than a short call. Each thread adds arrays of its
own; prints JSON, for every number of single precision values: microseconds of a call in one thread,
and the calls of two threads in the same time, as ratio to those of one.
"""

import json
import time
from statistics import median
from threading import Thread

import numpy as np

SIZES = 1 << 13, 1 << 15, 1 << 17, 1 << 19
VALUES = 1 << 30  # that each thread adds
TURNS = 5


def adds(number):
    values = np.ones(number, np.float32)
    total = np.empty_like(values)

    def work():
        for _ in range(VALUES // number):
            np.add(values, values, out=total)

    return work


def seconds(number, count):
    threads = [Thread(target=adds(number)) for _ in range(count)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - start


found = {}
for number in SIZES:
    times = [[seconds(number, count) for count in (1, 2)] for _ in range(TURNS)]
    microseconds = 1e6 * median(one for one, _ in times) / (VALUES // number)
    found[number] = microseconds, median(2 * one / two for one, two in times)
print(json.dumps(found))  # noqa: T201
