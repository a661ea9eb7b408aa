"""The log on stderr: one line a message."""

from __future__ import annotations

import logging

from diffdecor.cli.text import printable


class OneLine(logging.Formatter):
    """Makes one line of a message."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        return printable(" ".join(super().format(record).split()))
