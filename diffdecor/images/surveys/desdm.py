"""DESDM: masks of DECam in the Dark Energy Survey."""

from __future__ import annotations

from diffdecor.images.surveys.model import Preset, named

PRESETS = {
    "desdm": Preset(
        "DESDM",
        named(
            "BAD SAT INTRP LOW:BAD CR STAR:DETECTED TRAIL:SAT EDGEBLEED:BAD "
            "SSXTALK:DETECTED EDGE STREAK:DETECTED FIX"
        ),
    ),
}
