"""How many tasks this machine does at a time: its cores, its memory over what a task needs."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from diffdecor.batch.model import Task
from diffdecor.core.parallel import cores
from diffdecor.errors import DiffdecorError
from diffdecor.fits.bounds import raw_hdus
from diffdecor.fits.paths import Extension, split_extension
from diffdecor.fits.raw_headers import RawHeader, Stored, header_at
from diffdecor.pipeline.job import Job

# Measured on 2026-11-30: peak memory of `run --threads 1` on triples of float32 images, mask and
# variance, a kernel of 43 pixels; MB of 2^20 bytes. The second column has PSFs and --significance,
# which take the most (--variance full, --precision double, --noise-realisation: up to 12 more than
# the first); the last of each line is what is computed here.
#
#     512 x 512      96   97   132    packed  103   141
#    1024 x 1024    118  119   144            148   180
#    2048 x 2048    131  142   192            258   336
#    2048 x 4096    147  219   256            408   544
#    4096 x 4096    164  231   284            476   796
#    8192 x 8192    284  331   440            545   953

#: Bytes of a process without pixels.
PROCESS = 128 << 20
#: Bytes of the rows that are worked on: for each pixel of a small image, and each column of others.
PIXEL, COLUMN = 16, 40_000
#: Share of a task's --max-memory for unpacked planes, as in `pipeline.inputs`.
KEPT = 0.5
#: Planes that belong to an image that was named by its extension: pixels, mask, variance.
_PLANES = 3
#: Tasks whose files are looked at; those of one manifest are of few kinds.
_LOOKED_AT = 64


def jobs_at_once(tasks: Sequence[Task], max_memory: int | None = None) -> int:
    """Return how many tasks to do at a time, at least 1.

    The memory, bytes, is that which is free if it is not given. What one task may use of it is
    bounded by its own options, whatever the number: results do not depend on it.
    """
    if not tasks:
        return 1
    step = max(1, len(tasks) // _LOOKED_AT)
    some = [task.job for task in tasks[::step]]
    each = max(map(needed_memory, some))
    threads = max(job.decorrelation.threads or 1 for job in some)
    memory = free_memory() if max_memory is None else max_memory
    affordable = len(tasks) if memory is None else memory // each
    return max(1, min(cores() // threads, affordable, len(tasks)))


def needed_memory(job: Job) -> int:
    """Return how many bytes a job takes at most, roughly, from the headers of what it reads."""
    images = {role: _images(name) for role, name in job.inputs.items()}
    largest = max(images["difference"], key=lambda one: one.pixels, default=_DEFAULT)
    rows = min(PIXEL * largest.pixels, COLUMN * largest.width)
    packed = sum(one.unpacked for found in images.values() for one in found)
    return PROCESS + rows + min(packed, int(KEPT * job.decorrelation.max_memory))


@dataclass(frozen=True)
class _Image:
    """An image of a file: its size, and the bytes that it takes when it is unpacked, if it is."""

    width: int
    pixels: int
    unpacked: int


#: A difference that cannot be looked at.
_DEFAULT = _Image(4096, 1 << 23, 0)


def _images(name: str) -> list[_Image]:
    """Return the images of a file, or the named one for each of its planes; none if unreadable.

    Headers are read, nothing else; of gzipped files not even those.
    """
    file, extension = split_extension(name)
    with suppress(OSError, DiffdecorError), file.open("rb") as opened:
        content = Stored(opened)
        hdus = raw_hdus(content, file)
        headers = [header_at(content, hdu.header, i, file) for i, hdu in enumerate(hdus)]
        if extension is not None:
            headers = [one for i, one in enumerate(headers) if _is_named(extension, i, one)]
            headers = headers[:1] * _PLANES
        return [image for image in map(_image, headers) if image is not None]
    return []


def _is_named(extension: Extension, number: int, header: RawHeader) -> bool:
    """Say whether brackets name an HDU."""
    if isinstance(extension, int):
        return number == extension
    name, version = extension if isinstance(extension, tuple) else (extension, None)
    is_version = version in {None, header.whole("EXTVER", 0, default=1)}
    return header.text("EXTNAME").upper() == name.upper() and is_version


def _image(header: RawHeader) -> _Image | None:
    """Return the image of an HDU, packed or not; None if it is something else."""
    is_packed = header.value("ZIMAGE") == b"T"
    if not is_packed and header.text("XTENSION", "IMAGE") != "IMAGE":
        return None
    prefix = "Z" if is_packed else ""
    if header.whole(f"{prefix}NAXIS", 0, default=0) < 2:
        return None
    width, height = (header.whole(f"{prefix}NAXIS{axis}", 0) for axis in (1, 2))
    pixels = width * height
    bits = abs(header.whole(f"{prefix}BITPIX", -64, 64))
    return _Image(width, pixels, pixels * bits // 8 if is_packed else 0)


def free_memory(root: Path = Path("/")) -> int | None:
    """Return how many bytes of memory this process can have, None if the system does not say.

    What the machine has available, or less where a control group limits us, as jobs of schedulers
    and containers are limited.
    """
    found = [*_of_machine(root), *_of_groups(root)]
    if found:
        return max(min(found), 0)
    try:  # macOS says only how much there is
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (OSError, ValueError):
        return None


def _of_machine(root: Path) -> Iterator[int]:
    for line in _text(root / "proc/meminfo").splitlines():
        name, _, value = line.partition(":")
        if name == "MemAvailable" and value.split():
            yield int(value.split()[0]) * 1024


def _of_groups(root: Path) -> Iterator[int]:
    """Give what each control group leaves that we are in, of version 2 or 1."""
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        kinds, _, path = rest.partition(":")
        if not kinds:
            base, limit, used, unused = "", "memory.max", "memory.current", "inactive_file"
        elif "memory" in kinds.split(","):
            base, limit = "memory", "memory.limit_in_bytes"
            used, unused = "memory.usage_in_bytes", "total_inactive_file"
        else:
            continue
        mounted = root / "sys/fs/cgroup" / base
        inner = mounted / path.strip("/")
        # Within a container the path is that of the machine: then only the root is there.
        for folder in (inner, *inner.parents):
            if folder.is_relative_to(mounted):
                yield from _left(folder, limit, used, unused)


def _left(folder: Path, limit: str, used: str, unused: str) -> Iterator[int]:
    """Give what a control group leaves, if it has a limit."""
    limits, uses = _text(folder / limit).strip(), _text(folder / used).strip()
    if not limits.isdecimal() or not uses.isdecimal():  # "max": none
        return
    # Pages of files that nobody uses are given back when memory is wanted.
    kept = 0
    for line in _text(folder / "memory.stat").splitlines():
        name, _, value = line.partition(" ")
        if name == unused and value.isdecimal():
            kept = int(value)
    yield int(limits) - int(uses) + kept


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except (OSError, UnicodeDecodeError):
        return ""
