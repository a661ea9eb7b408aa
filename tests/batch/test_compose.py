"""``diffdecor manifest``: what it writes is what a batch reads, and what it leaves out it says."""

import os
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from helpers.detectors import NAMES, SHAPE, camera, write_exposure
from helpers.workplace import call, check_failure, described

from diffdecor.batch.detectors import Detectors, detectors_of
from diffdecor.batch.manifest import read_manifest
from diffdecor.pipeline.run import run_job


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


@pytest.fixture
def night(tmp_path, monkeypatch):
    """A folder with three triples, where commands are called."""
    folder = tmp_path / "night"
    touch(folder, *(f"{part}_{n}.fits" for part in ("sci", "tmpl", "diff") for n in (1, 2, 3)))
    monkeypatch.chdir(folder)
    return folder


TRIPLE = ("--science", "sci_*.fits", "--template", "tmpl_*.fits", "--difference", "diff_*.fits")


def manifest(*arguments, code=0):
    result = call("manifest", *arguments)
    assert result.exit_code == code, result.stderr
    return result


@pytest.mark.parametrize("name", ["m.csv", "m.ecsv", "m.fits", "sub/../m.CSV"])
def test_what_is_written_is_what_is_read(night, name):
    (night / "sub").mkdir()
    manifest(*TRIPLE, "--out-dir", "out", "-o", name, "--science-psf", "sci_1.fits")
    tasks = read_manifest(name, {}).tasks
    assert len(tasks) == 3
    for number, task in enumerate(tasks, 1):
        job = task.job
        for part in ("science", "template", "difference"):
            short = {"science": "sci", "template": "tmpl", "difference": "diff"}[part]
            assert Path(getattr(job, part)).samefile(night / f"{short}_{number}.fits")
        assert Path(job.files.science.psf).samefile(night / "sci_1.fits")
        assert os.path.realpath(job.output) == str(night / f"out/diff_{number}_decorr.fits")


def kernels_of(name):
    return [task.job.kernel for task in read_manifest(name, {}).tasks]


def test_kernels_may_be_found_from_the_images(night):
    manifest(*TRIPLE, "--out-dir", "out", "-o", "m.csv", "--kernel", "fit")
    assert kernels_of("m.csv") == ["fit"] * 3
    (night / "fit").touch()  # a file of that name is another thing
    manifest(*TRIPLE, "--out-dir", "out", "-o", "n.csv", "--kernel", "./fit")
    assert kernels_of("n.csv") == [str(night / "fit")] * 3
    (night / "fit.diff").touch()  # nor is one that a star stands for
    images = ("--science", "sci_1.fits", "--template", "tmpl_1.fits", "--difference", "*.diff")
    manifest(*images, "--out-dir", "out", "-o", "o.csv", "--kernel", "*")
    assert kernels_of("o.csv") == [str(night / "fit")]


def test_manifests_can_be_moved_with_their_files(night):
    manifest(*TRIPLE, "--out-dir", "out")
    text = (night / "out" / "manifest.csv").read_text()
    assert str(night) not in text
    assert text.splitlines()[:2] == [
        "science,template,difference,output",
        "../sci_1.fits,../tmpl_1.fits,../diff_1.fits,diff_1_decorr.fits",
    ]


def test_names_from_above(night, monkeypatch):
    """A folder that is left through a link is not the one that the link is in."""
    (night / "a" / "b").mkdir(parents=True)
    (night / "link").symlink_to("a/b")
    monkeypatch.chdir(night / "a")
    manifest("--difference", "../link/../../diff_*.fits", "--out-dir", "../out")
    assert (night / "out" / "manifest.csv").read_text().splitlines()[1].startswith("../diff_1.fits")


def test_links_on_the_way(night, tmp_path):
    """A manifest in a folder that is a link: .. leads up from where it really is."""
    (tmp_path / "far" / "away").mkdir(parents=True)
    (night / "out").symlink_to("../far/away")
    manifest(*TRIPLE, "--out-dir", "out")
    for task in read_manifest("out/manifest.csv", {}).tasks:
        assert Path(task.job.science).samefile(night / Path(task.job.science).name)


