"""A real HOTPANTS triple without options: what its command line, and names beside it, give."""

import gzip
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from diffdecor.config import DecorrelationConfig, FilesConfig
from diffdecor.core.planes import in_memory
from diffdecor.errors import ConfigError, InputError, OutputExistsError
from diffdecor.pipeline.inputs import read_inputs
from diffdecor.pipeline.job import Job
from diffdecor.pipeline.run import run_job, verify_job

pytestmark = pytest.mark.usefixtures("as_a_command")
DATA = Path(__file__).parents[1] / "data"
A1 = DATA / "hotpants-a1"
#: Names that the command of the difference has, and those of the files in the tests' data.
NAMES = {
    "A_sci": "science",
    "A_tmpl": "template",
    "A1_diff": "difference",
    "A_sci_msk": "science_mask",
    "A_tmpl_msk": "template_mask",
    "A1_mask": "difference_mask",
    "A_sci_sig": "science_sigma",
    "A_tmpl_sig": "template_sigma",
}
SIGMAS = ("A_sci_sig", "A_tmpl_sig")
#: For jobs of whose pixels nothing is said.
QUICK = {"mode": "whole", "noise_model": "white"}
EXPLICIT = {"science_gain": 1.6, "science_read_noise": 5}
EXPLICIT |= {"template_gain": 6.6, "template_read_noise": 5.1962}


class Triple:
    """The files in a folder, and jobs on them."""

    def __init__(self, folder):
        self.folder = folder
        for name, original in NAMES.items():
            shutil.copy(A1 / f"{original}.fits", self.file(name))

    def file(self, name):
        return self.folder / f"{name}.fits"

    def remove(self, *names):
        for name in names:
            self.file(name).unlink()

    def command(self, edit):
        """Change the command, or take it away."""
        with fits.open(self.file("A1_diff"), mode="update") as hdus:
            text = edit(hdus[0].header.pop("DIFFCMD"))
            if text is not None:
                hdus[0].header["DIFFCMD"] = text

    def job(self, *, numerics=None, **options):
        names = dict(zip(("science", "template", "difference"), list(NAMES)[:3], strict=True))
        return Job(
            **{role: str(self.file(name)) for role, name in names.items()},
            output=str(self.folder / "out.fits"),
            decorrelation=DecorrelationConfig(**(numerics or {})),
            files=FilesConfig.of(**options),
        )

    def found(self, **options):
        """Return the options that a job is run with, and its images."""
        inputs = read_inputs(self.job(**options))
        _ = inputs.sources
        return inputs.job.files, inputs.subtraction


@pytest.fixture
def triple(tmp_path):
    return Triple(tmp_path)


def named(file):
    return None if file is None else Path(file).name


def test_everything_is_found(triple, caplog):
    caplog.set_level("INFO")
    files, images = triple.found()
    sides = files.science, files.template
    assert [(one.gain, one.read_noise, one.sky) for one in sides] == [
        (1.6, 5, None), (6.6, 5.1962, None),
    ]  # fmt: skip
    assert [named(one.mask) for one in (*sides, files.difference)] == [
        "A_sci_msk.fits", "A_tmpl_msk.fits", "A1_mask.fits",
    ]  # fmt: skip
    assert [one.noise for one in (*sides, files.difference)] == [None] * 3
    assert "HP_BAD_CONV" in images.difference.mask_planes
    for text in (
        r"A_sci.fits: mask from .*A_sci_msk.fits: -imi in DIFFCMD of A1_diff.fits",
        r"A_tmpl.fits: mask from .*A_tmpl_msk.fits: -tmi in DIFFCMD of A1_diff.fits",
        r"A1_diff.fits: mask from .*A1_mask.fits: -omi in DIFFCMD of A1_diff.fits",
        r"A_sci.fits: gain and read noise as in DIFFCMD of A1_diff.fits",
        r"A_sci.fits: .*A_sci_sig.fits is not used: its gain is known",
        r"A1_diff.fits: A1_noise.fits, named by -oni in DIFFCMD of A1_diff.fits, is not there",
    ):
        assert len([r for r in caplog.messages if re.search(text, r)]) == 1, text
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


