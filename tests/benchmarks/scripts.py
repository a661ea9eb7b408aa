"""What `diffdecor run` is compared with, each a process of its own: `scripts.py NAME FOLDER`.

The triple in the folder is that of `run.py`: science.fits, template.fits, difference.fits with the
HDUs IMAGE, MASK and VARIANCE, and kernel.fits.
"""

import sys
from pathlib import Path

import numpy as np
from astropy.io import fits

PLANES = ("IMAGE", "MASK", "VARIANCE")


def read(folder, name):
    """All planes of a file as native arrays."""
    with fits.open(folder / f"{name}.fits", memmap=False) as hdus:
        return {
            plane: hdus[plane].data.astype(hdus[plane].data.dtype.newbyteorder("="))
            for plane in PLANES
        }


def write(folder, planes):
    """Write three planes."""
    hdus = [fits.PrimaryHDU(), *(fits.ImageHDU(planes[name], name=name) for name in PLANES)]
    fits.HDUList(hdus).writeto(folder / "out.fits", overwrite=True)


def plain(folder):
    """Read all planes of the three files and write three: no arithmetic at all."""
    read(folder, "science")
    read(folder, "template")
    write(folder, read(folder, "difference"))


def lsst(folder):
    """LSST's algorithm from its description: complex transforms of the padded image."""
    science, template, difference = (
        read(folder, name) for name in ("science", "template", "difference")
    )
    kernel = fits.getdata(folder / "kernel.fits").astype(float)
    s, t = (
        float(np.median(one["VARIANCE"][np.isfinite(one["VARIANCE"])]))
        for one in (science, template)
    )
    shape = [
        size + len(kernel) - 1 + (size + len(kernel) - 1) % 2 for size in difference["IMAGE"].shape
    ]
    power = np.abs(np.fft.fft2(kernel, shape)) ** 2
    psi = np.sqrt((s + t * kernel.sum() ** 2) / (s + t * power))
    image = difference["IMAGE"].astype(float)
    holes = ~np.isfinite(image)
    image[holes] = image[~holes].mean()
    ny, nx = image.shape
    result = np.fft.ifft2(np.fft.fft2(image, shape) * psi).real[:ny, :nx]
    result[holes] = np.nan
    weights = np.mean(psi**2), np.mean(psi**2 * power)
    variance = weights[0] * science["VARIANCE"] + weights[1] * template["VARIANCE"]
    write(
        folder,
        {
            "IMAGE": result.astype(np.float32),
            "MASK": difference["MASK"],
            "VARIANCE": variance.astype(np.float32),
        },
    )


if __name__ == "__main__":
    {"plain": plain, "lsst": lsst}[sys.argv[1]](Path(sys.argv[2]))
