"""MeerLICHT and BlackGEM: images in electrons, with a background of low resolution."""

from __future__ import annotations

from diffdecor.images.surveys.model import Companion, Layout, Preset, Sign, named

LAYOUT = Layout(
    name="meerlicht",
    title="MeerLICHT, BlackGEM",
    signs=(
        Sign(file=r"(ML|BG)\d_.*_(red|D)\.fits"),
        Sign(cards={"TELESCOP": "(?i:meerlicht|blackgem).*"}),
    ),
    preset="meerlicht",
    electrons=True,
    noise_file=Companion(
        image=r"(.*?)(_red)?\.fits",
        names=(r"\1\2_bkg_std_mini.fits", r"\1_bkg_std_mini.fits"),
        looks=r".*_bkg_std_mini\.fits",
        kind="background",
    ),
    mask_file=Companion(
        image=r"(.*?)(_red)?\.fits",
        names=(r"\1_mask.fits", r"\1\2_mask.fits"),
        looks=r".*_mask\.fits",
    ),
    white=r".*_D\.fits",
)

PRESETS = {
    "meerlicht": Preset(
        "MeerLICHT, BlackGEM",
        named("BAD CR SAT SAT_CONNECTED:SAT SATELLITE:DETECTED EDGE CROSSTALK:DETECTED"),
    ),
}
