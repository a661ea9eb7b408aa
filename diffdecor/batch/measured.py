"""What a piece of work took: time, processor time, and memory."""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
#: Written to the latter, it sets the peak of the memory back to what there is now.
_RESET_PEAK = "5"


class Meter:
    """Measures from when it is made."""

    def __init__(self) -> None:
        self.started = datetime.now(UTC)
        with suppress(OSError):  # not Linux, or not allowed: then it is the peak since the start
            _CLEAR.write_text(_RESET_PEAK)
        self._wall, self._cpu = time.monotonic(), _cpu_seconds()

    def read(self) -> dict[str, Any]:
        """Return what it took so far, by the names of the fields of a `Record`."""
        return {
            "started": self.started.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z",
            "wall_seconds": round(time.monotonic() - self._wall, 3),
            "cpu_seconds": round(_cpu_seconds() - self._cpu, 3),
            "peak_memory": _peak_memory(),
            "host": os.uname().nodename,
        }


def _cpu_seconds() -> float:
    """Return the processor time of this process, and of its children that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _peak_memory() -> int | None:
    """Return the most memory that the process had since the peak was set back, bytes."""
    with suppress(OSError, ValueError):
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
