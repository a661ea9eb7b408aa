"""The README is short and true: every command in it runs, on real output of the tools it names."""

import gzip
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from helpers.workplace import all_commands, call, parameters
from readme import README, generated

DATA = Path(__file__).parent / "data"
HOTPANTS, TRIPLES = DATA / "hotpants-a1", DATA / "triples"
TEXT = README.read_text(encoding="utf-8")
BLOCKS = re.findall(r"```sh\n(.*?)```", TEXT, flags=re.DOTALL)
#: Programs of others: not all machines have them.
FOREIGN = {".", "make", "source-extractor", "ds9"}


def commands(text):
    """The command lines of a text, without their comments."""
    lines = text.replace("\\\n", " ").splitlines()
    return [words for words in (shlex.split(line, comments=True) for line in lines) if words]


ROWS = re.compile(r"^\| ([^|]+) \| `(diffdecor run [^`]*)` \|$", re.MULTILINE)
#: Who made a difference, and what the README says of it.
YOUR_FILES = {maker: shlex.split(command) for maker, command in ROWS.findall(TEXT)}


def unpacked(source, target):
    with gzip.open(source) as packed:
        target.write_bytes(packed.read())


def hotpants(folder, difference="difference.fits"):
    for role, name in (("science", "sci"), ("template", "tmpl")):
        shutil.copy(HOTPANTS / f"{role}.fits", folder / f"{name}.fits")
        shutil.copy(HOTPANTS / f"{role}_sigma.fits", folder / f"{name}_sig.fits")
    shutil.copy(HOTPANTS / difference, folder / "diff.fits")


def night(folder):
    """Two triples of one night, as a pipeline names them."""
    hotpants(folder)
    (folder / "night").mkdir()
    for number in "12":
        for file in ("sci", "sci_sig", "tmpl", "tmpl_sig", "diff"):
            shutil.copy(folder / f"{file}.fits", folder / "night" / f"{number}_{file}.fits")


def hotpants_without_table(folder):
    """The kernel of `-hki` in a file of its own, as `-oki` writes it."""
    hotpants(folder)
    with fits.open(folder / "diff.fits") as hdus:
        fits.HDUList([fits.PrimaryHDU(header=hdus[0].header), hdus[-1].copy()]).writeto(
            folder / "kernel.fits"
        )
        fits.PrimaryHDU(hdus[0].data, hdus[0].header).writeto(folder / "d.fits")
    (folder / "d.fits").replace(folder / "diff.fits")


def hotpants_that_lost_it(folder):
    """The difference without its table of the kernel."""
    hotpants(folder)
    fits.writeto(folder / "d.fits", *fits.getdata(folder / "diff.fits", header=True))


def pair_of_sfft(folder):
    """The images of SFFT and ficonv, and their noise: gain and read noise, and the sky of 200."""
    for name, gain, read_noise in (("sci", 1.6, 5.0), ("ref", 6.6, 5.1962)):
        unpacked(TRIPLES / f"sfft_D_{name}.fits.gz", folder / f"{name}.fits")
        pixels = fits.getdata(folder / f"{name}.fits").astype(float)
        variance = np.maximum(pixels + 100, 1) / gain + (read_noise / gain) ** 2
        fits.writeto(folder / f"{name}_sigma.fits", np.sqrt(variance).astype(np.float32))


def sfft(folder):
    pair_of_sfft(folder)
    unpacked(TRIPLES / "sfft_D1_diff.fits.gz", folder / "sfft_diff.fits")
    shutil.copy(DATA / "sfft" / "D1_solution.fits", folder / "solution.fits")


def ficonv(folder):
    pair_of_sfft(folder)
    unpacked(DATA / "ficonv" / "Df_diff.fits.gz", folder / "ficonv_diff.fits")
    shutil.copy(DATA / "ficonv" / "Df_kernel.list", folder / "kernel.list")


def lsst(folder, kernel="psfMatchKernel.fits"):
    for role in ("science", "template", "difference"):
        unpacked(TRIPLES / f"lsst_poly_{role}.fits.gz", folder / f"{role}.fits")
    shutil.copy(DATA / "lsst-persistence" / "poly_matching_kernel.fits", folder / kernel)


def lsst_images(folder):
    for role, name in (("science", "visit"), ("template",) * 2, ("difference", "difference_image")):
        shutil.copy(DATA / "lsst-images" / f"{role}.fits", folder / f"{name}.fits")


