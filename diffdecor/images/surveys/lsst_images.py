"""Rubin's package lsst.images: planes in HDUs of their names, what they mean in a tree of JSON."""

from __future__ import annotations

from diffdecor.images.surveys.model import Layout, Sign

LAYOUT = Layout(
    name="lsst-images",
    title="Rubin (lsst.images)",
    signs=(Sign(cards={"DATAMODL": ".*"}), Sign(cards={"FMTVER": ".*", "JSONADDR": ".*"})),
    image=("IMAGE",),
    mask=("MASK",),
    noise={"VARIANCE": "variance"},
    note="For visit_image and difference_image. The tree of JSON in the file names the bits of the "
    "mask, which may have several HDUs.",
)
