"""Files of surveys as they are, through the whole of `diffdecor run`; real ones, too."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from diffdecor.config import FilesConfig
from diffdecor.images.read import read_exposure
from diffdecor.pipeline.job import Job
from diffdecor.pipeline.run import run_job

SHAPE = (64, 72)
KERNEL = np.outer([1, 2, 1], [1, 2, 1]) / 16.0
SIGMA = {"science": 4.0, "template": 3.0}


@pytest.fixture
def arrays():
    rng = np.random.default_rng(17)
    science, template = (rng.normal(0.0, SIGMA[r], SHAPE) for r in ("science", "template"))
    smooth = sum(
        KERNEL[j, i] * np.roll(template, (j - 1, i - 1), (0, 1)) for j in range(3) for i in range(3)
    )
    return {"science": science, "template": template, "difference": science - smooth}


@pytest.fixture
def run(tmp_path, arrays):
    """Write kernel and difference, and run on them and the files of an image."""
    fits.PrimaryHDU(KERNEL).writeto(tmp_path / "kernel.fits")
    difference = fits.PrimaryHDU(arrays["difference"].astype("f4"))
    difference.header.update({"BUNIT": "adu", "MAGZP": 25.3, "SOFTNAME": "HOTPanTS"})
    difference.header.update({"BSOFTEN": 3.0, "BOFFSET": 1.0, "MASKVAL": 1e-30})
    difference.writeto(tmp_path / "difference.fits")

    def on(science, template, **options):
        output = tmp_path / "out.fits"
        job = Job(
            science=str(science),
            template=str(template),
            difference=str(tmp_path / "difference.fits"),
            kernel=str(tmp_path / "kernel.fits"),
            output=str(output),
            files=FilesConfig.of(**options),
        )
        return run_job(job), output

    return on


def verified(path):
    program = shutil.which("fitsverify")
    if program is not None:
        done = subprocess.run([program, path], capture_output=True, text=True, check=False)
        lines = [line for line in done.stdout.splitlines() if line.startswith("***")]
        assert lines == ["**** Verification found 0 warning(s) and 0 error(s). ****"], done.stdout
    return fits.open(path)


def plain(path, array, cards=None):
    hdu = fits.PrimaryHDU(np.asarray(array))
    hdu.header.update(cards or {})
    hdu.writeto(path)
    return path


def packed(path, name, array, cards=None):
    first = fits.PrimaryHDU()
    first.header.update(cards or {})
    hdu = fits.CompImageHDU(
        np.asarray(array), name=name, quantize_level=0, compression_type="GZIP_1"
    )
    fits.HDUList([first, hdu]).writeto(path)
    return path


def ps1(path, array):
    scaled = 1.085736204758130 * np.arcsinh((array - 0.5) / 40.0)
    return plain(path, scaled.astype("f4"), {"BOFFSET": 0.5, "BSOFTEN": 20.0})


@pytest.fixture
def decam_and_panstarrs(arrays, tmp_path):
    """Write both with the files beside them."""
    decam = {"INSTRUME": "DECam", "PLVER": "V5.1", "BUNIT": "adu"}
    codes = np.zeros(SHAPE, "i2")
    codes[10, 10], codes[20, 20:23], codes[30, 30] = 3, 7, 5
    weight = np.full(SHAPE, 1 / 16, "f4")
    weight[40, 40] = 0
    science = packed(tmp_path / "c4d_1_ooi_g_v1.fits.fz", "S29", arrays["science"], decam)
    oow = packed(tmp_path / "c4d_1_oow_g_v1.fits.fz", "S29", weight)
    packed(tmp_path / "c4d_1_ood_g_v1.fits.fz", "S29", codes, decam)
    template = ps1(tmp_path / "rings.v3.skycell.1.1.stk.g.unconv.fits", arrays["template"])
    ps1(tmp_path / "rings.v3.skycell.1.1.stk.g.unconv.wt.fits", np.full(SHAPE, 9.0))
    bits = np.zeros(SHAPE, "u2")
    bits[50, 50], bits[50, 52] = 0x1000, 0x2
    plain(tmp_path / "rings.v3.skycell.1.1.stk.g.unconv.mask.fits", bits)
    return f"{science}[S29]", template, oow


def test_decam_against_panstarrs(run, decam_and_panstarrs, arrays):
    science, template, oow = decam_and_panstarrs
    outcome, output = run(science, template)
    assert outcome.metrics["science_level"] == pytest.approx(16)
    assert outcome.metrics["template_level"] == pytest.approx(9, rel=1e-5)
    with verified(output) as hdus:
        header = hdus[0].header
        assert header["DDSNFILE"] == oow.name
        assert header["DDTMFILE"] == "rings.v3.skycell.1.1.stk.g.unconv.mask.fits"
        assert header["MAGZP"] == 25.3
        assert not {"BSOFTEN", "BOFFSET"} & set(header)
        assert hdus["IMAGE"].header["BUNIT"] == "adu"
        assert hdus["VARIANCE"].header["BUNIT"] == "adu2"
        cards = hdus["MASK"].header
        for name in ("SAT", "TRANSIENT", "DETECTED", "CR", "STARCORE", "FLAT", "BAD"):
            assert 0 <= cards[f"MP_{name}"] <= 30
        mask = hdus["MASK"].data
        assert mask[20, 21] & 1 << cards["MP_TRANSIENT"]
        assert mask[50, 50] & 1 << cards["MP_STARCORE"]
        assert mask[50, 52] & 1 << cards["MP_BAD"]
        assert mask[40, 40] & 1 << cards["MP_NO_DATA"]
        image = hdus["IMAGE"].data
    # Defects are put back as they were; what is an object is decorrelated as all the rest.
    same = image == arrays["difference"].astype("f4")
    assert same[[10, 30, 40, 50], [10, 30, 40, 52]].all()
    assert not same[[20, 50], [21, 50]].any()
    assert run(science, template)[0].status == "already done"


def test_a_job_knows_the_files_beside_its_images(run, arrays, tmp_path):
    """Another weight is another job, though nobody named the file."""
    science = packed(tmp_path / "c4d_1_ooi_g_v1.fits", "S29", arrays["science"])
    template = plain(tmp_path / "t.fits", arrays["template"])
    oow = packed(tmp_path / "c4d_1_oow_g_v1.fits", "S29", np.full(SHAPE, 1 / 16, "f4"))
    options = {"template_gain": 1.0, "template_sky": 9.0}
    assert run(science, template, **options)[0].status == "done"
    assert run(science, template, **options)[0].status == "already done"
    oow.unlink()
    packed(oow, "S29", np.full(SHAPE, 1 / 25, "f4"))
    with pytest.raises(Exception, match="exists already"):
        run(science, template, **options)


def test_ztf_against_meerlicht(run, arrays, tmp_path):
    sky = 96.0
    cards = {"INSTRUME": "ZTF/MOSAIC", "GAIN": 6.2, "READNOI": 5.0}
    science = plain(tmp_path / "ztf_1_sciimg.fits", arrays["science"] + sky, cards)
    bits = np.zeros(SHAPE, "i2")
    bits[5, 5], bits[6, 6] = 1 << 11, 1 << 9
    plain(tmp_path / "ztf_1_mskimg.fits", bits)
    template = packed(tmp_path / "ML1_1_red.fits.fz", "", arrays["template"])
    plain(tmp_path / "ML1_1_red_bkg_std_mini.fits", np.full((8, 9), 3.0, "f4"))
    outcome, output = run(science, template)
    expected = sky / 6.2 + (5 / 6.2) ** 2
    assert outcome.metrics["science_level"] == pytest.approx(expected, rel=0.01)
    assert outcome.metrics["template_level"] == pytest.approx(9 + 3 / np.sqrt(2 * np.pi), rel=0.05)
    with verified(output) as hdus:
        cards = hdus["MASK"].header
        assert hdus["MASK"].data[5, 5] & 1 << cards["MP_PSF_SOURCE"]
        assert hdus["MASK"].data[6, 6] & 1 << cards["MP_DEAD"]


def test_options_of_masks_and_layouts_reach_the_images(run, arrays, tmp_path):
    bits = np.zeros(SHAPE, "u1")
    bits[5, 5], bits[6, 6] = 1, 4
    images = {}
    for role in ("science", "template"):
        images[role] = plain(tmp_path / f"{role}.fits", arrays[role])
        plain(tmp_path / f"{role}_mask.fits", bits)
    noise = {f"{role}_gain": 1.0 for role in images} | {f"{role}_sky": 9.0 for role in images}
    masks = {f"{role}_mask": str(tmp_path / f"{role}_mask.fits") for role in images}
    given = {"bad_bits": "0x4", "zero_borders": False, "layout": "plain"}
    _, output = run(*images.values(), **noise, **masks, **given)
    with verified(output) as hdus:
        header, cards, mask = hdus[0].header, hdus["MASK"].header, hdus["MASK"].data
        assert (header["DDBADBIT"], header["DDSSKY"], header["DDLAYOUT"]) == ("2", 9.0, "plain")
        assert mask[6, 6] & 1 << cards["MP_BAD"]
        assert mask[5, 5] & 1 << cards["MP_BIT0"]
        assert not mask[5, 5] & 1 << cards["MP_BAD"]
    output.unlink()
    own = {"mask_preset": "desdm", "template_mask_preset": "meerlicht", "ignore_bits": [0]}
    _, output = run(*images.values(), **noise, **masks, **own)
    with verified(output) as hdus:
        cards, mask = hdus["MASK"].header, hdus["MASK"].data
        assert mask[6, 6] & 1 << cards["MP_INTRP"]
        assert mask[6, 6] & 1 << cards["MP_SAT"]
        assert mask[5, 5] & 1 << cards["MP_BIT0"]


@pytest.mark.reference
@pytest.mark.parametrize("role", ["science", "template"])
def test_real_nircam_images(reference, role, caplog):
    caplog.set_level("INFO")
    folder = reference / "real-nircam"
    exposure = read_exposure(
        folder / f"{role}.fits", noise=folder / f"{role}_sigma.fits", noise_kind="sigma", role=role
    )
    sigma = fits.getdata(folder / f"{role}_sigma.fits")
    np.testing.assert_allclose(exposure.variance, sigma.astype(float) ** 2, rtol=1e-6)
    assert exposure.mask is None
    assert f"layout of the {role} image: plain" in caplog.text
    # As relative weights of unknown scale, they are found to be right to a few per cent.
    with fits.open(folder / f"{role}_sigma.fits") as hdus:
        hdus[0].data = 7.0 / hdus[0].data.astype(float) ** 2
        variance = read_exposure_of(hdus, folder / f"{role}.fits")
    assert np.median(variance / sigma**2) == pytest.approx(1.0, abs=0.2)


def read_exposure_of(noise, image):
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        noise.writeto(Path(folder) / "w.fits")
        return read_exposure(image, noise=Path(folder) / "w.fits", noise_kind="weight").variance


@pytest.mark.reference
def test_real_nircam_difference_of_hotpants(reference, caplog):
    caplog.set_level("INFO")
    folder = reference / "real-nircam"
    exposure = read_exposure(
        folder / "hotpants_diff.fits",
        noise=folder / "hotpants_noise.fits",
        mask=folder / "hotpants_mask.fits",
        role="difference",
    )
    raw = fits.getdata(folder / "hotpants_mask.fits").astype(int)
    bad = (exposure.mask & exposure.mask_planes.value(["BAD"])) != 0
    np.testing.assert_array_equal(bad, (raw & 0x8000) != 0)
    filled = exposure.image == np.float32(1e-30)
    no_data = (exposure.mask & exposure.mask_planes.value(["NO_DATA"])) != 0
    assert (no_data & filled).sum() == filled.sum()
    assert np.isinf(exposure.variance[filled]).all()
    assert "layout of the difference image: hotpants" in caplog.text
    assert not [record for record in caplog.records if record.levelname == "WARNING"]
    sfft = read_exposure(folder / "sfft_ref_diff.fits", role="difference")
    assert sfft.mask is None
    assert "sfft_ref_diff.fits: layout of the difference image: plain" in caplog.text


@pytest.mark.reference
@pytest.mark.parametrize(
    ("name", "planes"),
    [("real_exposure_gaussianpsf_v3", {"BAD": 0, "NO_DATA": 8, "UNMASKEDNAN": 12}),
     ("real_exposure_pcapsf_v0", {"BAD": 0, "SUSPECT": 7, "DETECTED": 5})],
)  # fmt: skip
def test_real_exposures_of_lsst(reference, name, planes, caplog):
    caplog.set_level("INFO")
    path = reference / "lsst-persistence" / f"{name}.fits"
    exposure = read_exposure(path)
    with fits.open(path) as hdus:
        np.testing.assert_array_equal(exposure.mask, hdus[2].data.astype(int))
        np.testing.assert_array_equal(exposure.variance, hdus[3].data)
    assert planes.items() <= dict(exposure.mask_planes.bits).items()
    assert "layout of the science image: lsst (LSST, HSC (afw), diffdecor)" in caplog.text
