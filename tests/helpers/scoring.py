"""How white a result is, and how true its variance and PSF, judged against a `Scene`.

A `Score` adds up sums over realisations; what it says of them is worked out when it is asked for.
"""

from dataclasses import dataclass, field

import numpy as np
import scipy.fft
import scipy.ndimage
import scipy.special

from diffdecor import DecorrelationConfig, decorrelate
from diffdecor.core.interpolate import KernelField
from diffdecor.core.planes import Window, part_of
from diffdecor.core.psf import crop_stamp
from diffdecor.core.significance import point_source_planes

#: Lags of the correlations, pixels.
REACH = 5
#: Lags over which significances of neighbours are correlated.
SIGNIFICANT = 12
#: Pixels from a masked one from which on significances count. Nearer, a sum over pixels scatters up
#: to 5 per cent less than claimed: the filter takes noise-free filled pixels, too.
APART = 4
MODES = ("raw", "white", "measured", "alone")


def result_of(scene, realisation, mode):
    """The exposure that a mode makes of a realisation."""
    if mode == "raw":
        return scene.alone(realisation)
    config = DecorrelationConfig(noise_model="white" if mode == "white" else "measured")
    alone = (None, None, scene.alone(realisation), None)
    inputs = alone if mode == "alone" else realisation.inputs
    return decorrelate(*inputs, config=config).exposure


def significance_of(exposure, usable, half_width=8):
    """Point-source significance of every pixel, with the PSF at 3 x 3 places.

    In white noise its scatter is 1, whatever the PSF: so the places may be few.
    """
    ny, nx = exposure.shape
    x, y = (np.linspace(0, length - 1, 3) for length in (nx, ny))
    psf = exposure.psf
    stamps = np.array([[crop_stamp(psf.stamp(u, v), psf.origin, half_width) for u in x] for v in y])
    kernels = KernelField(x, y, stamps, (half_width, half_width))
    plane, _ = point_source_planes(exposure.image, exposure.variance, usable, kernels)
    return part_of(plane, Window(0, nx, 0, ny))


def lag_sums(values, good, reach):
    """Sums of products and numbers of pairs of good pixels ``(2, 2 reach + 1, 2 reach + 1)``."""
    shape = [scipy.fft.next_fast_len(n + reach, real=True) for n in values.shape]
    lags = np.arange(-reach, reach + 1)
    sums = []
    for plane in (np.where(good, values, 0.0), good.astype(float)):
        power = np.abs(scipy.fft.rfft2(plane, shape)) ** 2
        sums.append(scipy.fft.irfft2(power, shape)[np.ix_(lags, lags)])
    return np.array(sums)


def correlations(sums):
    """Correlation coefficients ``(n,)`` of the lags of a half plane within REACH pixels."""
    covariance = sums[0] / sums[1]
    reach = len(covariance) // 2
    rho = covariance / covariance[reach, reach]
    y, x = np.indices(rho.shape) - reach
    half = ((y > 0) | ((y == 0) & (x > 0))) & (np.hypot(x, y) <= REACH + 0.3)
    return rho[half]


