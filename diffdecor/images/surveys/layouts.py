"""How the surveys lay out their images: one row of a table for each.

`diffdecor.images.surveys.recognise` says which row a file is.
"""

from __future__ import annotations

from diffdecor.images.locate import IMAGE_NAMES, MASK_NAMES, NOISE_NAMES
from diffdecor.images.surveys.layout import Companion, Layout, Sign

_ERR = {"ERR": "sigma", "WHT": "weight"}
_STSCI = ("SCI", "ERR|DQ|WHT|VAR_POISSON|VAR_RNOISE")

LAYOUTS = {
    row.name: row
    for row in (
        Layout(
            name="lsst",
            title="LSST, HSC (afw), diffdecor",
            step=1,
            signs=(Sign(hdus=("IMAGE", "MASK|VARIANCE")),),
            image=("IMAGE",),
            mask=("MASK",),
            noise={"VARIANCE": "variance"},
        ),
        Layout(
            name="hst",
            title="HST",
            step=1,
            signs=(Sign(cards={"TELESCOP": "HST"}, hdus=_STSCI),),
            image=("SCI",),
            mask=("DQ",),
            noise=_ERR,
            preset="hst",
        ),
        Layout(
            name="jwst",
            title="JWST",
            step=1,
            signs=(Sign(cards={"TELESCOP": "JWST"}, hdus=_STSCI),),
            image=("SCI",),
            mask=("DQ",),
            noise=_ERR,
            parts=("VAR_POISSON", "VAR_RNOISE", "VAR_FLAT"),
            preset="jwst",
        ),
        Layout(
            name="ccddata",
            title="CCDData (astropy)",
            step=1,
            signs=(Sign(hdus=("UNCERT",)),),
            mask=("MASK",),
            noise={"UNCERT": ""},
            preset="nonzero",
        ),
        Layout(
            name="hotpants",
            title="HOTPANTS",
            step=2,
            signs=(
                Sign(cards={"SOFTNAME": "(?i:hotpants)"}),
                Sign(cards={"DIFFCMD": ".*", "MASKVAL": ".*"}),
            ),
            mask=("MASK",),
            noise={"SIGMA": "sigma"},
        ),
        Layout(
            name="plain",
            title="plain image",
            step=2,
            signs=(  # differences of SFFT and ZOGY, which inherit the cards of a survey
                Sign(cards={"CONVD": "REF|SCI", "NAME_REF": ".*"}),
                Sign(cards={"Z-P": ".*"}),
                Sign(cards={"Z-V": ".*"}),
            ),
            image=IMAGE_NAMES,
            mask=MASK_NAMES,
            noise=NOISE_NAMES,
        ),
        Layout(
            name="decam",
            title="DECam Community Pipeline",
            signs=(
                Sign(file=r".*_o[a-z]i_.*\.fits"),
                Sign(cards={"INSTRUME": "(?i:decam)", "PLVER": ".*"}),
            ),
            preset="decam",
            single=True,
            noise_file=Companion(
                image=r"(.*_o[a-z])i(_.*\.fits)",
                names=(r"\1w\2",),
                looks=r".*_o[a-z]w_.*\.fits",
                kind="ivar",
            ),
            mask_file=Companion(
                image=r"(.*_o[a-z])i(_.*\.fits)", names=(r"\1d\2",), looks=r".*_o[a-z]d_.*\.fits"
            ),
        ),
        Layout(
            name="ztf",
            title="ZTF",
            signs=(
                Sign(file=r"(.*_)?(sciimg|refimg|scimrefdiffimg)\.fits"),
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
            ),
            mask_file=Companion(
                image=r"(.*)sciimg\.fits", names=(r"\1mskimg.fits",), looks=r".*mskimg\.fits"
            ),
            white=r"(.*_)?scimrefdiffimg\.fits",
        ),
        Layout(
            name="ps1",
            title="Pan-STARRS1",
            signs=(
                Sign(file=r".*skycell\..*\.fits"),
                Sign(cards={"BSOFTEN": ".*"}),
                Sign(cards={"BOFFSET": ".*"}),
            ),
            preset="ps1",
            asinh=True,
            noise_file=Companion(
                image=r"(.*)\.fits", names=(r"\1.wt.fits",), looks=r".*\.wt\.fits", kind="variance"
            ),
            mask_file=Companion(
                image=r"(.*)\.fits", names=(r"\1.mask.fits",), looks=r".*\.mask\.fits"
            ),
        ),
        Layout(
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
        ),
    )
}