def plain_stamp(folder):
    """Noise through a kernel that is a bare image: scales are 1."""
    random = np.random.default_rng(11)
    science, template = random.normal(100, (1, 2), (200, 220, 2)).transpose(2, 0, 1)
    y, x = np.indices((9, 9)) - 4
    stamp = np.exp(-(x**2 + y**2) / 3.0)
    stamp /= stamp.sum()
    shape = template.shape
    matched = np.fft.irfft2(np.fft.rfft2(template) * np.fft.rfft2(stamp, shape), shape)
    difference = science - np.roll(matched, (-4, -4), axis=(0, 1))
    fits.writeto(folder / "stamp.fits", stamp)
    variances = {"sci": 1.0, "tmpl": 4.0, "diff": None}
    for name, image in zip(variances, (science, template, difference), strict=True):
        hdus = [fits.PrimaryHDU(), fits.ImageHDU(image.astype(np.float32), name="IMAGE")]
        if variances[name]:
            plane = np.full(shape, variances[name], np.float32)
            hdus.append(fits.ImageHDU(plane, name="VARIANCE"))
        fits.HDUList(hdus).writeto(folder / f"{name}.fits")


STAGED = {
    "HOTPANTS, with `-hki`": hotpants,
    "HOTPANTS, with `-oki kernel.fits`": hotpants_without_table,
    "SFFT": sfft,
    "LSST Science Pipelines": lsst,
    "LSST, `lsst.images` files": lsst_images,
    "fitsh `ficonv`": ficonv,
    "anything, kernel as an image": plain_stamp,
    "anything; no kernel? leave it out": hotpants_that_lost_it,
    "anything, only the difference is left": hotpants,
}


def test_it_is_short():
    assert len(TEXT.splitlines()) <= 250


def test_generated_parts_are_up_to_date():
    assert generated(TEXT) == TEXT, "run `make docs`"


def test_every_link_leads_to_a_file():
    for target in re.findall(r"\]\(([^)]+)\)", TEXT):
        assert (README.parent / target).is_file(), target


def test_every_maker_of_differences_is_staged():
    assert list(YOUR_FILES) == list(STAGED)


@pytest.mark.parametrize("maker", STAGED)
def test_your_files(maker, tmp_path, monkeypatch):
    """The command for a maker's files does it, as it stands there, and the noise becomes white."""
    STAGED[maker](tmp_path)
    monkeypatch.chdir(tmp_path)
    done = call(*YOUR_FILES[maker][1:])
    assert done.exit_code == 0, done.stderr
    with fits.open("out.fits") as hdus:
        cards = hdus[0].header
    assert cards["DDCORR1"] < max(2 * cards["DDCORERR"], cards["DDCORR0"] / 4)


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.split("\n")[0])
def test_commands_run_in_their_order(block, tmp_path, monkeypatch):
    """Those that stand in a block follow upon each other, after a run on HOTPANTS' files."""
    night(tmp_path)
    shutil.copy(DATA.parents[1] / "sample_data/hotpants/difference_psf.fits", tmp_path / "psf.fits")
    monkeypatch.chdir(tmp_path)
    made = call("run", "sci.fits", "tmpl.fits", "diff.fits", "-o", "out.fits")
    assert made.exit_code == 0, made.stderr
    for program, *arguments in commands(block):
        if program == "diffdecor":
            done = call(*arguments)
            assert done.exit_code == 0, (arguments, done.stderr)
        else:
            assert program in FOREIGN


def test_targets_of_make_exist():
    makefile = (README.parent / "Makefile").read_text(encoding="utf-8")
    named = set(re.findall(r"`?\bmake ([a-z-]+)", TEXT))
    assert named
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in named - {"does"})


def test_python(tmp_path, monkeypatch):
    lsst(tmp_path, "kernel.fits")
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)
    names = {}
    exec(block, names)  # noqa: S102  it is ours
    assert names["result"].metrics.rho_after < names["result"].metrics.rho_before / 4


def test_it_names_no_option_that_does_not_exist():
    known = {"--help", "--version"}
    for _, command in all_commands():
        for parameter in parameters(command):
            known |= {*parameter.opts, *parameter.secondary_opts}
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", TEXT)) <= known


@pytest.mark.skipif(not shutil.which("source-extractor"), reason="needs SExtractor")
def test_sextractor_reads_single_planes(tmp_path, monkeypatch):
    """With the settings that SExtractor itself writes, and a list of columns."""
    hotpants(tmp_path)
    monkeypatch.chdir(tmp_path)
    settings = subprocess.run(
        ["source-extractor", "-dd"], capture_output=True, text=True, check=True
    )
    no_filter = re.sub(r"(?m)^FILTER +Y", "FILTER N", settings.stdout)
    Path("default.sex").write_text(no_filter, encoding="utf-8")
    Path("default.param").write_text(
        "X_IMAGE\nY_IMAGE\nFLUX_AUTO\nIMAFLAGS_ISO\n", encoding="utf-8"
    )
    (block,) = (block for block in BLOCKS if "source-extractor" in block)
    first, second, *_ = commands(block)
    assert call(*first[1:]).exit_code == 0
    done = subprocess.run(second, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = [line for line in Path("test.cat").read_text().splitlines() if line[0] != "#"]
    assert found
