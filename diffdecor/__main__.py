"""Start the command line: ``python -m diffdecor``, and the script ``diffdecor``.

Gains are ratios of processor time with and without, measured on 2026-11-30 on runs of 64 x 64
pixels, medians of nine pairs of processes or more on two cores; large images gain 0 to 2 per cent.
"""

from __future__ import annotations

import signal

# Until there is a handler, an interrupt ends us as any program: without a traceback.
if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import gc
import os
import sys
import warnings
from contextlib import suppress
from typing import Any

from diffdecor import signals

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
    # Imported modules stay: the collector would go through all of them several times (0.94).
    gc.disable()
    # We use threads of our own; those of linear algebra would compete with them (0.95).
    for name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    # What arithmetic makes of damaged pixels is said in our own words; `python -W` shows it all.
    if not sys.warnoptions:
        warnings.simplefilter("ignore", RuntimeWarning)
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
        gc.freeze()  # nor need it do so at the end (0.93)


if __name__ == "__main__":
    main()
