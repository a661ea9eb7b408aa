"""HOTPANTS: differences with their noise and their mask."""

from __future__ import annotations

from diffdecor.fits.open import Header
from diffdecor.images.surveys.model import Layout, Preset, Sign, named

_OUTPUT_MASK = "HOTPANTS OUTPUT MASK IMAGE"
#: HOTPANTS names its layers in OBJECT, whatever EXTNAME they have from its input; a fork of it
#: names them differently.
ALIASES = {
    _OUTPUT_MASK: "MASK",
    "HOTPANTS NOISE IMAGE": "SIGMA",
    "CONVOLVED IMAGE": "IMAGE_CONV",
    "NOISE-SCALED (SIGMA) DIFFERENCE IMAGE": "RMS_IMAGE_SCALED",
    "RMS_IMAGE": "SIGMA",
    "MASK_IMAGE": "MASK",
}

LAYOUT = Layout(
    name="hotpants",
    title="HOTPANTS",
    signs=(
        Sign(cards={"SOFTNAME": "(?i:hotpants)"}),
        Sign(cards={"DIFFCMD": ".*", "MASKVAL": ".*"}),
    ),
    mask=("MASK",),
    noise={"SIGMA": "sigma"},
    note="Layers of the difference are known by their card OBJECT, or by EXTNAME.",
)

PRESETS = {
    # Only 0x8000 makes a pixel of the difference bad; 0x40 is usable, and the others say why, or
    # come from an input mask with whatever they meant there. So SAT and NO_DATA, which are bad by
    # default, get bits of their own, set where a pixel is bad *and* HOTPANTS says that it is
    # saturated, or a fill value.
    "hotpants": Preset(
        "HOTPANTS",
        named(
            "HP_FILL HP_SAT HP_LOW HP_NAN HP_BAD_CONV HP_INPUT_MASK HP_CONV_OK HP_BAD_INPUT "
            "HP_T_BAD HP_T_SKIP HP_I_BAD HP_I_SKIP - - - BAD"
        ),
        refined=(("HP_SAT", "SAT", 16), ("HP_FILL", "NO_DATA", 17)),
    ),
}


def is_output_mask(header: Header, image_header: Header) -> bool:
    """Say whether a mask is HOTPANTS's own; `image_header` is None where it has its own file."""
    if str(header.get("OBJECT")).strip().upper() == _OUTPUT_MASK:
        return True
    # The name of a fork. A mask from elsewhere beside the difference has another meaning.
    software = "" if image_header is None else str(image_header.get("SOFTNAME"))
    name = str(header.get("EXTNAME", "")).strip().upper()
    return name == "MASK_IMAGE" and software.strip().upper() == "HOTPANTS"
