"""Differences in which everything varies, and of which everything is known: a `Scene`.

Noise levels (amplifiers of the science image, depth of the template), matching kernel, PSF and the
phase of the warp vary over the field; there are sources, their Poisson noise, transients and masked
discs. A scene is fixed by its seed; `Scene.realise` draws its noise. Pixels are made directly, with
a margin that everything fits into, and without any part of diffdecor.

Variants: ``A`` template convolved, white noise; ``B`` the same, but the noise of the template was
warped before (Lanczos-3); ``C`` science image convolved, template warped; ``D`` as A, with a
template sky four times as bright; ``W`` white noise, no kernel.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.fft
import scipy.interpolate
import scipy.ndimage
from helpers import oracle

from diffdecor import Exposure, MaskPlanes
from diffdecor.kernels.model import StampKernel
from diffdecor.psfs.model import StampPsf

VARIANTS = ("A", "B", "C", "D", "W")
MARGIN = 32
HALF_KERNEL = 8
HALF_PSF = 20
GAIN = 5.0
#: Pixels around a transient that are not sky.
HALO = 14
#: Pixels that the Lanczos-3 kernel takes, from the pixel that the position is rounded down to.
TAPS = range(-2, 4)


def psf_profile(dx, dy):
    """The PSF of the sharper image: a core and wings, between pixels."""
    r2 = dx**2 + dy**2
    return sum(
        share * np.exp(-r2 / (2 * sigma**2)) / (2 * np.pi * sigma**2)
        for share, sigma in ((0.85, 1.15), (0.15, 2.4))
    )


def lanczos(distance):
    """The Lanczos-3 kernel at distances in pixels."""
    return np.where(np.abs(distance) < 3, np.sinc(distance) * np.sinc(distance / 3), 0.0)


def corner_kernels():
    """The matching kernel in the corners ``(4, ky, kx)``: elongated, off-centre, of sum 1.1."""
    size = 2 * HALF_KERNEL + 1
    shapes = [  # sigma, axis ratio, angle, shift
        (1.05, 0.95, 0.2, (0.1, -0.2)),
        (1.35, 0.80, 0.7, (-0.2, 0.1)),
        (1.25, 0.85, 2.2, (0.0, 0.2)),
        (1.65, 0.90, 1.4, (0.3, 0.0)),
    ]
    return np.array(
        [
            1.1
            * oracle.gaussian(
                size,
                sigma,
                centre=(HALF_KERNEL + dx, HALF_KERNEL + dy),
                axis_ratio=ratio,
                angle=angle,
            )
            for sigma, ratio, angle, (dx, dy) in shapes
        ]
    )


@dataclass(frozen=True)
class Realisation:
    """One draw of the noise: what `decorrelate` takes; `kernel` is None for variant W."""

    science: Exposure
    template: Exposure
    difference: Exposure
    kernel: StampKernel | None

    @property
    def inputs(self):
        return self.science, self.template, self.difference, self.kernel


@dataclass(frozen=True)
class Scene:
    """All but the noise: `size` pixels square, a share `masked` of them in bad discs."""

    size: int
    variant: str = "A"
    seed: int = 0
    masked: float = 0.1
    #: Pixels by which the phase of the warp changes from one corner of the field to the other.
    warp: float = 0.2
    #: Without sources, transients and steps of the noise level.
    plain: bool = False

    @property
    def wide(self):
        """Side of the images with their margin."""
        return self.size + 2 * MARGIN

    @property
    def inner(self):
        return np.s_[MARGIN:-MARGIN, MARGIN:-MARGIN]

    def random(self, what):
        return np.random.default_rng([self.seed, what])

    @cached_property
    def _coordinates(self):
        """Rows and columns, from 0 to 1 over the image, of the image with its margin."""
        along = (np.arange(self.wide) - MARGIN) / (self.size - 1)
        return along[:, np.newaxis], along

    # Noise levels

    @cached_property
    def amplifiers(self):
        """The number of the amplifier of every pixel, margin included: 2 rows of 4."""
        v, u = (np.clip(axis, 0, 1 - 1e-9) for axis in self._coordinates)
        return (np.floor(2 * v) * 4 + np.floor(4 * u)).astype(int)

    @cached_property
    def depth(self):
        """How many exposures of the template there are at every pixel, margin included: 4 to 8."""
        v, u = self._coordinates
        random, count = self.random(1), np.full((self.wide, self.wide), 4)
        for _ in range(4):
            x, y = random.uniform(0, 0.5, 2)
            count += (u > x) & (u < x + 0.6) & (v > y) & (v < y + 0.6)
        return count

    @cached_property
    def science_variance(self):
        """Variance of the noise of the science image, margin included."""
        level = np.full((self.wide, self.wide), 100.0)
        if not self.plain:
            level *= self.random(2).uniform(0.75, 1.35, 8)[self.amplifiers]
        return level + self.science_light / GAIN

    @cached_property
    def template_variance(self):
        """Variance of the noise of the template before it was warped, margin included."""
        level = np.full((self.wide, self.wide), 400.0 if self.variant == "D" else 100.0)
        if not self.plain:
            level *= 6.0 / self.depth
        return level + self.template_light / GAIN

    # Light

    def _rendered(self, sources):
        image = np.zeros((self.wide, self.wide))
        for x, y, flux in sources:
            column, row = (round(value) + MARGIN for value in (x, y))
            rows, columns = (
                np.arange(max(0, middle - HALF_PSF), min(self.wide, middle + HALF_PSF + 1))
                for middle in (row, column)
            )
            dy, dx = rows[:, np.newaxis] - MARGIN - y, columns - MARGIN - x
            image[np.ix_(rows, columns)] += flux * psf_profile(dx, dy)
        return image

    @cached_property
    def transients(self):
        """New sources ``(n, 3)``: whole pixels x, y, and flux in the difference."""
        random, step = self.random(3), 88
        places = np.arange(step // 2 + 8, self.size - step // 2, step)
        x, y = (axis.ravel() for axis in np.meshgrid(places, places))
        x, y = (axis + random.integers(-12, 13, axis.size) for axis in (x, y))
        sign = np.where(random.uniform(size=x.size) < 0.7, 1, -1)
        flux = sign * 10 ** random.uniform(2.7, 4.4, x.size)
        return np.column_stack([x, y, flux])[: 0 if self.plain else None]

    @cached_property
    def _sharp_light(self):
        """The sky of the image that is not convolved, or of both."""
        random = self.random(4)
        count = 0 if self.plain else int(200e-6 * self.size**2)
        flux = 10 ** random.uniform(3, 5, count)
        places = random.uniform(-10, self.size + 10, (count, 2))
        return self._rendered(np.column_stack([places, flux]))

    @cached_property
    def _broad_light(self):
        return self.matched(self._sharp_light)

    @property
    def science_light(self):
        """Light of the sources in the science image: there is none of them in the difference."""
        return self._sharp_light if self.variant in "CW" else self._broad_light

    @property
    def template_light(self):
        return self._broad_light if self.variant == "C" else self._sharp_light

    @cached_property
    def _new_light(self):
        """The transients as the sharper image shows them."""
        total = 1.0 if self.variant == "W" else 1.1
        return self._rendered(self.transients * (1, 1, 1 / total))

    @cached_property
    def noise_free(self):
        """The difference without noise: the transients."""
        return self.matched(self._new_light)[self.inner]

    # What the noise goes through

    @cached_property
    def kernels(self):
        """Matching kernels in the corners ``(4, ky, kx)``, and their positions."""
        last = self.size - 1.0
        positions = np.array([(0, 0), (last, 0), (0, last), (last, last)])
        return corner_kernels(), positions

    @cached_property
    def _corner_weights(self):
        v, u = (np.clip(axis, 0, 1) for axis in self._coordinates)
        return [(1 - v) * (1 - u), (1 - v) * u, v * (1 - u), v * u]

    @cached_property
    def _transforms(self):
        grown = np.zeros((4, self.wide, self.wide))
        size = 2 * HALF_KERNEL + 1
        grown[:, :size, :size] = self.kernels[0]
        return scipy.fft.rfft2(np.roll(grown, (-HALF_KERNEL, -HALF_KERNEL), axis=(1, 2)))

    def matched(self, plane):
        """Convolve a plane, margin included, with the matching kernel of every output pixel."""
        if self.variant == "W":
            return plane
        transform = scipy.fft.rfft2(plane)
        total = np.zeros_like(plane)
        for weight, kernel in zip(self._corner_weights, self._transforms, strict=True):
            total += weight * scipy.fft.irfft2(transform * kernel, plane.shape)
        return total

    @cached_property
    def _taps(self):
        """Weights of the warp for rows and columns, for every pixel; None without a warp."""
        if self.variant not in "BC":
            return None
        v, u = self._coordinates
        along = 0.6 * v + 0.4 * u, 0.7 * u + 0.3 * v
        phases = 0.15 + self.warp * along[0], 0.8 - self.warp * along[1]
        taps = []
        for phase in phases:
            weights = np.array([lanczos(tap - phase) for tap in TAPS])
            taps.append(weights / weights.sum(axis=0))
        return taps

    def warped(self, plane, power=1):
        """Resample the template's noise with Lanczos-3; with `power` 2, its variance."""
        if self._taps is None:
            return plane
        rows, columns = (weights**power for weights in self._taps)
        margin = len(TAPS)
        grown = np.pad(plane, margin, mode="wrap")
        side = self.wide
        total = np.zeros_like(plane)
        for j, weight in zip(TAPS, rows, strict=True):
            line = np.zeros_like(plane)
            for i, other in zip(TAPS, columns, strict=True):
                line += other * grown[margin + j :, margin + i :][:side, :side]
            total += weight * line
        return total

    def noise_row(self, x, y, role):
        """What one pixel of the difference takes from the white noise of an image.

        By definition: the matching kernel's pixels, times the taps of the warp at each of them.
        A square of the pixels around ``(x, y)``, its middle.
        """
        reach = HALF_KERNEL + 3
        row = np.zeros((2 * reach + 1,) * 2)
        stamps, _ = self.kernels
        x, y = x + MARGIN, y + MARGIN
        weights = [weight[y, x] for weight in self._corner_weights]
        kernel = np.tensordot(weights, stamps, axes=1)
        if (role == "science") != (self.variant == "C") or self.variant == "W":
            kernel = np.zeros_like(kernel)
            kernel[HALF_KERNEL, HALF_KERNEL] = 1.0
        for (j, i), share in np.ndenumerate(kernel):
            dy, dx = HALF_KERNEL - j, HALF_KERNEL - i  # the pixel that it takes its share from
            if role == "science" or self._taps is None:
                row[reach + dy, reach + dx] += share
                continue
            if share == 0:
                continue
            taps = np.outer(*(w[:, y + dy, x + dx] for w in self._taps))
            first = reach + dy + TAPS[0], reach + dx + TAPS[0]
            row[first[0] : first[0] + 6, first[1] : first[1] + 6] += share * taps
        return row

    @cached_property
    def difference_variance(self):
        """Variance of every pixel of the difference; next to steps of a level, nearly so."""
        nodes = np.linspace(0, self.size - 1, 9).round().astype(int)
        total = np.zeros((self.size, self.size))
        for role in ("science", "template"):
            squares = np.array([[self.noise_row(x, y, role) ** 2 for x in nodes] for y in nodes])
            energies = squares.sum(axis=(2, 3))
            stamp = squares.mean(axis=(0, 1)) / energies.mean()
            plane = getattr(self, f"{role}_variance")
            smooth = scipy.ndimage.correlate(plane, stamp) if stamp.max() < 1 else plane
            spline = scipy.interpolate.RectBivariateSpline(nodes, nodes, energies)
            pixels = np.arange(self.size)
            total += spline(pixels, pixels) * smooth[self.inner]
        return total

    # What is seen of it

    @cached_property
    def mask(self):
        """Discs of bad pixels: bit 0."""
        random, bad = self.random(5), np.zeros((self.size, self.size), np.int32)
        while bad.mean() < self.masked:
            x, y, radius = *random.uniform(0, self.size, 2), random.uniform(4, 24)
            rows, columns = (
                slice(max(0, int(middle - radius)), int(middle + radius) + 2) for middle in (y, x)
            )
            part = bad[rows, columns]
            v, u = np.indices(part.shape)
            part[np.hypot(v + rows.start - y, u + columns.start - x) < radius] = 1
        return bad

    @cached_property
    def sky(self):
        """Pixels away from sources, transients and the border."""
        light = np.maximum(self._sharp_light, self._broad_light)[self.inner]
        lit = scipy.ndimage.binary_dilation(light > 0.5 * GAIN, iterations=3)
        for x, y, _ in self.transients.astype(int):
            lit[max(0, y - HALO) : y + HALO + 1, max(0, x - HALO) : x + HALO + 1] = True
        clear = ~lit
        for edge in (np.s_[:24], np.s_[-24:]):
            clear[edge] = clear[:, edge] = False
        return clear

    @cached_property
    def psfs(self):
        """PSF of the sharp image, and of the one that was convolved or matched (corners)."""
        y, x = np.indices((2 * HALF_PSF + 1,) * 2) - HALF_PSF
        sharp = psf_profile(x, y)
        stamps, positions = self.kernels
        if self.variant == "W":
            return StampPsf(sharp), StampPsf(sharp)
        broad = np.array([oracle.convolved_stamps(sharp, kernel) for kernel in stamps])
        return StampPsf(sharp), StampPsf(broad, positions)

    def kernel(self):
        if self.variant == "W":
            return None
        stamps, positions = self.kernels
        return StampKernel(
            stamps=stamps,
            positions=positions,
            origin=(HALF_KERNEL, HALF_KERNEL),
            convolved="science" if self.variant == "C" else "template",
        )

    def realise(self, seed):
        """Draw the noise: a `Realisation`. The variance planes hold the right variance of each."""
        random = np.random.default_rng([self.seed, 100, seed])
        shape = self.wide, self.wide
        noise = random.normal(size=(2, *shape))
        science = np.sqrt(self.science_variance) * noise[0]
        template = self.warped(np.sqrt(self.template_variance) * noise[1])
        if self.variant == "C":
            difference = self.matched(science) - template
        else:
            difference = science - self.matched(template)
        sharp, broad = self.psfs
        science_psf, template_psf = (sharp, broad) if self.variant in "CW" else (broad, sharp)
        planes = {"mask": self.mask, "mask_planes": MaskPlanes({"BAD": 0})}

        def seen(image, **more):
            return Exposure(image=image[self.inner], **planes, **more)

        new = self.matched(self._new_light)
        return Realisation(
            seen(
                self.science_light + science + (self._new_light if self.variant in "CW" else new),
                variance=self.science_variance[self.inner],
                psf=science_psf,
                name="science",
            ),
            seen(
                self.template_light + template,
                variance=self._warped_variance,
                psf=template_psf,
                name="template",
            ),
            seen(np.where(np.pad(self.mask, MARGIN), 1e4, difference + new), name="difference"),
            self.kernel(),
        )

    @cached_property
    def _warped_variance(self):
        return self.warped(self.template_variance, power=2)[self.inner]

    def alone(self, realisation):
        """The difference with all that is known of it: variance and PSF."""
        one = realisation.difference
        return Exposure(
            image=one.image,
            variance=self.difference_variance,
            mask=one.mask,
            mask_planes=one.mask_planes,
            psf=self.psfs[1],
            name="difference",
        )
