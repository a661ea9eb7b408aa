"""Which layout a file has, what lies beside it, and which planes come of it."""

import json
import logging
import re

import numpy as np
import pytest
from astropy.io import fits
from helpers.lsst_images import json_hdu

from diffdecor.config import LAYOUTS, ImageOptions
from diffdecor.errors import ConfigError, InputError
from diffdecor.images.read import open_exposure, read_exposure
from diffdecor.images.surveys import layout_named
from diffdecor.images.surveys.recognise import STEPS, companions_of

# What is tested is said as a command says it.
pytestmark = pytest.mark.usefixtures("as_a_command")

SHAPE = (12, 16)
IMAGE = np.random.default_rng(11).normal(50.0, 7.0, SHAPE).astype("f4")
ONES = np.ones(SHAPE, "f4")


def hdus(*planes, primary=None, packed=False):
    """A file of an empty primary and planes (name, array, cards)."""
    first = fits.PrimaryHDU()
    first.header.update(primary or {})
    out = [first]
    for name, array, *cards in planes:
        make = fits.CompImageHDU if packed else fits.ImageHDU
        how = {"quantize_level": 0, "compression_type": "GZIP_1"} if packed else {}
        hdu = make(np.asarray(array), **how)
        if name:
            hdu.header["EXTNAME"] = name
        for more in cards:
            hdu.header.update(more)
        out.append(hdu)
    return fits.HDUList(out)


def single(array=IMAGE, cards=None):
    hdu = fits.PrimaryHDU(np.asarray(array))
    hdu.header.update(cards or {})
    return fits.HDUList([hdu])


def with_tree(content):
    """A file of lsst.images of an image only."""
    version = {"schema_version": "1.0.0", "min_read_version": 1}
    pixels = {"source": "fits:IMAGE", "shape": list(SHAPE), "datatype": "float32"}
    image = {**version, "data": {"value": pixels}, "yx0": [3, 7]}
    tree = {**version, "image": image, "psf": None}
    content.append(json_hdu(json.dumps(tree).encode()))
    return content


RUBIN = {"FMTVER": 1, "DATAMODL": "https://images.lsst.io/schemas/visit_image-1.0.0"}
DECAM = {"INSTRUME": "DECam", "PLVER": "V5.1"}
ZTF = {"INSTRUME": "ZTF/MOSAIC", "GAIN": 6.2, "READNOI": 10.0}
SAMPLES = {
    "lsst-images": [("visit.fits", lambda: with_tree(hdus(("IMAGE", IMAGE), primary=RUBIN)))],
    "lsst": [
        ("calexp.fits", lambda: hdus(("IMAGE", IMAGE), ("MASK", ONES.astype("i4"), {"MP_BAD": 0}),
                                     ("VARIANCE", ONES))),
        ("decam_by_lsst.fits", lambda: hdus(("IMAGE", IMAGE), ("VARIANCE", ONES), primary=DECAM)),
        ("old.fits", lambda: hdus(("", IMAGE, {"EXTTYPE": "IMAGE"}),
                                  ("", ONES.astype("i4"), {"EXTTYPE": "MASK"}))),
    ],
    "decam": [
        ("c4d_150101_000000_ooi_r_v1.fits.fz", lambda: hdus(("S29", IMAGE), packed=True)),
        ("x.fits", lambda: hdus(("N31", IMAGE), primary=DECAM)),
    ],
    "ztf": [
        ("ztf_20200204197199_000812_zr_c04_o_q3_sciimg.fits", lambda: single(cards=ZTF)),
        ("a.fits", lambda: single(cards=ZTF)),
        ("ztf_000812_zr_c04_q3_refimg.fits", single),
    ],
    "ps1": [
        ("rings.v3.skycell.2381.062.stk.g.unconv.fits", lambda: hdus(("", IMAGE), packed=True)),
    ],
    "meerlicht": [
        ("ML1_20200101_010101_red.fits.fz", lambda: hdus(("", IMAGE), packed=True)),
        ("BG2_20230101_010101_red.fits", single),
        ("a.fits", lambda: single(cards={"TELESCOP": "BlackGEM-3"})),
    ],
    "hst": [
        ("j1_flc.fits", lambda: hdus(("SCI", IMAGE), ("ERR", ONES), ("DQ", ONES.astype("i2")),
                                     primary={"TELESCOP": "HST"})),
        ("j1_drz.fits", lambda: hdus(("SCI", IMAGE), ("WHT", ONES), ("CTX", ONES.astype("i4")),
                                     primary={"TELESCOP": "HST"})),
    ],
    "jwst": [
        ("jw_i2d.fits", lambda: hdus(("SCI", IMAGE), ("ERR", ONES), ("CON", ONES), ("WHT", ONES),
                                     primary={"TELESCOP": "JWST"})),
    ],
    "ccddata": [
        ("ccd.fits", lambda: fits.HDUList([*single(), *hdus(("MASK", ONES.astype("u1")), ("UNCERT",
                                          ONES, {"UTYPE": "StdDevUncertainty"}))[1:]])),
    ],
    "hotpants": [
        ("d.fits", lambda: single(cards={"SOFTNAME": "HOTPanTS", **DECAM})),
        ("c4d_1_ooi_g.fits", lambda: single(cards={"SOFTNAME": "HOTPanTS", "MASKVAL": 1e-30})),
        ("of_jwst.fits", lambda: single(cards={"SOFTNAME": "HOTPanTS", "TELESCOP": "JWST",
                                               "EXTNAME": "SCI"})),
    ],
    "plain": [
        ("image.fits", single),
        ("sci.fits", lambda: hdus(("SCI", IMAGE), ("ERR", ONES))),
        ("sfft.fits", lambda: single(cards={"CONVD": "REF", "NAME_REF": "t.fits", **ZTF})),
        ("zogy.fits", lambda: single(cards={"Z-P": True, "TELESCOP": "MeerLICHT"})),
        ("drz_sci.fits", lambda: single(cards={"TELESCOP": "HST"})),
    ],
}  # fmt: skip
CASES = [(layout, *case) for layout, cases in SAMPLES.items() for case in cases]