def planes_of(output):
    with fits.open(output) as hdus:
        return {name: hdus[name].data.copy() for name in ("IMAGE", "VARIANCE", "MASK")}


@pytest.mark.parametrize("sigma", [False, True])
def test_it_is_the_job_with_explicit_options(triple, sigma):
    """The same pixels, cards and sums: the one is done when the other is."""
    explicit = {
        f"{role}_mask": str(triple.file(name))
        for role, name in (
            *(("science", "A_sci_msk"), ("template", "A_tmpl_msk"), ("difference", "A1_mask")),
        )
    }
    if sigma:
        triple.command(lambda text: f"{text} -ini A_sci_sig.fits -tni A_tmpl_sig.fits")
        for role, name in (("science", "A_sci_sig"), ("template", "A_tmpl_sig")):
            explicit |= {f"{role}_noise": str(triple.file(name)), f"{role}_noise_kind": "sigma"}
    else:
        explicit |= EXPLICIT
    numerics = QUICK if sigma else None
    first = run_job(triple.job(numerics=numerics))
    planes = planes_of(triple.folder / "out.fits")
    assert run_job(triple.job(numerics=numerics, **explicit)).status == "already done"
    (triple.folder / "out.fits").unlink()
    second = run_job(triple.job(numerics=numerics, **explicit, diffcmd=False))
    for name, plane in planes_of(triple.folder / "out.fits").items():
        assert np.array_equal(plane, planes[name], equal_nan=name != "MASK"), name
    assert first.metrics == second.metrics
    assert first.metrics["chi_after"] == pytest.approx(1, abs=0.05)  # +- 0.009
    assert verify_job(triple.job()).belongs


def test_files_that_are_found_count_like_others(triple):
    """Another mask is another job."""
    job = triple.job(numerics=QUICK)
    assert [run_job(job).status, run_job(job).status] == ["done", "already done"]
    with fits.open(triple.file("A_sci_msk"), mode="update") as hdus:
        hdus[0].data[50, 50] ^= 1
    with pytest.raises(Exception, match="exists already"):
        run_job(job)


@pytest.mark.parametrize("name", ["A_sci_msk", "A1_mask", "A_tmpl_rms"])
def test_what_others_wrote_is_never_overwritten(triple, name):
    """Not even where that is asked for: the command names it, or its name says what it is."""
    if name == "A_tmpl_rms":
        triple.file("A_tmpl_sig").rename(triple.file(name))
    before = triple.file(name).read_bytes()
    job = replace(triple.job(), output=str(triple.file(name)), overwrite=True)
    with pytest.raises(OutputExistsError, match="which is never overwritten"):
        run_job(job)
    assert triple.file(name).read_bytes() == before


@pytest.mark.parametrize("name", ["A_sci_msk", "A1_mask", "A_tmpl_rms"])
@pytest.mark.parametrize("what", ["part", "plot"])
def test_nor_by_what_is_written_besides(triple, name, what):
    if name == "A_tmpl_rms":
        triple.file("A_tmpl_sig").rename(triple.file(name))
    before = triple.file(name).read_bytes()
    file = str(triple.file(name))
    job = triple.job(write=f"mask={file}") if what == "part" else replace(triple.job(), plot=file)
    with pytest.raises(OutputExistsError, match="which is never overwritten"):
        run_job(replace(job, overwrite=True))
    assert triple.file(name).read_bytes() == before
    assert not (triple.folder / "out.fits").exists()


