"""Reads the reference cases of LSST's decorrelation (layout: README of the set) as our objects."""

import json
import os
from pathlib import Path

import numpy as np
from astropy.io import fits

from diffdecor import DecorrelationConfig, Exposure, MaskPlanes
from diffdecor.kernels.model import BasisKernel, Box, Region, StampKernel, Term
from diffdecor.psfs.model import StampPsf

DATA = Path(__file__).parents[1] / "data" / "lsst"
_POWERS = ((0, 0), (1, 0), (0, 1), (2, 0), (1, 1), (0, 2))


def folder():
    """Folder of the cases: the full reference set where it is named, else our copy."""
    root = os.environ.get("DIFFDECOR_REFERENCE")
    return Path(root) / "lsst" if root else DATA


def names():
    """Names of all cases."""
    return sorted(path.parent.name for path in folder().glob("*/case.json"))


def runs():
    """All (case, run number) pairs."""
    for name in names():
        for number in range(len(load_json(name)["runs"])):
            yield name, number


def load_json(name):
    return json.loads((folder() / name / "case.json").read_text())


def load_exposure(name, which):
    with fits.open(folder() / name / f"{which}.fits") as hdus:
        cards = hdus["MASK"].header
        planes = {key[3:]: cards[key] for key in cards if key.startswith("MP_")}
        return Exposure(
            image=hdus["IMAGE"].data.astype(np.float64),
            variance=hdus["VARIANCE"].data.astype(np.float64),
            mask=hdus["MASK"].data.astype(np.int32),
            mask_planes=MaskPlanes(planes),
            psf=StampPsf(hdus["PSF"].data.astype(np.float64)),
            name=f"{name}/{which}.fits",
        )


def load_kernel(name, side="template"):
    """The kernel of a case; differences with the science image convolved are divided by its sum."""
    about = load_json(name)["kernel"]
    with fits.open(folder() / name / "kernel.fits") as hdus:
        pixels = hdus[0].data.astype(np.float64)
        if about["type"] == "stamp":
            scale = 1.0 if side == "template" else 1.0 / pixels.sum()
            return StampKernel(
                stamps=pixels[np.newaxis],
                origin=(about["origin_col"], about["origin_row"]),
                convolved=side,
                science_scale=scale,
                template_scale=scale,
            )
        coefficients = hdus["COEFF"].data.astype(np.float64)
    shape = load_json(name)["inputs"]["shape"]
    terms = tuple(Term("POLY", i, j) for i, j in _POWERS[: coefficients.shape[1]])
    box = Box(-10, shape[1] + 10, -10, shape[0] + 10)
    region = Region(box=box, side=side, coefficients=coefficients)
    origin = (about["origin_col"], about["origin_row"])
    return BasisKernel(basis=pixels, origin=origin, terms=terms, regions=(region,))


def load_preconvolution(name, run):
    file = run["config"]["preconv_kernel"]
    if file is None:
        return None
    with fits.open(folder() / name / file) as hdus:
        return hdus[0].data.astype(np.float64)


def side_of(run):
    """The convolved side of a run."""
    return "template" if run["config"]["template_matched"] else "science"


def expected(name, run):
    """The planes of the expected output, in the precision in which they were written."""
    with fits.open(folder() / name / run["expected"]) as hdus:
        return {hdu.name: hdu.data.astype(hdu.data.dtype.newbyteorder("=")) for hdu in hdus[1:]}


def config_of(run):
    """Our options for a run of LSST's task, with its treatment of borders and holes."""
    lsst = run["config"]
    options = {
        "mode": "grid" if lsst["spatially_varying"] else "whole",
        "score": lsst["preconv_mode"],
        "variance": "full" if lsst["complete_var"] else "weighted",
        "ignore_planes": lsst["ignore_mask_planes"],
        "science_variance": lsst["svar"],
        "template_variance": lsst["tvar"],
        "edges": "zero",
        "fill": "mean",
    }
    if lsst["xcen"] is not None:
        options["kernel_position"] = (lsst["xcen"], lsst["ycen"])
    if lsst["spatially_varying"]:
        grid = lsst["grid"]
        options |= {
            "cell_size": (grid["cellSizeX"], grid["cellSizeY"]),
            "grid_step": (grid["gridStepX"], grid["gridStepY"]),
            "cell_border": (grid["borderSizeX"], grid["borderSizeY"]),
            "adjust_grid": grid["adjustGridOption"],
            "scale_by_fwhm": grid["scaleByFwhm"],
            "blend": grid["reduceOperation"],
        }
        if grid["cellCentroidsX"]:
            centroids = zip(grid["cellCentroidsX"], grid["cellCentroidsY"], strict=True)
            options["cell_centroids"] = list(centroids)
    return DecorrelationConfig(**({"precision": "double"} | options))