@pytest.fixture
def write(tmp_path):
    def into(name, content):
        path = tmp_path / name
        content.writeto(path, overwrite=True)
        return path

    return into


def test_the_options_name_every_layout():
    steps = [name for step in STEPS for name in step]
    assert sorted(steps) == sorted(LAYOUTS) == sorted(SAMPLES)
    assert all(layout_named(name).name == name for name in LAYOUTS)


@pytest.mark.parametrize(("layout", "name", "content"), CASES)
def test_every_file_is_recognised_and_it_is_logged(write, layout, name, content, caplog):
    caplog.set_level(logging.INFO)
    exposure = read_exposure(write(name, content()))
    assert re.search(rf"{re.escape(name)}: layout of the science image: {layout} \(", caplog.text)
    assert exposure.shape == SHAPE


def test_two_claims_are_no_guess(write):
    path = write("ML1_1_red.fits", single(cards=ZTF))
    with pytest.raises(InputError, match=r"ZTF and like MeerLICHT.*--template-layout ztf\|meerl"):
        read_exposure(path, role="template")
    assert read_exposure(path, layout="ztf", gain=1.0).variance is not None


def test_layouts_that_are_requested(write, caplog):
    caplog.set_level(logging.INFO)
    path = write("a.fits", single(cards=ZTF))
    read_exposure(path, layout="plain")
    assert "layout of the science image: plain, as requested" in caplog.text
    with pytest.raises(ConfigError, match="--science-layout is 'sdss': expected one of lsst"):
        read_exposure(path, layout="sdss")


def test_decam(write, caplog):
    """Three files of many CCDs, matched by name; code 7 is an object, code 4 a bleed trail."""
    caplog.set_level(logging.INFO)
    codes = np.zeros(SHAPE, "i2")
    codes[0, :4] = [1, 4, 7, 2]
    weight = np.full(SHAPE, 0.25, "f4")
    weight[1, :3] = [0, 1e-6, -1e-6]
    ccds = ("S29", IMAGE + 1), ("N31", IMAGE)
    path = write("c4d_1_ooi_r_v1.fits.fz", hdus(*ccds, primary=DECAM, packed=True))
    write("c4d_1_oow_r_v1.fits.fz", hdus(("N31", weight), ("S29", ONES), packed=True))
    masks = ("N31", codes), ("S29", codes * 0)
    write("c4d_1_ood_r_v1.fits.fz", hdus(*masks, primary={"PLVER": "V5.1"}, packed=True))
    exposure = read_exposure(f"{path}[N31]")
    np.testing.assert_array_equal(exposure.image, IMAGE)
    assert np.isinf(exposure.variance[1, :3]).all()
    assert (exposure.variance[2:] == 4).all()
    planes = exposure.mask_planes
    sets = [{n for n in planes.bits if exposure.mask[0, x] & planes.value([n])} for x in range(5)]
    assert sets == [{"BAD"}, {"BLEED", "SAT"}, {"TRANSIENT", "DETECTED"}, {"NO_DATA"}, set()]
    assert not exposure.mask[1:].any()
    for what in ("oow", "ood"):
        assert re.search(rf"(noise|mask) beside it: .*c4d_1_{what}_r_v1\.fits\.fz", caplog.text)
    with pytest.raises(InputError, match=r"several images .*S29.*name one as file\.fits\[EXT\]"):
        read_exposure(path)


