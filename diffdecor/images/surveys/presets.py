"""What the bits of the surveys' masks mean: one table each.

A row names the plane of a bit (or of a code, where a pixel holds one number instead of bits) and
what it *means* besides, in the planes that diffdecor knows: ``BAD, SAT, CR, NO_DATA`` hold no sky,
``INTRP, EDGE, DETECTED`` do but do not count for statistics. DETECTED stands for all light that is
no defect of the pixel: objects, haloes, ghosts, spikes, trails, crosstalk.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Flag:
    """One bit, or code, of a mask.

    Parameters
    ----------
    bit : int
        Bit number, 0 for value 1; or the code.
    plane : str
        Name of its plane.
    means : tuple of str
        Other planes that are set with it.
    """

    bit: int
    plane: str
    means: tuple[str, ...] = ()


@dataclass(frozen=True)
class Preset:
    """The mask of a survey.

    Parameters
    ----------
    title : str
        Whose it is.
    flags : tuple of Flag
        Its bits.
    codes : bool
        Pixels hold codes, not bits.
    """

    title: str
    flags: tuple[Flag, ...] = ()
    codes: bool = False


_BAD, _SAT, _CR, _NO_DATA, _LIGHT = ("BAD",), ("SAT",), ("CR",), ("NO_DATA",), ("DETECTED",)


def _named(*names: str | tuple[str, tuple[str, ...]], first: int = 0) -> tuple[Flag, ...]:
    """Return flags of successive bits; an empty name leaves a bit out."""
    rows = [(name, ()) if isinstance(name, str) else name for name in names]
    return tuple(Flag(bit, *row) for bit, row in enumerate(rows, start=first) if row[0])


_JWST = {
    "BAD": ((), (0,)),
    "SAT": ((), (1,)),
    "JUMP_DET": ((), (2,)),
    "OUTLIER": ((), (4,)),
    "PERSISTENCE": ((), (5,)),
    "CHARGELOSS": ((), (7,)),
    "NON_SCIENCE": (_NO_DATA, (9,)),
    "DEAD": ((), (10,)),
    "HOT": ((), (11,)),
    "WARM": ((), (12,)),
    "UNRELIABLE": ((), (8, 22, 23, 24, 25)),
    "UNCORRECTED": ((), (18, 19, 20, 21)),
    "DQ_OTHER": ((), (3, 6, 13, 14, 15, 16, 17, 26, 27, 28, 29, 30, 31)),
}

PRESETS = {
    "lsst": Preset("LSST, HSC: `MP_*` cards are needed"),
    "decam-bits": Preset(
        "DECam Community Pipeline before 3.5.0",
        _named("BAD", "SAT", "INTRP", "", "CR", "", ("BLEED", _SAT), ("TRANSIENT", _LIGHT)),
    ),
    "decam-codes": Preset(
        "DECam Community Pipeline from 3.5.0",
        _named(
            "BAD",
            "NO_DATA",
            "SAT",
            ("BLEED", _SAT),
            "CR",
            ("LOW_WEIGHT", _BAD),
            ("TRANSIENT", _LIGHT),
            ("STREAK", _LIGHT),
            first=1,
        ),
        codes=True,
    ),
    "desdm": Preset(
        "DESDM",
        _named(
            "BAD",
            "SAT",
            "INTRP",
            ("LOW", _BAD),
            "CR",
            ("STAR", _LIGHT),
            ("TRAIL", _SAT),
            ("EDGEBLEED", _BAD),
            ("SSXTALK", _LIGHT),
            "EDGE",
            ("STREAK", _LIGHT),
            "FIX",
        ),
    ),
    "ztf": Preset(
        "ZTF",
        _named(
            ("TRACK", _LIGHT),
            ("SEX_SOURCE", _LIGHT),
            ("LOW_RESPONSE", _BAD),
            ("HIGH_RESPONSE", _BAD),
            ("NOISY", _BAD),
            ("GHOST", _LIGHT),
            ("SPILLAGE", _BAD),
            ("SPIKE", _LIGHT),
            "SAT",
            ("DEAD", _BAD),
            ("NAN", _NO_DATA),
            ("PSF_SOURCE", _LIGHT),
            ("HALO", _LIGHT),
        ),
    ),
    "ps1": Preset(
        "Pan-STARRS1",
        _named(
            ("DETECTOR", _BAD),
            ("FLAT", _BAD),
            ("DARK", _BAD),
            ("BLANK", _NO_DATA),
            ("CTE", _BAD),
            "SAT",
            ("LOW", _BAD),
            "SUSPECT",
            "CR",
            ("SPIKE", _LIGHT),
            ("GHOST", _LIGHT),
            ("STREAK", _LIGHT),
            ("STARCORE", _LIGHT),
            ("CONV_BAD", _BAD),
            "CONV_POOR",
        ),
    ),
    "meerlicht": Preset(
        "MeerLICHT, BlackGEM",
        _named(
            "BAD",
            "CR",
            "SAT",
            ("SAT_CONNECTED", _SAT),
            ("SATELLITE", _LIGHT),
            "EDGE",
            ("CROSSTALK", _LIGHT),
        ),
    ),
    "hst": Preset(
        "HST (ACS, WFC3)",
        _named(
            ("LOST", _BAD),
            ("FILLED", _NO_DATA),
            ("BADPIX", _BAD),
            "DQ3",
            ("HOT", _BAD),
            "DQ5",
            "WARM",
            ("BADCOL", _BAD),
            "SAT",
            ("BADREF", _BAD),
            "TRAP",
            ("ATODSAT", _SAT),
            ("CR_DRIZ", _CR),
            ("CR_REJ", _CR),
            "DQ14",
        ),
    ),
    "jwst": Preset(
        "JWST",
        tuple(Flag(bit, plane, means) for plane, (means, bits) in _JWST.items() for bit in bits),
    ),
    # Only 0x8000 makes a pixel of the difference bad; 0x40 is usable, and the others say why, or
    # come from an input mask with whatever they meant there. So SAT and NO_DATA, which are bad by
    # default, get bits of their own, set where a pixel is bad *and* HOTPANTS says saturated, or
    # fill value: see `REFINED`.
    "hotpants": Preset(
        "HOTPANTS",
        (
            *_named("HP_FILL", "HP_SAT", "HP_LOW", "HP_NAN", "HP_BAD_CONV", "HP_INPUT_MASK"),
            *_named("HP_CONV_OK", "HP_BAD_INPUT", "HP_T_BAD", "HP_T_SKIP", first=6),
            *_named("HP_I_BAD", "HP_I_SKIP", first=10),
            Flag(15, "BAD"),
        ),
    ),
    "pyzogy": Preset("PyZOGY", _named("BAD")),
    "nonzero": Preset("what is not 0 is `BAD`"),
}

REFINED = (("HP_SAT", "SAT", 16), ("HP_FILL", "NO_DATA", 17))
"""Planes of HOTPANTS that, where BAD is set too, set another one, and its bit."""
