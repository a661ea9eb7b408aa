"""Kernel lists of ficonv."""

import numpy as np
import pytest
from astropy.io import fits
from kernels.conftest import DATA
from scipy.signal import convolve

from diffdecor.errors import KernelError
from diffdecor.kernels.registry import read_kernel
from diffdecor.kernels.testing import check_reader

LIST = DATA / "ficonv" / "Df_kernel.list"
TEXT = LIST.read_text()


@pytest.fixture
def listing(tmp_path):
    """Write a list: ``listing(text)`` returns the file."""

    def write(text, newline="\n"):
        path = tmp_path / "kernel.list"
        path.write_bytes(text.replace("\n", newline).encode())
        return path

    return write


def small(*blocks, head="offset = 10, 20\nscale = 5"):
    parts = ["[global]", head, "[end]"]
    for block in blocks:
        parts += ["[kernel] # remark", block, "[end]"]
    return "\n".join(parts) + "\n"


IDENTITY = "type = identity\norder = 0\ncoeff = 0.8"
STAMP = "type = ddelta\nhsize = 1\n#image = 1,2,3, \\\n# 4,5,6, \\\n# 7,8,9\norder = 0\ncoeff = 0.5"


def test_expected_stamps_and_background():
    kernel = read_kernel(LIST)
    with np.load(DATA / "ficonv" / "expected.npz") as expected:
        for (x, y), stamp, background in zip(
            *(expected[k] for k in ("xy0", "stamps", "bg")), strict=True
        ):
            atol = 1e-9 * np.abs(stamp).max()
            np.testing.assert_allclose(kernel.stamp(x, y), stamp, rtol=0, atol=atol)
            assert kernel.background(x, y) == pytest.approx(-background, rel=1e-9)
    assert kernel.side(10, 10) == "template"
    assert kernel.scales(10, 10) == (1.0, 1.0)


def test_conversion_is_lossless():
    check_reader(LIST, "ficonv")


def test_the_region_is_the_image_of_the_difference(write_image):
    assert read_kernel(LIST).image_shape is None
    kernel = read_kernel(LIST, write_image(np.zeros((220, 300)), name="diff.fits"))
    assert kernel.image_shape == (220, 300)
    box = kernel.regions[0].box
    assert (box.xmin, box.xmax, box.ymin, box.ymax) == (0, 299, 0, 219)


def test_terms_are_divided_by_factorials(listing):
    block = "type = identity\norder = 2\ncoeff = 1, 2, 3, 4, 5, 6"
    kernel = read_kernel(listing(small(block)))
    u, v = (13 - 10) / 5, (17 - 20) / 5
    expected = 1 + 2 * u + 3 * v + 4 * u**2 / 2 + 5 * u * v + 6 * v**2 / 2
    assert kernel.sum(13, 17) == pytest.approx(expected)
    assert kernel.origin == (0, 0)


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_stamps_of_several_sizes(listing, newline):
    kernel = read_kernel(listing(small(IDENTITY, STAMP), newline))
    expected = np.arange(1.0, 10).reshape(3, 3) * 0.5
    expected[1, 1] += 0.8
    np.testing.assert_allclose(kernel.stamp(10, 20), expected, atol=1e-14)
    assert kernel.background(10, 20) == 0


def test_the_side_may_be_overridden(listing):
    block = "type = background\norder = 0\ncoeff = 3"
    kernel = read_kernel(listing(small(IDENTITY, block)), convolved="science")
    assert kernel.side(10, 20) == "science"
    assert kernel.background(10, 20) == 3


