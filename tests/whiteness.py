"""Are the probabilities of whiteness right? Uniform for white noise, in masks of every kind.

`make whiteness` prints, for images of two sizes and five masks, how uniform they are
(Kolmogorov-Smirnov), and which share of them is below 0.05 and 0.01.
"""

import sys

import numpy as np
from helpers.noise import mask_patterns, uniformity

from diffdecor.core.lag_statistics import whiteness
from diffdecor.decorrelation.noise_statistics import Sky, measure_noise


def probabilities(size, pattern, seeds):
    """Probabilities of Q and of the largest coefficient ``(seeds, 2)``, of white noise."""
    sky, found = mask_patterns((size, size))[pattern], []
    for seed in range(seeds):
        image = np.random.default_rng((seed, size)).normal(size=(size, size)).astype(np.float32)
        (statistics,) = measure_noise(Sky(images=[(image, None)], usable=sky), 1000, 1)
        one = whiteness(statistics.sums)
        found.append((one.probability, one.largest_probability))
    return np.array(found)


def main(seeds):
    print(f"{seeds} images of white noise     KS p   < 0.05  < 0.01")  # noqa: T201
    for size in (256, 1024):
        for pattern in mask_patterns((8, 8)):
            found = probabilities(size, pattern, seeds)
            for what, mine in zip(("Q", "max |rho|"), found.T, strict=True):
                shares = (mine < 0.05).mean(), (mine < 0.01).mean()
                text = f"{size:5} {pattern:13} {what:10}"
                print(f"{text} {uniformity(mine):7.3f} {shares[0]:8.3f} {shares[1]:7.3f}")  # noqa: T201


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 300)
