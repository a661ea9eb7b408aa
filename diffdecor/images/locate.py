"""Which HDU of a file is meant: by ``file.fits[EXT]``, by its name, else the first image."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection

from diffdecor.errors import InputError
from diffdecor.fits.open import Hdu, Hdus, find_extension, image_shape
from diffdecor.fits.paths import Extension
from diffdecor.images.surveys.hotpants import ALIASES
from diffdecor.images.surveys.plain import MASK_NAMES, NOISE_NAMES

logger = logging.getLogger(__name__)

#: Images that are never taken for what is looked for unless they are asked for by name.
_OTHER_NAMES = (
    "PSF", "PSI", "SIGNIF", "NOISECOV", "NOISEREAL", "CON", "CTX", "VAR_POISSON", "VAR_RNOISE",
    "VAR_FLAT", "SAMP", "TIME", "UNCERT", "IMAGE_CONV", "RMS_IMAGE_SCALED",
)  # fmt: skip


def find_image(
    hdus: Hdus,
    extension: Extension | None,
    names: Collection[str],
    *,
    file: object,
    like: Hdu = None,
    among: Hdus = (),
    single: bool = False,
) -> Hdu:
    """Return the image HDU that is meant: `extension`, what the user wrote in brackets, wins.

    Else it has one of the `names` (upper case, the best first), or it is the first image that is
    not known to be anything else. Where it is a plane that belongs to the image `like`, one of the
    same EXTNAME or EXTVER is preferred, or at the place that it has among those of its name in its
    own file (the HDUs `among`), and of several others none is guessed; neither is it of a `single`
    image. It has two axes, apart from axes of length 1.
    """
    if extension is not None:
        return _two_axes(find_extension(hdus, extension, file), file)
    found = _named(hdus, names, like, among, file)
    if found is None and like is not None and hdu_name(like):
        found = _named(hdus, (hdu_name(like),), like, among, file)  # the same one of many CCDs
    if found is None:
        images = images_of(hdus, names)
        flat = [hdu for hdu in images if len(image_shape(hdu)) == 2] or images
        if not flat or ((like is not None or single) and len(flat) > 1):
            there = ", ".join(
                f"{n} {hdu_name(hdu) or hdu.name}".strip() for n, hdu in enumerate(hdus)
            )
            what = "several images" if flat else "no image"
            msg = f"{file}: there is {what} in it (HDUs: {there}); name one as file.fits[EXT]"
            raise InputError(msg)
        found = flat[0]
        alike = [hdu for hdu in flat if is_alike(hdu, found)]
        if len(alike) > 1:
            _say_choice(hdus, found, alike, file)
    return _two_axes(found, file)


def is_alike(hdu: Hdu, other: Hdu) -> bool:
    """Say whether two images have the same shape, and both whole numbers or both fractions."""
    kinds = [hdu.header.get("BITPIX", 8) < 0 for hdu in (hdu, other)]
    return image_shape(hdu) == image_shape(other) and kinds[0] == kinds[1]


def is_mask_like(hdu: Hdu, image: Hdu) -> bool:
    """Say whether an HDU has whole numbers, unlike an image whose shape it has."""
    whole = hdu.header.get("BITPIX", -32) > 0 and hdu.header.get("BSCALE", 1) == 1
    return whole and image_shape(hdu) == image_shape(image) and not is_alike(hdu, image)


def images_of(hdus: Hdus, names: Collection[str] = ()) -> list[Hdu]:
    """Return the images that have one of the names, or are not known to be anything else."""
    others = {*MASK_NAMES, *NOISE_NAMES, *_OTHER_NAMES} - set(names)
    there = {hdu_name(hdu) for hdu in hdus}
    return [
        hdu for hdu in hdus if image_shape(hdu) and not others & _plane_names(hdu_name(hdu), there)
    ]


def planes_of_others(hdus: Hdus, image: Hdu) -> list[Hdu]:
    """Return the planes whose names say that they belong to other images: S1_MASK to S1."""
    others = {hdu_name(hdu) for hdu in hdus} - {hdu_name(image)}
    return [hdu for hdu in hdus if len(_plane_names(hdu_name(hdu), others)) > 1]


def _plane_names(name: str, there: Collection[str]) -> set[str]:
    """Return what a plane may be: N1_MASK, where there is an image N1, is a MASK, too."""
    ends = [place for place, letter in enumerate(name) if letter == "_" and name[:place] in there]
    return {name, *(name[end + 1 :] for end in ends)}


def companion(hdus: Hdus, image: Hdu, names: Collection[str]) -> Hdu:
    """Return the plane of one of these names that belongs to an image, None if there is none.

    Its name begins with that of the image (N1_MASK of N1), or it has the EXTVER of the image. Where
    several have it, or several images have the one of this,
    it is the one at the same place among those of its name, or that follows the image before the
    next image does.
    """
    own = hdu_name(image)
    for name in names:
        prefixed = [hdu for hdu in hdus if own and hdu_name(hdu) == f"{own}_{name}"]
        found = prefixed or [hdu for hdu in hdus if hdu is not image and hdu_name(hdu) == name]
        same = [hdu for hdu in found if hdu.ver == image.ver]
        siblings = [hdu for hdu in hdus if _is_sibling(hdu, image)]
        if len(same) > 1 or (same and len(siblings) > 1):
            same = _in_place(hdus, image, siblings, same)
        if same:
            return same[0] if image_shape(same[0]) else None
    return None


def _is_sibling(hdu: Hdu, image: Hdu) -> bool:
    """Say whether an HDU is an image that name and EXTVER do not tell from another."""
    same_name = hdu_name(hdu) == hdu_name(image) and hdu.ver == image.ver
    return hdu is image or (same_name and bool(image_shape(hdu)))


def _in_place(hdus: Hdus, image: Hdu, siblings: list[Hdu], found: list[Hdu]) -> list[Hdu]:
    """Return which of the planes found belongs to one of several images, by its place."""
    place = next(n for n, hdu in enumerate(siblings) if hdu is image)
    if len(siblings) == len(found):
        return [found[place]]
    order = {id(hdu): number for number, hdu in enumerate(hdus)}
    start = order[id(image)]
    stop = order[id(siblings[place + 1])] if place + 1 < len(siblings) else len(order)
    return [hdu for hdu in found if start < order[id(hdu)] < stop]


def further_masks(hdus: Hdus, image: Hdu, mask: Hdu) -> list[Hdu]:
    """Return the HDUs in which a mask of more than 31 planes goes on: with EXTVER 2, 3, ...

    They name their planes, and there is no image of their EXTVER that they could belong to.
    """
    found = []
    versions = {hdu.ver for hdu in hdus if image_shape(hdu) and hdu_name(hdu) == hdu_name(image)}
    for hdu in hdus:
        same = hdu is not mask and hdu_name(hdu) == hdu_name(mask) and image_shape(hdu)
        names = any(re.match("MP_|MSKN", keyword) for keyword in hdu.header)
        if same and names and mask.ver == 1 < hdu.ver and hdu.ver not in versions:
            found.append(hdu)
    return sorted(found, key=lambda hdu: int(hdu.ver))


def hdu_name(hdu: Hdu) -> str:
    """Return the name of an HDU in upper case: HOTPANTS's OBJECT, EXTNAME, or EXTTYPE of afw."""
    layer = ALIASES.get(str(hdu.header.get("OBJECT")).strip().upper())
    if layer is not None:
        return layer
    name = str(hdu.header.get("EXTNAME") or hdu.header.get("EXTTYPE") or "").strip().upper()
    return ALIASES.get(name, name)


