"""The difference that an output was made of: found by what its cards say, and checked."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from diffdecor.config import FilesConfig, ImageOptions
from diffdecor.config.options import options
from diffdecor.errors import DiffdecorError
from diffdecor.fits.open import Header, image_shape
from diffdecor.fits.paths import split_extension
from diffdecor.fits.reading import Reading
from diffdecor.fits.sums import InputSum
from diffdecor.images.model import Exposure
from diffdecor.images.read import OpenedExposure, exposure_of, found_image
from diffdecor.pipeline.region import cut_out
from diffdecor.report.outputs import Output

_DIFFERENCE, _SUM, _REGION = "DDDIF", "DDDIFSUM", "DDREGION"


@dataclass(frozen=True, eq=False)
class Origin:
    """The difference as it was, or why it is not shown; a note where there is something to say."""

    exposure: Exposure | None
    note: str = ""


def open_result(output: Output, reading: Reading) -> Exposure:
    """Open the planes of an output; rows are read when they are wanted."""
    # A border of zeros is data here: what has none is NaN.
    about = ImageOptions(role="difference", layout="plain", zero_borders=False)
    path = split_extension(output.file)[0]
    return exposure_of(found_image(path, about, reading)).exposure


def open_difference(output: Output, given: Sequence[str], reading: Reading) -> Origin:
    """Open the difference that an output was made of.

    It is the file that is `given`, or the one that its card DDDIF names, in the folders that are
    given, the working folder or beside the output; the sum of its data has to be that of the card
    DDDIFSUM.
    """
    recorded = str(output.header.get(_DIFFERENCE, "")).strip()
    folders = [Path(one) for one in given if os.path.isdir(one)]  # noqa: PTH112  Path raises on odd ones
    named = [one for one in given if Path(one) not in folders]
    files = named or _found(recorded, [*folders, *_folders(output.file)])
    if not files:
        name = recorded or "of a name that is not recorded"
        where = "in the folders of --difference nor " if folders else ""
        return Origin(
            None,
            f"The input difference {name} is neither {where}in the working folder nor beside "
            "the output: pictures of it are left out (--difference FOLDER says where it is).",
        )
    origins = []
    for file in files:
        # Files in other folders may have the same names.
        origins.append(_origin(file, output, reading, named=bool(named)))
        if origins[-1].exposure is not None:
            return origins[-1]
    return origins[0]


def _origin(file: str, output: Output, reading: Reading, *, named: bool) -> Origin:
    """Open a difference as the run has read it, as far as the files that it named are there."""
    header = output.header
    folders = [split_extension(file)[0].parent, *_folders(output.file)]
    try:
        region = FilesConfig.of(region=header.get(_REGION)).region
        opened = exposure_of(found_image(file, recorded_options(header, folders), reading))
        same = _adds_up(file, opened, header, reading)
    except DiffdecorError as error:
        return Origin(None, f"The input difference cannot be shown: {error}")
    exposure = cut_out(opened.exposure, region)
    shape = _shape_of(output.file, reading)
    if exposure.shape != shape:
        return Origin(
            None,
            f"{file} is not the input difference: it has {exposure.shape[1]} x "
            f"{exposure.shape[0]} pixels, the output {shape[1]} x {shape[0]}.",
        )
    if same:
        return Origin(exposure)
    other = f"{file} has changed, or is another file: its sum is not that of the card {_SUM}"
    if named:
        return Origin(exposure, f"{other}. It is shown all the same (--difference).")
    return Origin(None, f"{other}. It is not shown (for one OUTPUT, --difference {file} shows it).")


def _folders(output: str) -> list[Path]:
    """Return where files of an output are looked for."""
    return [Path(), split_extension(output)[0].parent]


def _found(recorded: str, folders: Sequence[Path]) -> list[str]:
    """Return the recorded file, with its brackets, in those of the folders where it is."""
    if not recorded:
        return []
    candidates = [str(folder / recorded) for folder in folders]
    there = [one for one in candidates if split_extension(one)[0].is_file()]
    return list(dict.fromkeys(there))


def recorded_options(header: Header, folders: Sequence[Path]) -> ImageOptions:
    """Return how the cards of an output say that its difference was read.

    Files are looked for in the folders; without them the difference is read as it is.
    """
    values: dict[str, object] = {}
    shared = {item.name for item in fields(ImageOptions)}
    for item in options(FilesConfig):
        value = header.get(item.keyword) if item.keyword else None
        if value is None or not (item.role == "difference" or item.name in shared):
            continue
        if item.is_file:
            value = next(iter(_found(str(value), folders)), None)
        if value is not None:
            values[item.name] = value
    # What kind of noise a file holds says nothing without the file.
    if "difference_noise" not in values:
        values.pop("difference_noise_kind", None)
    return FilesConfig.of(**values).of_image("difference")


def _adds_up(file: str, opened: OpenedExposure, header: Header, reading: Reading) -> bool:
    """Say whether a file has the sum that the output records, or there is none."""
    wanted = str(header.get(_SUM, "")).strip()
    if not wanted:
        return True
    alone = "DDSCI" not in header
    of_cards = "DDKERSUM" not in header and not alone
    for unneeded in dict.fromkeys([() if alone or opened.stepped else opened.unneeded, ()]):
        path = split_extension(file)[0]
        total = InputSum(path, unneeded, reading, all_cards=of_cards)()
        if str(total) == wanted:
            return True
    return False


def _shape_of(output: str, reading: Reading) -> tuple[int, ...]:
    """Return the shape of the image of an output."""
    return image_shape(reading.files.hdus(split_extension(output)[0])["IMAGE"])