def test_what_has_no_partner_is_said(night):
    (night / "tmpl_2.fits").unlink()
    touch(night, "sci_7.fits")
    result = manifest(*TRIPLE, "--out-dir", "out")
    lines = result.stderr.splitlines()
    assert len(lines) == 2
    assert "diff_2.fits: there is no tmpl_2.fits; left out" in lines[0]
    assert "sci_7.fits: there is no diff_7.fits; left out" in lines[1]
    assert len(read_manifest("out/manifest.csv", {}).tasks) == 2


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"--science": "sic_*.fits"}, "--science sic_*.fits: there are no such files"),
        ({"--template": "tmpl_?.fits"}, "tmpl_?.fits: no such file; only stars stand for anything"),
        ({"--template": "t[mp]*_*.fits"}, "give it as many"),
        ({"--science": "sci_[1-3]*.fits"}, "such files; only stars stand for anything, not ?"),
        ({"--science": "s*.fits"}, "no files belong together of --science s*.fits and --template"),
        ({"--science": "s*.fits"}, "diff_1.fits: there is no s1.fits"),
        ({"--science": "**/sci_*.fits"}, "give one for every level of folders"),
        ({"--template": "."}, "is a folder; name its files, as in './*.fits'"),
    ],
)
def test_patterns_that_give_no_rows(night, changed, said):
    """The message says which of the patterns is wrong, and what is missing."""
    options = {**dict(zip(TRIPLE[::2], TRIPLE[1::2], strict=True)), **changed}
    given = [text for pair in options.items() for text in pair]
    result = call("manifest", *given, "--out-dir", "out")
    assert result.exit_code in {2, 3}
    assert said in result.stderr
    assert not (night / "out").exists()


def test_thousands_without_partner_are_not_thousands_of_lines(night):
    touch(night, *(f"sci_9{n}.fits" for n in range(100)))
    lines = manifest(*TRIPLE, "--out-dir", "out").stderr.splitlines()
    assert len(lines) == 21
    assert "80 more files" in lines[-1]


def test_again(night):
    """The same rows are there already; others replace them only if that is wanted."""
    manifest(*TRIPLE, "--out-dir", "out")
    before = described(night)
    manifest(*TRIPLE, "--out-dir", "out")
    assert described(night) == before
    touch(night, "sci_4.fits", "tmpl_4.fits", "diff_4.fits")
    check_failure(call("manifest", *TRIPLE, "--out-dir", "out"), 2, "other rows", "--overwrite")
    manifest(*TRIPLE, "--out-dir", "out", "--overwrite")
    assert len(read_manifest("out/manifest.csv", {}).tasks) == 4


def test_outputs_beside_differences_are_no_differences(night):
    alone = ("--difference", "diff_*.fits", "--out-dir", ".")
    manifest(*alone)
    touch(night, "diff_1_decorr.fits", "diff_2_decorr.fits")
    result = manifest(*alone)
    assert "diff_1_decorr.fits: is an output of this manifest" in result.stderr
    assert len(read_manifest("manifest.csv", {}).tasks) == 3


@pytest.mark.parametrize(
    ("arguments", "code", "mentions"),
    [
        (["--difference", "none_*.fits", "--out-dir", "out"], 3, ["none_*.fits"]),
        ([*TRIPLE, "--out-dir", "out", "-o", "m.txt"], 2, ["m.txt", ".csv"]),
        ([*TRIPLE, "--out-dir", "out", "-o", "no/m.csv"], 3, ["no"]),
        ([*TRIPLE, "--out-dir", "sci_1.fits"], 3, ["sci_1.fits"]),
        ([*TRIPLE, "--out-dir", "out", "-o", "sci_1.fits", "--overwrite"], 2, ["is an input"]),
        ([*TRIPLE, "--kernel", "k_*.fits", "--out-dir", "out"], 3, ["--kernel k_*.fits"]),
        (
            ["--difference", "diff_*.fits", "--kernel", "sci_1.fits", "--out-dir", "out"],
            2,
            ["row 1"],
        ),
        ([*TRIPLE, "--out-dir", ".", "-o", "diff_1_decorr.fits"], 2, ["row 1", "the manifest"]),
        (["--difference", "d_*_*.fits", "--kernel", "**", "--out-dir", "o"], 2, ["**"]),
    ],
)
def test_failures(night, arguments, code, mentions):
    before = described(night)
    check_failure(call("manifest", *arguments), code, *mentions)
    assert described(night) == before
    assert not (night / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "mention"),
    [
        (["--science", "sci_1.fits", "sci_2.fits", *TRIPLE[2:], "--out-dir", "out"], "in quotes"),
        ([*TRIPLE[2:], "--out-dir", "out"], "belong together"),
        ([*TRIPLE[:4], "--out-dir", "out"], "--difference"),
        ([*TRIPLE], "--out-dir"),
    ],
)
@pytest.mark.usefixtures("night")
def test_usage(arguments, mention):
    assert mention in manifest(*arguments, code=2).stderr


