"""What the exit codes mean."""

from __future__ import annotations

from diffdecor.cli import EXIT_CODES
from diffdecor.cli.topics.blocks import Block, Row, Table, parsed

_TEXT = """
{}

An error is one line on stderr: which file, what is wrong, what to do. Where the code is not 0 or 4
there is no new output, and an older one is unchanged.

Code 0 also means "done already": an output that was made by the same algorithm (card DDALGO), from
the same data, with the same options is kept, and nothing is computed. So a list of commands can be
repeated until all of it is done.

The code of a batch is that of all its jobs: 0 only if nothing is missing (diffdecor help batches).

Code 75 is that of "temporary failure" (EX_TEMPFAIL): the same command will work later.

Log messages go to stderr, too: only warnings and errors, unless stderr is a terminal or -v is
given; only errors with -q.
"""


def blocks() -> tuple[Block, ...]:
    """Return the blocks of the topic."""
    rows = (
        Row((str(code), text), {"code": code, "meaning": text}) for code, text in EXIT_CODES.items()
    )
    return parsed(_TEXT, Table("exit_codes", ("code", "meaning"), tuple(rows)))