@pytest.mark.parametrize("basis", [(1, 0), (0, 1), (-2, 1), (3, -4), (0, 0)])
def test_double_deltas(listing, basis):
    x, y = basis
    kernel = read_kernel(listing(small(f"type = ddelta\nbasis = {x},{y}\ncoeff = 2", IDENTITY)))
    rng = np.random.default_rng(2)
    image = rng.normal(size=(30, 31))
    # In ficonv a double delta is half the difference of the moved image and itself.
    expected = 0.8 * image + (np.roll(image, (y, x), (0, 1)) - image)
    stamp = kernel.stamp(10, 20)
    assert kernel.origin == (stamp.shape[1] // 2, stamp.shape[0] // 2)
    found = convolve(image, stamp, mode="same")
    inside = np.s_[5:-5, 5:-5]
    np.testing.assert_allclose(found[inside], expected[inside], atol=1e-12)


def without_images(text):
    lines, kept = text.split("\n"), []
    commented = False
    for line in lines:
        commented = line.startswith("#image") or (commented and line.startswith("#"))
        if not commented:
            kept.append(line)
    return "\n".join(kept)


def test_gaussians_without_images_are_those_of_the_tool(listing):
    text = without_images(TEXT)
    assert "#image" not in text
    assert "gaussian" in text
    found, expected = read_kernel(listing(text)), read_kernel(LIST)
    for x, y in ((10, 10), (150, 110), (290, 200)):
        stamp = expected.stamp(x, y)  # of six digits
        np.testing.assert_allclose(found.stamp(x, y), stamp, atol=3e-6 * np.abs(stamp).max())


GAUSSIAN = "type = gaussian\nhsize = 3\nsigma = {}\nbasis = {},{}\ncoeff = 1"


def gauss(half, sigma):
    fine = (np.arange((2 * half + 1) * 10) - (2 * half + 1) * 5 + 0.5) / 10
    profile = np.exp(-(fine**2) / (2 * sigma**2)).reshape(-1, 10).mean(axis=1)
    image = np.outer(profile, profile)
    return image / image.sum()


def test_the_first_kernel_of_a_sum_is_subtracted_from_later_gaussians(listing):
    narrow, wide = gauss(3, 1.0), gauss(3, 2.0)
    kernel = read_kernel(listing(small(*(GAUSSIAN.format(s, 0, 0) for s in (1, 2)))))
    np.testing.assert_allclose(kernel.basis, [narrow, wide - narrow], atol=1e-14)
    delta = np.pad([[1.0]], 3)
    kernel = read_kernel(listing(small(IDENTITY, GAUSSIAN.format(1, 0, 0))))
    np.testing.assert_allclose(kernel.basis, [delta, narrow - delta], atol=1e-14)
    kernel = read_kernel(listing(small(GAUSSIAN.format(1, 0, 0), IDENTITY)))
    np.testing.assert_allclose(kernel.basis, [narrow, delta], atol=1e-14)
    kernel = read_kernel(listing(small(IDENTITY, GAUSSIAN.format(1, 1, 0))))
    assert kernel.basis[1].sum() == pytest.approx(0, abs=1e-14)
    assert kernel.basis[1][3, 4] == pytest.approx(-kernel.basis[1][3, 2])
    assert kernel.basis[1][3, 4] > 0.4


def test_kernels_of_unknown_type_and_their_offset(listing):
    unknown = (
        "type = unknown\nhsize = 1\nimage = 1,2,3, \\\n 4,5,6, \\\n 7,8,9\noffset = 10\n"
        "order = 1\ncoeff = 2, 3, 4"
    )
    background = "type = background\ncoeff = 5"
    kernel = read_kernel(listing(small(unknown, background, background)))
    u, v = (13 - 10) / 5, (17 - 20) / 5
    weight = 2 + 3 * u + 4 * v
    np.testing.assert_allclose(kernel.stamp(13, 17), weight * np.arange(1, 10).reshape(3, 3))
    assert kernel.background(13, 17) == pytest.approx(-(10 * weight + 5 + 5))


def test_remarks_blanks_and_defaults(listing):
    text = (
        "# made by hand\n[ global ] # of nothing\n# offset = 3, 4\n[end]\n\n[ kernel ]\n"
        "type = identity # a remark\n# order = 2\ncoeff = 0.5 # another\n[end] # done\n# bye\n"
    )
    kernel = read_kernel(listing(text))
    assert kernel.stamp(0, 1).tolist() == [[0.5]]
    (region,) = kernel.regions
    assert (region.x0, region.y0, region.xs) == (0, 0, 1)


@pytest.mark.reference
def test_difference_is_rebuilt(reference):
    science, template, difference = (
        fits.getdata(reference / name).astype(np.float64)
        for name in ("sfft/D_sci.fits", "sfft/D_ref.fits", "ficonv/Df_diff.fits")
    )
    kernel = read_kernel(reference / "ficonv/Df_kernel.list", reference / "ficonv/Df_diff.fits")
    (region,) = kernel.regions
    ny, nx = science.shape
    u, v = (np.arange(nx) - region.x0) / region.xs, (np.arange(ny) - region.y0) / region.ys
    model = science.copy()
    powers = [np.outer(v**term.j, u**term.i) for term in kernel.terms]
    for basis, coefficients in zip(kernel.basis, region.coefficients, strict=True):
        weight = sum(c * power for c, power in zip(coefficients, powers, strict=True))
        model -= weight * convolve(template, basis, mode="same")
    for coefficient, power in zip(region.background, powers, strict=True):
        model += coefficient * power
    inside = np.s_[6:-6, 6:-6]
    residual = (model - difference)[inside]
    assert np.sqrt(np.mean(residual**2)) < 5e-4
    assert np.abs(residual).max() < 0.02


BROKEN = {
    "no end": (TEXT[: TEXT.rindex("[end]")], r"line \d+: the block \[kernel\] has no \[end\]"),
    "cut in an image": (TEXT[:1200], "line 22: the block"),
    "end twice": (small(IDENTITY) + "[end]\n", "line 10: .*without a block before"),
    "block in block": (
        small("[kernel]\n" + IDENTITY),
        r"line 6: the block \[kernel\] has no \[end",
    ),
    "no global": ("[kernel]\n" + IDENTITY + "\n[end]\n", r"0 blocks \[global\]"),
    "no kernel": (small(), "not a kernel list of ficonv"),
    "background only": (small("type = background\norder = 0\ncoeff = 1"), "line 5: no kernel"),
    "garbage": (small("what is this"), "line 6: 'what is this' is not 'key = value'"),
    "outside": ("a = 1\n" + small(IDENTITY), "line 1: 'a = 1' is outside of every block"),
    "twice": (small(IDENTITY + "\norder = 1"), "line 9: 'order' twice"),
    "no type": (small("order = 0\ncoeff = 1"), r"line 5: the block \[kernel\] has no 'type'"),
    "type": (small(IDENTITY.replace("identity", "sinc")), "line 6: type = sinc: expected backg"),
    "no order": (
        small("type = identity\ncoeff = 1, 2, 3"),
        "line 7: .*expected 1 numbers, found 3",
    ),
    "half a pixel": (small("type = ddelta\nbasis = 0.5,1\ncoeff = 1"), "basis = .*whole numbers"),
    "sigma": (small("type = gaussian\nhsize = 3\nsigma = 0\nbasis = 0,0\ncoeff = 1"), "sigma = 0"),
    "powers": (small("type = gaussian\nhsize = 3\nsigma = 1\nbasis = 0,-1\ncoeff = 1"), "basis ="),
    "negative order": (small(IDENTITY.replace("= 0\n", "= -1\n")), "line 7: order = -1: expected"),
    "order": (small(IDENTITY.replace("= 0\n", "= 99999\n")), "line 7: order = 99999"),
    "too few": (small(IDENTITY.replace("= 0\n", "= 1\n")), "line 8: coeff = 0.8: expected 3 numb"),
    "words": (small(IDENTITY.replace("0.8", "much")), "line 8: .*'much' is not a number"),
    "nan": (small(IDENTITY.replace("0.8", "nan")), "line 8: .*'nan' is not a number"),
    "huge": (small(IDENTITY.replace("0.8", "1e999")), "line 8: .*'1e999' is not a number"),
    "no image": (small(STAMP.replace("#image", "#")), "line 5: .* has no '#image'"),
    "small image": (small(STAMP.replace("4,5,6, ", "4,5, ")), "line 8: image = .*found 8"),
    "hsize": (small(STAMP.replace("hsize = 1", "hsize = -1")), "line 7: hsize = -1"),
    "huge hsize": (small(STAMP.replace("hsize = 1", "hsize = 123456789")), "line 7: hsize"),
    "global type": (small(IDENTITY, head="type = 2\noffset = 0,0\nscale = 1"), "line 2: type = 2"),
    "scale": (small(IDENTITY, head="offset = 0,0\nscale = 0"), "line 3: scale = 0"),
    "far": (small(IDENTITY, head="offset = 0,1e9\nscale = 5"), "line 2: offset"),
    "offset": (small(IDENTITY, head="offset = 0\nscale = 5"), "line 2: offset = 0: expected 2"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_lists(listing, case):
    text, problem = BROKEN[case]
    with pytest.raises(KernelError, match=rf"kernel\.list: .*{problem}"):
        read_kernel(listing(text))


def test_a_list_has_no_extensions():
    with pytest.raises(KernelError, match="has no extensions"):
        read_kernel(f"{LIST}[1]")


def test_a_list_is_no_difference(write_image):
    with pytest.raises(ValueError, match=r"kernel\.list: not a readable FITS file"):
        read_kernel(write_image(np.ones((3, 3))), LIST)
