"""What `diffdecor` is compared with: `peers.py WAY SCIENCE TEMPLATE DIFFERENCE KERNEL OUTPUT...`.

Each way is a process of its own. Files have the HDUs IMAGE, MASK and VARIANCE; the kernel is a
plain stamp that the template was convolved with. LSST's algorithm is written from its description.
Everything is done once for every output.
"""

import sys

import numpy as np
from astropy.io import fits

PLANES = ("IMAGE", "MASK", "VARIANCE")
IGNORED = 1 << 0 | 1 << 5  # BAD, DETECTED


def read(path, planes=PLANES):
    """Planes of a file as native arrays."""
    with fits.open(path, memmap=False) as hdus:
        data = (hdus[name].data for name in planes)
        return [plane.astype(plane.dtype.newbyteorder("=")) for plane in data]


def write(path, image, mask, variance):
    """Write three planes."""
    planes = zip(PLANES, (image, mask, variance), strict=True)
    hdus = [fits.PrimaryHDU(), *(fits.ImageHDU(plane, name=name) for name, plane in planes)]
    fits.HDUList(hdus).writeto(path, overwrite=True)


def clipped_mean(variance, mask):
    """LSST's: a pass clipped by the quartiles, then two by mean and standard deviation."""
    values = variance[np.isfinite(variance) & (mask & IGNORED == 0)].astype(float)
    low, centre, high = np.quantile(values, (0.25, 0.5, 0.75))
    reach = 3 * 0.741301109252802 * (high - low)
    for _ in range(2):
        kept = values[np.abs(values - centre) <= reach]
        centre, reach = kept.mean(), 3 * kept.std(ddof=1)
    return values[np.abs(values - centre) <= reach].mean()


def plain(science, template, difference, _kernel, output):
    """Read all planes of the three files as arrays and write three: no arithmetic at all."""
    inputs = [read(path) for path in (science, template, difference)]
    write(output, *inputs[-1])


