"""Every option of diffdecor, declared once.

The command line, the TOML file, the header cards and `diffdecor help options` are made from the
fields of the dataclasses here: `DecorrelationConfig` is how the numerics work, `FilesConfig` how
the files of a job are read and written, with `ImageOptions` for each of the three images. Nothing
heavy is imported: help and usage errors come at once.
"""

from __future__ import annotations

from diffdecor.config.decorrelation import FILLED_PLANES, IGNORED_PLANES, DecorrelationConfig
from diffdecor.config.files import (
    LAYOUTS,
    MASK_PRESETS,
    NOISE_KINDS,
    FilesConfig,
    ImageOptions,
)

__all__ = [
    "FILLED_PLANES",
    "IGNORED_PLANES",
    "LAYOUTS",
    "MASK_PRESETS",
    "NOISE_KINDS",
    "DecorrelationConfig",
    "FilesConfig",
    "ImageOptions",
]
