"""Files of a camera of several detectors: every image, mask, noise plane and kernel in an HDU."""

import numpy as np
from astropy.io import fits
from helpers.workplace import WCS, convolved, gaussian

SHAPE = (80, 96)
NAMES = ("N1", "S2", "S31")
KERNELS = {name: gaussian(3, 1.0 + 0.2 * number) for number, name in enumerate(NAMES)}


def camera(contents, *, named=True, compressed=False, **cards):
    """Return the HDUs of a file with the arrays of its detectors, by name."""
    hdus = [fits.PrimaryHDU(header=fits.Header({"INSTRUME": "TEST", "OBJECT": "field 7"}))]
    kind = fits.CompImageHDU if compressed else fits.ImageHDU
    more = {"compression_type": "GZIP_2", "quantize_level": 0.0} if compressed else {}
    for number, (name, pixels) in enumerate(contents.items(), 1):
        header = fits.Header(WCS | {"CCDNUM": number} | cards)
        hdus.append(kind(pixels, header, name=name if named else None, **more))
    return fits.HDUList(hdus)


def write_exposure(folder, number, *, names=NAMES, lacking=(), compressed=False):
    """Write sci_N, tmpl_N, diff_N, var, mask_N and kernel_N; `lacking` pairs of file and name."""
    random = np.random.default_rng(100 + number)
    planes = {part: {} for part in ("sci", "tmpl", "diff", "mask", "var", "kernel")}
    for name in names:
        kernel = KERNELS[name]
        science, template = (random.normal(100.0, sigma, SHAPE) for sigma in (3.0, 2.0))
        planes["sci"][name] = science.astype(np.float32)
        planes["tmpl"][name] = template.astype(np.float32)
        planes["diff"][name] = (science - convolved(template, kernel)).astype(np.float32)
        planes["mask"][name] = (random.random(SHAPE) < 0.01).astype(np.int16)
        planes["var"][name] = np.full(SHAPE, 9.0, np.float32)
        planes["kernel"][name] = kernel
    for part, contents in planes.items():
        kept = {name: c for name, c in contents.items() if (part, name) not in lacking}
        cards = {"CONVSIDE": "TEMPLATE"} if part == "kernel" else {}
        packed = compressed and part != "kernel"
        ending = ".fits.fz" if packed else ".fits"
        camera(kept, compressed=packed, **cards).writeto(folder / f"{part}_{number}{ending}")
