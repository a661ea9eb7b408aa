"""Real triples of every tool: the kernel that is found is that of the tool's own file."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from helpers import real_data
from helpers.kernel_closeness import result_error, scale_error, sides_agree, stamp_error

from diffdecor import Exposure, read_exposure, read_kernel
from diffdecor.decorrelation.kernel_fit import fit_kernel
from diffdecor.decorrelation.subtraction import Subtraction, as_kernel
from diffdecor.decorrelation.verification import verify
from diffdecor.errors import KernelError
from diffdecor.kernels.areas import kernel_areas

DATA = Path(__file__).parents[1] / "data"
HOTPANTS = ["A1", "A2", "A3", "B1", "B2", "B3", "C1", "C2", "M1", "S1"]
#: Those with several regions.
SEVERAL = ["B1", "B2", "M1", "S1"]
SFFT = ["D1", "D2", "D3", "E1", "E2"]


def of_files(images, kernel, side=None, gain=1.6, sky=None):
    """A case without masks."""
    exposures = tuple(
        read_exposure(
            file,
            role=role,
            gain=None if role == "difference" else gain,
            sky=None if role == "difference" else sky,
        )
        for file, role in zip(images, ("science", "template", "difference"), strict=True)
    )
    return real_data.Case(exposures, read_kernel(kernel, images[2], convolved=side), None)


def ficonv(folder):
    pair = [folder / "sfft" / f"D_{which}.fits" for which in ("sci", "ref")]
    here = folder / "ficonv"
    return of_files([*pair, here / "Df_diff.fits"], here / "Df_kernel.list", "template", sky=100.0)


def lsst(folder, name, side):
    here = folder / "lsst-persistence"
    roles = "science", "template", "difference"
    kernel = here / f"{name}_matching_kernel.fits"
    return of_files([here / f"{name}_{role}.fits" for role in roles], kernel, side, None)


def sfft_copy():
    here = DATA / "triples"
    images = [here / f"sfft_{name}.fits.gz" for name in ("D_sci", "D_ref", "D1_diff")]
    return of_files(images, DATA / "sfft" / "D1_solution.fits", sky=100.0)


def lsst_copy():
    here = DATA / "triples"
    images = [here / f"lsst_poly_{role}.fits.gz" for role in ("science", "template", "difference")]
    kernel = DATA / "lsst-persistence" / "poly_matching_kernel.fits"
    return of_files(images, kernel, "science", None)


REFERENCE = {
    **{f"hotpants {n}": lambda f, n=n: real_data.hotpants(f / "hotpants", n) for n in HOTPANTS},
    **{f"sfft {n}": lambda f, n=n: real_data.sfft(f / "sfft", n) for n in SFFT},
    "ficonv": ficonv,
    "lsst cheb": lambda f: lsst(f, "cheb", "template"),
    "lsst poly": lambda f: lsst(f, "poly", "science"),
    **{
        f"nircam {name}": lambda f, n=name, k=kernel: real_data.nircam(
            f / "real-nircam", f"{n}_diff.fits", k
        )
        for name, kernel in real_data.NIRCAM.items()
    },
}
#: Those that are like others, the same images with other options, and those with copies below.
LONG = dict.fromkeys(
    [
        *("hotpants A3", "hotpants B2", "hotpants C2", "sfft D3", "nircam sfft_sci"),
        *("sfft D1", "lsst poly", "hotpants A2", "hotpants C1", "hotpants S1", "sfft E2"),
    ],
    pytest.mark.long,
)
COPIES = {
    "hotpants": real_data.hotpants_sample,
    "nircam": real_data.nircam_sample,
    "sfft": sfft_copy,
    "lsst": lsst_copy,
}


@cache
def copy(name):
    return COPIES[name]()


def without_kernel(case):
    return Subtraction(*case.exposures, as_kernel(None))


def areas_of(case):
    """What the header of a difference says of regions and blocks, no table of a kernel needed."""
    difference = case.exposures[2]
    return kernel_areas(difference.header, difference.shape, difference.name)


def check(case, fit, side=200):
    """Side, scales, stamps, and what both kernels make of (the middle of) the difference."""
    shape = case.exposures[2].shape
    assert sides_agree(fit.kernel, case.kernel, shape)
    assert scale_error(fit.kernel, case.kernel, shape) < 1e-4
    assert stamp_error(fit.kernel, case.kernel, shape) < 1e-4
    rms, share = result_error(case.exposures, fit.kernel, case.kernel, side=side)
    assert rms < 0.01
    assert share > 0.99


@pytest.mark.parametrize(
    "name", ["hotpants", pytest.param("nircam", marks=pytest.mark.long), "sfft", "lsst"]
)
def test_copies(name):
    case = copy(name)
    fit = fit_kernel(without_kernel(case), areas_of(case))
    check(case, fit, side=None)
    assert fit.is_exact


@pytest.mark.reference
@pytest.mark.parametrize("name", [pytest.param(n, marks=LONG.get(n, ())) for n in REFERENCE])
def test_reference(reference, name):
    case = REFERENCE[name](reference)
    fit = fit_kernel(without_kernel(case), areas_of(case))
    check(case, fit)
    assert verify(Subtraction(*case.exposures, fit.kernel)).belongs


@pytest.mark.reference
@pytest.mark.parametrize(
    "name",
    [
        "A1",
        *(
            pytest.param(name, marks=pytest.mark.long)
            for name in HOTPANTS
            if name not in {"A1", *SEVERAL}
        ),
    ],
)
def test_hotpants_without_its_cards(reference, name):
    """Nothing tells that there are blocks, nor of which size."""
    case = real_data.hotpants(reference / "hotpants", name)
    check(case, fit_kernel(without_kernel(case)))


@pytest.mark.reference
@pytest.mark.long
@pytest.mark.parametrize("name", SEVERAL)
def test_several_regions_without_cards_are_doubtful_at_least(reference, name):
    """Where they meet cannot be known: no kernel, or one that does for the result, not exact."""
    case = real_data.hotpants(reference / "hotpants", name)
    try:
        fit = fit_kernel(without_kernel(case))
    except KernelError:
        return
    assert not fit.is_exact
    assert result_error(case.exposures, fit.kernel, case.kernel)[0] < 0.01


@pytest.mark.reference
@pytest.mark.long
@pytest.mark.parametrize("other", ["B1", "C1", "S1"])
def test_differences_of_others_are_refused(reference, other):
    case = REFERENCE["hotpants A1"](reference)
    wrong = REFERENCE[f"hotpants {other}"](reference).exposures[2].image
    ny, nx = case.exposures[0].shape
    grown = np.zeros((ny, nx), np.float32)
    rows = wrong[0 : min(ny, wrong.shape[0])]
    grown[: rows.shape[0], : min(nx, rows.shape[1])] = rows[:, :nx]
    exposures = *case.exposures[:2], Exposure(image=grown, name="difference.fits")
    with pytest.raises(KernelError):
        fit_kernel(Subtraction(*exposures, as_kernel(None)))
