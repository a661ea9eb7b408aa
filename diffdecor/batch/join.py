"""Outputs of detectors put into one file again.

The image of detector N1 is the HDU N1, as in the files that the manifest names, and its other
planes are N1_MASK, N1_VARIANCE and so on. Data units are copied as they are.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO, NamedTuple

from astropy.io import fits

from diffdecor import signals
from diffdecor.batch.files import make_folder_of
from diffdecor.batch.model import Task
from diffdecor.errors import DiffdecorError, InputError, OutputExistsError
from diffdecor.fits.atomic import atomic_output
from diffdecor.fits.checksum import datasum, header_with_sums
from diffdecor.fits.damage import damage_named
from diffdecor.fits.headers import (
    COMMENTARY,
    Card,
    append_missing,
    cards_to_header,
    is_structural,
)
from diffdecor.fits.open import Header, file_of, open_fits, quiet_astropy
from diffdecor.fits.output import fits_output, is_tiled
from diffdecor.fits.write_rows import write_at
from diffdecor.images.write import compression
from diffdecor.pipeline.provenance import VERSION_CARD, output_cards

#: Cards of joined files: in the primary header, and in that of the image of every detector.
SUM_CARD = Card("joined_sum", "DDJOIN", "", "sum of all parts: their DATASUM and CHECKSUM")
NAME_CARD = Card("joined_part", "DDJPART", "", "output that is this part")
_IMAGE = "IMAGE"
#: Bytes that are copied at a time.
_COPIED = 1 << 20
_SUMS = ("CHECKSUM", "DATASUM")
#: Of a compressed HDU: a sum over the header that it had before.
_STALE = ("ZHECKSUM",)


class JoinStatus(StrEnum):
    """What became of a joined file."""

    DONE = "done"
    #: It is made of these very parts.
    ALREADY = "already done"
    #: Outputs are missing; nothing was written.
    INCOMPLETE = "incomplete"
    ERROR = "error"


@dataclass(frozen=True, kw_only=True)
class Joined:
    """A joined file, and what became of it."""

    file: str
    status: JoinStatus
    #: The outputs that it is made of, in order.
    parts: Sequence[str]
    #: Those that are not there.
    missing: Sequence[str] = ()
    #: One line, of what is neither done nor already done.
    error: str = ""
    #: Of an error; that outputs are missing is known of their jobs.
    exit_code: int = 0


class _Unit(NamedTuple):
    """An HDU of a part: its cards, and where in the file its data are, in bytes."""

    header: Header
    file: BinaryIO
    data: int
    size: int

    @property
    def name(self) -> str:
        return str(self.header.get("EXTNAME", "")).strip().upper()

    def chunk(self, start: int, part: str) -> bytes:
        """Return some of the data, padding included, from a place on."""
        length = min(_COPIED, self.size - start)
        with damage_named(part, f"its HDU {self.name} cannot be read", "make it again"):
            chunk = os.pread(self.file.fileno(), length, self.data + start)
            if len(chunk) != length:
                msg = "it ends too early"
                raise EOFError(msg)
        return chunk


def join(
    tasks: Sequence[Task],
    *,
    is_there: Callable[[Task], bool] = lambda task: Path(task.job.output).is_file(),
) -> list[Joined]:
    """Put the outputs of detectors together: every joined file of which all outputs are there.

    The tasks are all those of a manifest; those that are no detector's do not count. `is_there`
    may count outputs as missing that are of an earlier time. What has been joined of other outputs
    before is replaced, and no other file is. What cannot be joined is reported, and stops no other.
    """
    groups: dict[str, list[Task]] = {}
    for task in tasks:
        if task.joined:
            groups.setdefault(os.path.realpath(task.joined), []).append(task)
    return [_joined(group, is_there) for group in groups.values()]


def _joined(group: Sequence[Task], is_there: Callable[[Task], bool]) -> Joined:
    """Join one file."""
    file = group[0].joined
    parts = [task.job.output for task in group]
    missing = [task.job.output for task in group if not is_there(task)]
    about = Joined(file=file, status=JoinStatus.DONE, parts=parts, missing=missing)
    if missing:
        left = "; what is there is of an earlier time" if Path(file).exists() else ""
        error = (
            f"{file}: not joined: {len(missing)} of {len(parts)} outputs are missing, the first is "
            f"{missing[0]}{left}"
        )
        return replace(about, status=JoinStatus.INCOMPLETE, error=error)
    by_name = {task.detector: task.job.output for task in group}
    total = ""
    try:
        primary, total = _common(by_name)
        make_folder_of(file)
        before = _recorded(file)
        if before == total:
            return replace(about, status=JoinStatus.ALREADY)
        with signals.going_on(), _output(file, by_name, overwrite=before is not None) as out:
            _write(out, by_name, primary, total)
    except OutputExistsError as error:
        if _recorded(file) == total:  # another process has joined them
            return replace(about, status=JoinStatus.ALREADY)
        text = str(error)
        if "exists already" in text:
            text = (
                f"{file}: exists already, and was not joined of outputs; move it, or name another"
            )
        return replace(about, status=JoinStatus.ERROR, error=text, exit_code=error.exit_code)
    except DiffdecorError as error:
        code = error.exit_code
        return replace(about, status=JoinStatus.ERROR, error=str(error), exit_code=code)
    return about


def _common(parts: Mapping[str, str]) -> tuple[Header, str]:
    """Return the primary cards that are the same in all parts, and the sum of the parts."""
    cards: dict[str, fits.Card] | None = None
    total = hashlib.sha256()
    for name, part in parts.items():
        with _units(part) as units:
            own = {card.keyword: card for card in _observation(units[0].header)}
            total.update(_line(name, part, units))
        if cards is None:
            cards = own
        cards = {
            keyword: card
            for keyword, card in cards.items()
            if keyword in own and own[keyword].value == card.value
        }
    return fits.Header((cards or {}).values()), total.hexdigest()[:32]


def _observation(primary: Header) -> Iterator[fits.Card]:
    """Give the cards of a primary header that say something of the observation."""
    ours = _our_keywords()
    for card in primary.cards:
        keyword = card.keyword
        if not (is_structural(keyword) or keyword in COMMENTARY or keyword in ours):
            yield card


def _our_keywords() -> set[str]:
    return {card.keyword for card in output_cards()}


def _line(detector: str, part: str, units: Sequence[_Unit]) -> bytes:
    """Return what changes when anything in a part does."""
    sums = [str(unit.header.get(keyword)) for unit in units for keyword in _SUMS]
    return " ".join([detector, Path(part).name, *sums, "\n"]).encode("utf-8", "surrogateescape")


def _recorded(file: str) -> str | None:
    """Return the sum of the parts that a joined file has, None if it is none."""
    try:
        with open_fits(file) as (hdus, _):
            value = hdus[0].header.get(SUM_CARD.keyword)
    except (InputError, OSError):
        return None
    return value if isinstance(value, str) else None


@contextmanager
def _units(part: str) -> Iterator[Sequence[_Unit]]:
    """Open an output; InputError if it is none."""
    with open_fits(part) as (hdus, _), quiet_astropy(part):
        file = file_of(hdus[0])
        if file is None or VERSION_CARD.keyword not in hdus[0].header:
            msg = f"{part}: not an output of diffdecor run, so it is not joined; make it again"
            raise InputError(msg)
        with damage_named(part, "damaged output", "make it again"):
            units = list(_raw(file))
        if sum(unit.name == _IMAGE for unit in units) != 1:
            msg = f"{part}: there is no HDU {_IMAGE} in it, or several are; make it again"
            raise InputError(msg)
        yield units


def _raw(file: BinaryIO) -> Iterator[_Unit]:
    """Give the HDUs of an open file as they are stored: compressed images as tables."""
    with (
        os.fdopen(os.dup(file.fileno()), "rb") as again,
        fits.open(
            again, memmap=False, disable_image_compression=True, do_not_scale_image_data=True
        ) as hdus,
    ):
        for hdu in hdus:
            about = hdu.fileinfo()
            start, data = about["hdrLoc"], about["datLoc"]
            header = os.pread(file.fileno(), data - start, start)
            yield _Unit(fits.Header.fromstring(header), file, data, about["datSpan"])


@contextmanager
def _output(file: str, parts: Mapping[str, str], *, overwrite: bool) -> Iterator[BinaryIO]:
    """Open a joined file: packed as its name says, or as its parts are."""
    packed = {is_tiled(part) for part in parts.values()}
    inputs = list(parts.values())
    if packed == {True} and is_tiled(file):
        with atomic_output(file, overwrite=overwrite, inputs=inputs, packable=True) as out:
            yield out
        return
    if True in packed:
        msg = f"{file}: its parts are compressed (.fits.fz); name it .fits.fz, and all parts"
        raise InputError(msg)
    how = compression()
    how = replace(how, without=[_called(name, plain) for name in parts for plain in how.without])
    with fits_output(file, overwrite=overwrite, inputs=inputs, compression=how) as out:
        yield out


def _called(detector: str, name: str) -> str:
    """Return what an HDU of a detector is called in the joined file."""
    return detector if name == _IMAGE else f"{detector}_{name}"


def _write(out: BinaryIO, parts: Mapping[str, str], primary: Header, total: str) -> None:
    """Write a joined file: one part after the other."""
    header = fits.PrimaryHDU(header=primary).header
    header.set("EXTEND", True, after="NAXIS")
    header.extend(cards_to_header({SUM_CARD.keyword: total}, [SUM_CARD]), update=True)
    blocks = header_with_sums(_with_long_texts(header), 0)
    write_at(out.fileno(), blocks, 0)
    end = len(blocks)
    again = hashlib.sha256()
    for name, part in parts.items():
        with _units(part) as units:
            again.update(_line(name, part, units))
            for unit in units[1:]:
                header = unit.header.copy()
                for keyword in _STALE:
                    header.remove(keyword, ignore_missing=True)
                header["EXTNAME"] = _called(name, unit.name)
                if unit.name == _IMAGE:
                    _add_provenance(header, units[0].header, primary, part)
                end = _copied(unit, header, out.fileno(), end, part)
    if again.hexdigest()[:32] != total:
        msg = f"{next(iter(parts.values()))}: it, or another part, has changed; join them again"
        raise InputError(msg)


def _add_provenance(header: Header, own: Header, primary: Header, part: str) -> None:
    """Add to the header of an image what the primary header of its file says of it alone."""
    append_missing(header, own, set(header) | set(primary))
    header.extend(cards_to_header({NAME_CARD.keyword: Path(part).name}, [NAME_CARD]), update=True)


def _with_long_texts(header: Header) -> Header:
    """Return a header that says that texts are continued, if some are."""
    if any(len(str(card)) > 80 for card in header.cards) and "LONGSTRN" not in header:
        header["LONGSTRN"] = ("OGIP 1.0", "long texts are continued over several cards")
    return header


def _copied(unit: _Unit, header: Header, out: int, place: int, part: str) -> int:
    """Copy the data of an HDU behind its new header; return where it ends."""
    stated = header.get("DATASUM")
    data = place + len(header_with_sums(_with_long_texts(header), 0))
    found = 0
    for start in range(0, unit.size, _COPIED):
        chunk = unit.chunk(start, part)
        found = datasum(chunk, found)
        write_at(out, chunk, data + start)
    if stated is not None and str(stated).strip() != str(found):
        msg = (
            f"{part}: HDU {unit.name} is damaged: its data do not agree with DATASUM; make it again"
        )
        raise InputError(msg)
    write_at(out, header_with_sums(header, found), place)
    return data + unit.size
