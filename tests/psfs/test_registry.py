"""PSF files: recognised, read, or refused with a reason."""

import numpy as np
import pytest
from astropy.io import fits

import diffdecor
from diffdecor.errors import InputError
from diffdecor.fits.formats import Registry
from diffdecor.psfs.registry import carried_psf, described_formats, read_psf, register

RNG = np.random.default_rng(3)
STAMP = RNG.random((5, 7))
CUBE = RNG.random((4, 5, 7))
TABLE = {"X": [1.0, 11.0, 1.0, 11.0], "Y": [1.0, 1.0, 21.0, 21.0]}


def _write(path, *hdus):
    first = hdus[0] if isinstance(hdus[0], fits.PrimaryHDU) else fits.PrimaryHDU()
    rest = hdus[1:] if first is hdus[0] else hdus
    fits.HDUList([first, *rest]).writeto(path)
    return path


def _image(array, name="", **cards):
    hdu = fits.ImageHDU(array)
    if name:
        hdu.header["EXTNAME"] = name
    hdu.header.update(cards)
    return hdu


def _table(columns, name="PSFPOS"):
    made = [fits.Column(key, "D", array=np.array(values)) for key, values in columns.items()]
    return fits.BinTableHDU.from_columns(made, name=name)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "psf.fits"


@pytest.mark.parametrize("where", ["primary", "extension", "named", "behind an image", "packed"])
def test_a_stamp(path, where):
    other = np.ones((9, 9))
    hdus = {
        "primary": [fits.PrimaryHDU(STAMP)],
        "extension": [_image(STAMP)],
        "named": [_image(STAMP, "PSF")],
        "behind an image": [_image(other, "IMAGE"), _image(STAMP, "psf")],
        "packed": [fits.CompImageHDU(STAMP, compression_type="GZIP_1", quantize_level=0)],
    }[where]
    psf = read_psf(_write(path, *hdus))
    np.testing.assert_allclose(psf.stamp(3, 4), STAMP / STAMP.sum())
    assert psf.origin == (3, 2)


def test_the_origin_by_cards(path):
    assert read_psf(_write(path, _image(STAMP, CTRX=1, CTRY=5.0))).origin == (0, 4)


@pytest.mark.parametrize("cards", [{"CTRX": 1}, {"CTRX": 1.5, "CTRY": 1}, {"CTRX": 0, "CTRY": 0},
                                   {"CTRX": "a", "CTRY": 1}])  # fmt: skip
def test_impossible_origins(path, cards):
    with pytest.raises(InputError, match=r"psf\.fits: PSF: CTRX, CTRY = .* 1-based"):
        read_psf(_write(path, _image(STAMP, **cards)))


def test_an_even_size_is_taken_at_n_over_2_with_a_warning(path, caplog):
    assert read_psf(_write(path, _image(RNG.random((6, 7))))).origin == (3, 3)
    assert "even size" in caplog.text
    assert "centred on the 1-based pixel (4, 4), with the centroid at (" in caplog.text