@pytest.mark.parametrize("name", ["A1_noise", "A_sci_mask", "A1_diff_sigma"])
def test_outputs_with_such_names_are_no_inputs(triple, name):
    """Of this job or another one."""
    triple.remove("A_sci_msk")
    job = replace(triple.job(numerics=QUICK), output=str(triple.file(name)))
    assert [run_job(job).status, run_job(job).status] == ["done", "already done"]
    run_job(replace(job, overwrite=True))
    files, _ = triple.found()
    assert (files.science.mask, files.difference.noise) == (None, None)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"science_gain": 2.0}, (2.0, 5, None)),  # the read noise is not given otherwise
        ({"science_gain": 2.0, "science_read_noise": 0}, (2.0, 0, None)),
        ({"science_read_noise": 7}, (1.6, 7, None)),
        ({"gain": 3.0, "read_noise": 4}, (None, None, None)),
        ({"gain": 3.0, "science_gain": 2.0}, (2.0, 5, None)),
        ({"science_noise": "A_sci_sig", "science_noise_kind": "sigma"}, (None, None, "A_sci_sig")),
        ({"science_noise": "A_sci_sig", "noise_kind": "sigma"}, (None, None, "A_sci_sig")),
        ({"science_noise_kind": "variance"}, (None, None, "A_sci_sig")),
    ],
)
def test_options_win(triple, options, expected):
    options = {
        name: str(triple.file(value)) if name.endswith("_noise") and value in NAMES else value
        for name, value in options.items()
    }
    files, images = triple.found(**options)
    own = files.science
    assert (own.gain, own.read_noise, own.noise and Path(own.noise).stem) == expected
    rows = slice(0, 5)
    pixels, variance = images.science.image[rows], images.science.variance[rows]
    gain = own.gain or options.get("gain")
    if gain and not own.noise:
        read_noise = own.read_noise if own.read_noise is not None else options["read_noise"]
        variance_of_gain = np.maximum(pixels, 0) / gain + (read_noise / gain) ** 2
        finite = np.isfinite(variance)
        np.testing.assert_allclose(variance[finite], variance_of_gain[finite], rtol=1e-6)


def test_given_levels_and_the_switch_take_nothing_of_the_noise(triple):
    levels = {"science_variance": 180, "template_variance": 22}
    files, images = triple.found(numerics=levels)
    assert files.science.gain is None
    assert images.science.variance is None
    assert named(files.science.mask) == "A_sci_msk.fits"
    files, images = triple.found(numerics=levels, diffcmd=False)
    assert (files.science.mask, images.science.mask, images.difference.variance) == (None,) * 3
    with pytest.raises(InputError, match=r"A_sci.fits: there is no noise plane in it; give"):
        triple.found(diffcmd=False)


def sigma_in_the_file(hdus):
    hdus.append(fits.ImageHDU(np.full((360, 360), 10, "f4"), name="ERR"))
    hdus.append(fits.ImageHDU(np.zeros((360, 360), "i2"), name="MASK"))


def test_planes_of_the_file_come_before_the_command(triple, rewritten):
    rewritten(triple.file("A_sci"), sigma_in_the_file)
    files, images = triple.found()
    assert (files.science.gain, files.science.mask, files.science.noise) == (None,) * 3
    assert np.nanmedian(images.science.variance[0:9]) == 100
    assert files.template.gain == 6.6


@pytest.fixture
def rewritten():
    def change(path, edit):
        with fits.open(path) as hdus:
            edited = fits.HDUList([hdu.copy() for hdu in hdus])
        edit(edited)
        edited.writeto(path, overwrite=True)

    return change


def without(*names):
    return lambda text: re.sub(rf" -({'|'.join(names)}) \S+", "", text)


def test_a_gain_that_is_not_stated_is_not_used(triple):
    """HOTPANTS would take 1, which it rarely is."""
    triple.remove(*SIGMAS)
    triple.command(without("tg"))
    with pytest.raises(InputError) as error:
        triple.found()
    for text in ("A_tmpl.fits: there is no noise plane", "--template-gain G", "(-tg)", "takes 1"):
        assert text in str(error.value)
    files, _ = triple.found(gain=6.6)
    assert files.template.read_noise == 5.1962
    triple.command(lambda text: f"{text} -tg 0")
    with pytest.raises(InputError, match=r"has -tg 0, which cannot be"):
        triple.found()


