"""Whether the images were named in the right order: a difference shows by its cards and HDUs."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping

from diffdecor.errors import InputError
from diffdecor.images.planes import OpenedImage
from diffdecor.pipeline.provenance import VERSION_CARD

log = logging.getLogger(__name__)

#: Cards that only a difference has, and what their values are: HOTPANTS, SFFT, LSST, ours.
_CARDS = {
    "DIFFCMD": ".*",
    "CONVD": "REF|SCI",
    "LSST BUTLER DATASETTYPE": ".*(?i:difference).*",
    VERSION_CARD.keyword: ".*",
}
#: HDUs that only a difference has: its kernel, by lsst.images and HOTPANTS.
_HDUS = ("KERNEL/BASIS", "CONVOLUTION KERNEL INFORMATION")
_PLACES = {"science": "first", "template": "second", "difference": "third"}
_ORDER = "the order is SCIENCE TEMPLATE DIFFERENCE"


def check_order(images: Mapping[str, OpenedImage], *, force: bool) -> None:
    """Refuse a difference that is named as one of its images, if what is named as it is none.

    Where both are differences, or with `force`, it is a warning.
    """
    third = images["difference"]
    for role, image in images.items():
        why = "" if image is third else _sign(image)
        if not why:
            continue
        msg = f"{image.path}: the {_PLACES[role]} file looks like a difference ({why})"
        if _sign(third) or force:
            log.warning("%s; %s", msg, _ORDER)
        else:
            msg += f", and the third, {third.path}, does not; {_ORDER} (--force keeps this one)"
            raise InputError(msg)


def _sign(image: OpenedImage) -> str:
    """Return what tells that an image is a difference, nothing if nothing does."""
    for keyword, values in _CARDS.items():
        value = str(image.header.get(keyword, "\n"))  # which no value has
        if re.fullmatch(values, value.strip(" ")):
            return f"its card {keyword}"
    names = {str(hdu.name).upper() for hdu in image.hdus}
    return next((f"its HDU {name}" for name in _HDUS if name in names), "")
