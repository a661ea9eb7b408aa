"""What becomes of a job of many: a word for each, in tables, reports and exit codes."""

from __future__ import annotations

from enum import StrEnum


class Status(StrEnum):
    """What became of a job."""

    #: The output is there.
    DONE = "done"
    #: The output is there, and has no data in it.
    SKIPPED = "skipped"
    #: The output is there, and its noise exceeds the limits of the options.
    NOT_WHITE = "not white"
    #: There were warnings, and --strict allows none; nothing was written.
    REFUSED = "refused"
    #: An input cannot be used, or the output cannot be written.
    ERROR = "error"
    #: The process that did it died, however often it was tried.
    DIED = "died"
    #: It took longer than it may.
    TIMEOUT = "timeout"
    #: It has not been done: the batch ended before, or another process is doing it.
    UNDONE = "undone"


#: Tasks whose output is there.
THERE = frozenset({Status.DONE, Status.SKIPPED, Status.NOT_WHITE})
#: Tasks that failed, on their input or else.
FAILED = frozenset({Status.ERROR, Status.DIED, Status.TIMEOUT})
