"""Science images and templates of noise, the template warped, and their differences."""

import numpy as np
from helpers.oracle import gaussian

from diffdecor import DecorrelationConfig, Exposure, MaskPlanes, decorrelate
from diffdecor.core.covariance import lag_sums
from diffdecor.core.spectrum import at_lags, half_plane_lags

#: Pixels along either axis.
N = 512
KERNEL = gaussian(15, 1.5)
BAD, DETECTED = 1, 2
PLANES = MaskPlanes({"BAD": 0, "DETECTED": 1})


def periodic(image, kernel):
    """An image convolved with a kernel whose origin is in the middle."""
    wide = np.zeros(image.shape)
    ky, kx = kernel.shape
    wide[:ky, :kx] = kernel
    wide = np.roll(wide, (-(ky // 2), -(kx // 2)), axis=(0, 1))
    return np.fft.irfft2(np.fft.rfft2(image) * np.fft.rfft2(wide), image.shape)


def warped(noise, shift=(0.4, 0.3)):
    """Noise interpolated linearly at a constant shift, as by a warp."""
    for axis, part in enumerate(shift):
        noise = (1 - part) * noise + part * np.roll(noise, -1, axis=axis)
    return noise


#: Variance of warped white noise of unit variance.
WARPED = (0.6**2 + 0.4**2) * (0.7**2 + 0.3**2)


class Triple:
    """A science image and a template of noise, and their difference."""

    def __init__(self, seed=0, *, shape=(N, N), warp=True, mask=None, unit=1.0, psf=None):
        rng = np.random.default_rng(seed)
        science, template = unit * rng.normal(size=(2, *shape))
        level = unit**2
        if warp:
            template, level = warped(template), level * WARPED
        self.science = Exposure(
            image=science, variance=np.full(shape, unit**2), psf=psf, name="science"
        )
        self.template = Exposure(image=template, variance=np.full(shape, level), name="template")
        image = science - periodic(template, KERNEL)
        if mask is not None:
            image = np.where(mask, 100 * unit * rng.normal(size=shape), image)
        self.difference = Exposure(
            image=image,
            mask=None if mask is None else mask.astype(np.int32),
            mask_planes=PLANES if mask is not None else MaskPlanes(),
            name="difference",
        )

    def decorrelated(self, **options):
        options = {"noise_model": "measured", "mode": "whole"} | options
        return decorrelate(
            self.science,
            self.template,
            self.difference,
            KERNEL,
            config=DecorrelationConfig(**options),
        )


def correlations(result, sky=None):
    """Correlations at lags to 5 pixels of the result in units of its noise, and its variance."""
    exposure = result.exposure
    values = exposure.image / np.sqrt(exposure.variance)
    sky = np.ones(values.shape, bool) if sky is None else sky
    covariance = lag_sums(values, sky, 5).covariance
    found = at_lags(covariance, half_plane_lags(5.0))
    return found[1:] / found[0], found[0]
