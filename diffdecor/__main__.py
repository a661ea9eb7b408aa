"""Start the command line: ``python -m diffdecor``, and the script ``diffdecor``."""

from __future__ import annotations

import signal

# Until there is a handler, an interrupt ends us as any program: without a traceback.
if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import gc
import sys
from contextlib import suppress
from typing import Any

from diffdecor import process, signals

#: Signals that stop a run.
_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")


class _Deaf:
    """A stream whose errors are ignored: a full stderr changes no exit code."""

    def __init__(self, stream: Any) -> None:  # noqa: ANN401  whatever stderr is
        self._stream = stream

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            return int(self._stream.write(text))
        except OSError:
            return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._stream.flush()


def main() -> None:
    """Run the command line in a process of its own."""
    if sys.stderr is not None:
        sys.stderr = _Deaf(sys.stderr)
    signals.heed(*_SIGNALS)  # they may come while modules are imported
    process.begin()
    try:
        from diffdecor.cli import main as command_line

        command_line(prog_name="diffdecor")
    except BaseException:
        if signals.is_to_be_reported():
            print("diffdecor: interrupted", file=sys.stderr)  # noqa: T201  click may not be there
        signals.check()
        raise
    finally:
        signals.ignore(*_SIGNALS)
        gc.freeze()  # nor need the collector go through all that is there at the end (0.93)


if __name__ == "__main__":
    main()
