"""Plain images: what no other layout claims, found by the names of HDUs that many tools use."""

from __future__ import annotations

from diffdecor.images.surveys.model import Layout, Preset, Sign

IMAGE_NAMES = ("IMAGE", "SCI")
MASK_NAMES = (
    "MASK", "DQ", "MSK", "FLAGS", "FLAG", "FLG", "BPM", "BADPIX", "BAD_PIXELS", "BADPIXELS",
    "BAD_PIXEL_MASK", "BADPIXELMASK", "BITMASK", "MASKBITS", "PIXMASK", "PIXELMASK", "DQMASK",
    "DQ_MASK", "DQA", "DATA_QUALITY", "QUALITY", "DQ_IMAGE",
)  # fmt: skip
#: Planes of whole numbers that say nothing of bad pixels: exposures, contexts, objects.
NO_MASKS = frozenset(
    {"CTX", "CON", "SAMP", "TIME", "NSAMP", "EXP", "NEXP", "EXPMAP", "NIMAGE", "COVERAGE", "SEG",
     "SEGM", "SEGMAP", "SEGMENTATION", "REGIONS", "CCD", "INPUTS", "SIGNIF"}
)  # fmt: skip
#: What a noise plane of this name holds; the order says which one counts if there are several.
NOISE_NAMES = {
    "VARIANCE": "variance",
    "VAR": "variance",
    "ERR": "sigma",
    "ERROR": "sigma",
    "SIGMA": "sigma",
    "RMS": "sigma",
    "IVAR": "ivar",
    "WHT": "weight",
    "WEIGHT": "weight",
}

LAYOUT = Layout(
    name="plain",
    title="plain image",
    signs=(  # differences of SFFT and ZOGY, which inherit the cards of a survey
        Sign(cards={"CONVD": "REF|SCI", "NAME_REF": ".*"}),
        Sign(cards={"Z-P": ".*"}),
        Sign(cards={"Z-V": ".*"}),
    ),
    image=IMAGE_NAMES,
    mask=MASK_NAMES,
    noise=NOISE_NAMES,
)

PRESETS = {"nonzero": Preset("what is not 0 is `BAD`")}