@pytest.mark.parametrize("value", ["-1", "nan", "1e400", "five"])
def test_absurd_numbers_are_not_used(triple, value):
    triple.command(lambda text: text.replace("-tr 5.1962", f"-tr {value}"))
    files, _ = triple.found()
    assert (files.template.gain, named(files.template.noise)) == (None, "A_tmpl_sig.fits")


def test_a_read_noise_that_is_not_stated_is_0(triple):
    triple.command(without("ir"))
    files, images = triple.found()
    assert (files.science.gain, files.science.read_noise) == (1.6, None)
    rows = slice(20, 30)
    expected = np.maximum(images.science.image[rows], 0) / 1.6
    got = images.science.variance[rows]
    np.testing.assert_allclose(got[np.isfinite(got)], expected[np.isfinite(got)], rtol=1e-6)


def test_a_pedestal_is_no_light(triple):
    """Pixels of both images, and the command, with a constant that is none: all stays the same."""
    _, images = triple.found()
    roles = ("science", "template")
    before = [in_memory(getattr(images, role).variance) for role in roles]
    for name, pedestal in (("A_sci", 250), ("A_tmpl", -40)):
        with fits.open(triple.file(name), mode="update") as hdus:
            hdus[0].data += np.float32(pedestal)
    triple.command(lambda text: f"{text} -ip 250 -tp -40")
    files, images = triple.found()
    assert (files.science.sky, files.template.sky) == (-250, 40)
    for role, expected in zip(roles, before, strict=True):
        # Saturated pixels are rounded anew.
        np.testing.assert_allclose(in_memory(getattr(images, role).variance), expected, rtol=1e-4)
    assert verify_job(triple.job()).fit.residual < 1e-3


def test_a_gain_of_subtracted_sky_is_found_out(triple):
    """What is left of the light makes far less noise than there is."""
    triple.remove("A_sci_sig")
    with fits.open(triple.file("A_sci"), mode="update") as hdus:
        hdus[0].data -= np.float32(np.median(hdus[0].data))
    with pytest.raises(InputError, match=r"times the variance that the gain 1.6 of DIFFCMD of A1"):
        triple.found()
    shutil.copy(A1 / "science_sigma.fits", triple.file("A_sci_sig"))
    files, _ = triple.found()
    assert named(files.science.noise) == "A_sci_sig.fits"
    files, _ = triple.found(science_gain=1.6)  # whoever gives it means it
    assert files.science.read_noise == 5


def test_a_gain_of_one_of_many_images_is_found_out(triple):
    """A coadd of many has far less noise than the gain of one makes."""
    triple.remove("A_tmpl_sig")
    triple.command(lambda text: text.replace("-tg 6.6000", "-tg 0.5"))
    with pytest.raises(
        InputError, match=r"A_tmpl.fits: .* its sky has 0.0\d* times .* \(a coadd\?\)"
    ):
        triple.found()


def test_no_pixel_has_noise(triple):
    """Without a read noise there is hardly any."""
    triple.remove("A_sci_sig")
    triple.command(without("ir"))
    with fits.open(triple.file("A_sci"), mode="update") as hdus:
        hdus[0].data -= np.float32(np.median(hdus[0].data) + 1000)
    with pytest.raises(InputError, match=r"was the sky subtracted"):
        triple.found()


