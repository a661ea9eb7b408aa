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
    note="Of several SCI in a file, ERR and DQ of the same EXTVER are taken. The bits are those of "
    "ACS and WFC3/UVIS; other instruments need --bad-bits.",
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
