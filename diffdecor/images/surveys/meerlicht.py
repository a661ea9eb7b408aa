"""MeerLICHT and BlackGEM: images in electrons, with a background of low resolution."""

from __future__ import annotations

from diffdecor.images.surveys.model import Companion, Layout, Preset, Sign, named

LAYOUT = Layout(
    name="meerlicht",
    title="MeerLICHT, BlackGEM",
    signs=(
        Sign(
            file=r"(ML|BG)\d_.*_(red|D)\.fits",
            globs=("ML1_*_red.fits", "BG2_*_red.fits", "ML1_*_D.fits"),
        ),
        Sign(cards={"TELESCOP": "(?i:meerlicht|blackgem).*"}),
    ),
    preset="meerlicht",
    electrons=True,
    noise_file=Companion(
        image=r"(.*?)(_red)?\.fits",
        names=(r"\1\2_bkg_std_mini.fits", r"\1_bkg_std_mini.fits"),
        looks=r".*_bkg_std_mini\.fits",
        kind="background",
        glob="*_bkg_std_mini.fits",
    ),
    mask_file=Companion(
        image=r"(.*?)(_red)?\.fits",
        names=(r"\1_mask.fits", r"\1\2_mask.fits"),
        looks=r".*_mask\.fits",
        glob="*_mask.fits",
    ),
    white=r".*_D\.fits",
    note="The noise plane has a low resolution, and the Poisson noise of sources is added to it. "
    "Differences *_D.fits are made by ZOGY: their noise is white by construction.",
)

PRESETS = {
    "meerlicht": Preset(
        "MeerLICHT, BlackGEM",
        named("BAD CR SAT SAT_CONNECTED:SAT SATELLITE:DETECTED EDGE CROSSTALK:DETECTED"),
    ),
}
