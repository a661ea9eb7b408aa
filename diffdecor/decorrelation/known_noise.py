"""Noise whose power is known otherwise: of one of the images, or of the difference."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from diffdecor.core.noise_power import spectrum_of_power
from diffdecor.core.spectrum import SIZE, LogSpectrum
from diffdecor.core.spectrum_field import SpectrumField
from diffdecor.decorrelation.nodes import Places
from diffdecor.decorrelation.noise_levels import NoiseLevels
from diffdecor.decorrelation.subtraction import ROLES, Role, Subtraction


def with_known_noise(subtraction: Subtraction, places: Places, levels: NoiseLevels) -> Subtraction:
    """Return a subtraction whose noise has the powers that are known.

    That of an image is the power of its noise before it was convolved. An absolute power is that of
    the whole image; at each place it goes with the noise level there.
    """
    powers = subtraction.noise_powers
    if not powers:
        return subtraction
    of_sides: dict[Role, SpectrumField] = {}
    for role in ROLES:
        if role in powers:
            mean = float(getattr(levels, role).mean())
            level = powers[role].variance / (mean if powers[role].absolute else 1.0)
            of_sides[role] = SpectrumField.constant(_scaled(powers[role].spectrum, level))
    subtraction = replace(subtraction, side_spectra=of_sides)
    if "difference" not in powers:
        return subtraction
    return replace(subtraction, spectra=_of_difference(subtraction, places, levels))


def _scaled(spectrum: LogSpectrum, factor: float) -> LogSpectrum:
    coefficients = spectrum.coefficients.copy()
    coefficients[:, 0] += np.log(factor)
    return LogSpectrum(spectrum.lags, coefficients)


def _of_difference(subtraction: Subtraction, places: Places, levels: NoiseLevels) -> SpectrumField:
    """Return how the known noise power of the difference differs from that of the model."""
    known = subtraction.noise_powers["difference"]
    sides = subtraction.noise_sides(places.positions, levels.science, levels.template)
    # Twice as fine, so that kernels larger than the grid are not cut.
    shape = 2 * SIZE, 2 * SIZE
    power = np.mean(sides[0].power(shape) + sides[1].power(shape), axis=0)[::2, ::2]
    zero = float(power[0, 0])
    ratio = known.spectrum.power()[0] / (power / zero)
    if known.absolute:
        level = known.variance / zero
    else:  # in units of the variance that the planes give the pixels of the difference
        twice = np.full(power.shape[1], 2.0)
        twice[[0, -1]] = 1.0
        level = known.variance * float((power @ twice).sum()) / SIZE**2 / zero
    return SpectrumField.constant(_scaled(spectrum_of_power(ratio), level))