def test_decam_before_3_5(write):
    bits = np.zeros(SHAPE, "i2")
    bits[0, :2] = [4, 128 | 2]
    path = write("c4d_1_ooi_r_v1.fits", hdus(("S29", IMAGE), primary=DECAM))
    write("c4d_1_ood_r_v1.fits", hdus(("S29", bits), primary={"PLVER": "V2.8.2A"}))
    exposure = read_exposure(path)
    assert exposure.variance is None
    planes = exposure.mask_planes
    assert exposure.mask[0, 0] == planes.value(["INTRP"])
    assert exposure.mask[0, 1] == planes.value(["SAT", "TRANSIENT", "DETECTED"])


def test_ztf(write, caplog):
    caplog.set_level(logging.INFO)
    bits = np.zeros(SHAPE, "i2")
    bits[0, :3] = [2, 2048 | 2, 256]
    path = write("ztf_1_sciimg.fits", single(cards=ZTF))
    write("ztf_1_mskimg.fits", single(bits))
    exposure = read_exposure(path)
    np.testing.assert_allclose(exposure.variance, IMAGE / 6.2 + (10 / 6.2) ** 2, rtol=1e-6)
    planes = exposure.mask_planes
    assert exposure.mask[0, 0] == planes.value(["SEX_SOURCE", "DETECTED"])
    assert exposure.mask[0, 1] == planes.value(["SEX_SOURCE", "PSF_SOURCE", "DETECTED"])
    assert exposure.mask[0, 2] == planes.value(["SAT"])
    assert "variance from gain 6.2, read noise 10, sky 0" in caplog.text
    own = read_exposure(path, gain=2.0, read_noise=4.0).variance
    np.testing.assert_allclose(own, IMAGE / 2 + 4, rtol=1e-6)
    with_sky = read_exposure(path, sky=100.0).variance
    np.testing.assert_allclose(with_sky, (IMAGE + 100) / 6.2 + (10 / 6.2) ** 2, rtol=1e-6)
    # A difference, or a coadd, has another noise than its inherited cards say.
    assert read_exposure(path, role="difference").variance is None
    assert read_exposure(write("warped.fits", single(cards=ZTF))).variance is None


def test_a_reference_of_ztf(write):
    path = write("ztf_1_refimg.fits", single(cards=ZTF))
    write("ztf_1_refunc.fits", single(ONES * 3))
    assert (read_exposure(path).variance == 9).all()


def test_differences_of_zogy_are_warned_of(write, caplog):
    read_exposure(write("ztf_1_scimrefdiffimg.fits.fz", hdus(("", IMAGE))), role="difference")
    assert "looks like a ZOGY difference" in caplog.text


def test_meerlicht(write):
    path = write("ML1_20200101_010101_red.fits.fz", hdus(("", IMAGE), packed=True))
    write("ML1_20200101_010101_red_bkg_std_mini.fits", single(np.full((3, 4), 5.0, "f4")))
    mask = np.zeros(SHAPE, "u1")
    mask[0, :2] = [4 | 8, 16]
    write("ML1_20200101_010101_mask.fits.fz", hdus(("", mask), packed=True))
    exposure = read_exposure(path)
    np.testing.assert_allclose(exposure.variance, 25 + IMAGE, rtol=1e-6)
    planes = exposure.mask_planes
    assert exposure.mask[0, 0] == planes.value(["SAT", "SAT_CONNECTED"])
    assert exposure.mask[0, 1] == planes.value(["SATELLITE", "DETECTED"])


