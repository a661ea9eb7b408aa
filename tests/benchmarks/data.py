"""Make the files of the benchmarks: `data.py FOLDER NYxNX [--kernels 21 varying ...] [--compress]`.

One scene, the same in every run: stars on noise, variance planes that vary slowly, NaN columns.
It is made and written in bands of rows, so that memory stays small for images of any size.
science.fits and template.fits go with any of the kernels; difference-K.fits is made with
kernel-K.fits, a plain stamp K pixels wide, or the native file of a kernel that varies: of order 2
(``varying``), in blocks as HOTPANTS holds it (``blocks``), or of order 1 (``linear``).
"""

import argparse
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from astropy.io import fits
from scipy.ndimage import convolve1d

from diffdecor.core.spatial import Term
from diffdecor.kernels.model import BasisKernel, Blocks, Box, Region
from diffdecor.kernels.native_write import native_hdus

PLANES = {"IMAGE": "f4", "MASK": "i4", "VARIANCE": "f4"}
BITS = {"BAD": 0, "DETECTED": 5}
HEIGHT = 64  # rows that are made at a time
MARGIN = 30  # arm of the broadest kernel
REACH = 20  # pixels from its centre that a star's light is followed
AREA = 10_000  # pixels to a star
GAIN = 10.0
VARYING, LINEAR, IN_BLOCKS = "varying", "linear", "blocks"  # kernels of 21 x 21 pixels
SIGMAS = {"science": 2.5, "template": 2.0}  # of the PSF, pixels
SEEDS = {"science": 1, "template": 2, "stars": 3}
NARROW, WIDE = 1.2, 2.0  # sigma of the two Gaussians that the varying kernel is made of
SHARE = {(0, 0): 0.5, (1, 0): 0.15, (0, 1): 0.15, (2, 0): 0.1, (0, 2): -0.1}  # of the wide one
SHARES = {VARYING: SHARE, LINEAR: {(0, 0): 0.5, (1, 0): 0.15, (0, 1): 0.15}, IN_BLOCKS: SHARE}
BLOCK = 21  # pixels over which HOTPANTS holds such a kernel constant


