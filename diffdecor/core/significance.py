"""How significant a point source would be at every pixel of an image with white noise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from diffdecor.core.convolve import KernelField, convolved
from diffdecor.core.fourier import reflect


def significance(
    image: NDArray[np.float64],
    variance: NDArray[np.float64],
    usable: NDArray[np.bool_],
    psf: KernelField,
) -> NDArray[np.float64]:
    """Return the best-fitting flux of a point source at every pixel in units of its error.

    With independent pixels of variance v the flux that fits best is
    ``sum(psf d / v) / sum(psf^2 / v)``, its variance ``1 / sum(psf^2 / v)`` (the matched filter;
    Zackay et al. 2016, section 2). Pixels that are not usable have no weight.

    Parameters
    ----------
    image : array (ny, nx)
        Pixels.
    variance : array (ny, nx)
        Their variance, image unit squared.
    usable : array (ny, nx)
        False where a pixel must not count.
    psf : KernelField
        PSF of the image, of unit sum, centred on its origin.

    Returns
    -------
    array (ny, nx)
        Signal-to-noise ratio, positive for sources that have brightened; NaN where no pixel under
        the PSF is usable.
    """
    known = usable & np.isfinite(image) & np.isfinite(variance) & (variance > 0)
    weight = np.divide(1.0, variance, out=np.zeros_like(image), where=known)
    signal = np.where(known, image, 0.0) * weight
    stamps, origin = reflect(psf.stamps, psf.origin)
    matched = convolved(signal, KernelField(psf.x, psf.y, stamps, origin), edges="zero")
    information = convolved(weight, KernelField(psf.x, psf.y, stamps**2, origin), edges="zero")
    # Rounding of the transforms leaves next to nothing where there is nothing.
    there = information > 1e-9 * information.max(initial=0.0)
    ratio = np.full(image.shape, np.nan)
    np.divide(matched, np.sqrt(np.maximum(information, 0.0)), out=ratio, where=there)
    return ratio