def test_a_cube_with_positions(path):
    psf = read_psf(_write(path, _image(CUBE, "PSF", CTRX=2, CTRY=3), _table(TABLE)))
    assert psf.origin == (1, 2)
    assert psf.positions.tolist() == [[0, 0], [10, 0], [0, 20], [10, 20]]
    sums = CUBE.sum(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(psf.stamp(10, 0), (CUBE / sums)[1])
    np.testing.assert_allclose(psf.stamp(5, 10), (CUBE / sums).mean(axis=0))


@pytest.mark.parametrize("extension", ["", "[PSF]", "[1]"])
def test_an_extension_can_be_named(path, extension):
    _write(path, _image(CUBE, "PSF"), _image(STAMP, "OTHER"), _table(TABLE))
    psf = read_psf(f"{path}{extension}")
    assert psf.positions.shape == (4, 2)
    np.testing.assert_allclose(read_psf(f"{path}[OTHER]").stamp(0, 0), STAMP / STAMP.sum())


@pytest.mark.parametrize(
    ("hdus", "says"),
    [
        ([_image(CUBE, "PSF")], "4 stamps without positions"),
        ([_image(CUBE, "PSF"), _table({"X": [1.0], "Y": [1.0]})], "4 stamps but positions"),
        ([_image(CUBE, "PSF"), _table({"RA": [1.0], "DEC": [1.0]})], "X and Y are needed"),
        ([_image(CUBE, "PSF"), _table({"X": [np.nan] * 4, "Y": [1.0] * 4})], "NaN or infinite"),
        ([_image(np.ones((2, 2, 3, 3)), "PSF")], "a stamp or a cube"),
        ([_image(np.ones(9), "PSF")], "a stamp or a cube"),
        ([_image(STAMP * np.nan)], "must be finite"),
        ([_image(-STAMP)], "positive sum"),
        ([_table(TABLE)], "holds no PSF in a known format. Understood: .*psf-hdu: .*; psf-stamp: "),
        (
            [_table(TABLE, "PSF"), _table(TABLE, "PSF_MODEL")],
            "a Piff file.* draw the PSF with Piff",
        ),
    ],
)
def test_files_that_hold_no_psf(path, hdus, says):
    with pytest.raises(InputError, match=rf"psf\.fits: .*{says}"):
        read_psf(_write(path, *hdus))


def test_a_cube_with_a_table_of_another_name(path):
    wrong = _table({"X": [5.0] * 3, "Y": [5.0] * 3}, "STARS")
    psf = read_psf(_write(path, _image(CUBE), wrong, _table(TABLE, "POSITIONS")))
    assert psf.positions.tolist() == [[0, 0], [10, 0], [0, 20], [10, 20]]


@pytest.mark.parametrize("extname", ["IMAGE", ""])
def test_an_exposure_is_not_taken_for_a_stamp(path, extname):
    exposure = _image(STAMP, extname, EXTTYPE="IMAGE")
    with pytest.raises(InputError, match=r"holds an exposure .HDU IMAGE. without an HDU PSF"):
        read_psf(_write(path, exposure))


def test_noise_is_not_taken_for_a_stamp(path):
    noise = np.random.default_rng(1).normal(size=(321, 301))
    noise += 0.003 - noise.mean()
    with pytest.raises(InputError, match=r"psf\.fits: PSF: .* an image, not a PSF"):
        read_psf(_write(path, fits.PrimaryHDU(noise)))


def test_a_noisy_stamp_with_wide_wings_is_one(path):
    y, x = np.indices((321, 301)) - np.array([160, 150])[:, np.newaxis, np.newaxis]
    stamp = np.exp(-(x**2 + y**2) / 8) + np.random.default_rng(1).normal(0, 1e-3, x.shape)
    assert read_psf(_write(path, fits.PrimaryHDU(stamp))).origin == (150, 160)


def test_a_stamp_as_ztf_has_it(path):
    """A file diffimgpsf.fits is nothing but 25 x 25 pixels."""
    y, x = np.indices((25, 25)) - 12
    stamp = np.exp(-(x**2 + y**2) / 5).astype("f4")
    psf = read_psf(_write(path, fits.PrimaryHDU(stamp)))
    assert psf.origin == (12, 12)
    np.testing.assert_allclose(psf.stamp(900, 3), stamp / stamp.sum(dtype="f8"), rtol=1e-6)


def test_it_is_public(path):
    _write(path, _image(STAMP))
    assert diffdecor.read_psf(path).origin == (3, 2)


def test_an_image_does_not_carry_a_psf_without_a_name(path):
    _write(path, _image(STAMP), _image(STAMP, "IMAGE"))
    with fits.open(path) as hdus:
        assert carried_psf(hdus, "a.fits") is None


def test_a_table_named_psf_is_not_taken_for_stamps(path):
    _write(path, _table(TABLE, "PSF"))
    with fits.open(path) as hdus:
        assert carried_psf(hdus, "a.fits") is None


def test_formats_are_listed_and_names_are_taken_once():
    assert {"psf-hdu", "psf-stamp", "psfex", "lsst"} <= set(described_formats())
    with pytest.raises(ValueError, match="already a PSF format 'psf-stamp'"):
        register("psf-stamp", description="again")(object())


def test_two_claimants_are_an_error():
    registry = Registry(thing="PSF", modules={})

    class Greedy:
        def identify(self, hdus):
            return bool(hdus)

    for name in ("one", "two"):
        registry.register(name, description=name)(Greedy())
    with pytest.raises(InputError, match=r"a\.fits: looks like one and two; name the HDU"):
        registry.identify([1], "a.fits")
    with pytest.raises(InputError, match="holds no PSF"):
        registry.identify([], "a.fits")


@pytest.mark.parametrize("error", [ValueError, AssertionError, AttributeError])
def test_what_breaks_inside_a_reader_is_an_input_error(path, monkeypatch, error):
    from diffdecor.psfs import stamp

    def fail(*_args):
        raise error("some bytes\nare wrong")  # noqa: EM101, TRY003

    monkeypatch.setattr(stamp, "read_pixels", fail)
    with pytest.raises(InputError, match=r"damaged psf-stamp .some bytes are wrong"):
        read_psf(_write(path, _image(STAMP)))
