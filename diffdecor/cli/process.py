"""The process that a command works in: its garbage collector, and the memory it keeps."""

from __future__ import annotations

import gc

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
"""Parameters of the C library's ``mallopt``, as in its malloc.h."""


def begin_work() -> None:
    """Make a process of our own fit for work on large arrays, once all is imported.

    The garbage collector is off until then (`diffdecor.__main__`); it works again, on what is made
    from now on. In somebody else's process, where it has not been switched off, nothing is done.
    """
    if gc.isenabled():
        return
    gc.freeze()
    gc.enable()
    _keep_memory()


def _keep_memory() -> None:
    """Let the C library keep the memory of arrays for the next ones, where it can be told to.

    Else it gives every band of rows back to the system, and clearing the pages that come anew costs
    as much as the arithmetic on them. Arrays of all threads in one place make better use of it.
    """
    import ctypes

    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_TRIM_THRESHOLD, 1 << 26)
        mallopt(_MMAP_THRESHOLD, 1 << 25)
        mallopt(_ARENA_MAX, 1)
