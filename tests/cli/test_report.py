"""``diffdecor report``: a page to look at, whatever the outputs are."""

import base64
import gzip
import json
import re
import struct
import sys
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from helpers.hostile import Target, damaged
from helpers.workplace import call, check_failure, described

from diffdecor.errors import DiffdecorError
from diffdecor.fits.reading import Reading
from diffdecor.pipeline.results_table import COLUMNS
from diffdecor.report.drawn import PICTURES, draw_summary
from diffdecor.report.origins import open_difference
from diffdecor.report.outputs import read_output

pytest.importorskip("matplotlib")
pytest.importorskip("jinja2")

VOID = {"meta", "img", "input", "br", "link"}


class Page(HTMLParser):
    """A page: its tags with attributes, and its text by the tag that holds it."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.texts = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append((self.open[-1] if self.open else "", data))

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def text(self):
        return " ".join(data for tag, data in self.texts if tag not in {"style", "script"})


def checked(path):
    """Return a page that is whole, and needs nothing but itself."""
    page = Page(path.read_text(encoding="utf-8"))
    assert page.open == []
    for name, attributes in page.tags:
        assert not [key for key in attributes if key.startswith("on")]
        assert "style" not in attributes
        for key in ("src", "href", "action", "data", "srcset"):
            value = attributes.get(key, "")
            assert value.startswith(("data:image/png;base64,", "#", "https://")) or not value
            assert not value.startswith("https://") or (name, key) == ("a", "href")
    assert page.all("link") == []
    identifiers = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(set(identifiers)) == len(identifiers)
    for link in page.all("a"):
        assert link["href"].startswith("https://") or link["href"][1:] in identifiers
    for image in page.all("img"):
        assert len(image["alt"]) > 10
        png = base64.b64decode(image["src"].partition(",")[2])
        width, height = struct.unpack(">II", png[16:24])
        shown = int(image["width"]), int(image["height"])
        assert width / height == pytest.approx(shown[0] / shown[1], rel=0.02)
        assert width >= shown[0]
    assert "None" not in page.text
    assert "nan" not in page.text.lower().split()
    return page


@pytest.fixture
def reported(work, monkeypatch):
    """Run, and report what came of it; return the page."""
    monkeypatch.chdir(work.folder)

    def make(*options, report=(), **files):
        work.succeeds(*options, **files)
        done = call("report", work.output, "-o", work / "report.html", *report)
        assert (done.exit_code, done.stdout) == (0, ""), done.stderr
        return checked(work / "report.html")

    return make


def smooth_noise(number, ny, nx):
    """Return images of noise that a small kernel has correlated."""
    noise = np.random.default_rng(17).normal(size=(number, ny, nx))
    for axis in (1, 2):
        noise = noise + 0.3 * (np.roll(noise, 1, axis) + np.roll(noise, -1, axis))
    return noise.astype(np.float32)


def titles(page):
    return [text.rstrip(".") for tag, text in page.texts if tag == "b"]


def with_psf(work):
    return ("--difference-psf", work / "psf.fits")


def test_one_output(work, reported):
    options = ("--significance", "--dtype", "float64", "--max-rho", "0.5", *with_psf(work))
    page = reported(*options, report=("--png", work / "png"))
    assert "max |rho|" in page.text
    assert "limits passed" in page.text
    assert "There is no PSF" not in page.text
    found = titles(page)
    for title in (
        *("The field, before", "The field, after", "Pixel by pixel, before"),
        *("Correlation of two pixels, before", "Correlation of two pixels, after"),
        *("Significance of a point source at every pixel", "Significance of single pixels"),
        *("Power of the noise by frequency", "Point-spread function"),
        "Decorrelation kernel psi over the field",
        "Noise level over the field",
    ):
        assert title in found
    assert re.search(r"detected [\d.]+ mag (fainter|brighter)", page.text)
    assert "DDVERS" in page.text
    assert "DDMODE" in page.text
    assert "10.1086/305984" in page.text
    assert sorted(path.name for path in work.folder.glob("*report*")) == [
        "report.ecsv",
        "report.html",
    ]
    assert (work / "diffdecor_mqc.json").exists()
    # Every picture is a file, too, which is not replaced.
    files = sorted((work / "png").iterdir())
    assert len(files) == len(page.all("img"))
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in files)
    assert {path.name for path in files} <= {f"out_{name}.png" for name in PICTURES}
    assert work / "png" / "out_psf.png" in files
    again = call("report", work.output, "-o", work / "again.html", "--png", work / "png", "-q")
    check_failure(again, 2, "--overwrite")
    assert not (work / "again.html").exists()
    assert not (work / "again.ecsv").exists()


CELLS = ("--cell-size", "16", "--grid-step", "16", "--no-scale-by-fwhm")
KINDS = {
    "whole, no filters": ("--mode", "whole", "--no-filters", "--variance", "full"),
    "separate cells": ("--blend", "none", "--noise-realisation", "3", *CELLS),
    "score, with a PSF": ("--score", "--science-psf", "psf.fits", "--convolved", "template"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_output(reported, kind):
    page = reported(*KINDS[kind])
    assert "Pixel by pixel, after" in titles(page)
    assert ("were not written (--no-filters)" in page.text) == ("no filters" in kind)
    assert ("There is no PSF" in page.text) == ("with a PSF" not in kind)


def test_a_difference_alone_without_anything(work, monkeypatch):
    monkeypatch.chdir(work.folder)
    pixels = smooth_noise(1, 100, 90)[0]
    fits.writeto(work / "d.fits", pixels)
    assert call("run", "d.fits", "-o", "d_out.fits").exit_code == 0
    assert call("report", "d_out.fits", "-o", "report.html").exit_code == 0
    assert "The field, before" in titles(checked(work / "report.html"))


def test_no_pixel_has_data(work, reported, rewrite):
    def empty(hdus):
        hdus[0].data[:] = np.nan

    rewrite(work / "difference.fits", empty)
    page = reported()
    assert "No pixel has data" in page.text
    assert page.all("img") == []


def test_an_output_without_variance_and_mask(work, rewrite):
    work.succeeds(*with_psf(work))

    def bare(hdus):
        return fits.HDUList([hdu for hdu in hdus if hdu.name not in {"VARIANCE", "MASK"}])

    rewrite(work.output, bare)
    done = call("report", work.output, "-o", work / "report.html")
    assert done.exit_code == 0, done.stderr
    page = checked(work / "report.html")
    assert "no variance plane" in page.text
    assert "Noise level over the field" not in titles(page)


class TestTheDifferenceBefore:
    """It is found by its card, checked by its sum, or named; without it the page says so."""

    @pytest.fixture
    def origin(self, work):
        def find(*given):
            with Reading() as reading:
                return open_difference(read_output(str(work.output)), [*map(str, given)], reading)

        return find

    def test_beside_the_output(self, work, origin):
        work.succeeds()
        found = origin()
        assert found.note == ""
        assert found.exposure.name == str(work / "difference.fits")

    def test_in_the_working_folder(self, work, origin, tmp_path, monkeypatch):
        work.succeeds()
        (tmp_path / "here").mkdir()
        (work / "difference.fits").rename(tmp_path / "here" / "difference.fits")
        monkeypatch.chdir(tmp_path / "here")
        assert origin().exposure.name == "difference.fits"

    def test_another_of_the_same_name_in_the_working_folder(
        self, work, origin, tmp_path, monkeypatch
    ):
        fits.writeto(work / "sigma.fits", np.full((40, 48), 4.0, np.float32))
        kind = ("--difference-noise-kind", "sigma")
        work.succeeds("--difference-noise", work / "sigma.fits", *kind)
        (tmp_path / "here").mkdir()
        for name in ("difference.fits", "sigma.fits"):
            fits.writeto(tmp_path / "here" / name, np.ones((40, 48), np.float32))
        monkeypatch.chdir(tmp_path / "here")
        found = origin()
        assert found.exposure.name == str(work / "difference.fits")
        np.testing.assert_allclose(found.exposure.variance[0:40], 16.0)

    def test_in_an_extension(self, work, origin, rewrite):
        rewrite(
            work / "difference.fits",
            lambda hdus: fits.HDUList(
                [fits.PrimaryHDU(), fits.ImageHDU(hdus[0].data, hdus[0].header, name="D")]
            ),
        )
        work.succeeds(difference=f"{work / 'difference.fits'}[D]")
        assert origin().exposure.shape == (40, 48)

    def test_a_part_of_it(self, work, origin, rewrite):
        """The pixels of the region; of a smaller file of that name nothing is cut out."""
        whole = fits.getdata(work / "difference.fits")
        work.succeeds("--region", "2:42,4:38")
        np.testing.assert_array_equal(origin().exposure.image[0:34], whole[4:38, 2:42])
        (work / "difference.fits").unlink()
        fits.writeto(work / "difference.fits", np.zeros((7, 9), np.float32))
        assert "is not the input difference: it has 9 x 7 pixels" in origin().note
        rewrite(work.output, lambda hdus: hdus[0].header.set("DDREGION", "all"))
        assert "region` is 'all': expected X0:X1,Y0:Y1" in origin().note

    def test_not_there(self, work, origin, tmp_path):
        work.succeeds()
        elsewhere = tmp_path / "elsewhere.fits"
        (work / "difference.fits").rename(elsewhere)
        assert origin().exposure is None
        assert "difference.fits is neither in the working folder nor beside" in origin().note
        assert origin(elsewhere).exposure is not None
        assert call("report", work.output, "-o", work / "report.html").exit_code == 0
        page = checked(work / "report.html")
        assert origin().note in page.text
        found = titles(page)
        assert "The field, before" not in found
        assert "The field, after" in found
        # What the output alone knows.
        assert "Correlation of two pixels, before" in found

    def test_in_a_folder_that_is_named(self, work, origin, tmp_path):
        """Another file of the same name in another folder is not taken for it."""
        work.succeeds()
        for name in ("a", "b"):
            (tmp_path / name).mkdir()
        fits.writeto(tmp_path / "a" / "difference.fits", np.ones((40, 48), np.float32))
        (work / "difference.fits").rename(tmp_path / "b" / "difference.fits")
        folders = (tmp_path / "a", tmp_path / "b")
        assert origin(*folders).exposure.name == str(tmp_path / "b" / "difference.fits")
        assert "a/difference.fits has changed, or is another file" in origin(folders[0]).note
        assert "nor in the working folder" in origin(tmp_path).note

    def test_of_several_outputs_they_are_in_folders(self, work, tmp_path):
        work.succeeds()
        outputs = [work.output, tmp_path / "second.fits"]
        outputs[1].write_bytes(work.output.read_bytes())
        (tmp_path / "diffs").mkdir()
        (work / "difference.fits").rename(tmp_path / "diffs" / "difference.fits")
        page = tmp_path / "page.html"
        done = call("report", *outputs, "-o", page, "--difference", tmp_path / "diffs")
        assert done.exit_code == 0, done.stderr
        assert "The input difference" not in checked(page).text

    def test_changed(self, work, origin, rewrite):
        work.succeeds()

        def louder(hdus):
            hdus[0].data *= 2

        rewrite(work / "difference.fits", louder)
        assert origin().exposure is None
        assert "has changed, or is another file" in origin().note
        named = origin(work / "difference.fits")
        assert named.exposure is not None
        assert "shown all the same" in named.note

    def test_unreadable_or_of_another_shape(self, work, origin, tmp_path):
        work.succeeds()
        fits.writeto(tmp_path / "other.fits", np.zeros((7, 9), np.float32))
        found = origin(tmp_path / "other.fits")
        assert found.exposure is None
        assert "is not the input difference: it has 9 x 7 pixels" in found.note
        (work / "difference.fits").write_bytes(b"nothing")
        assert "cannot be shown: " in origin().note

    def test_with_the_noise_that_the_run_read(self, work, origin):
        """In a file that the cards name, of the kind that they say."""
        fits.writeto(work / "sigma.fits", np.full((40, 48), 4.0, np.float32))
        work.succeeds(
            *("--difference-noise", work / "sigma.fits", "--difference-noise-kind", "sigma")
        )
        np.testing.assert_allclose(origin().exposure.variance[0:40], 16.0)
        (work / "sigma.fits").unlink()
        assert origin().exposure.variance is None


HOSTILE = "<script>alert(1)</script>'\"><img src=http://x onerror=alert(2)>&amp;"


def test_headers_and_names_of_files_are_text(work, rewrite):
    def hostile(hdus):
        hdus[0].header["OBJECT"] = HOSTILE
        hdus[0].header["FILTER"] = "{{ 7 * 7 }}{% raw %}"

    rewrite(work / "difference.fits", hostile)
    odd = work / "<b>$x_{1}$ & \u202eé.fits"
    work.succeeds(output=odd)
    for outputs in ([odd], [odd, work / "difference.fits"]):
        call("report", *outputs, "-o", work / "report.html", "--overwrite", "--png", work / "png")
        page = checked(work / "report.html")
        assert "<b>$x_{1}$ & ?é.fits" in page.text
        assert len(page.all("script")) == 1
        assert len(page.all("img")) > 0
        if len(outputs) == 1:
            assert HOSTILE in page.text
            assert "{{ 7 * 7 }}{% raw %}" in page.text


def test_cards_that_were_edited_by_hand(work, rewrite):
    work.succeeds()

    def edited(hdus):
        for keyword in ("DDRHO1", "DDFACT1", "DDSKIP", "DDGATE", "DDNFILT"):
            hdus[0].header[keyword] = "nonsense"
        hdus[0].header["DDIGNORE"] = 7

    rewrite(work.output, edited)
    done = call("report", work.output, "-o", work / "report.html")
    assert done.exit_code == 0, done.stderr
    checked(work / "report.html")


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """As many small outputs as tell outliers; two have something odd."""
    folder = tmp_path_factory.mktemp("many")
    for number, pixels in enumerate(smooth_noise(8, 90, 96)):
        file = folder / f"d{number}.fits"
        fits.writeto(file, pixels)
        out = folder / f"out{number:02d}.fits"
        assert call("run", file, "-o", out, "-q").exit_code == 0
        with fits.open(out, mode="update") as hdus:
            hdus[0].header["DDRHO1"] = 0.9 if number == 5 else 0.02
            hdus[0].header["DDGATE"] = "failed" if number == 7 else "passed"
            del hdus[0].header["CHECKSUM"], hdus[0].header["DATASUM"]
    return sorted(folder.glob("out*.fits"))


def rows_of(page):
    """Return the names in the table of outputs, in their order."""
    anchors = [link["href"] for link in page.all("a") if link["href"].startswith("#o")]
    return [anchor for anchor in anchors if re.fullmatch(r"#o\d+", anchor)]


def test_many_outputs(many, tmp_path):
    page = tmp_path / "night.html"
    limits = tmp_path / "limits.ecsv"
    done = call(
        *("report", *many, "-o", page, "--pictures", "3", "--write-thresholds", limits), "-q"
    )
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", "")
    found = checked(page)
    assert "8 decorrelated differences" in found.text
    assert len(rows_of(found)) == 8
    assert len(found.all("img")) == 3
    names = [text for tag, text in found.texts if tag == "a" and text.startswith("out")]
    assert names[:2] == ["out07.fits", "out05.fits"]
    assert names[2:] == sorted(names[2:])
    assert "rho_after 0.9 is above" in found.text
    table = Table.read(tmp_path / "night.ecsv", format="ascii.ecsv")
    assert table.colnames == [column.name for column in COLUMNS]
    assert len(table) == 8
    assert table["gate"][0] == "failed"
    data = json.loads((tmp_path / "night_mqc.json").read_text())
    assert data["plot_type"] == "table"
    assert data["data"]["out05.fits"]["rho_after"] == 0.9
    assert set(next(iter(data["data"].values()))) <= set(data["headers"])

    # Of another night, by these limits.
    again = call(
        *("report", *many[4:7], "-o", tmp_path / "june.html", "--thresholds", limits), "-q"
    )
    assert again.exit_code == 0
    assert "rho_after 0.9 is above" in checked(tmp_path / "june.html").text
    again = call("report", many[5], "-o", tmp_path / "one.html", "--thresholds", limits, "-q")
    assert again.exit_code == 0
    assert "Unlike the others: rho_after 0.9 is above" in checked(tmp_path / "one.html").text


def test_unreadable_ones_among_many(many, tmp_path):
    broken, short, other = (tmp_path / f"{name}.fits" for name in ("broken", "short", "other"))
    broken.write_bytes(b"no FITS")
    short.write_bytes(many[0].read_bytes()[:20000])
    fits.writeto(other, np.zeros((5, 5)))
    missing = tmp_path / "missing.fits"
    page = tmp_path / "report.html"
    bad = [broken, short, other, missing]
    done = call("report", *many[:2], *bad, "-o", page, "-q")
    assert done.exit_code == 3
    assert len(done.stderr.splitlines()) == 4
    found = checked(page)
    assert "4 unreadable" in found.text
    assert "not an output of diffdecor run" in found.text
    table = Table.read(tmp_path / "report.ecsv", format="ascii.ecsv")
    assert (table["status"] == "error").sum() == 4
    assert all(table["error"][table["status"] == "error"])
    for one in bad:
        check_failure(call("report", one, "-o", tmp_path / "no.html", "-q"), 3, one)
    assert not (tmp_path / "no.html").exists()


def test_pixels_that_are_damaged_are_noticed(many, tmp_path):
    """Headers are sound: what is wrong shows when the pixels are read."""
    damaged = tmp_path / "damaged.fits"
    with fits.open(many[0]) as hdus:
        place = hdus["IMAGE"].fileinfo()["datLoc"]
    content = bytearray(many[0].read_bytes())
    content[place + 9] ^= 255
    damaged.write_bytes(content)
    page = tmp_path / "report.html"
    done = call("report", damaged, *many[1:3], "-o", page, "-q")
    assert done.exit_code == 3
    assert "not to its DATASUM" in done.stderr
    assert "1 unreadable" in checked(page).text
    check_failure(call("report", damaged, "-o", tmp_path / "one.html", "-q"), 3, damaged)


def test_damage_of_any_kind_is_an_error_of_the_file(many, tmp_path):
    """Nothing but a DiffdecorError that names it, or a picture."""
    whole = Target("output", "x.fits", many[0].read_bytes(), ())
    (tmp_path / "d0.fits").write_bytes(many[0].with_name("d0.fits").read_bytes())
    file, errors = tmp_path / "x.fits", []
    for number in range(20):
        with np.errstate(all="ignore"):
            content, _ = damaged(whole, np.random.default_rng([5, number]))
        file.write_bytes(content)
        output = read_output(str(file))
        try:
            if output.error is not None:
                raise output.error
            draw_summary(output, (), 1, 1 << 28)
        except DiffdecorError as error:
            errors.append(str(error))
    assert len(errors) > 10
    assert all(str(file) in text for text in errors)


def test_nothing_is_overwritten_and_inputs_never(work):
    work.succeeds()
    folder = work.folder

    def fails(*arguments, code=2, mentions=()):
        before = described(folder)
        check_failure(call("report", work.output, *arguments, "-q"), code, *mentions)
        assert described(folder) == before

    (work / "out.html").write_text("x")
    fails("-o", work / "out.html", mentions=["--overwrite"])
    (work / "page.ecsv").write_text("x")
    fails("-o", work / "page.html", mentions=["page.ecsv", "--overwrite"])
    fails("-o", work / "report.txt", mentions=[".html"])
    fails("-o", work / "no" / "report.html", code=3)
    fails("-o", work / "r.html", "--write-thresholds", work / "r.ecsv", mentions=["r.ecsv"])
    fails("-o", work / "r.html", "--thresholds", work / "t.ecsv", code=3)
    fails("-o", work / "r.html", "--png", work / "kernel.fits", code=3)
    fails("-o", work / "r.html", "--png", work / "no" / "png", code=3, mentions=["no folder"])
    for name in ("no.fits", "x" * 300, "no.fits[IMAGE]"):
        fails("-o", work / "r.html", "--difference", name, code=3, mentions=[name.split("[")[0]])
    fails("-o", work / "r.html", "--png", work / ("x" * 300), code=3, mentions=["cannot be made"])
    (work / "circle.html").symlink_to("circle.html")
    fails("-o", work / "circle.html", code=3, mentions=["circle.html", "symbolic link to itself"])
    (work / "circle.html").unlink()
    # The difference that was found is an input, too.
    named = work / "difference.html"
    work.output.unlink()
    (work / "difference.fits").rename(named)
    work.succeeds(difference=named)
    fails("-o", named, "--overwrite", mentions=["input"])


def test_a_part_is_no_output(work):
    part, page = work / "part.fits", work / "r.html"
    work.succeeds("--write", f"image={part}")
    check_failure(call("report", part, "-o", page), 3, "part.fits", "--write", "name the output")
    assert not page.exists()


def test_a_file_without_thresholds_is_warned_of(work):
    limits = work / "limits.ecsv"
    work.succeeds()
    outputs = work.output, work / "second.fits"
    outputs[1].write_bytes(work.output.read_bytes())
    for option in ("--write-thresholds", "--thresholds"):
        files = (*outputs, "-o", work / f"{option}.html", "--pictures", 0)
        result = call("report", *files, option, limits)
        assert result.exit_code == 0
        (line,) = result.stderr.splitlines()
        assert "WARNING: " in line
        assert "limits.ecsv: there is no" in line


def test_contrary_options(work):
    work.succeeds()
    two = [work.output, work / "difference.fits"]
    page = work / "r.html"
    check_failure(call("report", *two, "-o", page, "--difference", two[1]), 2, "--difference")
    check_failure(call("report", two[0], two[0], "-o", page), 2, "named 2 times")
    assert not page.exists()


def test_pictures_of_outputs_of_like_names(work):
    """One is called as another would be with a number."""
    work.succeeds()
    files = [work / name for name in ("out.fits", "a/out.fits", "out-2.fits", "b/out.fits.gz")]
    for file in files[1:]:
        file.parent.mkdir(exist_ok=True)
        content = work.output.read_bytes()
        file.write_bytes(gzip.compress(content) if file.suffix == ".gz" else content)
    result = call("report", *files, "-o", work / "r.html", "--png", work / "png", "-q")
    assert result.exit_code == 0, result.stderr
    pictures = Counter(path.name.rpartition("_")[0] for path in (work / "png").iterdir())
    assert len(pictures) == len(files)
    assert len(set(pictures.values())) == 1


@pytest.mark.parametrize("missing", ["matplotlib", "jinja2"])
def test_without_what_it_needs(work, monkeypatch, missing):
    work.succeeds()
    for name in list(sys.modules):
        if name.split(".")[0] == missing:
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    done = call("report", work.output, "-o", work / "r.html", "-q")
    check_failure(done, 2, missing, "pip install 'diffdecor[report]'")
    assert not (work / "r.html").exists()


def test_the_citation_is_that_of_the_file():
    from diffdecor.report.citation import SOFTWARE, WORKS

    facts = (Path(__file__).parents[2] / "CITATION.cff").read_text(encoding="utf-8")
    assert re.search(r'^title: "diffdecor: (.*)"', facts, re.MULTILINE)[1] in SOFTWARE
    found = re.findall(r'^    title: "(.*)"', facts, re.MULTILINE)
    assert [work.title for work in WORKS] == found
    links = [f"https://doi.org/{doi}" for doi in re.findall(r"doi: (\S+)", facts)]
    links += re.findall(r'url: "(\S+)"', facts)
    assert sorted(work.link for work in WORKS) == sorted(links)
    names = re.findall(r"family-names: (.+)", facts)
    assert all(any(name in work.authors for work in WORKS) for name in names)
    assert sorted(str(work.year) for work in WORKS if work.year) == sorted(
        re.findall(r"year: (\d+)", facts)
    )
