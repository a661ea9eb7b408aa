"""The exceptions of diffdecor: one tree, each saying what is wrong, where, and what to do.

Which one to raise:

* `ConfigError` when an option or argument is wrong in itself, whatever the files hold;
* `InputError` when a file or array cannot be used: `KernelError` for the matching kernel;
* `WhitenessError` when a result is there, but its noise is not as white as the options want it;
* `DoubtfulError` when there were warnings, and none is allowed;
* `OutputError` when the result cannot be written; `BusyError` when another process is writing it;
* `ClusterError` when the machines that are to do the work cannot be had.

Every class is also the built-in exception that a Python caller would expect. Nothing here knows of
the command line; `exit_code` is what a process ending on this error should return.
"""

from __future__ import annotations

from diffdecor.words import spoken


class DiffdecorError(Exception):
    """Base of all errors that diffdecor raises on purpose."""

    exit_code = 1

    def __str__(self) -> str:
        """Return the message; outside of the command line its options are arguments."""
        return spoken(super().__str__())


class ConfigError(DiffdecorError, ValueError):
    """An option or an argument is wrong in itself, or contradicts another."""

    exit_code = 2


class InputError(DiffdecorError, ValueError):
    """A file or array cannot be used as it is."""

    exit_code = 3


class KernelError(InputError):
    """A matching kernel cannot be read, or cannot be used."""


class NoKernelError(KernelError):
    """There is no matching kernel where one may be: it is to be given, or found otherwise."""

    def __init__(self, message: str, why: str = "") -> None:
        """Keep why there is none, which is the message without advice."""
        super().__init__(message)
        self.why = why or message


class AlreadyDecorrelatedError(InputError):
    """The difference says that its noise has been decorrelated before."""


class WhitenessError(DiffdecorError):
    """The noise of an image exceeds a limit of its correlation."""

    exit_code = 4


class DoubtfulError(DiffdecorError):
    """There are warnings, and the options allow none; nothing was written."""

    exit_code = 4

    def __init__(
        self, message: str, warnings: tuple[str, ...] = (), files: tuple[str, ...] = ()
    ) -> None:
        """Keep the warnings, and the files that were read or sought."""
        super().__init__(message)
        self.warnings = warnings
        self.files = files


class OutputError(DiffdecorError, OSError):
    """The result cannot be written."""

    exit_code = 3


class OutputExistsError(OutputError):
    """The output file is there already, or is one of the inputs."""

    exit_code = 2


class BusyError(OutputError):
    """Another process is writing this output now; trying again later helps."""

    exit_code = 75

    def __init__(self, message: str, holder: str = "") -> None:
        """Keep who it is, if that is known."""
        super().__init__(message)
        self.holder = holder


class ClusterError(DiffdecorError, ConnectionError):
    """There is no scheduler, or its workers cannot be used; running the batch again goes on."""

    exit_code = 75
