"""JWST: SCI, ERR or the parts of the variance, DQ."""

from __future__ import annotations

from diffdecor.images.surveys.hst import HDUS, NOISE
from diffdecor.images.surveys.model import Layout, Preset, Sign, named

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
        named(
            "BAD SAT JUMP_DET DQ_OTHER OUTLIER PERSISTENCE DQ_OTHER CHARGELOSS UNRELIABLE "
            "NON_SCIENCE:NO_DATA DEAD HOT WARM"
            + 5 * " DQ_OTHER"
            + 4 * " UNCORRECTED"
            + 4 * " UNRELIABLE"
            + 6 * " DQ_OTHER"
        ),
    ),
}
