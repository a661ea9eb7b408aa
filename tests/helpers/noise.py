"""Noise of known correlation, and masks of every kind."""

import numpy as np


def smooth_noise(rng, shape, width):
    """Noise of unit variance, correlated by a Gaussian of this sigma; periodic."""
    noise = rng.normal(size=shape)
    if not width:
        return noise
    ky, kx = np.fft.fftfreq(shape[0])[:, np.newaxis], np.fft.rfftfreq(shape[1])
    window = np.exp(-2 * (np.pi * width) ** 2 * (ky**2 + kx**2))
    # Every pixel is a sum of the others with the weights of the transform of the window.
    weights = np.fft.irfft2(window, shape)
    return np.fft.irfft2(np.fft.rfft2(noise) * window, shape) / np.sqrt(np.sum(weights**2))


def gaussian_psf(sigma, half=12):
    """A PSF of unit sum."""
    squares = np.arange(-half, half + 1) ** 2
    stamp = np.exp(-np.add.outer(squares, squares) / (2 * sigma**2))
    return stamp / stamp.sum()


def mask_patterns(shape):
    """Which pixels are sky, by the name of the pattern; the random one is the same each time."""
    y, x = np.indices(shape)
    return {
        "none": np.ones(shape, dtype=bool),
        "random50": np.random.default_rng(8).random(shape) < 0.5,
        "discs": np.hypot(x % 61 - 30, y % 53 - 26) > 18,
        "stripes": x % 4 < 2,
        "checkerboard": (x + y) % 2 == 0,
    }


def uniformity(probabilities):
    """The probability of the Kolmogorov-Smirnov distance of numbers from uniform ones."""
    ordered = np.sort(probabilities)
    number = len(ordered)
    ranks = np.arange(number + 1) / number
    distance = max((ranks[1:] - ordered).max(), (ordered - ranks[:-1]).max())
    scaled = distance * (np.sqrt(number) + 0.12 + 0.11 / np.sqrt(number))
    terms = np.arange(1, 101)
    return float(
        np.clip(2 * np.sum((-1.0) ** (terms - 1) * np.exp(-2 * (terms * scaled) ** 2)), 0, 1)
    )