def test_names_that_no_manifest_holds(night):
    touch(night, "sci_x .fits", "tmpl_x .fits", "diff_x .fits", "#.fits", 'a,b "c".fits')
    manifest("--difference", "*.fits", "--out-dir", "../out")
    found = {
        Path(task.job.difference).name for task in read_manifest("../out/manifest.csv", {}).tasks
    }
    assert {"#.fits", 'a,b "c".fits'} <= found
    touch(night, "diff ", "x\ny")
    check_failure(call("manifest", "--difference", "diff*", "--out-dir", "o"), 3, "white space")
    check_failure(call("manifest", "--difference", "x*", "--out-dir", "o"), 3, "line breaks")


ALL = (
    *("--science", "sci_*.fits", "--template", "tmpl_*.fits", "--difference", "diff_*.fits"),
    *("--science-mask", "mask_*.fits", "--science-noise", "var_*.fits"),
    *("--template-noise", "var_1.fits", "--kernel", "kernel_*.fits", "--out-dir", "out"),
)


def test_a_row_for_every_detector(tmp_path, monkeypatch):
    """Every file of the row is that of the detector, and what is made of it is right."""
    monkeypatch.chdir(tmp_path)
    write_exposure(tmp_path, 1)
    write_exposure(tmp_path, 2, lacking=[("tmpl", "S2"), ("kernel", "N1"), ("diff", "S31")])
    result = manifest(*ALL, "--each-hdu")
    lines = result.stderr.splitlines()
    assert "kernel_2.fits: has no HDU N1; left out" in lines[0] + lines[1]
    assert "tmpl_2.fits: has no HDU S2; left out" in lines[0] + lines[1]
    assert "diff_2.fits: has no HDU S31; left out" in lines[2]
    tasks = read_manifest("out/manifest.csv", {"noise_kind": "variance"}).tasks
    assert [task.detector for task in tasks] == list(NAMES)
    for task, name in zip(tasks, NAMES, strict=True):
        job = task.job
        assert Path(job.output).name == f"diff_1_{name}_decorr.fits"
        assert Path(task.joined).name == "diff_1_decorr.fits"
        files = [*job.images.values(), job.kernel, job.files.science.mask, job.files.science.noise]
        assert all(file.endswith(f"_1.fits[{name}]") for file in files)
    # Rebuilding the difference would fail with those of any other detector.
    outcome = run_job(tasks[1].job)
    assert outcome.metrics["residual"] < 0.1


def test_files_of_one_detector_or_of_all(tmp_path, monkeypatch):
    """One template of all, a mask of one: what has no HDUs of their names is for all of them."""
    monkeypatch.chdir(tmp_path)
    write_exposure(tmp_path, 1)
    planes = {"S2": np.ones(SHAPE, np.float32)}
    camera(planes).writeto(tmp_path / "one.fits")
    camera({"any": planes["S2"]}).writeto(tmp_path / "all.fits")
    (tmp_path / "kernel.txt").write_text("no FITS")
    common = ("--science", "sci_1.fits", "--difference", "diff_1.fits", "--out-dir", "out")
    manifest(*common, "--template", "all.fits", "--kernel", "kernel.txt", "--each-hdu")
    jobs = [task.job for task in read_manifest("out/manifest.csv", {}).tasks]
    assert {Path(job.template).name for job in jobs} == {"all.fits"}
    assert {Path(job.kernel).name for job in jobs} == {"kernel.txt"}
    result = manifest(*common, "--template", "one.fits", "--each-hdu", "--overwrite")
    assert "one.fits: has no HDU N1, S31; left out" in result.stderr
    (task,) = read_manifest("out/manifest.csv", {}).tasks
    assert task.job.template.endswith("one.fits[S2]")