def test_meerlicht_with_its_background(write, caplog):
    caplog.set_level(logging.INFO)
    path = write("ML1_1_red.fits", single(IMAGE + 1000, {"BKG-SUB": False}))
    write("ML1_1_bkg_std_mini.fits", single(np.full((3, 4), 5.0, "f4")))
    light = np.maximum(IMAGE - np.median(IMAGE), 0)
    np.testing.assert_allclose(read_exposure(path).variance, 25 + light, atol=1e-3)
    assert "is not subtracted (BKG-SUB)" in caplog.text


def test_jwst(write):
    dq = np.zeros(SHAPE, "u4")
    dq[0, :4] = [1, 2, 4, 1 << 31]
    parts = [(f"VAR_{name}", ONES * n) for n, name in ((2, "POISSON"), (3, "RNOISE"), (4, "FLAT"))]
    primary = {"TELESCOP": "JWST"}
    path = write(
        "cal.fits", hdus(("SCI", IMAGE), ("ERR", ONES * 4), ("DQ", dq), *parts, primary=primary)
    )
    exposure = read_exposure(path)
    assert (exposure.variance == 16).all()
    planes = exposure.mask_planes
    assert [exposure.mask[0, x] for x in range(4)] == [
        planes.value([name]) for name in ("BAD", "SAT", "JUMP_DET", "DQ_OTHER")
    ]
    path = write("i2d.fits", hdus(("SCI", IMAGE), ("WHT", ONES), *parts, primary=primary))
    assert (read_exposure(path).variance == 9).all()
    path = write("i2d.fits", hdus(("SCI", IMAGE), *parts[:2], primary=primary))
    assert (read_exposure(path).variance == 5).all()


def test_hst_has_several_versions(write):
    planes = [
        (name, np.full(SHAPE, value, dtype), {"EXTVER": version})
        for version in (1, 2)
        for name, value, dtype in (
            ("SCI", 10 * version, "f4"), ("ERR", version, "f4"), ("DQ", 4096 * version, "i2"),
        )
    ]  # fmt: skip
    path = write("flc.fits", hdus(*planes, primary={"TELESCOP": "HST"}))
    exposure = read_exposure(f"{path}[SCI,2]")
    assert (exposure.variance == 4).all()
    assert (exposure.mask == exposure.mask_planes.value(["CR_REJ", "CR"])).all()


def test_hst_drizzled(write):
    path = write("drz.fits", SAMPLES["hst"][1][1]())
    exposure = read_exposure(path)
    assert exposure.mask is None  # CTX is no mask
    assert exposure.variance[0, 0] == pytest.approx(49, rel=0.3)
    assert (read_exposure(path, noise_kind="ivar").variance == 1).all()


@pytest.mark.parametrize(
    ("utype", "variance"),
    [("StdDevUncertainty", 16.0), ("VarianceUncertainty", 4.0), ("InverseVariance", 0.25)],
)
def test_ccddata(write, utype, variance):
    mask = np.zeros(SHAPE, "u1")
    mask[2, 3] = 1
    planes = hdus(("MASK", mask), ("UNCERT", ONES * 4, {"UTYPE": utype}))[1:]
    exposure = read_exposure(write("ccd.fits", fits.HDUList([*single(), *planes])))
    assert (exposure.variance == variance).all()
    assert np.argwhere(exposure.mask).tolist() == [[2, 3]]
    assert "BAD" in exposure.mask_planes


def test_ccddata_of_unknown_uncertainty(write):
    planes = hdus(("UNCERT", ONES, {"UTYPE": "UnknownUncertainty"}))[1:]
    with pytest.raises(InputError, match="HDU UNCERT does not say what kind of noise"):
        read_exposure(write("ccd.fits", fits.HDUList([*single(), *planes])))


def test_ccddata_as_astropy_writes_it(tmp_path):
    from astropy.nddata import CCDData, InverseVariance

    mask = np.zeros(SHAPE, bool)
    mask[1, 1] = True
    data = CCDData(IMAGE, unit="adu", mask=mask, uncertainty=InverseVariance(ONES * 4))
    data.write(tmp_path / "ccd.fits")
    exposure = read_exposure(tmp_path / "ccd.fits")
    assert (exposure.variance == 0.25).all()
    assert exposure.mask.astype(bool).tolist() == mask.tolist()
    assert exposure.header["BUNIT"] == "adu"


