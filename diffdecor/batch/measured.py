"""What a piece of work took: time, processor time, and memory."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from diffdecor.process import Clock

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
#: Written to the latter, it sets the peak of the memory back to what there is now.
_RESET_PEAK = "5"


class Meter(Clock):
    """Measures from when it is made; memory, too."""

    def __init__(self) -> None:
        with suppress(OSError):  # not Linux, or not allowed: then it is the peak since the start
            _CLEAR.write_text(_RESET_PEAK)
        super().__init__()

    def read(self) -> dict[str, Any]:
        """Return what it took so far, by the names of the fields of a `Record`."""
        return {
            **super().read(),
            "peak_memory": _peak_memory(),
            "host": os.uname().nodename,
        }


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