def test_a_noise_image_that_is_named_comes_before_the_gain(triple, caplog):
    caplog.set_level("INFO")
    triple.command(lambda text: f"{text} -ini A_sci_sig.fits -tni gone.fits")
    files, _ = triple.found()
    assert (named(files.science.noise), files.science.noise_kind) == ("A_sci_sig.fits", "sigma")
    assert (files.template.noise, files.template.gain) == (None, 6.6)
    assert "gone.fits, named by -tni in DIFFCMD of A1_diff.fits, is not there" in caplog.text


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_where_files_are_looked_for(triple, ending):
    """As named, from the folder of the difference; else in it; packed, too."""
    triple.remove("A_tmpl_msk")
    source = triple.file("A_sci_msk")
    (triple.folder / "cal").mkdir()
    there = triple.folder / "cal" / f"m.fits{ending}"
    beside = triple.folder / f"n.fits{ending}"
    for file in (there, beside):
        content = source.read_bytes()
        file.write_bytes(gzip.compress(content) if ending else content)
    names = {"A_sci_msk.fits": "./cal/m.fits", "A_tmpl_msk.fits": "/nowhere/at/all/n.fits[0]"}
    triple.command(lambda text: re.sub("|".join(names), lambda found: names[found[0]], text))
    files, _ = triple.found()
    assert files.science.mask == str(there)
    assert files.template.mask == f"{beside}[0]"


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda path: path.write_text("no FITS"), "not a readable FITS file"),
        (lambda path: fits.PrimaryHDU(np.zeros((4, 5), "u1")).writeto(path), "shape"),
        (lambda path: fits.PrimaryHDU(np.full((360, 360), 0.5)).writeto(path), "whole numbers"),
        (lambda path: path.write_bytes(b""), "empty"),
    ],
)
def test_a_named_file_that_cannot_be_used(triple, damage, says):
    triple.file("A_tmpl_msk").unlink()
    damage(triple.file("A_tmpl_msk"))
    with pytest.raises(InputError, match=says) as error:
        in_memory(triple.found()[1].template.mask)
    for text in ("-tmi in DIFFCMD of A1_diff.fits", "--template-mask FILE", "--no-diffcmd"):
        assert text in str(error.value)
    shutil.copy(A1 / "template_mask.fits", triple.folder / "own.fits")
    triple.found(template_mask=str(triple.folder / "own.fits"))


def test_a_noise_image_that_cannot_be_one(triple, rewritten):
    """Errors of pixels, which are read later, say the same."""
    triple.command(lambda text: f"{text} -ini A_sci_sig.fits")
    with fits.open(triple.file("A_sci_sig"), mode="update") as hdus:
        hdus[0].data[100, 100:105] = -3
    with pytest.raises(InputError, match=r"negative sigma.*-ini in DIFFCMD.*--science-noise FILE"):
        in_memory(triple.found()[1].science.variance)

    def say_variance(hdus):
        hdus[0].data = abs(hdus[0].data)
        hdus[0].header["EXTNAME"] = "VARIANCE"

    rewritten(triple.file("A_sci_sig"), say_variance)
    with pytest.raises(InputError, match=r"VARIANCE says variance.*--science-noise-kind"):
        triple.found()
    files, _ = triple.found(science_noise_kind="variance")
    assert named(files.science.noise) == "A_sci_sig.fits"


def test_no_file_has_two_roles(triple, caplog):
    caplog.set_level("INFO")
    triple.remove(*SIGMAS, "A1_mask")
    triple.command(
        lambda text: (
            without("imi", "omi")(text)
            + " -imi A_tmpl.fits -ini A1_diff.fits -omi A_sci.fits -oni ./A_sci_msk.fits"
        )
    )
    files, _ = triple.found()
    assert named(files.science.mask) == "A_sci_msk.fits"  # beside it
    assert files.science.gain == 1.6
    assert files.difference.mask is None
    for option in ("-imi", "-ini", "-omi"):
        assert f"named by {option} in DIFFCMD of A1_diff.fits, has another role here" in caplog.text


def test_images_that_are_exchanged(triple, caplog):
    job = triple.job()
    exchanged = replace(job, science=job.template, template=job.science)
    triple.remove(*SIGMAS)
    with pytest.raises(InputError, match="there is no noise plane"):
        read_inputs(exchanged)
    assert "exchange them" in caplog.text


BESIDE = (
    *("_sig", "_sigma", "_err", "_error", "_rms", "_std"),
    *("_msk", "_mask"),
)


