"""What distinguishes a kernel from the one that explains a difference is said, and nothing else."""

from dataclasses import replace

import numpy as np
import pytest
from helpers import oracle

from diffdecor.core.fourier import reflect
from diffdecor.decorrelation.kernel_difference import kernel_difference
from diffdecor.decorrelation.kernel_fit import KernelFit
from diffdecor.kernels.misreadings import on_side
from diffdecor.kernels.model import BasisKernel, Box, Region, StampKernel, Term

SHAPE = (300, 400)


def varying(order=1, *, seed=1, side="template", scales=(1.0, 1.0), size=11):
    """A kernel without any symmetry that varies over the image."""
    rng = np.random.default_rng(seed)
    wide = oracle.gaussian(size, 1.4, axis_ratio=0.7, angle=0.5)
    wide[size // 2 + 1, size // 2 + 3] += 0.05
    narrow = oracle.gaussian(size, 1.0, centre=(size // 2 + 1, size // 2 - 2))
    terms = tuple(Term("POLY", i, j) for i in range(order + 1) for j in range(order + 1 - i))
    coefficients = np.zeros((2, len(terms)))
    coefficients[0, 0], coefficients[1] = 1.0, rng.uniform(0.1, 0.25, len(terms))
    ny, nx = SHAPE
    region = Region(
        box=Box(0, nx - 1, 0, ny - 1),
        side=side,
        science_scale=scales[0],
        template_scale=scales[1],
        x0=nx / 2,
        xs=nx / 2,
        y0=ny / 2,
        ys=ny / 2,
        coefficients=coefficients,
    )
    basis, origin = np.array([wide, narrow]), (size // 2, size // 2)
    return BasisKernel(basis=basis, origin=origin, terms=terms, regions=(region,))


def fit_of(kernel, *, error=1e-6, exact=True):
    return KernelFit(
        kernel=kernel,
        side=kernel.side(200, 150),
        family="",
        residual=1e-5,
        rounding=1.0,
        error=error,
        pixels=1000,
        is_exact=exact,
    )


def said(given, true, **more):
    return kernel_difference(given, fit_of(true, **more), SHAPE)


def normalised(kernel):
    """The same difference as a fit writes it: both scales those of the image not convolved."""

    def usage(old):
        other = old.science_scale if old.side == "template" else old.template_scale
        return old._replace(science_scale=other, template_scale=other)

    region = kernel.regions[0]
    scales = region.science_scale, region.template_scale
    ratio = scales[1] / scales[0] if region.side == "template" else scales[0] / scales[1]
    return replace(kernel, basis=kernel.basis * ratio).with_usage(usage)


@pytest.mark.parametrize("side", ["template", "science"])
@pytest.mark.parametrize("scales", [(1.0, 1.0), (0.7, 1.9)])
def test_the_same_kernel_has_no_cause(side, scales):
    kernel = varying(side=side, scales=scales)
    assert said(kernel, normalised(kernel)) == ""


@pytest.mark.parametrize("decimals", [7, 5])
def test_rounding_has_no_cause(decimals):
    kernel = varying()
    rounded = replace(kernel, basis=kernel.basis.round(decimals))
    assert said(rounded, kernel) == ""
    assert said(replace(kernel, basis=kernel.basis.astype(np.float32).astype(float)), kernel) == ""


def test_a_fit_with_errors_sees_no_less_than_its_error():
    kernel = varying()
    noise = np.random.default_rng(3).normal(size=kernel.basis.shape) * 1e-3
    noisy = replace(kernel, basis=kernel.basis + noise * kernel.basis.max())
    assert said(kernel, noisy, error=3e-3, exact=False) == ""


def flipped(axis):
    return lambda stamps, origin: (np.flip(stamps, axis), origin)


@pytest.mark.parametrize("kernel", [varying(), varying(0), varying(2, side="science")])
@pytest.mark.parametrize(
    ("turn", "words"),
    [
        (reflect, "flipped in both axes"),
        (flipped(-1), "flipped along x"),
        (flipped(-2), "flipped along y"),
        (lambda s, o: (np.swapaxes(s, -1, -2), o), "transposed"),
        (lambda s, o: (s, (o[0] - 1, o[1] + 2)), "shifted by (-1, +2) pixels"),
        (lambda s, o: (s * 1.3, o), "scaled otherwise"),
    ],
)
def test_what_is_wrong_with_stamps_is_named(kernel, turn, words):
    text = said(kernel.turned(turn), kernel)
    assert words in text
    assert text.count(",") == {"shifted": 2, "scaled ": 0}.get(words[:7], 0)


def test_shifts_by_parts_of_a_pixel():
    kernel = varying(0)
    at = {"centre": (5.3, 4.8), "axis_ratio": 0.8}
    moved = replace(kernel, basis=np.array([oracle.gaussian(11, 1.4, **at)] * 2))
    still = replace(kernel, basis=np.array([oracle.gaussian(11, 1.4, axis_ratio=0.8)] * 2))
    assert "shifted by (+0.30, -0.20) pixels" in said(still, moved)


def test_several_causes_at_once():
    true = varying(scales=(0.5, 0.8))
    given = on_side(varying(), "science").turned(flipped(-1))
    text = said(given, normalised(true))
    assert "must be that of the other image (--convolved template)" in text
    assert "flipped along x" in text
    assert "--science-scale 0.5 --template-scale 0.8" in text


@pytest.mark.parametrize("side", ["template", "science"])
def test_the_other_side_is_named(side):
    other = {"template": "science", "science": "template"}[side]
    text = said(varying(side=other), varying(side=side))
    assert text == f"must be that of the other image (--convolved {side})"


def test_options_of_plain_stamps_are_named():
    stamp = oracle.gaussian(11, 1.4, axis_ratio=0.7, centre=(6, 4))
    true = StampKernel(stamps=stamp, convolved="template", format="stamp")
    assert "--kernel-sense" in said(true.turned(reflect), true)
    assert "--kernel-center 5,5" in said(replace(true, origin=(6, 4)), true)


@pytest.mark.parametrize("order", [0, 1])
def test_scales_are_given_by_options(order):
    kernel = varying(order)
    total = kernel.sum(200, 150)
    scaled = kernel.with_usage(lambda u: u._replace(science_scale=2.0, template_scale=3.0))
    assert "--science-scale 2 --template-scale 3" in said(kernel, normalised(scaled))
    both = dict.fromkeys(("science_scale", "template_scale"), 1 / total)
    divided = kernel.with_usage(lambda usage: usage._replace(**both))
    text = said(kernel, normalised(divided))
    assert "--science-scale 1/k --template-scale 1/k (PHOTNORM)" in text
    negative = kernel.with_usage(lambda u: u._replace(science_scale=-1.0, template_scale=-1.0))
    assert "other sign" in said(kernel, negative)


def test_a_scale_that_varies_is_said():
    kernel = varying(0)
    region = kernel.regions[0]
    terms = (Term("POLY", 0, 0), Term("POLY", 1, 0))
    growing = np.concatenate([region.coefficients, 0.2 * region.coefficients], axis=1)
    true = replace(kernel, terms=terms, regions=(replace(region, coefficients=growing),))
    assert "scaled by factors that vary over the image, 0.84 to 1.16" in said(kernel, true)


@pytest.mark.parametrize("order", [1, 2])
def test_positions_that_are_mixed_up(order):
    kernel = varying(order)
    region = kernel.regions[0]
    exchanged = tuple(Term("POLY", term.j, term.i) for term in kernel.terms)
    assert "x and y of its positions exchanged" in said(replace(kernel, terms=exchanged), kernel)
    mirrored = replace(kernel, regions=(replace(region, xs=-region.xs, x0=region.x0 - 1),))
    assert "positions mirrored along x" in said(mirrored, kernel)


def test_the_kernel_of_a_larger_image_is_found():
    true = varying(2)
    whole = true.moved(-300, -200)
    wide = replace(whole.regions[0], box=Box(0, 1500, 0, 1200))
    assert "first pixel was (301, 201)" in said(replace(whole, regions=(wide,)), true)


def test_positions_of_the_other_count():
    """Of a kernel that varies fast enough to show one pixel."""
    true = varying(1)
    steep = replace(true.regions[0], xs=20.0, ys=18.0)
    true = replace(true, regions=(steep,))
    assert "used at positions off by +1 pixel" in said(true.moved(-1, -1), true)


def test_right_in_one_part_only():
    first, second = varying(0), varying(0, seed=7)
    other = replace(second.regions[0], box=Box(200, 399, 0, 299))
    mixed = replace(first, regions=(first.regions[0], other))
    text = said(mixed, first)
    assert text.startswith("is right at")
    assert "15 of 25 positions" in text or "10 of 25 positions" in text


def test_right_on_average_only():
    true = varying(1)
    mean = np.mean([true.stamp(x, y) for x in (40, 200, 359) for y in (30, 150, 269)], axis=0)
    flat = StampKernel(stamps=mean, convolved="template")
    text = said(flat, true)
    assert "right on average" in text or "right at" in text


def test_a_kernel_that_is_cut_off():
    true = varying(0, size=15)
    cut = replace(true, basis=true.basis[:, 4:-4, 4:-4], origin=(3, 3))
    assert "larger: it is cut off at 7 x 7 pixels" in said(cut, true)


def test_the_kernel_of_other_images_is_nothing_else():
    rng = np.random.default_rng(6)
    kernel = varying(1)
    for _ in range(8):
        basis = np.array(
            [
                oracle.gaussian(
                    11,
                    rng.uniform(0.8, 2.5),
                    centre=tuple(5 + rng.uniform(-1.5, 1.5, 2)),
                    axis_ratio=rng.uniform(0.4, 0.9),
                    angle=rng.uniform(0, 3),
                )
                for _ in range(2)
            ]
        )
        text = said(replace(kernel, basis=basis), kernel)
        assert "other images" in text
        assert "of the peak" in text


@pytest.mark.parametrize("side", ["template", "science"])
def test_images_that_were_matched(side):
    delta = StampKernel(stamps=np.ones((1, 1)), convolved=side)
    text = said(varying(side=side), delta)
    assert f"matched before they were subtracted; give --{side}-kernel instead" in text
    assert said(delta, delta) == ""


def test_no_kernel_where_the_other_is():
    kernel = varying()
    far = replace(kernel.regions[0], box=Box(5000, 5400, 0, 299))
    assert said(replace(kernel, regions=(far,)), kernel) == ""
