"""HST: SCI, ERR or WHT, DQ."""

from __future__ import annotations

from diffdecor.images.surveys.model import Layout, Preset, Sign, named

HDUS = ("SCI", "ERR|DQ|WHT|VAR_POISSON|VAR_RNOISE")
NOISE = {"ERR": "sigma", "WHT": "weight"}

LAYOUT = Layout(
    name="hst",
    title="HST",
    signs=(Sign(cards={"TELESCOP": "HST"}, hdus=HDUS),),
    image=("SCI",),
    mask=("DQ",),
    noise=NOISE,
    preset="hst",
)

PRESETS = {
    "hst": Preset(
        "HST (ACS, WFC3)",
        named(
            "LOST:BAD FILLED:NO_DATA BADPIX:BAD DQ3 HOT:BAD DQ5 WARM BADCOL:BAD SAT "
            "BADREF:BAD TRAP ATODSAT:SAT CR_DRIZ:CR CR_REJ:CR DQ14"
        ),
    ),
}
