"""Masks of the surveys: every bit of every table, options on bits, and the table of the help."""

from importlib import import_module
from pkgutil import iter_modules

import numpy as np
import pytest
from astropy.io import fits

from diffdecor.cli.topics import topic_named
from diffdecor.config import FILLED_PLANES, IGNORED_PLANES, MASK_PRESETS, ImageOptions
from diffdecor.core.planes import LazyPlane, in_memory
from diffdecor.errors import ConfigError, InputError
from diffdecor.fits.read_rows import stored_integers
from diffdecor.images import surveys
from diffdecor.images.masks import read_mask
from diffdecor.images.read import read_exposure
from diffdecor.images.surveys import preset_named

# What is tested is said as a command says it.
pytestmark = pytest.mark.usefixtures("as_a_command")

PRESETS = {name: preset_named(name) for name in MASK_PRESETS if name != "decam"}

HARMLESS, LIGHT, DEFECT = "harmless", "light", "defect"

# What every value of every survey has to be: the planes, beside its own, that must be set.
EXPECTED = {
    "decam-bits": {1: "BAD", 2: "SAT", 4: "INTRP", 16: "CR", 64: "SAT", 128: "DETECTED"},
    "decam-codes": {1: "BAD", 2: "NO_DATA", 3: "SAT", 4: "SAT", 5: "CR", 6: "BAD", 7: "DETECTED",
                    8: "DETECTED"},
    "desdm": {1: "BAD", 2: "SAT", 4: "INTRP", 8: "BAD", 16: "CR", 32: "DETECTED", 64: "SAT",
              128: "BAD", 256: "DETECTED", 512: "EDGE", 1024: "DETECTED", 2048: "FIX"},
    "ztf": {1: "DETECTED", 2: "DETECTED", 4: "BAD", 8: "BAD", 16: "BAD", 32: "DETECTED", 64: "BAD",
            128: "DETECTED", 256: "SAT", 512: "BAD", 1024: "NO_DATA", 2048: "DETECTED",
            4096: "DETECTED"},
    "ps1": {0x1: "BAD", 0x2: "BAD", 0x4: "BAD", 0x8: "NO_DATA", 0x10: "BAD", 0x20: "SAT",
            0x40: "BAD", 0x80: "SUSPECT", 0x100: "CR", 0x200: "DETECTED", 0x400: "DETECTED",
            0x800: "DETECTED", 0x1000: "DETECTED", 0x2000: "BAD", 0x4000: "CONV_POOR"},
    "meerlicht": {1: "BAD", 2: "CR", 4: "SAT", 8: "SAT", 16: "DETECTED", 32: "EDGE",
                  64: "DETECTED"},
    "hst": {1: "BAD", 2: "NO_DATA", 4: "BAD", 8: "DQ3", 16: "BAD", 32: "DQ5", 64: "WARM",
            128: "BAD", 256: "SAT", 512: "BAD", 1024: "TRAP", 2048: "SAT", 4096: "CR", 8192: "CR",
            16384: "DQ14"},
    "jwst": {1: "BAD", 2: "SAT", 4: "JUMP_DET", 8: "DQ_OTHER", 16: "OUTLIER", 32: "PERSISTENCE",
             128: "CHARGELOSS", 256: "UNRELIABLE", 512: "NO_DATA", 1024: "DEAD", 2048: "HOT",
             4096: "WARM", 1 << 19: "UNCORRECTED", 1 << 30: "DQ_OTHER", 1 << 31: "DQ_OTHER"},
    "pyzogy": {1: "BAD"},
}  # fmt: skip
KNOWN = {"BAD", "SAT", "CR", "NO_DATA", "INTRP", "EDGE", "DETECTED"}
CASES = [(preset, *case) for preset, table in EXPECTED.items() for case in table.items()]


def read(values, preset="", cards=None, about=(), **options):
    hdu = fits.ImageHDU(np.asarray(values))
    hdu.header.update(cards or {})
    requested = ImageOptions(mask_preset=preset or None, **options)
    return read_mask_of(hdu, options=requested, about=about)


def read_mask_of(hdu, **more):
    mask, planes = read_mask(stored_integers(hdu, "mask.fits"), hdu.header, "mask.fits", **more)
    return in_memory(mask), planes


def names(mask, planes, pixel=(0, 0)):
    return {name for name in planes.bits if mask[pixel] & planes.value([name])}


@pytest.mark.parametrize(("preset", "value", "plane"), CASES)
def test_every_value_of_every_survey(preset, value, plane, caplog):
    mask, planes = read(np.array([[value, 0]]), preset)
    found = names(mask, planes)
    assert found & KNOWN == {plane} & KNOWN
    assert plane in found
    assert mask[0, 1] == 0
    assert mask.dtype == np.int32
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


