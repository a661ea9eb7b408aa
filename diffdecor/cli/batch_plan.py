"""The plan of ``diffdecor batch``, and its log, which must be none of the files in the plan."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from diffdecor.cli.logs import to_file
from diffdecor.cli.options import start_logging
from diffdecor.cli.text import complain

if TYPE_CHECKING:
    from diffdecor.batch.batch import BatchOptions, Plan

_LOGS = ("log_file", "log_json")


def logs(given: Mapping[str, Any]) -> dict[str, str]:
    """Return the files of logs that are asked for, by their options."""
    return {f"--{name.replace('_', '-')}": given[name] for name in _LOGS if given[name]}


def planned(options: BatchOptions, given: Mapping[str, Any], *, quiet: bool) -> Plan:
    """Make the plan and begin the log; if the manifest is wrong, say everything that is.

    Files of logs are opened when it is known that no row reads or writes them.
    """
    from diffdecor.batch.batch import make_plan
    from diffdecor.batch.tables import ManifestError
    from diffdecor.errors import ConfigError, DiffdecorError

    start_logging(given["verbose"], quiet=quiet)
    try:
        plan = make_plan(options)
    except DiffdecorError as error:
        problems = error.problems if isinstance(error, ManifestError) else ()
        if not any(name in problem for name in options.logs for problem in problems):
            _start_files(options, given, quiet=quiet)
        if not isinstance(error, ManifestError) or len(problems) == 1:
            raise
        for problem in problems:
            complain(f"{error.file}: {problem}")
            to_file(f"{error.file}: {problem}", "ERROR")
        msg = f"{error.file}: {len(problems)} problems; nothing was done"
        raise ConfigError(msg) from None
    _start_files(options, given, quiet=quiet)
    return plan


def _start_files(options: BatchOptions, given: Mapping[str, Any], *, quiet: bool) -> None:
    start_logging(
        given["verbose"],
        quiet=quiet,
        **{name: given[name] for name in _LOGS},
        inputs=[options.manifest, *filter(None, [options.configuration])],
    )
