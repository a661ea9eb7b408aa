"""What decorrelation gained on the two samples, as a table: `make demo` runs it.

It uses nothing of diffdecor but the command `check`: false detections are counted as any search
for point sources would find them, with a matched filter and the errors that the files claim.
"""

import csv
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, maximum_filter
from scipy.signal import fftconvolve

SAMPLES = Path(__file__).parent
#: Pixels at the border, and around unusable ones, that do not count.
BORDER, AROUND = 12, 6
Plane = NDArray[np.float64]


class Image(NamedTuple):
    """A difference as it claims to be: pixels, their variance, its PSF."""

    pixels: Plane
    variance: Plane
    psf: Plane


def before(folder: Path, psf: str) -> Image:
    """Return a difference as its tool made it."""
    pixels, sigma, stamp = (
        fits.getdata(folder / name).astype(float)
        for name in ("difference.fits", "difference_sigma.fits", psf)
    )
    return Image(pixels, sigma**2, stamp)


def after(output: Path) -> Image:
    """Return what diffdecor made of it; where the PSF varies, that of the middle."""
    pixels, variance, psf = (
        fits.getdata(output, name).astype(float) for name in ("IMAGE", "VARIANCE", "PSF")
    )
    return Image(pixels, variance, psf if psf.ndim == 2 else psf[len(psf) // 2])


def usable(output: Path) -> NDArray[np.bool_]:
    """Return the pixels that count whatever they hold: away from border and flagged pixels."""
    mask, header = fits.getdata(output, "MASK", header=True)
    good = ~binary_dilation(mask & header["BADVALUE"] != 0, iterations=AROUND)
    inside = np.zeros_like(good)
    inside[BORDER:-BORDER, BORDER:-BORDER] = True
    return good & inside


def empty_sky(folder: Path, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return the pixels where nothing is to be found: those without a source in either image."""
    free = folder / "source_free.fits"
    if free.exists():
        return fits.getdata(free) == 1
    y, x = np.indices(shape)
    empty = np.ones(shape, dtype=bool)
    with (folder / "truth.csv").open(encoding="utf-8") as rows:
        for row in csv.DictReader(rows):
            reach = 8 + 4 * np.log10(max(float(row["flux"]) / 1000, 1))
            empty &= np.hypot(x - float(row["x"]), y - float(row["y"])) > reach
    return empty


def detections(image: Image, where: NDArray[np.bool_]) -> int:
    """Return how many point sources of either sign a search at 5 sigma finds there."""
    known = np.isfinite(image.pixels) & (image.variance > 0) & np.isfinite(image.variance)
    weight = np.where(known, 1 / np.where(known, image.variance, 1), 0)
    weighted = np.where(known, image.pixels, 0) * weight
    psf = image.psf[::-1, ::-1]
    power = fftconvolve(weight, psf**2, mode="same")
    significance = fftconvolve(weighted, psf, mode="same") / np.sqrt(np.maximum(power, 1e-30))
    size = np.abs(significance)
    return int(np.sum((size == maximum_filter(size, 5)) & (size > 5) & where))


def checked(*words: str | Path) -> Mapping[str, float]:
    """Return what `diffdecor check` measures."""
    command = [sys.executable, "-m", "diffdecor", "check", "--quiet", "--json", *map(str, words)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)  # noqa: S603
    return json.loads(done.stdout)[0]


def rows(title: str, name: str, psf: str, outputs: Path) -> Iterator[str]:
    """Give the rows of a sample: the difference as it was, and the result."""
    folder, output = SAMPLES / name, outputs / f"{name}.fits"
    raw, white = before(folder, psf), after(output)
    where = usable(output) & empty_sky(folder, raw.pixels.shape)
    noise = "--noise", folder / "difference_sigma.fits", "--noise-kind", "sigma"
    found = checked(folder / "difference.fits", "--psf", folder / psf, *noise)
    yield row(title, found, detections(raw, where))
    yield row("  after diffdecor", checked(output), detections(white, where))


def row(title: str, found: Mapping[str, float], false: int) -> str:
    """Return a row of the table."""
    rho, factor, ratio = (found[name] for name in ("rho_max", "factor", "variance_ratio"))
    return f"{title:26}{rho:>10.3f}{factor:>10.2f}{ratio:>18.2f}{false:>20}"


def main(outputs: Path) -> None:
    """Print the table of both samples, whose results are in a folder."""
    heads = "max |rho|", "noise I", "claimed/measured", "false at 5 sigma"
    for words in (("", *heads), ("  (perfect)", "0", "1", "1", "0")):
        print("{:26}{:>10}{:>10}{:>18}{:>20}".format(*words))  # noqa: T201
    for sample in (
        ("JWST NIRCam, by SFFT", "nircam", "science_psf.fits"),
        ("simulation, by HOTPANTS", "hotpants", "difference_psf.fits"),
    ):
        for line in rows(*sample, outputs):
            print(line)  # noqa: T201


if __name__ == "__main__":
    main(Path(sys.argv[1]))