def lsst(science, template, difference, kernel, output, *, full=False):
    """LSST's algorithm: complex transforms of the image, padded by the kernel to an even size."""
    inputs = [read(path) for path in (science, template, difference)]
    (_, s_mask, s_variance), (_, t_mask, t_variance), (image, mask, _) = inputs
    s, t = clipped_mean(s_variance, s_mask), clipped_mean(t_variance, t_mask)
    kernel = fits.getdata(kernel).astype(float)
    shape = [n + k - 1 + (n + k - 1) % 2 for n, k in zip(image.shape, kernel.shape, strict=True)]
    padded = np.zeros(shape)
    padded[tuple(slice(k) for k in kernel.shape)] = kernel
    matching = np.fft.fft2(np.roll(padded, [-(k // 2) for k in kernel.shape], (0, 1)))
    psi = np.sqrt((s + t * kernel.sum() ** 2) / (s + t * np.abs(matching) ** 2))

    def filtered(plane, transform, filler):
        values = np.where(np.isfinite(plane), plane, filler).astype(float)
        result = np.fft.ifft2(np.fft.fft2(values, shape) * transform).real
        return np.where(np.isfinite(plane), result[: plane.shape[0], : plane.shape[1]], plane)

    result = filtered(image, psi, image[np.isfinite(image)].mean(dtype=float))
    filters = psi, psi * matching
    if full:
        squares = (np.fft.fft2(np.fft.ifft2(one).real ** 2) for one in filters)
        variances = (s_variance, t_variance), squares, (s, t)
        variance = sum(filtered(*one) for one in zip(*variances, strict=True))
    else:
        weights = (np.mean(np.abs(one) ** 2) for one in filters)
        variance = next(weights) * s_variance + next(weights) * t_variance
    write(output, result.astype(np.float32), mask, variance.astype(np.float32))


def lsst_full(*files):
    """LSST's algorithm with variance planes that are convolved."""
    lsst(*files, full=True)


def rfft2(science, template, difference, kernel, output):
    """The image in one go: real transforms in single precision, fast size, all cores."""
    import scipy.fft

    s_variance, s_mask = read(science, ("VARIANCE", "MASK"))
    t_variance, t_mask = read(template, ("VARIANCE", "MASK"))
    s, t = clipped_mean(s_variance, s_mask), clipped_mean(t_variance, t_mask)
    image, mask = read(difference, ("IMAGE", "MASK"))
    kernel = fits.getdata(kernel).astype(float)
    shape = [
        scipy.fft.next_fast_len(n + 4 * k, real=True)
        for n, k in zip(image.shape, kernel.shape, strict=True)
    ]
    power = np.abs(scipy.fft.rfft2(kernel.astype(np.float32), shape, workers=-1)) ** 2
    psi = np.sqrt((s + t * kernel.sum() ** 2) / (s + t * power)).astype(np.float32)
    twice = np.full(psi.shape[1], 2.0)  # real transforms leave out the columns that mirror others
    twice[[0, -1] if shape[1] % 2 == 0 else [0]] = 1
    weights = [(one @ twice).sum() / np.prod(shape) for one in (psi**2, psi**2 * power)]
    holes = ~np.isfinite(image)
    image[holes] = image[~holes].mean(dtype=float)
    transform = scipy.fft.rfft2(image, shape, workers=-1)
    transform *= psi
    result = scipy.fft.irfft2(transform, shape, workers=-1)[: image.shape[0], : image.shape[1]]
    result[holes] = np.nan
    variance = np.float32(weights[0]) * s_variance + np.float32(weights[1]) * t_variance
    write(output, result, mask, variance)


def sfft(science, template, difference, kernel, output):
    """SFFT's decorrelation kernel, applied with astropy as its users do; of the image only."""
    from astropy.convolution import convolve_fft
    from sfft.utils.DeCorrelationCalculator import DeCorrelation_Calculator

    # Each 16th row: SFFT takes the noise of either image as given.
    sigmas = [np.sqrt(np.nanmedian(fits.getdata(f, "VARIANCE")[::16])) for f in (science, template)]
    psi = DeCorrelation_Calculator.DCC(
        MK_JLst=[None],
        SkySig_JLst=sigmas[:1],
        MK_ILst=[None],
        SkySig_ILst=sigmas[1:],
        MK_Fin=fits.getdata(kernel).astype(float),
        VERBOSE_LEVEL=0,
    )
    image = convolve_fft(
        *(*read(difference, ("IMAGE",)), psi),
        boundary="fill",
        nan_treatment="fill",
        normalize_kernel=True,
        preserve_nan=True,
        allow_huge=True,
    )
    fits.writeto(output, image.astype(np.float32), overwrite=True)


def read_only(_science, _template, difference, _kernel, _output):
    """Read all planes of the difference."""
    with fits.open(difference) as hdus:
        planes = [hdu.name for hdu in hdus[1:]]
    read(difference, planes)


def library(science, template, difference, kernel, output):
    """Our own `decorrelate` on arrays with one thread, reading and writing with astropy."""
    from diffdecor import DecorrelationConfig, Exposure, decorrelate

    def exposure(path):
        image, mask, variance = read(path)
        return Exposure(
            image=image, mask=mask, variance=variance, mask_planes={"BAD": 0, "DETECTED": 5}
        )

    config = DecorrelationConfig(convolved="template", noise_model="white", threads=1)
    kernel = fits.getdata(kernel).astype(float)
    images = (exposure(path) for path in (science, template, difference))
    result = decorrelate(*images, kernel, config=config).exposure
    write(output, result.image, result.mask, result.variance)


WAYS = {
    "read": read_only,
    "plain": plain,
    "lsst": lsst,
    "lsst-full": lsst_full,
    "rfft2": rfft2,
    "sfft": sfft,
    "library": library,
}

if __name__ == "__main__":
    _, way, *files = sys.argv
    for output in files[4:]:
        WAYS[way](*files[:4], output)
