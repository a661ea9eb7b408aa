"""What the command line of HOTPANTS says of the images of a job, where nobody else does."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace

from diffdecor.errors import InputError, OutputExistsError
from diffdecor.fits.open import open_fits
from diffdecor.images.inferred import Roles, are_exchanged, infer
from diffdecor.images.planes import OpenedImage
from diffdecor.pipeline.job import Job
from diffdecor.pipeline.provenance import VERSION_CARD

log = logging.getLogger(__name__)


def with_inferred(job: Job, images: Mapping[str, OpenedImage]) -> dict[str, OpenedImage]:
    """Return the images of a job, each with what is taken for it if the difference is HOTPANTS's.

    Files that the job reads or writes otherwise are not taken, nor those that diffdecor has
    written. `OutputExistsError` if the job would write over a file of somebody else.
    """
    difference = images["difference"]
    if difference.layout.name != "hotpants" or not job.files.diffcmd:
        return dict(images)
    header, named = difference.header, job.images
    exchanged = not job.is_alone and are_exchanged(named["science"], named["template"], header)
    if exchanged:
        log.warning(
            "%s: its DIFFCMD has %s as the image and %s as the template, so it is not "
            "used for them; exchange them, unless that is meant",
            *(job.difference, named["template"], named["science"]),
        )
    taken = Roles(job.inputs, outputs=job.written)
    return {
        role: image
        if exchanged and role != "difference"
        else _with(job, role, image, header, taken)
        for role, image in images.items()
    }


def _with(job: Job, role: str, image: OpenedImage, header: object, taken: Roles) -> OpenedImage:
    found = infer(role, image.path, job.difference, header, taken)
    for source in found.written:
        # The name of a part of the result may be like that of a mask: then it is ours.
        if not _is_ours(source.file, image):
            msg = (
                f"{source.file}: is the noise or mask of the {role} image ({source.why}), which is "
                "never overwritten; choose another name"
            )
            raise OutputExistsError(msg)
    if role != "difference" and getattr(job.decorrelation, f"{role}_variance") is not None:
        found = found.without_noise
    noise, beside, mask = (
        None if one is None or _is_ours(one.file, image) else one
        for one in (found.noise, found.beside, found.mask)
    )
    return replace(image, inferred=replace(found, noise=noise, beside=beside, mask=mask))


def _is_ours(file: str, image: OpenedImage) -> bool:
    """Say whether diffdecor has written a file; it stays open with those of the image."""
    try:
        with open_fits(file, image.reading.files) as (hdus, _):
            return VERSION_CARD.keyword in hdus[0].header
    except InputError:
        return False
