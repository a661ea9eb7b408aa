"""`--region`: a part of the images, with everything where it is in the whole image."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS
from helpers.workplace import Workplace, call, convolved, exposure, gaussian, json_object, opened

from diffdecor.psfs.registry import read_psf

SHAPE = (260, 240)
X0, X1, Y0, Y1 = 40, 200, 60, 220
REGION = f"{X0}:{X1},{Y0}:{Y1}"
PART = np.s_[Y0:Y1, X0:X1]
#: Noise whose level does not depend on which part of the image it is taken from.
LEVELS = ("--science-variance", "4", "--template-variance", "16", "--noise-model", "white")
REACH = 45


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    """A triple with a mask, changing depth, and a PSF that varies."""
    folder = tmp_path_factory.mktemp("region")
    random = np.random.default_rng(5)
    depth = np.where(np.arange(SHAPE[1]) < 130, 1.0, 2.0) * np.ones(SHAPE)
    science, template = (random.normal(0.0, s, SHAPE) * np.sqrt(depth) for s in (2.0, 4.0))
    mask = np.zeros(SHAPE, np.int32)
    mask[100:104, 90:95] = 1
    kernel = gaussian(4, 1.2)
    difference = science - convolved(template, kernel)
    difference[150:152, 120:123] = np.nan
    hdus = exposure(science, 4.0 * depth, mask, TELESCOP="T")
    psfs = np.array([gaussian(8, sigma) for sigma in (1.5, 1.8, 2.1, 2.4)], np.float32)
    hdus.append(fits.ImageHDU(psfs, name="PSF"))
    places = {"X": [1.0, 240.0, 1.0, 240.0], "Y": [1.0, 1.0, 260.0, 260.0]}
    hdus.append(fits.BinTableHDU(Table(places), name="PSFPOS"))
    hdus.writeto(folder / "science.fits")
    exposure(template, 16.0 * depth).writeto(folder / "template.fits")
    exposure(difference, None).writeto(folder / "difference.fits")
    cards = fits.Header({"CONVSIDE": "TEMPLATE"})
    fits.PrimaryHDU(kernel, cards).writeto(folder / "kernel.fits")
    return folder


@pytest.fixture
def there(originals, tmp_path):
    for path in originals.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return Workplace(tmp_path)


def both(place, *options):
    """Return the planes of a run on the whole image, and of one on a part of it."""
    whole, _ = place.succeeds(*options, output=place / "whole.fits")
    part, _ = place.succeeds(*options, "--region", REGION)
    return whole, part


def check_same_inside(whole, part, names, reach=REACH, tolerance=2e-6):
    """Compare a part with the whole, beyond the reach of the filters from its borders."""
    inside = np.s_[reach:-reach, reach:-reach]
    for name in names:
        expected, found = whole[name][1][PART][inside], part[name][1][inside]
        assert part[name][1].shape == (Y1 - Y0, X1 - X0)
        if expected.dtype.kind == "i":
            assert np.array_equal(found, expected)
        else:
            np.testing.assert_allclose(
                found, expected, atol=tolerance * np.nanmax(np.abs(expected))
            )


@pytest.mark.parametrize("mode", ["whole", "grid"])
def test_the_pixels_are_those_of_the_whole_image(there, mode):
    whole, part = both(there, *LEVELS, "--mode", mode, "--significance")
    check_same_inside(whole, part, ["IMAGE", "MASK", "VARIANCE"])
    # Of the PSF, which is interpolated in the output, there is a stamp for the part.
    check_same_inside(whole, part, ["SIGNIF", "FLUXERR"], tolerance=0.03)


def test_coordinates_and_provenance(there):
    whole, part = both(there, *LEVELS, "--mode", "whole")
    headers = [planes["IMAGE"][0] for planes in (whole, part)]
    sky = [
        WCS(header).wcs_pix2world([[70 - dx, 90 - dy]], 0)
        for header, (dx, dy) in zip(headers, ((0, 0), (X0, Y0)), strict=True)
    ]
    np.testing.assert_allclose(sky[0], sky[1], rtol=1e-12)
    assert (headers[1]["LTV1"], headers[1]["LTV2"]) == (-X0, -Y0)
    assert "LTV1" not in headers[0]
    assert part["PRIMARY"][0]["DDREGION"] == REGION
    assert "DDREGION" not in whole["PRIMARY"][0]


def test_the_psf_is_that_of_the_place(there):
    """It varies by 60 % over the field; that of the part is that of the whole at its places."""
    both(there, *LEVELS, "--mode", "whole")
    whole, part = (read_psf(there / name) for name in ("whole.fits", "out.fits"))
    for x, y in ((X0 + 5, Y0 + 5), (120, 130), (X1 - 5, Y1 - 5)):
        expected, found = whole.stamp(x, y), part.stamp(x - X0, y - Y0)
        assert found.max() == pytest.approx(expected.max(), rel=0.02)
    assert part.stamp(0, 0).max() > 1.2 * part.stamp(X1 - X0, Y1 - Y0).max()


def test_the_kernel_is_that_of_the_place(hotpants_job, tmp_path):
    """HOTPANTS's kernel varies; filters lie at other nodes, and differ by their interpolation."""
    arguments = [*hotpants_job(), "--noise-model", "white"]
    with fits.open(arguments[3]) as hdus:
        ny, nx = hdus[0].shape
    x0, x1, y0, y1 = 90, nx - 30, 70, ny - 40
    region = f"{x0}:{x1},{y0}:{y1}"
    for name, more in (("whole", ()), ("part", ("--region", region))):
        result = call(*arguments, "-o", tmp_path / f"{name}.fits", *more)
        assert result.exit_code == 0, result.stderr
    whole, part = (opened(tmp_path / f"{name}.fits") for name in ("whole", "part"))
    inside = np.s_[60:-60, 60:-60]
    expected = whole["IMAGE"][1][y0:y1, x0:x1][inside]
    found = part["IMAGE"][1][inside]
    sigma = np.sqrt(np.nanmedian(whole["VARIANCE"][1]))
    assert np.nanstd(found - expected) < 2e-3 * sigma
    # The difference of the part can be rebuilt, which it cannot with a kernel that is not moved.
    result = call("verify", *hotpants_job()[1:], "--json", "--region", region)
    assert json_object(result.stdout)["fit"]["residual"] < 1e-3


