"""``run --plot``: one picture of the difference before and after."""

import io
import sys

import numpy as np
import pytest
from astropy.io import fits
from helpers.workplace import call, convolved, described, gaussian

from diffdecor.images.model import Exposure
from diffdecor.report.before_after import before_after_png
from diffdecor.report.measures import measure
from diffdecor.report.psf_numbers import psf_at_centre

pytest.importorskip("matplotlib")


def pixels(png):
    from matplotlib.image import imread

    return imread(io.BytesIO(png))


def test_it_is_drawn_after_the_run_and_left_by_the_next(work):
    plot = work / "plot.png"
    work.succeeds("--plot", plot)
    first = plot.read_bytes()
    height, width, _ = pixels(first).shape
    assert (width, height) == (1800, 730)
    before = described(work.folder)
    result = work.run("--plot", plot, "-v")
    assert result.exit_code == 0
    assert "plot.png: done already" in result.stderr
    assert described(work.folder) == before
    # Of an output that is there already, too.
    plot.unlink()
    result = work.run("--plot", plot, "--json")
    assert result.exit_code == 0
    assert result.stdout.startswith("{")
    assert plot.read_bytes() == first


def test_what_is_there_is_not_replaced_without_being_told(work):
    (work / "plot.png").write_text("somebody's")
    work.fails(2, "plot.png", "--overwrite", options=("--plot", work / "plot.png"))
    work.succeeds()
    work.fails(2, "plot.png", "--overwrite", options=("--plot", work / "plot.png"))
    work.succeeds("--plot", work / "plot.png", "--overwrite")
    assert (work / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_of_a_part_of_the_image_that_part_is_drawn(work):
    """So it is on a page, where the same difference is found."""
    region = ("--region", "2:42,4:38")
    work.succeeds(*region, "--plot", work / "plot.png")
    assert (work / "plot.png").read_bytes().startswith(b"\x89PNG")
    done = call("report", work.output, "-o", work / "page.html")
    assert (done.exit_code, done.stderr) == (0, "")
    page = (work / "page.html").read_text(encoding="utf-8")
    assert "is not the input difference" not in page
    assert "The field, before" in page


def test_neither_an_input_nor_the_output(work):
    for name in ("science.fits", "kernel.fits"):
        options = ("--plot", work / name, "--overwrite")
        work.fails(2, "is an input", options=options)
    work.fails(2, "the output itself", options=("--plot", work.output))
    work.fails(3, "no folder", options=("--plot", work / "no" / "plot.png"))
    work.succeeds()
    work.fails(
        2,
        "is an input",
        options=("--plot", work / "psf.fits", "--science-psf", work / "psf.fits", "--overwrite"),
    )


def test_an_output_that_is_damaged_meanwhile_is_not_drawn(work):
    work.succeeds()
    content = bytearray(work.output.read_bytes())
    with fits.open(work.output) as hdus:
        content[hdus["IMAGE"].fileinfo()["datLoc"] + 3001] ^= 1
    work.output.write_bytes(content)
    work.fails(3, "out.fits", "DATASUM", options=("--plot", work / "plot.png"))


def test_nor_a_link_to_itself(work):
    (work / "circle.png").symlink_to("circle.png")
    work.fails(3, "symbolic link to itself", options=("--plot", work / "circle.png"))


def test_nor_a_part_of_the_output(work):
    part = ("--write", f"image={work / 'a.png'}")
    for options in ((), ("--overwrite",)):
        work.fails(2, "--plot", "image", options=(*part, "--plot", work / "a.png", *options))


def test_nor_a_plane_that_was_found_beside_an_image(work, arrays):
    image, sigma = work / "a_refimg.fits", work / "a_refunc.fits"
    fits.PrimaryHDU(arrays[1].astype("f4")).writeto(image)
    fits.PrimaryHDU(np.full(arrays[1].shape, 2, "f4")).writeto(sigma)
    options = ("--plot", sigma, "--overwrite")
    work.fails(2, "a_refunc.fits", "is an input", options=options, template=image)
    work.succeeds("--plot", work / "plot.png", template=image)


def test_without_matplotlib_nothing_is_begun(work, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    work.fails(2, "pip install 'diffdecor[plot]'", options=("--plot", work / "plot.png"))


def test_an_output_without_data_is_not_drawn(work, rewrite):
    def empty(hdus):
        hdus[0].data[:] = np.nan

    rewrite(work / "difference.fits", empty)
    _, result = work.succeeds("--plot", work / "plot.png")
    assert "no pixel has data" in result.stderr
    assert not (work / "plot.png").exists()


def test_the_picture_shows_correlation():
    noise = np.random.default_rng(3).normal(size=(120, 130))
    before = Exposure(image=convolved(noise, gaussian(3, 1.0)), psf=gaussian(5, 1.5))
    mask = np.zeros(noise.shape, np.int32)
    mask[:20] = 1
    after = Exposure(
        image=np.where(mask, np.nan, noise),
        variance=1.0,
        mask=mask,
        mask_planes={"EDGE": 0},
        psf=gaussian(5, 1.2),
    )
    sides = {"before": before, "after": after}
    psfs = {name: psf_at_centre(one.psf, one.shape) for name, one in sides.items()}
    pair = measure(after, before, ["EDGE"], 1, psfs)
    whole = pixels(before_after_png(pair, "a $caption_{1}^$ <b>"))
    height, width, _ = whole.shape
    left, right = whole[:, : width // 3], whole[:, width // 3 : 2 * width // 3]
    # The corner of the first panel shows correlation, that of the second none.
    red = [((part[..., 0] - part[..., 2]) > 0.3)[height // 2 :].sum() for part in (left, right)]
    assert red[0] > 500
    assert red[1] < red[0] / 10
