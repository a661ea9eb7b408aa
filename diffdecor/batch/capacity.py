"""How many tasks this machine does at a time: its cores, its memory over what a task needs."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from diffdecor.batch.model import Task
from diffdecor.core.parallel import cores
from diffdecor.errors import DiffdecorError
from diffdecor.fits.bounds import raw_hdus
from diffdecor.fits.paths import split_extension
from diffdecor.fits.raw_headers import RawHeader, Stored, header_at
from diffdecor.pipeline.job import Job

#: Bytes of a process before it has pixels, and of each pixel of the difference with what belongs
#: to it.
PROCESS, PIXEL = 100 << 20, 20
#: Pixels of a difference that cannot be looked at.
DEFAULT_PIXELS = 1 << 23
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
    """Return how many bytes a job takes at most, roughly, from the size of its difference."""
    pixels = PIXEL * (image_pixels(job.difference) or DEFAULT_PIXELS)
    return PROCESS + min(pixels, job.decorrelation.max_memory)


def image_pixels(name: str) -> int | None:
    """Return how many pixels the largest image of a file has; None if that cannot be told.

    Headers are read, nothing else; not even those of gzipped files.
    """
    file, extension = split_extension(name)
    with suppress(OSError, DiffdecorError), file.open("rb") as opened:
        content = Stored(opened)
        hdus = raw_hdus(content, file)
        headers = [header_at(content, hdu.header, i, file) for i, hdu in enumerate(hdus)]
        if isinstance(extension, int):
            headers = headers[extension : extension + 1]
        return max(map(_pixels, headers), default=0) or None
    return None


def _pixels(header: RawHeader) -> int:
    """Return how many pixels an image has, packed or not; 0 if it is something else."""
    if header.value("ZIMAGE") == b"T":
        prefix = "Z"
    elif header.text("XTENSION", "IMAGE") == "IMAGE":
        prefix = ""
    else:
        return 0
    if header.whole(f"{prefix}NAXIS", 0, default=0) < 2:
        return 0
    return header.whole(f"{prefix}NAXIS1", 0) * header.whole(f"{prefix}NAXIS2", 0)


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
