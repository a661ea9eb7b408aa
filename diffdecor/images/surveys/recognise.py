"""Which layout a file has, and which files beside it belong to it.

A file is recognised in steps, and the first that finds a layout ends the search: by the package
that wrote the whole file; by the planes that it holds; by the tool that made it; by the cards and
the name that its survey gives. Two
layouts of one step must never both claim a file.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from diffdecor import words
from diffdecor.errors import InputError
from diffdecor.fits.open import Hdus, Header, find_extension, image_shape
from diffdecor.fits.paths import Extension, split_extension
from diffdecor.images.locate import hdu_name
from diffdecor.images.surveys import layout_named
from diffdecor.images.surveys.model import Companion, Layout, Sign

logger = words.logger(__name__)

#: The layouts of each step.
STEPS = (
    ("lsst-images",),
    ("lsst", "hst", "jwst", "ccddata"),
    ("hotpants", "plain"),
    ("decam", "ztf", "ps1", "meerlicht"),
)
PACKED = ("", ".fz", ".gz")


def layout_of(
    hdus: Hdus, extension: Extension | None, path: str | Path, requested: str | None, role: str
) -> Layout:
    """Return the layout of an open file, the one that is requested or recognised, and log it.

    It is that of plain images if no other claims the file; an InputError is raised if two do.
    """
    if requested is not None:
        logger.info("%s: layout of the %s image: %s, as requested", path, role, requested)
        return layout_named(requested)
    claims = _claims(hdus, _headers(hdus, extension, path), bare_name(path))
    if len(claims) > 1:
        msg = (
            f"{path}: looks like {' and like '.join(row.title for row, _ in claims)}; say which "
            f"with --{role}-layout {'|'.join(row.name for row, _ in claims)}"
        )
        raise InputError(msg)
    found, reason = claims[0] if claims else (layout_named("plain"), "no other layout recognised")
    logger.info(
        "%s: layout of the %s image: %s (%s): %s", path, role, found.name, found.title, reason
    )
    if role == "difference" and found.white and re.fullmatch(found.white, bare_name(path)):
        logger.warning(
            "%s: this looks like a ZOGY difference, whose noise is white by construction", path
        )
    return found


def companions_of(path: str | Path, layout: Layout) -> dict[str, str]:
    """Return the files of noise and mask of a layout that lie beside an image."""
    found = {}
    for what, companion in (("noise", layout.noise_file), ("mask", layout.mask_file)):
        file = None if companion is None else _beside(Path(split_extension(path)[0]), companion)
        if file is not None:
            logger.info("%s: %s beside it: %s", path, what, file)
            found[what] = str(file)
    return found


def is_companion(file: str | Path, companion: Companion | None) -> bool:
    """Say whether a file has the name that its survey gives to such files."""
    return companion is not None and re.fullmatch(companion.looks, bare_name(file)) is not None


def companion_names(path: str | Path) -> list[str]:
    """Return every name that a file of noise or mask beside an image may have, in any survey."""
    name = bare_name(path)
    # `re.sub` remembers templates, which `expand` parses each time.
    names = [
        re.sub(rf"(?:{companion.image})\Z", added, name, count=1)
        for companion in _all_companions()
        if re.fullmatch(companion.image, name)
        for added in companion.names
    ]
    return [f"{name}{packed}" for name in names for packed in PACKED]


@cache
def _all_companions() -> list[Companion]:
    layouts = [layout_named(name) for step in STEPS for name in step]
    return [one for row in layouts for one in (row.noise_file, row.mask_file) if one]


def _beside(path: Path, companion: Companion) -> Path | None:
    """Return the companion of an image that is there, packed or not."""
    match = re.fullmatch(companion.image, bare_name(path))
    for name in companion.names if match else ():
        for packed in PACKED:
            file = path.with_name(match.expand(name) + packed)  # type: ignore[union-attr]
            if file != path and file.is_file():
                return file
    return None


def bare_name(path: str | Path) -> str:
    """Return the name of a file without folder, extension in brackets, .fz and .gz."""
    name = split_extension(path)[0].name
    return name[:-3] if name.endswith(PACKED[1:]) else name


def _headers(hdus: Hdus, extension: Extension | None, path: str | Path) -> list[Header]:
    """Return the headers that may name the survey: of the file, and of the image."""
    if extension is not None:
        return [hdus[0].header, find_extension(hdus, extension, path).header]
    return [hdus[0].header, *[hdu.header for hdu in hdus[1:] if image_shape(hdu)][:1]]


def _claims(hdus: Hdus, headers: list[Header], name: str) -> list[tuple[Layout, str]]:
    """Return the layouts of the first step that claim a file, and why."""
    there = {hdu_name(hdu) for hdu in hdus if image_shape(hdu)}
    for step in STEPS:
        claims = []
        for claimant in map(layout_named, step):
            shown = [sign for sign in claimant.signs if _shows(sign, headers, there, name)]
            if shown:
                claims.append((claimant, _reason(shown[0])))
        if claims:
            return claims
    return []


def _shows(sign: Sign, headers: list[Header], hdus: set[str], name: str) -> bool:
    """Say whether a file shows a sign."""
    if sign.file and not re.fullmatch(sign.file, name):
        return False
    for keyword, pattern in sign.cards.items():
        values = [str(header[keyword]).strip() for header in headers if keyword in header]
        if not any(re.fullmatch(pattern, value, re.DOTALL) for value in values):
            return False
    return all(hdus & set(one.split("|")) for one in sign.hdus)


def _reason(sign: Sign) -> str:
    parts = ["its name"] if sign.file else []
    parts += [f"card {keyword}" for keyword in sign.cards]
    parts += [f"HDU {name}" for name in sign.hdus]
    return ", ".join(parts)
