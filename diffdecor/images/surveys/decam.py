"""DECam, as reduced by its Community Pipeline."""

from __future__ import annotations

import re
from collections.abc import Sequence

from diffdecor import words
from diffdecor.errors import InputError
from diffdecor.fits.open import Header
from diffdecor.images.surveys.model import Companion, Layout, Preset, Sign, named

logger = words.logger(__name__)

_CODES_SINCE = (3, 5, 0)

LAYOUT = Layout(
    name="decam",
    title="DECam Community Pipeline",
    signs=(
        Sign(file=r".*_o[a-z]i_.*\.fits", globs=("*_ooi_*.fits",)),
        Sign(cards={"INSTRUME": "(?i:decam)", "PLVER": ".*"}),
    ),
    preset="decam",
    single=True,
    noise_file=Companion(
        image=r"(.*_o[a-z])i(_.*\.fits)",
        names=(r"\1w\2",),
        looks=r".*_o[a-z]w_.*\.fits",
        kind="ivar",
        glob="*_oow_*.fits",
    ),
    mask_file=Companion(
        image=r"(.*_o[a-z])i(_.*\.fits)",
        names=(r"\1d\2",),
        looks=r".*_o[a-z]d_.*\.fits",
        glob="*_ood_*.fits",
    ),
    note="Which preset the mask has follows from the version of the pipeline (card PLVER).",
)

PRESETS = {
    "decam-bits": Preset(
        "DECam Community Pipeline before 3.5.0",
        named("BAD SAT INTRP - CR - BLEED:SAT TRANSIENT:DETECTED"),
    ),
    "decam-codes": Preset(
        "DECam Community Pipeline from 3.5.0",
        named(
            "BAD NO_DATA SAT BLEED:SAT CR LOW_WEIGHT:BAD TRANSIENT:DETECTED STREAK:DETECTED",
            first=1,
        ),
        codes=True,
    ),
}


def preset_of_version(headers: Sequence[Header], file: object, role: str) -> str:
    """Return the preset of a mask: its headers tell the version of the pipeline that made it."""
    for header in headers:
        version = header.get("PLVER")
        found = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", str(version))
        if found:
            numbers = tuple(int(number or 0) for number in found.groups())
            logger.info("%s: made by the pipeline's version %s", file, version)
            return "decam-codes" if numbers >= _CODES_SINCE else "decam-bits"
    msg = (
        f"{file}: no card PLVER says whether this mask of DECam holds bits (before 3.5.0) or codes;"
        f" say it with --{role}-mask-preset decam-bits or decam-codes"
    )
    raise InputError(msg)
