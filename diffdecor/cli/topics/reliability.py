"""Killed runs, locks, damaged files, and the bounds that files must keep."""

from __future__ import annotations

from diffdecor.cli.topics.blocks import Block, parsed, table
from diffdecor.fits.lock import DEAD, RENEWED

_DAMAGED = (
    "damaged files of every role and codec: bits, cuts, cards, ends, types, streams (make fuzz)",
    "10 000",
    (
        "Each ended with 0, 2 or 3 and one line, in at most 0.8 s of processor time, below 1 GB, "
        "without a crash. In one case code and line were wrong; that has been mended."
    ),
)
_KILLED = (
    (
        "runs killed at random moments by SIGKILL, SIGTERM, SIGINT, SIGHUP, 50 of them twice "
        "(make test-long)"
    ),
    "350",
    (
        "The exit code says whether the output is there; the older output is intact; nothing is "
        "left after the next run, whose pixels are the same."
    ),
)
_TRIED = (_DAMAGED, _KILLED)
_TEXT = f"""
Whatever the input, a command ends with one of its exit codes (diffdecor help exit-codes) and, if
that is not 0, with one line that says why. Inputs are never changed, and no output is ever half
written.

## Outputs and killed runs

The output is written under a temporary name beside its final name, and renamed when it is complete.
A file that appears there in the meantime is not replaced without --overwrite. With it the new file
keeps owner, group and mode of the old one, as far as permissions allow. A symbolic link is
followed, and stays a link. Devices, pipes and the program's own standard output are refused.

A signal (SIGINT, SIGTERM, SIGHUP) ends a run with 128 plus its number, and there is no output. A
signal that arrives after the output has its final name changes nothing: the exit code is 0.

While it is written an output is locked by .NAME.lock beside it, which also works on network file
systems. A second process that wants to write the same output ends with code 75. The lock is renewed
every {RENEWED:.0f} s; one whose process is gone, or which another machine has not renewed for
{DEAD / 60:.0f} minutes, is removed by the next run.

Only a process that is killed (SIGKILL, a power cut) leaves its lock and a partial file behind,
.NAME.lock and .NAME.*.part. The next run that writes this output, or finds it complete, removes
these and nothing else.

## Damaged inputs

Everything that is read is summed, and compared with the checksums in the headers:

- Data that do not agree with their DATASUM end the run with exit code 3 before the output is
  complete. They are damaged, or a program has changed them and kept the old sum (as astropy does
  without checksum=True). --ignore-checksums goes on, with a warning.
- A wrong CHECKSUM although DATASUM is right means that cards were changed: one warning for a file.
- For tile-compressed images the sum of the compressed table counts.
- An input that is changed while it is read (size, time, or what was read) is an error, too. If it
  is replaced by another file of its name, it is read as it was.

Bytes that cannot be what they are meant to be, and numbers that no measurement can have (kernels,
PSFs, scales and weights beyond 1e60), are refused, and the message names them. Headers are checked
before anything else is read, and the decompressors never get a stream that could harm them. Nothing
in a file is ever evaluated or unpickled.

## How a run knows that it is done already

An output records a sum of every input. If these sums, the options and the number of the algorithm
(card DDALGO) are the same, the output is kept, and the exit code is 0. The number is raised when
results change; a new version of diffdecor (card DDVERS) with the same number computes nothing anew.
What goes into a sum:

- Of an image: its data, as the FITS DATASUM over all HDUs of the file, and the cards BSCALE, BZERO
  and BLANK, without which the data mean something else. Other cards do not count: if you only edit
  the header of an image, an output made from it remains valid.
- Of a kernel file, and of a file of --science-noise-power and the like: all cards, too, except
  DATE, CHECKSUM, DATASUM, HISTORY and COMMENT, because there the cards matter. The same holds for
  the difference if the kernel is taken from it, or found from the images.
- DDOTHSUM lists a sum for each of all other files: noise, masks, PSFs, lists of stacks and the
  files that these name.
- Data that have no influence on the pixels of the result (the variance of the difference, and the
  pixels of science image and template, unless the kernel was found from them) are not read for
  this. If their header has a DATASUM it is used; otherwise samples of them are summed, at most
  8 MB.

## What was tried

Last on 2026-11-30:

{{}}

## Bounds

Each bound is far beyond what real files need; beside them a command on damaged files takes at most
20 seconds of processor time and 1 GB of memory. A file beyond a bound is refused: exit code 3, for
a file of options 2.

{{}}
"""


def blocks() -> tuple[Block, ...]:
    """Return the blocks of the topic."""
    from diffdecor.cli.topics.bounds import bounds_table

    titles = {"what": "what", "number": "number", "result": "result"}
    return parsed(_TEXT, table("tried", titles, *_TRIED), bounds_table())
