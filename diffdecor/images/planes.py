"""An image in its opened file: its pixels, mask and variance, where its layout puts them."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from diffdecor.core.parallel import once
from diffdecor.core.planes import LazyPlane, Plane, sampled
from diffdecor.errors import InputError
from diffdecor.fits.headers import merged_header
from diffdecor.fits.open import Hdu, Hdus, Header, image_shape, open_fits
from diffdecor.fits.paths import Extension
from diffdecor.fits.read_rows import stored_integers, stored_pixels
from diffdecor.fits.reading import Reading
from diffdecor.images.locate import MASK_NAMES, NOISE_NAMES, companion, find_image, hdu_name
from diffdecor.images.masks import MaskSource, read_mask
from diffdecor.images.model import MaskPlanes
from diffdecor.images.noise import Noise, NoiseSource, Pixels, read_variance
from diffdecor.images.scaling import CARDS, linear
from diffdecor.images.surveys.layout import Layout
from diffdecor.images.surveys.recognise import bare_name, companions_of, is_companion, layout_of
from diffdecor.images.variance import to_variance, variance_from_gain

logger = logging.getLogger(__name__)


def opened_image(
    hdus: Hdus,
    extension: Extension | None,
    path: str | Path,
    told: str | None,
    role: str,
    reading: Reading | None = None,
) -> OpenedImage:
    """Find the image in an opened file, by its layout.

    Parameters
    ----------
    hdus : astropy.io.fits.HDUList
        All HDUs of the file.
    extension : str, int, tuple of str and int, or None
        What the user wrote in brackets.
    path : str or Path
        The file.
    told : str, optional
        Name of the layout, if the user says it.
    role : str
        "science", "template" or "difference".
    reading : Reading, optional
        Memory to keep what was unpacked.

    Returns
    -------
    OpenedImage
        To be used while the file is open.

    Raises
    ------
    ConfigError
        If there is no layout of this name.
    InputError
        If there is no image, or it is not clear which.
    """
    layout = layout_of(hdus, extension, path, told, role)
    hdu = find_image(hdus, extension, layout.image, file=path, single=layout.single)
    logger.info("%s: %s image in HDU %s", path, role, hdu_name(hdu) or hdus.index(hdu))
    return OpenedImage(
        path=path,
        hdus=hdus,
        hdu=hdu,
        header=merged_header(hdus[0].header, hdu.header),
        layout=layout,
        told=told is not None,
        role=role,
        beside=companions_of(path, layout),
        reading=reading,
    )


@dataclass(frozen=True, eq=False, kw_only=True)
class OpenedImage:
    """An image in its opened file.

    Parameters
    ----------
    path : str or Path
        The file.
    hdus : astropy.io.fits.HDUList
        All its HDUs.
    hdu : HDU
        The image.
    header : Header
        Its cards, and those of its file.
    layout : Layout
        Where the planes are.
    told : bool
        The user says that it has this layout.
    role : str
        "science", "template" or "difference".
    beside : mapping of str to str
        Files of noise and mask beside it.
    reading : Reading, optional
        Memory to keep what was unpacked.
    """

    path: str | Path
    hdus: Hdus
    hdu: Hdu
    header: Header
    layout: Layout
    told: bool
    role: str
    beside: Mapping[str, str]
    reading: Reading | None = None

    def pixels(self) -> LazyPlane:
        """Return the pixels in a linear scale."""
        path, asinh = self.path, self.layout.asinh
        cards = [card for card in CARDS if card in self.header]
        if asinh and cards and self.role == "difference" and not self.told:
            msg = (
                f"{path}: has the cards {', '.join(cards)} of asinh-scaled pixels, which a "
                "difference mostly has from an input; say with --difference-layout ps1 that it is "
                "scaled so, or with --difference-layout plain that it is not"
            )
            raise InputError(msg)
        image = stored_pixels(self.hdu, path, self.reading)
        image = linear(image, self.header, path, asinh=asinh, role=self.role)
        for card in CARDS:
            self.header.remove(card, ignore_missing=True, remove_all=True)
        return image

    def mask(self, source: MaskSource) -> tuple[LazyPlane | None, MaskPlanes]:
        """Read the mask: from its own file, else from that of the image, else none."""
        layout = self.layout
        file = source.file or self.beside.get("mask")
        if file is not None:
            known = self.told or is_companion(file, layout.mask_file)
            with open_fits(file) as (others, extension):
                hdu = find_image(others, extension, MASK_NAMES, file=file, like=self.hdu)
                self._check_shape(hdu, file)
                return read_mask(
                    stored_integers(hdu, file, self.reading),
                    hdu.header,
                    file,
                    source=source,
                    preset=layout.preset if known else "",
                    about=(merged_header(others[0].header, hdu.header), self.header),
                )
        found = companion(self.hdus, self.hdu, layout.mask)
        if found is None:
            return None, MaskPlanes()
        self._check_shape(found, self.path)
        return read_mask(
            stored_integers(found, self.path, self.reading),
            found.header,
            self.path,
            image_header=self.header,
            source=source,
            preset=layout.preset,
            about=(self.header,),
        )

    def noise(self, source: NoiseSource, pixels: Pixels) -> Noise | None:
        """Make the variance: from the gain, a noise file, or the noise plane beside the image."""
        if not self.layout.gain:
            source.check_gain(source.gain)
        if source.gain is not None and source.kind != "background":
            return self._from_gain(source, source.gain, source.read_noise, pixels)
        file = source.file or self.beside.get("noise")
        if file is not None:
            return self._from_file(file, source, pixels)
        parts = [] if source.kind else self._parts()
        for name, kind in self.layout.noise.items():
            found = companion(self.hdus, self.hdu, (name,))
            if found is not None and not (kind == "weight" and parts):
                self._check_shape(found, self.path)
                stored = stored_pixels(found, self.path, self.reading)
                noise = read_variance(stored, found, self.path, source, pixels, kind=kind)
                return replace(noise, numbers=self._numbers([found]))
        if source.kind is not None:
            option = f"--{self.role}-noise"
            msg = (
                f"{self.path}: there is no noise plane beside the image for {option}-kind; "
                f"give {option}"
            )
            raise InputError(msg)
        return self._sum(parts, pixels) if parts else self._from_cards(source, pixels)

    def _sum(self, parts: list[Hdu], pixels: Pixels) -> Noise:
        """Return the variance of several parts."""
        names = ", ".join(hdu_name(hdu) for hdu in parts)
        logger.info("%s: variance is the sum of %s", self.path, names)
        for hdu in parts:
            self._check_shape(hdu, self.path)
        planes = [stored_pixels(hdu, self.path, self.reading) for hdu in parts]
        total = LazyPlane(
            pixels.shape, lambda rows: np.sum([plane[rows] for plane in planes], axis=0)
        )
        variance = to_variance(total, "variance", mask=pixels.mask, file=self.path)
        return Noise(variance, numbers=self._numbers(parts))

    def _from_file(self, file: str, source: NoiseSource, pixels: Pixels) -> Noise:
        """Read the noise from a file of its own."""
        beside = self.layout.noise_file
        known = beside is not None and (self.told or is_companion(file, beside))
        kind = source.kind or (beside.kind if beside is not None and known else "")
        with open_fits(file) as (others, extension):
            hdu = find_image(others, extension, NOISE_NAMES, file=file, like=self.hdu)
            if kind != "background":
                self._check_shape(hdu, file)
            stored = stored_pixels(hdu, file, self.reading)
            return read_variance(
                stored, hdu, file, source, pixels, kind=kind, asinh=self.layout.asinh and known
            )

    def _from_cards(self, source: NoiseSource, pixels: Pixels) -> Noise | None:
        """Make the variance from the pixels, with gain and read noise of the layout's cards."""
        layout = self.layout
        gain = self.header.get(layout.gain) if layout.gain else None
        read_noise = source.read_noise
        named = re.fullmatch(layout.gain_files, bare_name(self.path)) is not None
        if (
            not isinstance(gain, int | float)
            or not (gain > 0 and named)
            or self.role == "difference"
        ):
            source.check_gain(None)
            return None
        if read_noise is None and isinstance(self.header.get(layout.read_noise), int | float):
            read_noise = float(self.header[layout.read_noise])
        return self._from_gain(source, float(gain), read_noise, pixels)

    def _from_gain(
        self, source: NoiseSource, gain: float, read_noise: float | None, pixels: Pixels
    ) -> Noise:
        numbers = gain, read_noise or 0.0, source.sky or 0.0
        logger.info("%s: variance from gain %g, read noise %g, sky %g", self.path, *numbers)
        return Noise(variance_from_gain(pixels.image, *numbers), of_image=True)

    def light(self, source: NoiseSource, image: Plane) -> tuple[float | None, Callable[[], float]]:
        """Return the gain of the light of sources, and what tells the level to be added to it."""
        gain = 1.0 if source.gain is None and self.layout.electrons else source.gain
        subtracted = not self.layout.electrons or self.header.get("BKG-SUB") is not False
        if gain is None or self.role == "difference":
            return None, float
        if subtracted:
            return gain, float

        def sky() -> float:
            level = float(np.nanmedian(sampled(image)))
            logger.info("%s: its background of %g is not subtracted (BKG-SUB)", self.path, level)
            return -level

        return gain, once(sky)

    def _parts(self) -> list[Hdu]:
        """Return the HDUs whose sum is the variance."""
        found = [companion(self.hdus, self.hdu, (name,)) for name in self.layout.parts]
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