def test_noise_levels_are_those_of_the_part(there):
    """The right half is deeper by a factor of two."""
    for region, level in (("0:125,0:260", 4.0), ("135:240,0:260", 8.0)):
        planes, _ = there.succeeds("--region", region, "--mode", "whole", "--overwrite")
        assert planes["PRIMARY"][0]["DDSNOISE"] == pytest.approx(level, rel=1e-3)


def test_cells_at_centroids_and_the_position_count_from_the_whole_image(there):
    (there / "centroids.txt").write_text("x y\n70 90\n130 90\n70 150\n130 150\n10 10\n")
    options = ["--blend", "none", "--cell-size", "40", "--no-scale-by-fwhm", "--cell-border", "20"]
    options += ["--cell-centroids", there / "centroids.txt", *LEVELS]
    whole, part = both(there, *options)
    cells = [key for key in part if key[0] == "CELL_IMAGE"]
    assert len(cells) == 4
    for key in cells:
        (header, found), (before, expected) = part[key], whole[key]
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, atol=1e-4)
        assert header["CRPIX1"] == before["CRPIX1"]
        assert header["LTV1"] == before["LTV1"]
    planes, _ = there.succeeds(
        *("--mode", "whole", "--kernel-position", "100,120", "--region", REGION, "--overwrite"),
    )
    header = planes["PRIMARY"][0]
    assert (header["DDXPOS"], header["DDYPOS"]) == (100 - X0 + 1, 120 - Y0 + 1)
    assert header["DDKERPOS"] == "100.0,120.0"


