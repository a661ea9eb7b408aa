"""LSST, HSC (afw) and diffdecor itself: planes in HDUs of their names, mask planes in cards."""

from __future__ import annotations

from diffdecor.images.surveys.model import Layout, Preset, Sign

LAYOUT = Layout(
    name="lsst",
    title="LSST, HSC (afw), diffdecor",
    signs=(Sign(hdus=("IMAGE", "MASK|VARIANCE")),),
    image=("IMAGE",),
    mask=("MASK",),
    noise={"VARIANCE": "variance"},
    note="HDUs are known by EXTNAME or EXTTYPE; the mask names its bits in MP_* cards.",
)

PRESETS = {"lsst": Preset("LSST, HSC: `MP_*` cards are needed")}
