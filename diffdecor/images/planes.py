"""An image in its open file: its pixels, mask and variance, where its layout puts them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from diffdecor import words
from diffdecor.config import ImageOptions
from diffdecor.core.parallel import once
from diffdecor.core.planes import LazyPlane, Plane, sampled
from diffdecor.errors import InputError
from diffdecor.fits.headers import merged_header
from diffdecor.fits.lsst_images import Node, has_tree, open_tree
from diffdecor.fits.open import Hdu, Hdus, Header, image_shape, open_fits
from diffdecor.fits.paths import Extension, split_extension
from diffdecor.fits.read_rows import stored_integers, stored_pixels
from diffdecor.fits.reading import Reading
from diffdecor.images.inferred import Inferred, Roles, Source, blamed, blaming, infer
from diffdecor.images.locate import (
    companion,
    find_image,
    further_masks,
    hdu_name,
    is_mask_like,
    planes_of_others,
)
from diffdecor.images.lsst_images import check_tree, read_tree_mask
from diffdecor.images.masks import doubt_covered_stars, names_itself, read_mask
from diffdecor.images.model import MaskPlanes, union_of_masks
from diffdecor.images.noise import Noise, Pixels, check_noise
from diffdecor.images.noise_sources import NoiseSources
from diffdecor.images.surveys.model import Layout
from diffdecor.images.surveys.plain import MASK_NAMES, NO_MASKS, NOISE_NAMES
from diffdecor.images.surveys.ps1 import CARDS, linear, refuse_inherited
from diffdecor.images.surveys.recognise import companions_of, is_companion, layout_of

logger = words.logger(__name__)

#: Share of pixels that no mask flags that nobody has given.
_MOST_FLAGGED = 0.9


def opened_image(
    hdus: Hdus,
    extension: Extension | None,
    path: str | Path,
    options: ImageOptions,
    reading: Reading,
) -> OpenedImage:
    """Find the image in an open file, by its layout; what is in brackets wins."""
    check_noise(options)
    layout = layout_of(hdus, extension, path, options.layout, options.role)
    hdu = find_image(hdus, extension, layout.image, file=path, single=layout.single)
    with_tree = layout.name == "lsst-images"
    tree = check_tree(hdus, hdu, str(path), with_psf=options.psf is None) if with_tree else None
    name = hdu_name(hdu) or hdus.index(hdu)
    logger.info("%s: %s image in HDU %s", path, options.role, name)
    header = merged_header(hdus[0].header, hdu.header)
    inferred = Inferred()
    if options.role == "difference" and layout.name == "hotpants" and options.diffcmd:
        inferred = infer(options.role, path, path, header, Roles({options.role: str(path)}))
    return OpenedImage(
        path=path,
        hdus=hdus,
        hdu=hdu,
        header=header,
        layout=layout,
        options=options,
        companions=companions_of(path, layout),
        reading=reading,
        tree=tree,
        inferred=inferred,
    )


@dataclass(frozen=True, eq=False, kw_only=True)
class OpenedImage:
    """An image in its open file."""

    path: str | Path
    hdus: Hdus
    hdu: Hdu
    #: Cards of the image, and those of its file.
    header: Header
    layout: Layout
    options: ImageOptions
    #: Files of noise and mask beside it.
    companions: Mapping[str, str]
    reading: Reading
    #: What lsst.images says of the file.
    tree: Node | None = None
    #: What HOTPANTS says of it, for what nothing else does.
    inferred: Inferred = field(default_factory=Inferred)

    def pixels(self) -> LazyPlane:
        """Return the pixels in a linear scale."""
        path, role, asinh = self.path, self.options.role, self.layout.asinh
        if asinh and role == "difference" and self.options.layout is None:
            refuse_inherited(self.header, path)
        stored = stored_pixels(self.hdu, path, self.reading)
        image = linear(stored, self.header, path, asinh=asinh, role=role)
        for card in CARDS:
            self.header.remove(card, ignore_missing=True, remove_all=True)
        return image

    @property
    def mask_file(self) -> str | None:
        """The file of the mask, where it is not that of the image."""
        return self.options.mask or self.companions.get("mask")

    def mask(self) -> tuple[Plane | None, MaskPlanes]:
        """Read the mask: from its own file, else from that of the image, else none."""
        layout, file = self.layout, self.mask_file
        if file is None and self.tree is not None:
            return self._tree_mask(self.tree, self.path)
        if file is None:
            found = self._own_mask
            self._doubt_unread(found)
            if found is None:
                return self._inferred_mask()
            more = {"preset": layout.preset, "about": (), "image_header": self.header}
            masks = [
                self._read_mask(hdu, self.path, **more)
                for hdu in (found, *further_masks(self.hdus, self.hdu, found))
            ]
            ny, nx = image_shape(self.hdu)
            return masks[0] if len(masks) == 1 else union_of_masks(masks, (ny, nx))
        known = self.options.layout or is_companion(file, layout.mask_file)
        return self._mask_in(file, layout.preset if known else "")

    @cached_property
    def _own_mask(self) -> Hdu:
        """The HDU of the mask in the file of the image, None if there is none."""
        return companion(self.hdus, self.hdu, self.layout.mask)

    @property
    def inferred_mask(self) -> Source | None:
        """The file that is taken for the mask, as nothing else says that there is one."""
        has_own = self.mask_file is not None or self.tree is not None or self._own_mask is not None
        return None if has_own else self.inferred.mask

    def _inferred_mask(self) -> tuple[Plane | None, MaskPlanes]:
        """Read the mask that HOTPANTS names, or that lies beside the image."""
        for text in self.inferred.no_mask:
            logger.info("%s: %s", self.path, text)
        source = self.inferred.mask
        if source is None:
            return None, MaskPlanes()
        logger.info("%s: mask from %s: %s", self.path, source.file, source.why)
        with blaming(source, self.options.role, "mask"):
            mask, planes = self._mask_in(source.file, source.preset)
            if mask is not None and np.mean(sampled(mask) != 0) > _MOST_FLAGGED:
                msg = f"{source.file}: it flags nearly all pixels; is it 0 where they are bad?"
                raise InputError(msg)
        return None if mask is None else blamed(mask, source, self.options.role, "mask"), planes

    def _mask_in(self, file: str, preset: str) -> tuple[LazyPlane | None, MaskPlanes]:
        """Read the mask in a file of its own."""
        with open_fits(file, self.reading.files) as (others, extension):
            if extension is None and has_tree(others):
                return self._tree_mask(open_tree(others, file), file)
            hdu = find_image(
                others, extension, MASK_NAMES, file=file, like=self.hdu, among=self.hdus
            )
            about = merged_header(others[0].header, hdu.header)
            return self._read_mask(hdu, file, preset=preset, about=(about,))

    def _doubt_unread(self, mask: Hdu) -> None:
        """Warn of planes of whole numbers beside the image that may be a mask, and are not read."""
        known = {*self.layout.noise, *self.layout.parts, *NOISE_NAMES, hdu_name(self.hdu)}
        detectors = planes_of_others(self.hdus, self.hdu)
        for hdu in self.hdus:
            name = hdu_name(hdu)
            if (
                hdu not in (mask, self.hdu, *detectors)
                and hdu.ver == self.hdu.ver
                and name not in known | NO_MASKS
                and (mask is None or name != hdu_name(mask))
                and is_mask_like(hdu, self.hdu)
            ):
                logger.warning(
                    "%s: HDU %s has whole numbers in the shape of the image and is not read; if it "
                    "is a mask, give it with --%s-mask %s[%s]",
                    self.path,
                    name or self.hdus.index(hdu),
                    self.options.role,
                    split_extension(self.path)[0],
                    name or self.hdus.index(hdu),
                )

    def _tree_mask(self, tree: Node, file: str | Path) -> tuple[LazyPlane | None, MaskPlanes]:
        """Read the mask of a file of lsst.images, which names its planes."""
        mask, planes = read_tree_mask(tree, self.reading, file)
        names_itself(self.options, file)
        if mask is not None and mask.shape != image_shape(self.hdu):
            msg = (
                f"{file}: the mask has shape {mask.shape} (ny, nx), but the image {self.path} "
                f"{image_shape(self.hdu)}; give planes of the same image"
            )
            raise InputError(msg)
        return mask, planes

    def _read_mask(
        self,
        hdu: Hdu,
        file: str | Path,
        about: tuple[Header, ...],
        **more: Any,  # noqa: ANN401
    ) -> tuple[LazyPlane, MaskPlanes]:
        self.check_shape(hdu, file)
        numbers = stored_integers(hdu, file, self.reading)
        mask, planes = read_mask(
            numbers,
            hdu.header,
            file,
            options=self.options,
            about=(*about, self.header),
            **more,
        )
        if list(planes.bits) == ["BAD"]:
            image = stored_pixels(self.hdu, self.path, self.reading)
            doubt_covered_stars(numbers, image, self.options, file)
        return mask, planes

    def noise(self, pixels: Pixels) -> Noise | None:
        """Make the variance, None if nothing is known of it."""
        return NoiseSources(self, pixels).noise()

    def light(self, image: Plane) -> tuple[float | None, Callable[[], float]]:
        """Return the gain of the light of sources, and what gives the level to be added to it."""
        layout, options = self.layout, self.options
        given = options.shared_gain if options.gain is None else options.gain
        gain = 1.0 if given is None and layout.electrons else given
        subtracted = not layout.electrons or self.header.get("BKG-SUB") is not False
        if gain is None or options.role == "difference":
            return None, float
        if subtracted:
            return gain, float

        def sky() -> float:
            level = float(np.nanmedian(sampled(image)))
            logger.info("%s: its background of %g is not subtracted (BKG-SUB)", self.path, level)
            return -level

        return gain, once(sky)

    def check_shape(self, hdu: Hdu, file: object) -> None:
        """Refuse a plane of another shape than the image."""
        if image_shape(hdu) != image_shape(self.hdu):
            msg = (
                f"{file}: HDU {hdu.name} has shape {image_shape(hdu)} (ny, nx), but the image "
                f"{self.path} has {image_shape(self.hdu)}; give planes of the same image"
            )
            raise InputError(msg)