def _named(hdus: Hdus, names: Collection[str], like: Hdu, among: Hdus, file: object) -> Hdu:
    for name in names:
        found = [hdu for hdu in hdus if hdu_name(hdu) == name and image_shape(hdu)]
        same = [hdu for hdu in found if like is not None and hdu.ver == like.ver]
        candidates = same or found
        siblings = [hdu for hdu in among if _is_sibling(hdu, like)]
        if len(candidates) > 1 and len(siblings) == len(candidates):
            return candidates[next(n for n, hdu in enumerate(siblings) if hdu is like)]
        if len(candidates) > 1:
            _say_choice(hdus, candidates[0], candidates, file)
        if candidates:
            return candidates[0]
    return None


def _say_choice(hdus: Hdus, chosen: Hdu, found: list[Hdu], file: object) -> None:
    """Warn that one of several images was taken."""
    others = ", ".join(str(hdus.index(hdu)) for hdu in found if hdu is not chosen)
    logger.warning(
        "%s: several images could be meant; taking HDU %d, not %s (name one as file.fits[EXT])",
        file,
        hdus.index(chosen),
        others,
    )


def _two_axes(hdu: Hdu, file: object) -> Hdu:
    shape = image_shape(hdu)
    if len(shape) == 2 and 0 not in shape:
        return hdu
    what = f"{file}: HDU {hdu.name or '0'}"
    if not shape:
        msg = f"{what} is not an image; name an image as file.fits[EXT]"
    else:
        msg = f"{what} has shape {shape}; an image needs two axes, neither of them empty"
    raise InputError(msg)
