"""CPU time of measuring the noise within a run: `measured_cost.py TURNS ARGUMENTS-OF-RUN...`.

Prints JSON, in nanoseconds a pixel: `all` is `with_measured_noise`, `reading` is that of the same
rows of the same planes once more, and `own` is what is left, the arithmetic of measured noise;
medians of the turns, and the least and the most of the latter.
"""

import json
import sys
import time
from pathlib import Path
from statistics import median

from diffdecor import process

process.begin()  # as the command line does, before numpy is imported

from diffdecor.cli import main as diffdecor  # noqa: E402
from diffdecor.decorrelation import decorrelate  # noqa: E402
from diffdecor.decorrelation.noise_windows import NoisePlanes  # noqa: E402


class Watched:
    """`with_measured_noise`, its time, and that of reading what it reads."""

    def __init__(self):
        self.original, self.strip = decorrelate.with_measured_noise, NoisePlanes.strip
        self.all, self.reading = [], []

    def __call__(self, subtraction, places, levels):
        rows = []

        def strip(planes, some):
            rows.append(some)
            return self.strip(planes, some)

        pixels = subtraction.shape[0] * subtraction.shape[1]
        NoisePlanes.strip = strip
        start = time.process_time()
        found = self.original(subtraction, places, levels)
        self.all.append(1e9 * (time.process_time() - start) / pixels)
        NoisePlanes.strip = self.strip
        planes = raw_planes(subtraction)
        start = time.process_time()
        for some in rows:
            for plane in planes:
                plane[some]
        self.reading.append(1e9 * (time.process_time() - start) / pixels)
        return found


def raw_planes(subtraction):
    """Every plane that noise is measured from, once."""
    exposures = subtraction.exposures
    planes = [subtraction.difference.image]
    for one in exposures:
        planes += [plane for plane in (one.mask, one.variance) if plane is not None]
        # Pixels of images count where their sources are not known.
        if "DETECTED" not in one.mask_planes and one is not subtraction.difference:
            planes.append(one.image)
    return planes


def main():
    turns, arguments = int(sys.argv[1]), sys.argv[2:]
    output = Path(arguments[arguments.index("--output") + 1])
    watched = Watched()
    decorrelate.with_measured_noise = watched
    for _ in range(turns + 1):
        output.unlink(missing_ok=True)
        diffdecor(["run", *arguments], standalone_mode=False)
    # The first turn warms the caches.
    own = sorted(a - b for a, b in zip(watched.all[1:], watched.reading[1:], strict=True))
    times = {"own": median(own), "least": own[0], "most": own[-1]}
    times |= {"all": median(watched.all[1:]), "reading": median(watched.reading[1:])}
    print(json.dumps(times))  # noqa: T201


if __name__ == "__main__":
    main()
