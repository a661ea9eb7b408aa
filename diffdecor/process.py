"""A process of ours: its threads of linear algebra, garbage collector, memory, and time.

Gains are ratios of processor time with and without, measured on 2026-11-30 on two cores; those of
64 x 64 pixels on whole runs, medians of nine pairs of processes or more.
"""

from __future__ import annotations

import gc
import os
import sys
import time
import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

#: Parameters of the C library's ``mallopt``, as in its malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8


class Clock:
    """Measures the time that something takes, from when it is made."""

    def __init__(self) -> None:
        self._started = datetime.now(UTC)
        self._wall, self._cpu = time.perf_counter(), _cpu_seconds()

    def read(self) -> dict[str, Any]:
        """Return when it started, UTC, and the seconds since then: passed, and of processors."""
        return {
            "started": self._started.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "wall_seconds": round(time.perf_counter() - self._wall, 3),
            "cpu_seconds": round(_cpu_seconds() - self._cpu, 3),
        }


def _cpu_seconds() -> float:
    """Return the processor time of this process, and of its children that have ended."""
    times = os.times()
    return time.process_time() + times.children_user + times.children_system


def begin() -> None:
    """Set up a process of our own, before anything heavy is imported."""
    # Imported modules stay: the collector would go through all of them several times (0.94).
    gc.disable()
    # We use threads of our own; those of linear algebra would compete with them (0.95).
    for name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    # What arithmetic makes of damaged pixels is said in our own words; `python -W` shows it all.
    if not sys.warnoptions:
        warnings.simplefilter("ignore", RuntimeWarning)


def begin_work() -> None:
    """Prepare a process of our own for large arrays, once all is imported.

    The garbage collector is off until then (`begin`); from now on it looks at new
    objects only (0.91 on 64 x 64 pixels). Where it is on, the process is not ours: nothing is done.
    """
    if gc.isenabled():
        return
    gc.freeze()
    gc.enable()
    _keep_memory()


def keep_home_clean() -> None:
    """Have matplotlib keep its files in a folder of ours, which is gone at the end."""
    if "MPLCONFIGDIR" not in os.environ:
        os.environ["MPLCONFIGDIR"] = _temporary_folder()


def do_without_home() -> None:
    """Give astropy another folder for its settings where that in the home folder is closed to us.

    As for jobs that run as another user than HOME says: astropy would fail when it is imported.
    """
    try:
        Path("~/.astropy/config").expanduser().stat()
    except PermissionError:
        folder = _temporary_folder()
        Path(folder, "astropy").mkdir()
        os.environ["XDG_CONFIG_HOME"] = os.environ["XDG_CACHE_HOME"] = folder
    except (OSError, RuntimeError):  # there is none: astropy makes it, or does without
        pass


def _temporary_folder() -> str:
    """Return the name of a new folder that is gone when the process ends."""
    import atexit
    import tempfile

    folder = tempfile.TemporaryDirectory(prefix="diffdecor-")
    atexit.register(folder.cleanup)
    return folder.name


def _keep_memory() -> None:
    """Let the C library keep the memory of arrays for the next ones, where it can.

    Otherwise it returns every band of rows to the system, and clearing new pages costs as
    much as the arithmetic on them: 0.89 on 2048 x 4096 pixels, 1.00 on 64 x 64.
    """
    import ctypes

    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_TRIM_THRESHOLD, 1 << 26)  # 0.92, given the other two
        mallopt(_MMAP_THRESHOLD, 1 << 25)  # 0.78: given the first, the library no longer adapts it
        mallopt(_ARENA_MAX, 1)  # 0.95, and 0.87 of the memory: all threads share one pool
