"""The noise of an opened image: from options, planes, a gain, cards, or what HOTPANTS says."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from diffdecor import words
from diffdecor.config import ImageOptions
from diffdecor.core.planes import LazyPlane
from diffdecor.errors import InputError
from diffdecor.fits.open import Hdu, open_fits
from diffdecor.fits.read_rows import stored_pixels
from diffdecor.images.inferred import Inferred, Source, blamed, blaming
from diffdecor.images.locate import companion, find_image, hdu_name
from diffdecor.images.model import mapped
from diffdecor.images.noise import Noise, Pixels, check_gain, read_variance
from diffdecor.images.surveys.plain import NOISE_NAMES
from diffdecor.images.surveys.recognise import bare_name, is_companion
from diffdecor.images.variance import apart_from_sky, to_variance, variance_from_gain

if TYPE_CHECKING:
    from diffdecor.images.planes import OpenedImage

logger = words.logger(__name__)


@dataclass(frozen=True, eq=False)
class NoiseSources:
    """Where the noise of an image may come from, the best first."""

    image: OpenedImage
    pixels: Pixels

    @property
    def options(self) -> ImageOptions:
        """The options of the image."""
        return self.image.options

    @property
    def inferred(self) -> Inferred:
        """What HOTPANTS says of it."""
        return self.image.inferred

    def noise(self) -> Noise | None:
        """Make the variance: from the gain, a noise file, or a noise plane in the image's file.

        Without any of them it is from a gain that both images have in common, the cards of the
        layout, or what HOTPANTS says.
        """
        options = self.options
        if options.gain is not None and options.noise_kind != "background":
            return self._from_gain(options.gain)
        found = self._own_noise()
        if found is not None:
            if options.shared_gain is not None and options.noise is None and not found.of_gain:
                logger.warning(
                    "%s: it has a noise plane, and --gain is not used (%s would be)",
                    *(self.image.path, f"--{options.role}-gain"),
                )
            return found
        if options.shared_gain is not None and options.noise_kind is None:
            return self._from_gain(options.shared_gain)
        found = self._from_cards() or self._inferred_noise()
        if found is None:
            check_gain(options, None)
        return found

    def _own_noise(self) -> Noise | None:
        """Read the noise plane that options name, the layout has beside the image, or in it."""
        options = self.options
        if not (self.image.layout.gain or self._gain_is_given or "gain" in self.inferred.numbers):
            check_gain(options, options.gain)
        file = options.noise or self.image.companions.get("noise")
        if file is not None:
            return self._from_file(file)
        parts = [] if options.noise_kind else self._parts()
        for name, kind in self.image.layout.noise.items():
            found = companion(self.image.hdus, self.image.hdu, (name,))
            if found is not None and not (kind == "weight" and parts):
                stored = self._stored(found)
                noise = read_variance(
                    stored, found, self.image.path, options, self.pixels, kind=kind
                )
                return replace(noise, numbers=self._numbers([found]))
        if options.noise_kind is not None and self._inferred_sigma is None:
            flag = f"--{options.role}-noise"
            msg = f"{self.image.path}: there is no noise plane in it for {flag}-kind; give {flag}"
            raise InputError(msg)
        return self._sum(parts) if parts else None

    @property
    def _gain_is_given(self) -> bool:
        """Whether an option gives a gain."""
        return (self.options.gain, self.options.shared_gain) != (None, None)

    def _sum(self, parts: list[Hdu]) -> Noise:
        """Return the variance of several parts."""
        names = ", ".join(hdu_name(hdu) for hdu in parts)
        logger.info("%s: variance is the sum of %s", self.image.path, names)
        total = mapped(lambda *rows: np.sum(rows, axis=0), *map(self._stored, parts))
        variance = to_variance(total, "variance", mask=self.pixels.mask, file=self.image.path)
        return Noise(variance, numbers=self._numbers(parts))

    def _from_file(self, file: str, inferred: str = "") -> Noise:
        """Read the noise from a file of its own; it may be `inferred` what it holds."""
        options, described = self.options, self.image.layout.noise_file
        known = described is not None and (options.layout or is_companion(file, described))
        kind = options.noise_kind or inferred or (described.kind if described and known else "")
        with open_fits(file, self.image.reading.files) as (others, extension):
            hdu = find_image(
                others,
                extension,
                NOISE_NAMES,
                file=file,
                like=self.image.hdu,
                among=self.image.hdus,
            )
            if kind != "background":
                self.image.check_shape(hdu, file)
            said = NOISE_NAMES.get(hdu_name(hdu), inferred)
            if inferred and said != inferred and options.noise_kind is None:
                msg = (
                    f"{file}: HDU {hdu_name(hdu)} says {said}, but HOTPANTS takes noise as sigma; "
                    f"say what it holds with --{options.role}-noise-kind"
                )
                raise InputError(msg)
            stored = stored_pixels(hdu, file, self.image.reading)
            asinh = self.image.layout.asinh and bool(known)
            noise = read_variance(stored, hdu, file, options, self.pixels, kind=kind, asinh=asinh)
        return replace(noise, file=file)

    def _from_cards(self) -> Noise | None:
        """Make the variance from the pixels, with gain and read noise of the layout's cards."""
        layout = self.image.layout
        gain = self.image.header.get(layout.gain) if layout.gain else None
        named = re.fullmatch(layout.gain_files, bare_name(self.image.path)) is not None
        if (
            not isinstance(gain, int | float)
            or not (gain > 0 and named)
            or self.options.role == "difference"
        ):
            return None
        read_noise = self.image.header.get(layout.read_noise)
        of_card = {"read_noise": float(read_noise)} if isinstance(read_noise, int | float) else {}
        return replace(self._from_gain(float(gain), of_card), taken={})

    def _from_gain(self, gain: float, otherwise: Mapping[str, float] | None = None) -> Noise:
        """Make the variance from the pixels; `otherwise` is what holds where options say nothing.

        By default that is what HOTPANTS says.
        """
        options = self.options
        own = options.read_noise
        given = {
            "gain": gain,
            "read_noise": options.shared_read_noise if own is None else own,
            "sky": options.sky,
        }
        known = self.inferred.numbers if otherwise is None else otherwise
        taken = {n: known[n] for n, value in given.items() if value is None and n in known}
        if not self._gain_is_given and otherwise is None:
            taken = {"gain": gain, **taken}
        numbers = tuple(float((given | taken)[name] or 0.0) for name in given)
        logger.info("%s: variance from gain %g, read noise %g, sky %g", self.image.path, *numbers)
        if taken and otherwise is None:
            names = " and ".join(taken).replace("_", " ")
            logger.info("%s: %s as in %s", self.image.path, names, self.inferred.command)
        variance = variance_from_gain(self.pixels.image, *numbers)
        return Noise(variance, of_image=True, of_gain=True, taken=taken)

    @property
    def _inferred_sigma(self) -> Source | None:
        """The sigma image that is taken for the noise, unless a gain comes before it."""
        return self.inferred.noise or self.inferred.beside

    def _inferred_noise(self) -> Noise | None:
        """Make the variance of what HOTPANTS says, or of a sigma image beside the image."""
        inferred = self.inferred
        for text in inferred.no_noise:
            logger.info("%s: %s", self.image.path, text)
        of_gain = inferred.numbers.get("gain")
        kind = self.options.noise_kind or self.options.shared_noise_kind
        of_plane = inferred.noise is not None or (kind is not None and inferred.beside is not None)
        if of_gain is not None and not of_plane:
            noise = self._from_gain(of_gain)
            apart = apart_from_sky(noise.variance, self.pixels.image, self.pixels.usable)
            if apart is None:
                if inferred.beside is not None:
                    file = inferred.beside.file
                    logger.info("%s: %s is not used: its gain is known", self.image.path, file)
                return noise
            self._doubt_gain(of_gain, apart)
        source = self._inferred_sigma
        return None if source is None else self._from_sigma(source)

    def _doubt_gain(self, gain: float, apart: float) -> None:
        """Say that the gain of the command is not used, an error if there is nothing else."""
        role = self.options.role
        cause = "was the sky subtracted" if apart > 1 else "a coadd"
        says = (
            f"its sky has {apart:.3g} times the variance that the gain {gain:g} of "
            f"{self.inferred.command} makes ({cause}?)"
        )
        if self.inferred.beside is None:
            msg = (
                f"{self.image.path}: there is no noise plane in it, and {says}; give "
                f"--{role}-noise FILE, --{role}-gain G with --{role}-sky B, or --{role}-variance V"
            )
            raise InputError(msg)
        logger.warning("%s: %s; not used", self.image.path, says)

    def _from_sigma(self, source: Source) -> Noise:
        """Read the sigma image that HOTPANTS names, or that lies beside the image."""
        role = self.options.role
        logger.info("%s: noise (sigma) from %s: %s", self.image.path, source.file, source.why)
        with blaming(source, role, "noise"):
            noise = self._from_file(source.file, "sigma")
            apart = None
            if source is self.inferred.beside and self.options.noise_kind is None:  # but a name
                apart = apart_from_sky(noise.variance, self.pixels.image, self.pixels.usable)
            if apart is not None:
                msg = (
                    f"{source.file}: as sigma it cannot be right: the sky of {self.image.path} has "
                    f"{apart:.3g} times its variance"
                )
                raise InputError(msg)
        taken = {"noise": source.file}
        if self.options.noise_kind is None:
            taken["noise_kind"] = "sigma"
        variance = blamed(noise.variance, source, role, "noise")
        return replace(noise, variance=variance, taken=taken)

    def _stored(self, hdu: Hdu) -> LazyPlane:
        """Return a plane of the image's file, which must have the shape of the image."""
        self.image.check_shape(hdu, self.image.path)
        return stored_pixels(hdu, self.image.path, self.image.reading)

    def _parts(self) -> list[Hdu]:
        """Return the HDUs whose sum is the variance."""
        found = (
            companion(self.image.hdus, self.image.hdu, (name,)) for name in self.image.layout.parts
        )
        return [hdu for hdu in found if hdu is not None]

    def _numbers(self, hdus: list[Hdu]) -> tuple[int, ...]:
        """Return the 0-based numbers of HDUs of the image's file."""
        return tuple(self.image.hdus.index(hdu) for hdu in hdus)