def test_a_stack_and_a_kernel_of_one_image(there):
    """Planes of members are cut, and their kernels moved."""
    for number in (1, 2):
        fits.PrimaryHDU(np.full(SHAPE, 8.0 * number, np.float32)).writeto(there / f"v{number}.fits")
    fits.PrimaryHDU(gaussian(3, 0.8)).writeto(there / "own.fits")
    (there / "stack.toml").write_text(
        '[[member]]\nnoise = "v1.fits"\nnoise-kind = "variance"\nweight = 0.5\n'
        'kernel = "own.fits"\n'
        "[[member]]\nvariance = 9.0\nweight = 0.5\n"
    )
    options = ["--template-stack", there / "stack.toml", "--mode", "whole", "--no-verify"]
    whole, part = both(there, *options, "--noise-model", "white", "--science-variance", "4")
    check_same_inside(whole, part, ["IMAGE", "VARIANCE", "MASK"], tolerance=1e-4)


def test_a_difference_alone(there):
    for name, more in (("whole", ()), ("part", ("--region", REGION))):
        output = there / f"{name}.fits"
        result = call("run", there / "difference.fits", "-o", output, *more)
        assert result.exit_code == 0, result.stderr
    whole, part = (opened(there / f"{name}.fits") for name in ("whole", "part"))
    assert part["IMAGE"][1].shape == (Y1 - Y0, X1 - X0)
    # Its noise is measured on fewer pixels.
    sigma = np.nanstd(whole["IMAGE"][1])
    inside = np.s_[REACH:-REACH, REACH:-REACH]
    off = part["IMAGE"][1][inside] - whole["IMAGE"][1][PART][inside]
    assert np.nanstd(off) < 0.15 * sigma


def test_parts_and_packed_outputs(there):
    options = ["--region", REGION, "--mode", "whole", "--write", f"weight={there / 'w.fits'}"]
    planes, _ = there.succeeds(*options, output=there / "out.fits.fz")
    weight = opened(there / "w.fits")["IVAR"]
    assert weight[1].shape == planes["IMAGE"][1].shape == (Y1 - Y0, X1 - X0)
    assert weight[0]["LTV1"] == -X0
    assert weight[0]["DDREGION"] == REGION


def test_another_region_is_another_job(there):
    spaced = REGION.replace(",", " , ")
    there.succeeds("--region", REGION, "--mode", "whole")
    result = there.run("--region", spaced, "--mode", "whole", "--json")
    assert json_object(result.stdout)["status"] == "already done"
    for more in ((), ("--region", "0:100,0:100")):
        there.fails(2, "--overwrite", options=("--mode", "whole", *more))


@pytest.mark.parametrize(
    ("region", "says"),
    [
        *(
            (text, "expected X0:X1,Y0:Y1")
            for text in ("", "1:2", "5", "a:b,c:d", "-1:5,0:5", "1.0:5,0:5")
        ),
        *((text, "no pixel") for text in ("0:0,0:9", "9:3,0:9", "0:9,9:9")),
        *(
            (text, "240 x 260")
            for text in ("0:241,0:9", "0:9,0:261", "240:250,0:9", "0:9,999:1000")
        ),
        ("0:8,0:100", "8 x 100"),
    ],
)
def test_no_region(there, region, says):
    there.fails(2, "--region", says, options=("--region", region))


def test_a_position_outside_of_the_region(there):
    options = ("--region", "0:100,0:100", "--kernel-position", "150,150")
    there.fails(2, "--kernel-position 150,150", "--region", options=options)


def test_verify(there):
    files = [there / f"{name}.fits" for name in ("science", "template", "difference")]
    options = ["--kernel", there / "kernel.fits", "--json"]
    for more in ((), ("--region", REGION)):
        result = call("verify", *files, *options, *more)
        assert result.exit_code == 0, result.stderr
        assert json_object(result.stdout)["belongs"] is True
    pixels = json_object(result.stdout)["fit"]["pixels"]
    assert 0 < pixels <= (Y1 - Y0) * (X1 - X0)