class FitsFile:
    """An image file with three planes that are filled in any order."""

    def __init__(self, path, shape):
        self.path, self.shape = path, shape
        self.offsets = {}
        self.file = path.with_suffix(".part").open("wb")
        self.file.write(fits.PrimaryHDU().header.tostring().encode())
        for name, kind in PLANES.items():
            self.file.write(self._header(name, kind).tostring().encode())
            self.offsets[name] = self.file.tell()
            size = shape[0] * shape[1] * np.dtype(kind).itemsize
            self.file.seek(-(-size // 2880) * 2880, 1)  # whole blocks
        self.file.truncate()

    def _header(self, name, kind):
        header = fits.ImageHDU(np.zeros((1, 1), kind), name=name).header
        header["NAXIS2"], header["NAXIS1"] = self.shape
        if name == "MASK":
            header.update({f"HIERARCH MP_{plane}": bit for plane, bit in BITS.items()})
        return header

    def write(self, start, planes):
        """Write rows of all planes from row ``start`` on."""
        for (name, kind), rows in zip(PLANES.items(), planes, strict=True):
            rows = rows.astype(f">{kind}")  # noqa: PLW2901
            self.file.seek(self.offsets[name] + start * rows.strides[0])
            self.file.write(rows.tobytes())

    def close(self):
        self.file.close()
        self.path.with_suffix(".part").rename(self.path)


class Band(NamedTuple):
    """Rows of one image, wider than it by a margin on both sides."""

    image: np.ndarray
    light: np.ndarray
    variance: np.ndarray


def detected(band):
    """Mask of the pixels with light of stars."""
    return np.where(band.light > 5, 1 << BITS["DETECTED"], 0).astype(np.int32)


def gaussian(size, sigma):
    """Profile of unit sum of a Gaussian kernel ``(size,)``."""
    x = np.arange(size) - size // 2
    profile = np.exp(-(x**2) / (2 * sigma**2))
    return profile / profile.sum()


def profile_of(size):
    """Profile of the plain kernel of this size: broader ones are larger."""
    return gaussian(size, size / 14)


class Scene:
    """What both images show, for any rows, in blocks of `HEIGHT`."""

    def __init__(self, shape):
        self.ny, self.nx = shape
        self.width = self.nx + 2 * MARGIN
        self.band = lru_cache(maxsize=8)(self._band)

    def scaled(self, rows, columns):
        """Rows and columns as numbers from -1 to 1, ready to be multiplied."""
        v = 2 * np.asarray(rows, np.float32) / (self.ny - 1) - 1
        u = 2 * np.asarray(columns, np.float32) / (self.nx - 1) - 1
        return u, v[:, np.newaxis]

    def _band(self, role, block):
        light = self._light(role, block)
        rows = np.arange(block * HEIGHT, (block + 1) * HEIGHT)
        u, v = self.scaled(rows, np.arange(-MARGIN, self.nx + MARGIN))
        level = 2 * (1 + 0.2 * u + 0 * v) if role == "science" else 1 + 0 * u + 0.2 * v
        variance = level + light / GAIN
        random = np.random.default_rng((SEEDS[role], block + 1))
        noise = random.standard_normal(light.shape, dtype=np.float32)
        return Band(light + noise * np.sqrt(variance), light, variance)

    def _light(self, role, block):
        """Return the light of all stars ``(HEIGHT, width)``."""
        light = np.zeros((HEIGHT, self.width), np.float32)
        sigma = SIGMAS[role]
        brightness = (SIGMAS["template"] / sigma) ** 2
        for near in (block - 1, block, block + 1):
            random = np.random.default_rng((SEEDS["stars"], near + 2))
            for x, y, power in random.random((HEIGHT * self.width // AREA, 3)):
                peak = brightness * 20 * 1000**power  # 20 to 2e4 counts in the template
                place = x * self.width, (near - block + y) * HEIGHT
                _add_star(light, place, sigma, peak)
        return light

    def planes(self, name, start, stop):
        """Return the rows of image, mask and variance of one file, `start` a multiple of HEIGHT."""
        inner = np.s_[: stop - start, MARGIN:-MARGIN]
        science, template = (
            Band(*(plane[inner] for plane in self.band(role, start // HEIGHT))) for role in SIGMAS
        )
        if name == "template":
            return template.image, detected(template), template.variance
        image, variance, mask = science.image.copy(), science.variance, detected(science)
        if name != "science":
            image -= self.matched(name.removeprefix("difference-"), start, stop)
            variance = variance + template.variance
        holes = [self.nx * k // 7 for k in (1, 3, 6)]  # columns
        image[:, holes] = np.nan
        mask[:, holes] |= 1 << BITS["BAD"]
        return image, mask, variance

    def rows(self, role, start, stop):
        """Return image rows from ``start`` to ``stop`` with the margin beside them."""
        first, last = start // HEIGHT, (stop - 1) // HEIGHT
        image = np.concatenate([self.band(role, b).image for b in range(first, last + 1)])
        return image[start - first * HEIGHT : stop - first * HEIGHT]

    def matched(self, kernel, start, stop):
        """Return template rows convolved with a kernel, without margin."""
        if kernel not in SHARES:
            return self._smooth(profile_of(int(kernel)), start, stop)
        rows, columns = np.arange(start, stop), np.arange(self.nx)
        if kernel == IN_BLOCKS:
            rows, columns = (n // BLOCK * BLOCK + BLOCK // 2 for n in (rows, columns))
        u, v = self.scaled(rows, columns)
        share = sum(weight * u**i * v**j for (i, j), weight in SHARES[kernel].items())
        narrow, wide = (self._smooth(gaussian(21, s), start, stop) for s in (NARROW, WIDE))
        return narrow + share * (wide - narrow)

    def _smooth(self, profile, start, stop):
        arm = len(profile) // 2
        rows = self.rows("template", start - arm, stop + arm)
        rows = convolve1d(rows, profile, axis=0)[arm : arm + stop - start]
        return convolve1d(rows, profile, axis=1)[:, MARGIN:-MARGIN]


def _add_star(light, place, sigma, peak):
    """Add a Gaussian at ``(x, y)``, as far as it lies in the array."""
    (x, y), (height, width) = place, light.shape
    rows = np.arange(max(0, int(y) - REACH), min(height, int(y) + REACH + 1))
    columns = np.arange(max(0, int(x) - REACH), min(width, int(x) + REACH + 1))
    if len(rows) and len(columns):
        along_y, along_x = (np.exp(-(d**2) / (2 * sigma**2)) for d in (rows - y, columns - x))
        light[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] += peak * np.outer(
            along_y, along_x
        )


def write_images(folder, shape, names):
    """Write the named ones of science, template, difference-K, band by band."""
    scene = Scene(shape)
    files = {name: FitsFile(folder / f"{name}.fits", shape) for name in names}
    for start in range(0, shape[0], HEIGHT):
        for name, file in files.items():
            file.write(start, scene.planes(name, start, min(start + HEIGHT, shape[0])))
    for file in files.values():
        file.close()


def write_kernel(folder, shape, kernel):
    """Write kernel-K.fits."""
    path = folder / f"kernel-{kernel}.fits"
    if kernel not in SHARES:
        profile = profile_of(int(kernel))
        fits.writeto(path, np.outer(profile, profile), overwrite=True)
        return
    share = SHARES[kernel]
    middle_x, middle_y = (shape[1] - 1) / 2, (shape[0] - 1) / 2
    wide = np.array(list(share.values()))
    region = Region(
        box=Box(0, shape[1] - 1, 0, shape[0] - 1),
        side="template",
        x0=middle_x,
        xs=middle_x,
        y0=middle_y,
        ys=middle_y,
        coefficients=np.array([np.eye(len(wide))[0] - wide, wide]),
        blocks=Blocks(0, 0, BLOCK, BLOCK // 2) if kernel == IN_BLOCKS else None,
    )
    profiles = gaussian(21, NARROW), gaussian(21, WIDE)
    native = BasisKernel(
        basis=np.array([np.outer(profile, profile) for profile in profiles]),
        origin=(10, 10),
        terms=tuple(Term("POLY", i, j) for i, j in share),
        regions=(region,),
        image_shape=shape,
    )
    native_hdus(native).writeto(path, overwrite=True)


def compress(path):
    """Write a Rice-compressed copy, FILE.fits.fz."""
    part = path.with_suffix(".part")
    with fits.open(path) as hdus:
        packed = [fits.CompImageHDU(hdus[name].data, hdus[name].header) for name in PLANES]
        fits.HDUList([fits.PrimaryHDU(), *packed]).writeto(part, overwrite=True)
    part.rename(path.with_suffix(".fits.fz"))


def main():
    """Make what is not there yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("shape", type=lambda text: tuple(map(int, text.split("x"))))
    parser.add_argument("--kernels", nargs="*", default=["21", VARYING])
    parser.add_argument("--compress", action="store_true")
    arguments = parser.parse_args()
    folder = arguments.folder
    folder.mkdir(parents=True, exist_ok=True)
    names = ["science", "template", *(f"difference-{kernel}" for kernel in arguments.kernels)]
    missing = [name for name in names if not (folder / f"{name}.fits").exists()]
    if missing:
        write_images(folder, arguments.shape, missing)
    for kernel in arguments.kernels:
        write_kernel(folder, arguments.shape, kernel)
    for name in names if arguments.compress else ():
        if not (folder / f"{name}.fits.fz").exists():
            compress(folder / f"{name}.fits")


if __name__ == "__main__":
    main()