@pytest.mark.parametrize("end", BESIDE)
def test_names_beside_the_images_of_a_difference_without_command(triple, end):
    triple.command(lambda _: None)
    for name in list(NAMES)[3:]:
        triple.file(name).unlink()
    what = "mask" if end in ("_msk", "_mask") else "sigma"
    for name, role in (("A_sci", "science"), ("A_tmpl", "template")):
        shutil.copy(A1 / f"{role}_{what}.fits", triple.folder / f"{name}{end}.fits")
    numerics = {"science_variance": 180, "template_variance": 22} if what == "mask" else None
    files, images = triple.found(numerics=numerics)
    found = [getattr(one, "mask" if what == "mask" else "noise") for one in (files.science,)]
    assert [named(file) for file in found] == [f"A_sci{end}.fits"]
    if what == "sigma":
        sigma = fits.getdata(A1 / "science_sigma.fits").astype(float)
        got = in_memory(images.science.variance)
        good = np.isfinite(got)
        np.testing.assert_allclose(got[good], sigma[good] ** 2, rtol=1e-6)


def test_two_names_beside_an_image_are_none(triple):
    triple.command(without("ig"))
    shutil.copy(triple.file("A_sci_sig"), triple.folder / "A_sci_rms.fits")
    with pytest.raises(InputError, match=r"A_sci_sig.fits and .*A_sci_rms.fits may both be the"):
        triple.found()


def test_nothing_of_it_without_hotpants(triple, rewritten):
    """The same names beside images of another tool say nothing."""

    def of_nobody(hdus):
        for card in ("DIFFCMD", "SOFTNAME", "MASKVAL"):
            del hdus[0].header[card]

    rewritten(triple.file("A1_diff"), of_nobody)
    with pytest.raises(InputError, match="there is no noise plane in it"):
        triple.found()


def test_a_difference_alone(triple):
    job = Job(difference=str(triple.file("A1_diff")), output=str(triple.folder / "o.fits"))
    shutil.copy(triple.file("A_sci_sig"), triple.folder / "A1_noise.fits")
    found = read_inputs(job).job.files.difference
    assert (named(found.mask), named(found.noise)) == ("A1_mask.fits", "A1_noise.fits")
    for name in ("gain", "read_noise"):
        with pytest.raises(ConfigError, match="--" + name.replace("_", "-")):
            read_inputs(replace(job, files=FilesConfig.of(**{name: 2.0})))


def test_a_read_noise_needs_a_gain(triple):
    triple.remove("A_sci_msk")
    noise = {"science_noise": str(triple.file("A_sci_sig"))}
    noise |= {"template_noise": str(triple.file("A_tmpl_sig")), "noise_kind": "sigma"}
    with pytest.raises(ConfigError, match="--read-noise needs --gain"):
        triple.found(**noise, read_noise=3)


def test_a_kind_of_noise_needs_a_noise_plane(triple):
    """It also says that the sigma images beside the images are meant, not the gains."""
    files, _ = triple.found(noise_kind="sigma")
    assert (named(files.science.noise), files.science.gain) == ("A_sci_sig.fits", None)
    triple.remove(*SIGMAS)
    with pytest.raises(ConfigError, match="--noise-kind is for noise planes"):
        triple.found(noise_kind="sigma")


def test_options_of_both_images_leave_planes_alone(triple, rewritten, caplog):
    """A plane that says what it holds wins over what is said of both, with a warning."""
    rewritten(triple.file("A_sci"), sigma_in_the_file)
    files, images = triple.found(gain=6.6, noise_kind="ivar", diffcmd=False)
    assert np.nanmedian(images.science.variance[0:9]) == 100
    assert files.science.gain is files.template.gain is None
    assert "A_sci.fits: it has a noise plane, and --gain is not used" in caplog.text
    assert "ERR says that it is sigma, and --noise-kind ivar is not used" in caplog.text
    expected = in_memory(images.template.image)[9] / 6.6
    np.testing.assert_allclose(images.template.variance[9:10][0], expected, rtol=1e-5)


