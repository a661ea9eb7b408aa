"""JWST: SCI, ERR or the parts of the variance, DQ."""

from __future__ import annotations

from diffdecor.images.surveys.hst import HDUS, NOISE
from diffdecor.images.surveys.model import Flag, Layout, Preset, Sign

#: Every plane with what it means besides, and its bits.
_PLANES = {
    "BAD": ((), (0,)),
    "SAT": ((), (1,)),
    "JUMP_DET": ((), (2,)),
    "OUTLIER": ((), (4,)),
    "PERSISTENCE": ((), (5,)),
    "CHARGELOSS": ((), (7,)),
    "NON_SCIENCE": (("NO_DATA",), (9,)),
    "DEAD": ((), (10,)),
    "HOT": ((), (11,)),
    "WARM": ((), (12,)),
    "UNRELIABLE": ((), (8, 22, 23, 24, 25)),
    "UNCORRECTED": ((), (18, 19, 20, 21)),
    "DQ_OTHER": ((), (3, 6, 13, 14, 15, 16, 17, 26, 27, 28, 29, 30, 31)),
}

LAYOUT = Layout(
    name="jwst",
    title="JWST",
    signs=(Sign(cards={"TELESCOP": "JWST"}, hdus=HDUS),),
    image=("SCI",),
    mask=("DQ",),
    noise=NOISE,
    parts=("VAR_POISSON", "VAR_RNOISE", "VAR_FLAT"),
    preset="jwst",
)

PRESETS = {
    "jwst": Preset(
        "JWST",
        tuple(Flag(bit, plane, means) for plane, (means, bits) in _PLANES.items() for bit in bits),
    ),
}