def test_damaged_files_of_detectors_fail_their_job(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_exposure(tmp_path, 1)
    (tmp_path / "sci_1.fits").write_bytes(b"SIMPLE  =")
    result = manifest(*ALL, "--each-hdu")
    assert "sci_1.fits" in result.stderr
    (task,) = read_manifest("out/manifest.csv", {}).tasks
    assert not task.detector


def test_detectors_without_names_and_with_odd_ones(tmp_path):
    pixels = np.ones(SHAPE, np.float32)
    file = tmp_path / "x.fits"
    camera({"1": pixels, "2": pixels}, named=False).writeto(file)
    assert [one[:2] for one in detectors_of(str(file))] == [("HDU1", "1"), ("HDU2", "2")]
    hdus = camera({"12": pixels, "A B,2": pixels, "C[1]": pixels, "MASK": pixels})
    hdus.append(type(hdus[1])(name="EMPTY"))
    hdus.writeto(file, overwrite=True)
    assert [tuple(one) for one in detectors_of(str(file))] == [
        ("CCD12", "1", True),
        ("A_B_2", "2", True),
        ("C_1_", "3", True),
        ("MASK", "MASK", False),
    ]


def test_images_of_one_name_are_the_detectors(tmp_path):
    """HST: SCI, ERR and DQ of every chip, and tables of distortion that are images, too."""
    hdus = camera({})
    for version in (1, 2):
        for name in ("SCI", "ERR", "DQ"):
            hdus.append(fits.ImageHDU(np.ones(SHAPE, np.float32), name=name, ver=version))
    hdus.append(fits.ImageHDU(np.ones((2, 3), np.float32), name="D2IMARR"))
    hdus.writeto(tmp_path / "flc.fits")
    images = [one[:2] for one in detectors_of(str(tmp_path / "flc.fits")) if one.is_image]
    assert images == [("SCI_1", "SCI,1"), ("SCI_2", "SCI,2")]


def test_a_kernel_without_a_name_is_for_all(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pixels = np.ones(SHAPE, np.float32)
    for name, contents in {"d": {"1": pixels, "2": pixels}, "k": {"1": pixels}}.items():
        camera(contents, named=False).writeto(f"{name}.fits")
    found, lacking = Detectors().rows({"difference": "d.fits", "kernel": "k.fits"})
    assert not lacking
    assert [one.files["difference"] for one in found] == ["d.fits[1]", "d.fits[2]"]
    assert {one.files["kernel"] for one in found} == {"k.fits"}


def test_files_beside_those_of_a_detector_are_found(tmp_path, monkeypatch):
    """DECam: weights and masks of all detectors are in files of their own; each has its own."""
    monkeypatch.chdir(tmp_path)
    write_exposure(tmp_path, 1)
    random = np.random.default_rng(3)
    with fits.open("sci_1.fits") as hdus:
        images = {name: hdus[name].data.copy() for name in NAMES}
    weights = {name: np.full(SHAPE, 1 / 9, np.float32) for name in NAMES}
    masks = {name: (random.random(SHAPE) < 0.01).astype(np.int16) for name in NAMES}
    for letter, planes in {"i": images, "w": weights, "d": masks}.items():
        file = f"c4d_1_oo{letter}_g.fits.fz"
        hdus = camera(planes, compressed=True, PLVER="V4.8", INSTRUME="DECam")
        hdus.writeto(tmp_path / file)
    manifest(
        *("--science", "c4d_*_ooi_g.fits.fz", "--template", "tmpl_*.fits"),
        *("--difference", "diff_*.fits", "--kernel", "kernel_*.fits", "--template-noise"),
        *("var_*.fits", "--out-dir", ".", "--each-hdu"),
    )
    tasks = read_manifest("manifest.csv", {"template_noise_kind": "variance"}).tasks
    for task, name in zip(tasks, NAMES, strict=True):
        assert task.job.science == f"{tmp_path}/c4d_1_ooi_g.fits.fz[{name}]"
        run_job(task.job)
        with fits.open(task.job.output) as hdus:
            bad = hdus["MASK"].data & (1 << hdus["MASK"].header["MP_BAD"]) != 0
            np.testing.assert_array_equal(bad, masks[name] != 0)
