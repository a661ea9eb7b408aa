"""A bar on the terminal for work that takes a while, with its rate."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import RLock
from typing import Any

import click

#: Seconds that work may take before a bar appears, and between two of its pictures.
DELAY, INTERVAL = 2.0, 0.2
_CLEAR_LINE = "\r\033[K"
#: Held while a bar or a log line is written to the terminal.
_LOCK = RLock()


class _Bar:
    """Told how much is done, and of how much, it shows a bar once that has taken a while."""

    #: The one that is shown now.
    current: _Bar | None = None

    def __init__(self, label: str, unit: str, scale: float) -> None:
        self._label, self._unit, self._scale = label, unit, scale
        self._begun = self._drawn = time.monotonic()
        self._bar: Any = None
        self._rate = ""

    def __call__(self, done: int, total: int) -> None:
        """Show what is done."""
        now = time.monotonic()
        if done == 0:
            self._begun = now
        if self._bar is None and (now - self._begun < DELAY or done >= total):
            return
        if self._bar is not None and now - self._drawn < INTERVAL and done < total:
            return
        self._drawn = now
        self._rate = f"{done / self._scale / max(now - self._begun, 1e-9):.3g} {self._unit}/s"
        with _LOCK:
            if self._bar is None:
                self._bar = self._shown(total, now - self._begun)
                _Bar.current = self
            self._bar.update(done - self._bar.pos)
            if done >= total:
                self.close()

    def _shown(self, total: int, elapsed: float) -> Any:  # noqa: ANN401  generic in new versions only
        bar: Any = click.progressbar(
            length=total,
            label=self._label,
            file=sys.stderr,
            item_show_func=lambda _: self._rate,
        )
        bar.start -= elapsed
        return bar.__enter__()

    def close(self) -> None:
        """Leave the bar as it is, and give the cursor back."""
        with _LOCK:
            if self._bar is not None:
                self._bar.render_finish()
            self._bar = _Bar.current = None


@contextmanager
def progress(
    label: str, unit: str, *, scale: float = 1.0, quiet: bool = False
) -> Iterator[Callable[[int, int], None] | None]:
    """Give a function that shows how much is done, and of how much; None where nobody watches.

    The rate is in `unit`, which is `scale` of what is counted, per second.
    """
    stream = sys.stderr
    if quiet or not stream or not stream.isatty() or os.environ.get("TERM") == "dumb":
        yield None
        return
    bar = _Bar(label, unit, scale)
    try:
        yield bar
    finally:
        bar.close()


@contextmanager
def paused() -> Iterator[None]:
    """Keep the bar, which is drawn again with the next step, off the line that is written now."""
    with _LOCK:
        if _Bar.current is not None and sys.stderr:
            sys.stderr.write(_CLEAR_LINE)
        yield
