"""Files of several detectors: a row for each, by the names of their HDUs."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import NamedTuple

from diffdecor.errors import InputError
from diffdecor.fits.open import Hdu, image_shape, open_fits
from diffdecor.fits.paths import split_extension
from diffdecor.images.locate import hdu_name, images_of
from diffdecor.pipeline.job import ROLES

#: How the names of HDUs begin that have none of their own.
_NUMBERED = "HDU"


class Detector(NamedTuple):
    """An HDU with the image of a detector, or with something that is for it."""

    #: Letters, digits, - . _; not only digits, which would be the number of an HDU.
    name: str
    #: What is in the brackets: EXTNAME, EXTNAME with EXTVER, or the number of the HDU.
    address: str
    is_image: bool


class DetectorRow(NamedTuple):
    """The files of a detector, by role; a row without a name is that of whole files."""

    detector: str
    files: Mapping[str, str]


class Lacking(NamedTuple):
    """A file that has nothing of a detector that the others have."""

    role: str
    file: str
    detector: str


class Detectors:
    """Makes rows of detectors; every file is opened once, however many rows it is in."""

    def __init__(self) -> None:
        self._of = cache(detectors_of)

    def rows(self, files: Mapping[str, str]) -> tuple[list[DetectorRow], list[Lacking]]:
        """Return the rows of a row of files, and what lacks; InputError if one cannot be read.

        Where no image has several detectors, it is the one row as it is. Other files are taken for
        all detectors unless they have HDUs of their names. What has brackets stays as it is.
        """
        found = {role: self._found(role, file) for role, file in files.items()}
        wanted = [one.name for one in found["difference"].values() if one.is_image]
        if not any(_count_images(found.get(role, {})) > 1 for role in ROLES) or not wanted:
            return [DetectorRow("", files)], []
        several = {
            role for role, there in found.items() if self._is_of_detectors(role, there, wanted)
        }
        rows, lacking = [], []
        for name in wanted:
            missing = [role for role in files if role in several and name not in found[role]]
            lacking += [Lacking(role, files[role], name) for role in missing]
            if not missing:
                own = {role: f"{files[role]}[{found[role][name].address}]" for role in several}
                rows.append(DetectorRow(name, {role: own.get(role, files[role]) for role in files}))
        seen = set(wanted)
        for role in ROLES:
            if role in several and role != "difference":
                more = [one.name for one in found[role].values() if one.is_image]
                lacking += [
                    Lacking("difference", files["difference"], name)
                    for name in more
                    if name not in seen
                ]
                seen.update(more)
        return rows, lacking

    def _found(self, role: str, file: str) -> Mapping[str, Detector]:
        """Return the detectors of a file by name; none of one that is no FITS file, or an HDU."""
        if split_extension(file)[1] is not None:
            return {}
        try:
            return {one.name: one for one in self._of(file)}
        except InputError:
            if role in ROLES:
                raise
            return {}  # kernels may be texts; what is damaged fails the job

    @staticmethod
    def _is_of_detectors(role: str, found: Mapping[str, Detector], wanted: Sequence[str]) -> bool:
        """Say whether a file is one of detectors, and not for all of them."""
        same = found.keys() & set(wanted)
        # A single HDU that has only a number shows nothing: every file has one.
        named = len(same) > 1 or any(not name.startswith(_NUMBERED) for name in same)
        return (role in ROLES and _count_images(found) > 1) or named


def _count_images(found: Mapping[str, Detector]) -> int:
    return sum(one.is_image for one in found.values())


def detectors_of(file: str) -> tuple[Detector, ...]:
    """Return every HDU with content of a FITS file that could be of a detector, in their order."""
    with open_fits(file) as (hdus, _):
        flat = [hdu for hdu in images_of(hdus) if len(image_shape(hdu)) == 2]
        names = Counter(hdu_name(hdu) for hdu in flat)
        # Where several have one name they are the detectors, and others are not.
        alike = any(count > 1 for count in names.values())
        images = {id(hdu) for hdu in flat if names[hdu_name(hdu)] > 1 or not alike}
        contents = [(number, hdu) for number, hdu in enumerate(hdus) if hdu.header.get("NAXIS")]
        found = list(_named(contents))
        # Of HDUs that no name tells apart, and of names that are too much alike, the numbers do.
        counts = Counter(name for name, _ in found)
        return tuple(
            Detector(name, address, id(hdu) in images)
            if name and counts[name] == 1
            else Detector(f"{_NUMBERED}{number}", str(number), id(hdu) in images)
            for (number, hdu), (name, address) in zip(contents, found, strict=True)
        )


def _named(contents: Sequence[tuple[int, Hdu]]) -> Iterator[tuple[str, str]]:
    """Give name and address of HDUs, empty of those without."""
    names = Counter(str(hdu.name).strip().upper() for _, hdu in contents)
    for number, hdu in contents:
        name = str(hdu.name).strip().upper()
        address = name if names[name] == 1 else f"{name},{hdu.ver}"
        label = re.sub(r"[^A-Z0-9.-]+", "_", address)[:50]
        if name in {"", "PRIMARY", "COMPRESSED_IMAGE"}:  # what astropy calls those without
            yield "", ""
        elif name.isdecimal():
            yield f"CCD{label}", str(number)
        else:
            yield label, str(number) if re.search(r"[\[\],]", name) else address
