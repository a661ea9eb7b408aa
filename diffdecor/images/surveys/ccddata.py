"""CCDData of astropy."""

from __future__ import annotations

from diffdecor.images.surveys.model import Layout, Sign

#: What a plane of this UTYPE holds.
UTYPES = {
    "STDDEVUNCERTAINTY": "sigma",
    "VARIANCEUNCERTAINTY": "variance",
    "INVERSEVARIANCE": "ivar",
}

LAYOUT = Layout(
    name="ccddata",
    title="CCDData (astropy)",
    signs=(Sign(hdus=("UNCERT",)),),
    mask=("MASK",),
    noise={"UNCERT": ""},
    preset="nonzero",
    note="The card UTYPE of UNCERT says whether it is a sigma, a variance or an inverse variance.",
)