def quadrants(size):
    halves = slice(None, size // 2), slice(size // 2, None)
    return [(rows, columns) for rows in halves for columns in halves]


@dataclass
class Score:
    """Sums over the results of realisations of one scene, or of several of equal layout."""

    whole: np.ndarray = field(default_factory=lambda: np.zeros((2, 2 * REACH + 1, 2 * REACH + 1)))
    quarters: np.ndarray = field(
        default_factory=lambda: np.zeros((4, 2, 2 * REACH + 1, 2 * REACH + 1))
    )
    #: By region: sum of squares over the claimed variance, and pixels.
    squares: dict = field(default_factory=dict)
    significance: np.ndarray = field(
        default_factory=lambda: np.zeros((2, 2 * SIGNIFICANT + 1, 2 * SIGNIFICANT + 1))
    )
    #: Pixels of empty sky that are beyond 4 and beyond 5 sigma.
    beyond: np.ndarray = field(default_factory=lambda: np.zeros(2))
    #: True flux, measured flux, claimed error of every transient.
    fluxes: list = field(default_factory=list)

    def add(self, scene, exposure):
        """Add one result."""
        good = scene.sky & (exposure.mask == 0)
        with np.errstate(invalid="ignore", divide="ignore"):
            z = np.where(good, exposure.image / np.sqrt(exposure.variance), 0.0).astype(float)
        z[good] -= z[good].mean()
        self.whole += lag_sums(z, good, REACH)
        parts = quadrants(scene.size)
        self.quarters += np.array([lag_sums(z[part], good[part], REACH) for part in parts])
        for name, region in regions(scene).items():
            inside = good & region
            sums = np.array([np.sum(z[inside] ** 2), np.count_nonzero(inside)])
            self.squares[name] = self.squares.get(name, 0.0) + sums
        clear = good & ~scipy.ndimage.binary_dilation(scene.mask, iterations=APART)
        sharp = np.where(clear, significance_of(exposure, exposure.mask == 0), 0.0)
        self.significance += lag_sums(sharp, clear, SIGNIFICANT)
        self.beyond += [np.count_nonzero(np.abs(sharp) > limit) for limit in (4, 5)]
        self.fluxes += photometry(scene, exposure)
        return self

    @property
    def max_rho(self):
        """The largest correlation within REACH pixels."""
        return float(np.abs(correlations(self.whole)).max())

    @property
    def rho_error(self):
        return float(1 / np.sqrt(self.whole[1].max()))

    @property
    def max_rho_in_quadrants(self):
        return max(float(np.abs(correlations(sums)).max()) for sums in self.quarters)

    @property
    def variance_ratios(self):
        """By region: claimed over true variance, and the statistical error of that."""
        return {
            name: (count / total, np.sqrt(2 / count))
            for name, (total, count) in self.squares.items()
            if count > 5000
        }

    @property
    def worst_variance_ratio(self):
        return max((ratio for ratio, _ in self.variance_ratios.values()), key=lambda r: abs(r - 1))

    @property
    def scatter(self):
        """Scatter of the significance of point sources in empty sky (true: 1), and its error."""
        covariance = self.significance[0] / self.significance[1]
        variance, count = covariance[SIGNIFICANT, SIGNIFICANT], self.significance[1].max()
        independent = count / np.sum((covariance / variance) ** 2)
        scatter = np.sqrt(variance)
        return float(scatter), float(scatter / np.sqrt(2 * independent))

    @property
    def expected_beyond(self):
        """Pixels that Gaussian noise would have beyond 4 and 5 sigma."""
        count = self.significance[1].max()
        return [float(count * scipy.special.erfc(limit / np.sqrt(2))) for limit in (4, 5)]

    @property
    def flux_bias(self):
        """Measured over true flux, less one, and the claimed error of that."""
        true, found, error = np.array(self.fluxes).T
        information = np.sum((true / error) ** 2)
        bias = np.sum(true * found / error**2) / information - 1
        return float(bias), float(1 / np.sqrt(information))

    @property
    def pull(self):
        """Scatter of the fluxes in units of their claimed errors, and its error."""
        true, found, error = np.array(self.fluxes).T
        pulls = (found - true) / error
        return float(np.sqrt(np.mean(pulls**2))), float(1 / np.sqrt(2 * len(pulls)))


def regions(scene):
    """Where noise levels, kernel and warp differ: masks by name."""
    size = scene.size
    found = {"all": np.ones((size, size), bool)}
    for number, part in enumerate(quadrants(size)):
        found[f"quadrant {number}"] = np.zeros((size, size), bool)
        found[f"quadrant {number}"][part] = True
    amplifiers, depth = scene.amplifiers[scene.inner], scene.depth[scene.inner]
    found |= {f"amplifier {n}": amplifiers == n for n in np.unique(amplifiers)}
    return found | {f"depth {n}": depth == n for n in np.unique(depth)}


def photometry(scene, exposure, half_width=12):
    """True flux, flux and error of every transient without a flagged pixel near: PSF photometry."""
    found = []
    for x, y, flux in scene.transients:
        column, row = int(x), int(y)
        around = np.s_[
            row - half_width : row + half_width + 1, column - half_width : column + half_width + 1
        ]
        good = exposure.mask[around] == 0
        if not good[half_width - 4 : half_width + 5, half_width - 4 : half_width + 5].all():
            continue
        stamp = crop_stamp(exposure.psf.stamp(x, y), exposure.psf.origin, half_width)
        weight = np.where(good, 1.0 / exposure.variance[around], 0.0)
        information = np.sum(stamp**2 * weight)
        best = np.sum(stamp * weight * np.where(good, exposure.image[around], 0.0)) / information
        found.append((flux, best, 1 / np.sqrt(information)))
    return found


HEADER = (
    "| set | masked | mode | max rho | in quadrants | claimed/true variance, all, worst region "
    "| significance | >4 | >5 | flux bias | pull |\n" + "| --- " * 11 + "|"
)


def row(variant, masked, mode, score):
    """A line of the table of `HEADER`."""
    scatter, error = score.scatter
    bias, bias_error = score.flux_bias
    pull, pull_error = score.pull
    beyond = [
        f"{count:.0f}/{expected:.3g}"
        for count, expected in zip(score.beyond, score.expected_beyond, strict=True)
    ]
    cells = [
        variant,
        f"{masked:.0%}",
        mode,
        f"{score.max_rho:.4f} +- {score.rho_error:.4f}",
        f"{score.max_rho_in_quadrants:.4f}",
        f"{score.variance_ratios['all'][0]:.4f}, {score.worst_variance_ratio:.4f}",
        f"{scatter:.4f} +- {error:.4f}",
        *beyond,
        f"{bias:+.2%} +- {bias_error:.2%}",
        f"{pull:.3f} +- {pull_error:.3f}",
    ]
    return "| " + " | ".join(cells) + " |"