def test_layers_of_hotpants(write):
    """`-allm`: layers that OBJECT names, and those of a fork that EXTNAME does."""
    cards = {"SOFTNAME": "HOTPanTS", "MASKVAL": 1e-30}
    noise = np.full(SHAPE, 3, "f4")
    image = IMAGE.copy()
    image[0, 0], noise[0, 0] = np.float32(1e-30), 0
    for layers in (
        [("", IMAGE, {"OBJECT": "Convolved Image"}),
         ("", IMAGE, {"OBJECT": "Noise-scaled (sigma) Difference Image"}),
         ("", noise, {"OBJECT": "HOTPanTS Noise Image", "MASKVAL": 0.0})],
        [("IMAGE_CONV", IMAGE), ("RMS_IMAGE_SCALED", IMAGE), ("RMS_IMAGE", noise)],
    ):  # fmt: skip
        content = fits.HDUList([*single(image, cards), *hdus(*layers)[1:]])
        exposure = read_exposure(write("d.fits", content), role="difference")
        assert exposure.image[0, 0] == np.float32(1e-30)
        assert np.isinf(exposure.variance[0, 0])
        assert (exposure.variance[1:] == 9).all()
        assert exposure.mask[0, 0] == exposure.mask_planes.value(["NO_DATA"])


def found(path, **options):
    return open_exposure(path, ImageOptions(**options)).found


def test_only_documented_names_are_taken_from_beside(write):
    path = write("c4d_1_ooi_r_v1.fits", hdus(("S29", IMAGE), primary=DECAM))
    write("c4d_2_oow_r_v1.fits", hdus(("S29", ONES)))
    write("image.wt.fits", single(ONES))
    plain = write("image.fits", single())
    assert found(path) == {}
    assert found(plain) == {}
    assert list(found(plain, layout="ps1")) == ["noise"]
    weight = write("c4d_1_oow_r_v1.fits", hdus(("S29", ONES)))
    assert found(f"{path}[S29]") == {"noise": str(weight)}
    assert companions_of(weight, layout_named("plain")) == {}


def test_options_win_over_files_beside(write):
    path = write("c4d_1_ooi_r_v1.fits", hdus(("S29", IMAGE), primary=DECAM))
    write("c4d_1_oow_r_v1.fits", hdus(("S29", ONES)))
    own = write("my.fits", hdus(("VARIANCE", ONES * 7)))
    assert (read_exposure(path, noise=own).variance == 7).all()
    np.testing.assert_allclose(read_exposure(path, gain=1.0).variance, IMAGE)
    assert (read_exposure(path, noise_kind="sigma").variance == 1).all()


def test_a_mask_of_another_name_is_not_taken_for_the_surveys(write):
    """A user's own mask beside an image of ZTF: bit 1 is no object there."""
    path = write("ztf_1_sciimg.fits", single(cards=ZTF))
    own = write("my_mask.fits", single(np.full(SHAPE, 2, "u1")))
    assert set(read_exposure(path, mask=own).mask_planes.bits) == {"BAD"}
    assert "SEX_SOURCE" in read_exposure(path, mask=own, layout="ztf").mask_planes
    assert "SEX_SOURCE" in read_exposure(path, mask=own, mask_preset="ztf").mask_planes


def test_a_noise_file_of_another_name_is_not_guessed(write):
    path = write("c4d_1_ooi_r_v1.fits", hdus(("S29", IMAGE), primary=DECAM))
    own = write("my.fits", hdus(("S29", ONES * 4)))
    with pytest.raises(InputError, match="does not say what kind of noise"):
        read_exposure(path, noise=own)
    assert (read_exposure(path, noise=own, layout="decam").variance == 0.25).all()
    weight = write("other_oow_.fits", hdus(("S29", ONES * 4)))
    assert (read_exposure(path, noise=weight).variance == 0.25).all()


@pytest.mark.parametrize("gain", ["6.2", 0.0, -1.0])
def test_a_broken_gain_card_is_no_gain(write, gain):
    assert (
        read_exposure(write("ztf_1_sciimg.fits", single(cards=ZTF | {"GAIN": gain}))).variance
        is None
    )