def test_the_kind_of_noise_of_all_three(triple):
    noise = {
        f"{role}_noise": str(triple.file(name))
        for role, name in (
            *(("science", "A_sci_sig"), ("template", "A_tmpl_sig"), ("difference", "A_sci_sig")),
        )
    }
    _, images = triple.found(**noise, noise_kind="sigma", template_noise_kind="variance")
    sigma = fits.getdata(triple.file("A_sci_sig")).astype(float)
    of_template = fits.getdata(triple.file("A_tmpl_sig")).astype(float)
    expected = {"science": sigma**2, "template": of_template, "difference": sigma**2}
    for role, variance in expected.items():
        got = in_memory(getattr(images, role).variance)
        good = np.isfinite(got)
        np.testing.assert_allclose(got[good], variance[good], rtol=1e-6)


def test_a_mask_or_noise_that_its_name_cannot_explain(triple):
    """Masks of 1 for good; variances called sigma: neither the command nor a person named them."""
    triple.command(lambda _: None)
    triple.remove("A_sci_msk", "A_sci_sig")
    sigma = fits.getdata(A1 / "science_sigma.fits").astype(float)
    for name, pixels, says in (
        (
            "A_sci_err",
            sigma**2,
            r"A_sci_err.fits: as sigma it cannot be right.*--science-noise FILE",
        ),
        ("A_sci_mask", (sigma > 0).astype("u1"), r"flags nearly all pixels.*--science-mask FILE"),
    ):
        fits.PrimaryHDU(pixels).writeto(triple.file(name))
        with pytest.raises(InputError, match=says):
            triple.found()
        triple.file(name).unlink()


def test_a_noise_image_of_convolved_variance_is_no_sigma(triple, caplog):
    caplog.set_level("INFO")
    shutil.copy(triple.file("A_sci_sig"), triple.folder / "A1_noise.fits")
    files, _ = triple.found()
    assert named(files.difference.noise) == "A1_noise.fits"
    triple.command(lambda text: f"{text} -convvar")
    files, _ = triple.found()
    assert files.difference.noise is None
    assert "it was made with -convvar" in caplog.text


@pytest.mark.reference
@pytest.mark.parametrize(
    "case",
    [
        *("A1", "A2", "B1", "C1", "M1"),
        *(pytest.param(case, marks=pytest.mark.long) for case in ("A3", "B2", "B3", "C2", "S1")),
    ],
)
def test_every_real_case_is_as_with_explicit_options(reference, tmp_path, case):
    """Its noise is right without a word, and the result that of every word."""
    folder, pair = reference / "hotpants", case[0]
    images = {"science": f"{pair}_sci", "template": f"{pair}_tmpl", "difference": f"{case}_diff"}
    job = Job(
        **{role: str(folder / f"{name}.fits") for role, name in images.items()},
        output=str(tmp_path / "out.fits"),
    )
    explicit = {f"{role}_mask": folder / f"{images[role]}_msk.fits" for role in list(images)[:2]}
    if case == "A2":
        sigmas = {f"{role}_noise": folder / f"{images[role]}_sig.fits" for role in list(images)[:2]}
        explicit |= sigmas | {"science_noise_kind": "sigma", "template_noise_kind": "sigma"}
    else:
        explicit |= EXPLICIT
    for role in ("difference_noise", "difference_mask"):
        file = folder / f"{case}_{role.removeprefix('difference_')}.fits"
        explicit |= {role: file} if file.exists() else {}
    if "difference_noise" in explicit:
        explicit["difference_noise_kind"] = "sigma"
    first = run_job(job)
    given = {name: str(v) if isinstance(v, Path) else v for name, v in explicit.items()}
    assert run_job(replace(job, files=FilesConfig.of(**given))).status == "already done"
    assert first.metrics["chi_before"] == pytest.approx(1, abs=0.05)
    assert first.metrics["chi_after"] == pytest.approx(1, abs=0.05)
    assert verify_job(job).fit.residual < 1e-5
