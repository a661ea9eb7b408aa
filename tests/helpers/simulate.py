"""Differences made by direct convolution, without wrap or border, of which all is known."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.fft
from helpers import oracle

from diffdecor import DecorrelationConfig, Exposure, MaskPlanes
from diffdecor.core.convolve import convolved
from diffdecor.core.fourier import reflect, wrap
from diffdecor.core.interpolate import KernelField
from diffdecor.core.psf import crop_stamp
from diffdecor.core.whiteness import autocorrelation
from diffdecor.kernels.model import StampKernel
from diffdecor.psfs.model import StampPsf


@dataclass(frozen=True)
class Profile:
    """A PSF that is known everywhere between pixels: ``at(dx, dy)``, and its stamp."""

    at: Callable[[np.ndarray, np.ndarray], np.ndarray]
    stamp: np.ndarray

    def psf(self):
        return StampPsf(self.stamp)


def gaussian_profile(sigma, size=41, axis_ratio=1.0, angle=0.0):
    def at(dx, dy):
        along = dx * np.cos(angle) + dy * np.sin(angle)
        across = (dy * np.cos(angle) - dx * np.sin(angle)) / axis_ratio
        scale = 2 * np.pi * sigma**2 * axis_ratio
        return np.exp(-(along**2 + across**2) / (2 * sigma**2)) / scale

    return Profile(at, oracle.gaussian(size, sigma, axis_ratio=axis_ratio, angle=angle))


def moffat_profile(fwhm, beta, size=61):
    alpha = fwhm / (2 * np.sqrt(2 ** (1 / beta) - 1))

    def at(dx, dy):
        return (beta - 1) / (np.pi * alpha**2) * (1 + (dx**2 + dy**2) / alpha**2) ** -beta

    y, x = np.indices((size, size)) - size // 2
    return Profile(at, at(x, y))


def render(profile, sources, shape, offset=0):
    """An image of point sources ``(x, y, flux)``, each within 40 pixels of its centre."""
    image = np.zeros(shape)
    for x, y, flux in sources:
        x0, y0 = round(x) + offset, round(y) + offset
        rows = np.arange(max(0, y0 - 40), min(shape[0], y0 + 41))
        columns = np.arange(max(0, x0 - 40), min(shape[1], x0 + 41))
        dx, dy = columns - offset - x, rows - offset - y
        image[np.ix_(rows, columns)] += flux * profile.at(dx, dy[:, np.newaxis])
    return image


def matching_kernel(field, side="template", scales=(1.0, 1.0)):
    """The same kernels as a `MatchingKernel`, bilinear between the nodes."""
    x, y = np.meshgrid(field.x, field.y)
    return StampKernel(
        stamps=field.stamps.reshape(-1, *field.stamps.shape[-2:]),
        positions=np.column_stack([x.ravel(), y.ravel()]),
        origin=field.origin,
        convolved=side,
        science_scale=scales[0],
        template_scale=scales[1],
    )


@dataclass(frozen=True)
class Triple:
    """Science, template and difference with its matching kernel."""

    science: Exposure
    template: Exposure
    difference: Exposure
    kernel: StampKernel

    @property
    def inputs(self):
        return self.science, self.template, self.difference, self.kernel


def simulate_triple(
    rng,
    shape,
    field,
    *,
    side="template",
    scales=(1.0, 1.0),
    science_variance=1.0,
    template_variance=1.0,
    profile=None,
    sources=(),
    sky=(0.0, 0.0),
    preconvolution=None,
    noise=1.0,
):
    """Make ``D = a_S (A * S) - a_T (B * T)`` of images with white noise.

    Both images are made with a margin that all kernels fit into, which is cut off the difference.
    New sources are in the science image only. `preconvolution` is a stamp that the science image
    is correlated with, its origin at N//2.
    """
    margin = 2 * max(field.stamps.shape[-2:])
    if preconvolution is not None:
        margin += 2 * max(preconvolution.shape)
    wide = shape[0] + 2 * margin, shape[1] + 2 * margin
    variances = [
        np.broadcast_to(np.asarray(v, float), shape) for v in (science_variance, template_variance)
    ]
    images = []
    for variance, level in zip(variances, sky, strict=True):
        sigma = noise * np.sqrt(np.pad(variance, margin, mode="edge"))
        images.append(level + rng.normal(size=wide) * sigma)
    if profile is not None:
        images[0] += render(profile, sources, wide, margin)
    moved = KernelField(field.x + margin, field.y + margin, field.stamps, field.origin)
    ways = [None, moved] if side == "template" else [moved, None]
    if preconvolution is not None:
        middle = preconvolution.shape[1] // 2, preconvolution.shape[0] // 2
        ways[0] = KernelField.constant(*reflect(preconvolution, middle))
    science, template = (
        scale * (image if way is None else convolved(image, way))
        for scale, image, way in zip(scales, images, ways, strict=True)
    )
    inner = np.s_[margin:-margin, margin:-margin]
    psf = None if profile is None else profile.psf()
    return Triple(
        Exposure(image=images[0][inner], variance=variances[0], psf=psf, name="science"),
        Exposure(image=images[1][inner], variance=variances[1], name="template"),
        Exposure(image=(science - template)[inner], name="difference"),
        matching_kernel(field, side, scales),
    )


def fit_source(image, variance, psf, place, half_width=14, steps=4):
    """Flux and position of a source: least squares with the PSF shifted by its phases."""
    x, y = place
    x0, y0 = round(x), round(y)
    around = np.s_[y0 - half_width : y0 + half_width + 1, x0 - half_width : x0 + half_width + 1]
    pixels, weights = image[around], 1 / variance[around]
    reach = 2 * half_width + 4
    size = 2 * reach + 1
    stamp = crop_stamp(psf.stamp(x, y), psf.origin, reach)
    transform = scipy.fft.fft2(wrap(stamp, (reach, reach), (size, size)))
    k = 2j * np.pi * scipy.fft.fftfreq(size)
    flux, dx, dy = 0.0, x - x0, y - y0

    def shifted(factor=1.0):
        phase = np.exp(-k * dx) * np.exp(-k * dy)[:, np.newaxis]
        plane = scipy.fft.ifft2(transform * phase * factor).real
        lag = np.arange(-half_width, half_width + 1)
        return plane[np.ix_(lag, lag)].ravel()

    root = np.sqrt(weights.ravel())
    for _ in range(steps):
        model = shifted()
        if flux == 0:
            flux = np.sum(root**2 * model * pixels.ravel()) / np.sum((root * model) ** 2)
        design = [model, -flux * shifted(k), -flux * shifted(k[:, np.newaxis])]
        matrix = root[:, np.newaxis] * np.column_stack(design)
        step = np.linalg.lstsq(matrix, root * (pixels.ravel() - flux * model))[0]
        flux, dx, dy = flux + step[0], dx + step[1], dy + step[2]
    return flux, x0 + dx, y0 + dy


def whiteness(image, good=None, max_lag=10):
    """Correlation coefficients at all different lags, in units of their statistical error."""
    good = np.ones(image.shape, dtype=bool) if good is None else good
    measured = autocorrelation(np.where(good, image, 0.0), good, max_lag)
    half = (measured.values.size - 1) // 2  # the other half is the same
    return (measured.values / measured.errors).ravel()[:half]


def in_pixels(**options):
    return DecorrelationConfig(
        noise_model="white", precision="double", scale_by_fwhm=False, **options
    )


def masked_triple(shape, *boxes):
    """Noise levels rising along x, with boxes of the science image masked."""
    rng = np.random.default_rng(9)
    x = np.arange(shape[1])
    mask = np.zeros(shape, dtype=np.int32)
    for box in boxes:
        mask[box] = 4
    variance = np.where(x < shape[1] // 2, 1.0, 3.0) * np.ones(shape)
    science = Exposure(
        image=np.zeros(shape),
        variance=variance,
        mask=mask,
        mask_planes=MaskPlanes({"DETECTED": 2}),
        name="science.fits",
    )
    template = Exposure(image=np.zeros(shape), variance=np.ones(shape))
    return science, template, Exposure(image=rng.normal(size=shape))