@pytest.mark.parametrize("preset", sorted(set(PRESETS) - {"lsst", "nonzero"}))
def test_tables_are_sound(preset):
    table = PRESETS[preset]
    bits = [flag.bit for flag in table.flags]
    assert len(set(bits)) == len(bits)
    assert {name for flag in table.flags for name in flag.means} <= KNOWN
    # Room is left for the planes of the result, and of another survey's template.
    assert len({name for flag in table.flags for name in (flag.plane, *flag.means)}) <= 22


def test_the_options_name_every_preset():
    modules = [
        import_module(f"{surveys.__name__}.{m.name}") for m in iter_modules(surveys.__path__)
    ]
    described = {name for module in modules for name in getattr(module, "PRESETS", ())}
    assert set(MASK_PRESETS) == {*described, "decam"}


@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "i4", "f4"])
def test_bits_together_and_types_of_masks(mef, dtype):
    path = mef(("", np.ones((1, 3), "f4")), name="a.fits")
    file = mef(("", np.array([[0, 6, 40]], dtype)), name="m.fits")
    exposure = read_exposure(path, mask=file, mask_preset="meerlicht")
    mask, planes = exposure.mask, exposure.mask_planes
    assert names(mask, planes, (0, 1)) == {"CR", "SAT"}
    assert names(mask, planes, (0, 2)) == {"SAT_CONNECTED", "SAT", "EDGE"}
    assert planes.bits["EDGE"] == 5


def test_a_mask_that_is_none_is_refused():
    with pytest.raises(InputError, match="needs whole numbers"):
        read(np.array([[0.0, 1.5]]), "ztf")


@pytest.mark.parametrize(
    ("version", "codes"),
    [("V2.8.2A", False), ("V3.4.9", False), ("V3.5.0", True), ("V4.8.2a", True), ("DES 5.0", True),
     ("5.2.2LS", True), ("V3.10", True)],
)  # fmt: skip
def test_decam_holds_bits_or_codes_by_version(version, codes):
    """4 is "interpolated" in the old kind, and "bleed" in the new one."""
    about = [fits.Header({"PLVER": version})]
    mask, planes = read(np.array([[4, 5, 7]]), "decam", about=about)
    assert names(mask, planes) == ({"BLEED", "SAT"} if codes else {"INTRP"})
    assert names(mask, planes, (0, 1)) == ({"CR"} if codes else {"BAD", "INTRP"})
    assert names(mask, planes, (0, 2)) == (
        {"TRANSIENT", "DETECTED"} if codes else {"BAD", "SAT", "INTRP"}
    )


def test_decam_of_unknown_version():
    with pytest.raises(InputError, match=r"no card PLVER .* --science-mask-preset decam-bits or"):
        read(np.array([[4]]), "decam")
    assert names(*read(np.array([[4]]), "decam", mask_codes=True)) == {"BLEED", "SAT"}


def test_unknown_bits_are_warned_of_and_named(caplog):
    mask, planes = read(np.array([[8, 8, 1 << 20], [2, 0, 0]]), "decam-bits")
    assert names(mask, planes) == {"BIT3"}
    assert names(mask, planes, (0, 2)) == {"BIT20"}
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 2
    assert (
        "bit 3 of the mask is set in 2 pixels, and neither a card nor a preset knows it"
        in warnings[0]
    )
    assert "bit 20 of the mask is set in 1 pixels" in warnings[1]


def test_unknown_codes_are_warned_of(caplog):
    mask, planes = read(np.array([[64, 128, 3]]), "decam-codes")
    assert names(mask, planes) == {"OTHER_CODES"}
    assert names(mask, planes, (0, 2)) == {"SAT"}
    assert "code 64 of the mask is set in 1 pixels" in caplog.text
    assert "code 128" in caplog.text


def test_a_mask_of_many_unknown_bits_leaves_room_for_planes_of_the_result():
    _, planes = read(np.array([[(1 << 31) - 1]]), "pyzogy")
    assert planes.bits["OTHER_BITS"]
    assert len(planes.adding("EDGE", "NO_DATA", "NEAR_FILLED", "NOISE_FALLBACK").bits) < 31


VALUES = np.array([[0, 1, 2, 4, 8]])


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ({}, [set(), {"BAD"}, {"BAD"}, {"BAD"}, {"BAD"}]),
        ({"preset": "nonzero"}, [set(), {"BAD"}, {"BAD"}, {"BAD"}, {"BAD"}]),
        ({"bad_bits": (0, 2)}, [set(), {"BAD"}, {"BIT1"}, {"BAD"}, {"BIT3"}]),
        ({"ignore_bits": (1,)}, [set(), {"BAD"}, {"BIT1"}, {"BAD"}, {"BAD"}]),
        ({"bad_bits": (0, 1), "ignore_bits": (1,)}, [set(), {"BAD"}, {"BIT1"}, {"BIT2"}, {"BIT3"}]),
        ({"bad_bits": ()}, [set(), {"BIT0"}, {"BIT1"}, {"BIT2"}, {"BIT3"}]),
        ({"preset": "meerlicht", "ignore_bits": (1,)},
         [set(), {"BAD"}, {"BIT1"}, {"SAT"}, {"SAT_CONNECTED", "SAT"}]),
        ({"preset": "desdm", "bad_bits": (2,)},
         [set(), {"BAD"}, {"SAT"}, {"INTRP", "BAD"}, {"LOW", "BAD"}]),
        ({"mask_codes": True}, [set(), {"BAD"}, {"BAD"}, {"BAD"}, {"BAD"}]),
        ({"mask_codes": True, "bad_bits": (4, 8)},
         [set(), {"OTHER_CODES"}, {"OTHER_CODES"}, {"BAD"}, {"BAD"}]),
        ({"mask_codes": True, "ignore_bits": (2, 8)},
         [set(), {"BAD"}, {"CODE2"}, {"BAD"}, {"CODE8"}]),
    ],
)  # fmt: skip
def test_options_on_bits(source, expected, caplog):
    mask, planes = read(VALUES, **source)
    assert [names(mask, planes, (0, x)) for x in range(5)] == expected
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


