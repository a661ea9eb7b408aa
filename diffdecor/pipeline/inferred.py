"""What the command line of HOTPANTS says of the images of a job, where nobody else does."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace

from diffdecor.images.inferred import Roles, are_exchanged, infer
from diffdecor.images.planes import OpenedImage
from diffdecor.pipeline.job import Job

log = logging.getLogger(__name__)


def with_inferred(job: Job, images: Mapping[str, OpenedImage]) -> dict[str, OpenedImage]:
    """Return the images of a job, each with what is taken for it if the difference is HOTPANTS's.

    Files that the job reads or writes otherwise are not taken.
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
    taken = Roles(job.inputs, outputs=[job.output, *job.files.written.values()])
    return {
        role: image
        if exchanged and role != "difference"
        else _with(job, role, image, header, taken)
        for role, image in images.items()
    }


def _with(job: Job, role: str, image: OpenedImage, header: object, taken: Roles) -> OpenedImage:
    found = infer(role, image.path, job.difference, header, taken)
    if role != "difference" and getattr(job.decorrelation, f"{role}_variance") is not None:
        found = found.without_noise
    return replace(image, inferred=found)
