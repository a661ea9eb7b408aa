"""Every real triple of the reference sets belongs together; misreadings of its kernel do not."""

from dataclasses import replace

import numpy as np
import pytest

from diffdecor import read_exposure, read_kernel
from diffdecor.decorrelation.subtraction import Subtraction
from diffdecor.decorrelation.verification import verify
from diffdecor.kernels.misreadings import misreadings

pytestmark = pytest.mark.reference
CASES = [
    *(("hotpants", "A1"), ("hotpants", "C1")),
    *(("sfft", "D1"), ("sfft", "E1"), ("ficonv", "Df")),
    *(("lsst-persistence", "cheb"), ("lsst-persistence", "poly")),
]
LONG = [
    *(("hotpants", name) for name in ("A2", "A3", "B1", "B2", "B3", "C2", "M1", "S1")),
    *(("sfft", name) for name in ("D2", "D3", "E2")),
]


def files(folder, tool, name):
    """Science image, template, difference, kernel file of a case."""
    here = folder / tool
    if tool == "hotpants":
        pair = [here / f"{name[0]}_{which}.fits" for which in ("sci", "tmpl")]
        return *pair, here / f"{name}_diff.fits", here / f"{name}_diff.fits"
    if tool == "lsst-persistence":
        triple = [here / f"{name}_{role}.fits" for role in ("science", "template", "difference")]
        return *triple, here / f"{name}_matching_kernel.fits"
    pair = [folder / "sfft" / f"{name[0]}_{which}.fits" for which in ("sci", "ref")]
    kernel = "solution.fits" if tool == "sfft" else "kernel.list"
    return *pair, here / f"{name}_diff.fits", here / f"{name}_{kernel}"


def load(reference, tool, name):
    *images, kernel = files(reference, tool, name)
    gain = None if tool == "lsst-persistence" else 1.6
    exposures = [
        read_exposure(file, role=role, gain=None if role == "difference" else gain, sky=sky)
        for file, role, sky in zip(
            images,
            ("science", "template", "difference"),
            (100.0 if gain else None,) * 2 + (None,),
            strict=True,
        )
    ]
    side = {"cheb": "template", "poly": "science", "Df": "template"}.get(name)
    return Subtraction(*exposures, read_kernel(kernel, images[2], convolved=side))


@pytest.mark.parametrize(
    ("tool", "name"), [*CASES, *(pytest.param(*case, marks=pytest.mark.long) for case in LONG)]
)
def test_it_belongs_together_and_no_misreading_does(reference, tool, name):
    subtraction = load(reference, tool, name)
    kernel = subtraction.kernel
    right = verify(subtraction)
    assert right.belongs
    assert right.fit.worst < (1e-4 if tool in {"hotpants", "sfft"} else 0.01)
    x, y = 60.0, 60.0
    stamp, sides = kernel.stamp(x, y), kernel.scales(x, y)
    # Every case tries a fifth of them: together the cases try each.
    for cause, other in list(misreadings(kernel))[(CASES + LONG).index((tool, name)) % 5 :: 5]:
        same_scales = np.allclose(other.scales(x, y), sides, rtol=1e-3)
        same_stamp = other.shape == kernel.shape and np.allclose(other.stamp(x, y), stamp)
        if same_stamp and same_scales and other.side(x, y) == kernel.side(x, y):
            continue  # not a misreading at all
        wrong = verify(replace(subtraction, kernel=other))
        assert not wrong.belongs, cause
        assert wrong.cause
