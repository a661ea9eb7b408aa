"""An image in its open file: its pixels, mask and variance, where its layout puts them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
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
from diffdecor.fits.paths import Extension
from diffdecor.fits.read_rows import stored_integers, stored_pixels
from diffdecor.fits.reading import Reading
from diffdecor.images.locate import (
    companion,
    find_image,
    further_masks,
    hdu_name,
    is_mask_like,
)
from diffdecor.images.lsst_images import check_tree, read_tree_mask
from diffdecor.images.masks import doubt_covered_stars, names_itself, read_mask
from diffdecor.images.model import MaskPlanes, mapped, union_of_masks
from diffdecor.images.noise import Noise, Pixels, check_gain, check_noise, read_variance
from diffdecor.images.surveys.model import Layout
from diffdecor.images.surveys.plain import MASK_NAMES, NO_MASKS, NOISE_NAMES
from diffdecor.images.surveys.ps1 import CARDS, linear, refuse_inherited
from diffdecor.images.surveys.recognise import bare_name, companions_of, is_companion, layout_of
from diffdecor.images.variance import to_variance, variance_from_gain

logger = words.logger(__name__)


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
    return OpenedImage(
        path=path,
        hdus=hdus,
        hdu=hdu,
        header=merged_header(hdus[0].header, hdu.header),
        layout=layout,
        options=options,
        companions=companions_of(path, layout),
        reading=reading,
        tree=tree,
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
            found = companion(self.hdus, self.hdu, layout.mask)
            self._doubt_unread(found)
            if found is None:
                return None, MaskPlanes()
            more = {"preset": layout.preset, "about": (), "image_header": self.header}
            masks = [
                self._read_mask(hdu, self.path, **more)
                for hdu in (found, *further_masks(self.hdus, self.hdu, found))
            ]
            ny, nx = image_shape(self.hdu)
            return masks[0] if len(masks) == 1 else union_of_masks(masks, (ny, nx))
        known = self.options.layout or is_companion(file, layout.mask_file)
        with open_fits(file, self.reading.files) as (others, extension):
            if extension is None and has_tree(others):
                return self._tree_mask(open_tree(others, file), file)
            hdu = find_image(
                others, extension, MASK_NAMES, file=file, like=self.hdu, among=self.hdus
            )
            about = merged_header(others[0].header, hdu.header)
            preset = layout.preset if known else ""
            return self._read_mask(hdu, file, preset=preset, about=(about,))

    def _doubt_unread(self, mask: Hdu) -> None:
        """Warn of planes of whole numbers beside the image that may be a mask, and are not read."""
        known = {*self.layout.noise, *self.layout.parts, *NOISE_NAMES, hdu_name(self.hdu)}
        for hdu in self.hdus:
            name = hdu_name(hdu)
            if (
                hdu not in (mask, self.hdu)
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
                    self.path,
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
        self._check_shape(hdu, file)
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
        """Make the variance: from the gain, a noise file, or a noise plane in the image's file."""
        options = self.options
        if not self.layout.gain:
            check_gain(options, options.gain)
        if options.gain is not None and options.noise_kind != "background":
            return self._from_gain(options.gain, options.read_noise, pixels)
        file = options.noise or self.companions.get("noise")
        if file is not None:
            return self._from_file(file, pixels)
        parts = [] if options.noise_kind else self._parts()
        for name, kind in self.layout.noise.items():
            found = companion(self.hdus, self.hdu, (name,))
            if found is not None and not (kind == "weight" and parts):
                stored = self._stored(found)
                noise = read_variance(stored, found, self.path, options, pixels, kind=kind)
                return replace(noise, numbers=self._numbers([found]))
        if options.noise_kind is not None:
            flag = f"--{options.role}-noise"
            msg = f"{self.path}: there is no noise plane in it for {flag}-kind; give {flag}"
            raise InputError(msg)
        return self._sum(parts, pixels) if parts else self._from_cards(pixels)

    def _sum(self, parts: list[Hdu], pixels: Pixels) -> Noise:
        """Return the variance of several parts."""
        names = ", ".join(hdu_name(hdu) for hdu in parts)
        logger.info("%s: variance is the sum of %s", self.path, names)
        total = mapped(lambda *rows: np.sum(rows, axis=0), *map(self._stored, parts))
        variance = to_variance(total, "variance", mask=pixels.mask, file=self.path)
        return Noise(variance, numbers=self._numbers(parts))

    def _from_file(self, file: str, pixels: Pixels) -> Noise:
        """Read the noise from a file of its own."""
        options, described = self.options, self.layout.noise_file
        known = described is not None and (options.layout or is_companion(file, described))
        kind = options.noise_kind or (described.kind if described is not None and known else "")
        with open_fits(file, self.reading.files) as (others, extension):
            hdu = find_image(
                others, extension, NOISE_NAMES, file=file, like=self.hdu, among=self.hdus
            )
            if kind != "background":
                self._check_shape(hdu, file)
            stored = stored_pixels(hdu, file, self.reading)
            asinh = self.layout.asinh and bool(known)
            noise = read_variance(stored, hdu, file, options, pixels, kind=kind, asinh=asinh)
        return replace(noise, file=file)

    def _from_cards(self, pixels: Pixels) -> Noise | None:
        """Make the variance from the pixels, with gain and read noise of the layout's cards."""
        layout, read_noise = self.layout, self.options.read_noise
        gain = self.header.get(layout.gain) if layout.gain else None
        named = re.fullmatch(layout.gain_files, bare_name(self.path)) is not None
        if (
            not isinstance(gain, int | float)
            or not (gain > 0 and named)
            or self.options.role == "difference"
        ):
            check_gain(self.options, None)
            return None
        if read_noise is None and isinstance(self.header.get(layout.read_noise), int | float):
            read_noise = float(self.header[layout.read_noise])
        return self._from_gain(float(gain), read_noise, pixels)

    def _from_gain(self, gain: float, read_noise: float | None, pixels: Pixels) -> Noise:
        numbers = gain, read_noise or 0.0, self.options.sky or 0.0
        logger.info("%s: variance from gain %g, read noise %g, sky %g", self.path, *numbers)
        return Noise(variance_from_gain(pixels.image, *numbers), of_image=True)

    def light(self, image: Plane) -> tuple[float | None, Callable[[], float]]:
        """Return the gain of the light of sources, and what gives the level to be added to it."""
        layout, options = self.layout, self.options
        gain = 1.0 if options.gain is None and layout.electrons else options.gain
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

    def _stored(self, hdu: Hdu) -> LazyPlane:
        """Return a plane of the image's file, which must have the shape of the image."""
        self._check_shape(hdu, self.path)
        return stored_pixels(hdu, self.path, self.reading)

    def _parts(self) -> list[Hdu]:
        """Return the HDUs whose sum is the variance."""
        found = (companion(self.hdus, self.hdu, (name,)) for name in self.layout.parts)
        return [hdu for hdu in found if hdu is not None]

    def _numbers(self, hdus: list[Hdu]) -> tuple[int, ...]:
        """Return the 0-based numbers of HDUs of the image's file."""
        return tuple(self.hdus.index(hdu) for hdu in hdus)

    def _check_shape(self, hdu: Hdu, file: object) -> None:
        if image_shape(hdu) != image_shape(self.hdu):
            msg = (
                f"{file}: HDU {hdu.name} has shape {image_shape(hdu)} (ny, nx), but the image "
                f"{self.path} has {image_shape(self.hdu)}; give planes of the same image"
            )
            raise InputError(msg)