def test_bad_bits_replace_the_table_of_a_layout_and_ignored_ones_change_it():
    hdu = fits.ImageHDU(np.array([[1, 16]]))
    for options, expected in (
        (ImageOptions(), [{"TRACK", "DETECTED"}, {"NOISY", "BAD"}]),
        (ImageOptions(ignore_bits=(4,)), [{"TRACK", "DETECTED"}, {"BIT4"}]),
        (ImageOptions(bad_bits=(0,)), [{"BAD"}, {"BIT4"}]),
        (
            ImageOptions(mask_preset="ztf", bad_bits=(0,)),
            [{"TRACK", "DETECTED", "BAD"}, {"NOISY", "BAD"}],
        ),
        (ImageOptions(mask_preset="nonzero"), [{"BAD"}, {"BAD"}]),
    ):
        mask, planes = read_mask_of(hdu, options=options, preset="ztf")
        assert [names(mask, planes, (0, x)) for x in range(2)] == expected


@pytest.mark.parametrize("cards", [{"MP_GOOD": 0}, {"OBJECT": "Hotpants output Mask Image"}])
def test_masks_that_name_themselves_are_not_told_otherwise(cards, caplog):
    caplog.set_level("INFO")
    mask, planes = read(np.array([[1]]), "ztf", cards=cards, bad_bits=(0,))
    assert names(mask, planes) == ({"GOOD"} if "MP_GOOD" in cards else {"HP_FILL"})
    assert "names its planes itself; options on bits are not used" in caplog.text


def test_presets_that_cannot_be():
    with pytest.raises(
        ConfigError, match="--template-mask-preset is 'sdss': expected one of lsst, decam"
    ):
        ImageOptions(mask_preset="sdss", role="template")
    with pytest.raises(InputError, match="names its planes in MP_ cards, and this one has none"):
        read(np.array([[1]]), "lsst")


def effect(flag):
    planes = {flag.plane, *flag.means}
    if planes & set(FILLED_PLANES):
        return DEFECT
    return LIGHT if planes & set(IGNORED_PLANES) else HARMLESS


@pytest.mark.parametrize("preset", [name for name, table in PRESETS.items() if table.flags])
def test_the_help_has_every_bit(preset):
    """`diffdecor help masks` says what becomes of every bit, by default."""
    words = {DEFECT: "unusable", LIGHT: "not in statistics", HARMLESS: "harmless"}
    rows = topic_named("masks").tables["masks"]
    listed = {bit: row for row in rows if row["preset"] == preset for bit in row["bits"]}
    refined = {bit for *_, bit in PRESETS[preset].refined}
    assert set(listed) == {flag.bit for flag in PRESETS[preset].flags} | refined
    for flag in PRESETS[preset].flags:
        row = listed[flag.bit]
        assert (row["plane"], row["effect"]) == (flag.plane, words[effect(flag)])
        assert row["counts_as"] == list(flag.means or (flag.plane,))
        assert row["codes"] == PRESETS[preset].codes


@pytest.mark.parametrize("preset", [*EXPECTED, None])
@pytest.mark.parametrize("large", [False, True])
def test_looked_up_or_computed_masks_are_the_same(preset, large):
    """Whether all numbers are small or not, every one has the meaning that it has alone."""
    rng = np.random.default_rng(5)
    values = rng.integers(0, 1 << 15, (20, 30)).astype("i8")
    if large:
        values[0, 0] = 1 << 29
    mask, planes = read(values, preset)
    for place in [(0, 0), (3, 4), (19, 29), (7, 0)]:
        alone, its = read(values[place].reshape(1, 1), preset)
        known = {name for name in names(alone, its) if not name.startswith("OTHER")}
        assert known <= names(mask, planes, place)


def test_a_mask_is_looked_through_only_if_it_must_be():
    def rows(_):
        raise AssertionError

    unread = LazyPlane((5, 6), rows)
    for cards, source in (({"MP_BAD": 0}, {}), ({}, {}), ({}, {"ignore_bits": (3,)})):
        _, planes = read_mask(unread, cards, "m", options=ImageOptions(**source))
        assert "BAD" in planes
