"""ZTF."""

from __future__ import annotations

from diffdecor.images.surveys.model import Companion, Layout, Preset, Sign, named

LAYOUT = Layout(
    name="ztf",
    title="ZTF",
    signs=(
        Sign(
            file=r"(.*_)?(sciimg|refimg|scimrefdiffimg)\.fits",
            globs=("*_sciimg.fits", "*_refimg.fits", "*_scimrefdiffimg.fits"),
        ),
        Sign(cards={"INSTRUME": "ZTF/MOSAIC"}),
    ),
    preset="ztf",
    gain="GAIN",
    read_noise="READNOI",
    gain_files=r"(.*_)?sciimg\.fits",
    noise_file=Companion(
        image=r"(.*)refimg\.fits",
        names=(r"\1refunc.fits",),
        looks=r".*refunc\.fits",
        kind="sigma",
        glob="*_refunc.fits",
    ),
    mask_file=Companion(
        image=r"(.*)sciimg\.fits",
        names=(r"\1mskimg.fits",),
        looks=r".*mskimg\.fits",
        glob="*_mskimg.fits",
    ),
    white=r"(.*_)?scimrefdiffimg\.fits",
    note="Differences of ZTF itself are made by ZOGY: their noise is white by construction.",
)

PRESETS = {
    "ztf": Preset(
        "ZTF",
        named(
            "TRACK:DETECTED SEX_SOURCE:DETECTED LOW_RESPONSE:BAD HIGH_RESPONSE:BAD "
            "NOISY:BAD GHOST:DETECTED SPILLAGE:BAD SPIKE:DETECTED SAT DEAD:BAD "
            "NAN:NO_DATA PSF_SOURCE:DETECTED HALO:DETECTED"
        ),
    ),
}
