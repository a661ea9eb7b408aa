"""``diffdecor batch``: a night's work, from a table of triples."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from diffdecor.batch.deadline import DEADLINE, DURATION
from diffdecor.batch.shard import SHARD
from diffdecor.cli.batch_plan import logs, planned
from diffdecor.cli.joins import join_outputs
from diffdecor.cli.logs import to_file
from diffdecor.cli.options import (
    ConfiguredCommand,
    config_file,
    json_facts,
    json_option,
    log_file_option,
    log_json_option,
    print_json,
    verbosity_options,
)
from diffdecor.cli.parameters import INPUT_FILE, OUTPUT_FILE, KindType
from diffdecor.cli.text import complain, say
from diffdecor.config import DecorrelationConfig, kinds
from diffdecor.process import Clock, begin_work

if TYPE_CHECKING:
    from diffdecor.batch.batch import BatchOptions, Plan
    from diffdecor.batch.model import Executor, Record, Task

_LOG = logging.getLogger(__name__)
#: Of the layout of the JSON object.
JSON_VERSION = 1
_EXAMPLES = """
\b
Examples:
  diffdecor manifest --science 'n1/*_sci.fits' --template 'n1/*_tmpl.fits' \\
      --difference 'n1/*_diff.fits' --out-dir out -o n1.csv
      writes the table: a row for every difference
  diffdecor batch n1.csv --max-rho 0.03
      does it on all cores; the same command again does what is left
  diffdecor batch n1.csv --status
      how far it is
"""


class _Batch(ConfiguredCommand):
    """A command with the options of run that hold for all rows."""

    not_in_help = frozenset({"write", "region"})
    other_help: Mapping[str, str] = {
        "threads": "Number of threads of each job; the result does not depend on it.  [default: 1]",
        "max_memory": "Rough limit of the memory of all jobs together, like 500M or 2G: fewer are "
        "done at a time.  [default: what is free]",
    }


@click.command(cls=_Batch, epilog=_EXAMPLES)
@click.argument("manifest", type=INPUT_FILE, metavar="MANIFEST")
@click.option(
    "-j",
    "--jobs",
    type=KindType(kinds.COUNT),
    metavar="N",
    help="Jobs at a time, each with one thread.  [default: by cores, and memory (--max-memory)]",
)
@click.option(
    "--timeout",
    type=KindType(DURATION),
    metavar="DURATION",
    help="Stop a job that takes longer: 90s, 10m, 1h30m.",
)
@click.option(
    "--retries",
    type=click.IntRange(min=0, max=100),
    default=1,
    show_default=True,
    metavar="N",
    help="Try again N times what died, took too long, or failed for what may pass.",
)
@click.option(
    "--deadline",
    type=KindType(DEADLINE),
    metavar="TIME|DURATION",
    help="Start nothing that cannot be expected to end by then, and stop what still runs: 06:30, "
    "2026-12-01T06:30, 8h.",
)
@click.option("--fail-fast", is_flag=True, help="Start nothing more once a job has failed.")
@click.option("--status", is_flag=True, help="Say how far it is, and do nothing.")
@click.option("--dry-run", is_flag=True, help="Say what would be done and why, and do nothing.")
@click.option(
    "--print-commands",
    is_flag=True,
    help="Print what would be done as commands for sh, one a line, and do nothing.",
)
@click.option("--redo", is_flag=True, help="Do all again, and replace the outputs.")
@click.option("--retry-failed", is_flag=True, help="Only do again what failed.")
@click.option(
    "--join", "joins", is_flag=True, help="Then join the outputs of detectors into one file again."
)
@click.option(
    "--shard",
    type=KindType(SHARD),
    metavar="I/N",
    help="Do only the I-th of N parts of the manifest, I from 1 on.",
)
@click.option(
    "--out-dir",
    type=OUTPUT_FILE,
    metavar="DIR",
    help="Where results.ecsv and results.jsonl are written.  [default: beside MANIFEST]",
)
@click.option("--scheduler", metavar="ADDRESS", help="Dask scheduler whose workers do the jobs.")
@click.option(
    "--scheduler-file",
    type=INPUT_FILE,
    metavar="FILE",
    help="File in which that scheduler wrote its address.",
)
@click.option(
    "--dask", type=KindType(kinds.COUNT), metavar="N", help="Try out Dask with N workers here."
)
@config_file
@json_option("Print what came of it as JSON.")
@log_file_option
@log_json_option
@verbosity_options
@click.pass_context
def batch(
    context: click.Context,
    /,
    *,
    as_json: bool,
    quiet: bool,
    joins: bool,
    **given: Any,  # noqa: ANN401
) -> None:
    """Do the jobs of MANIFEST, a table with columns science, template, difference, kernel, output.

    Other columns are options of run. Paths in it are relative to it. What is done already is left
    as it is, so the same command, run again, does what is missing, stale or failed.

    Exit codes: 0 all is done; 3 some failed; 4 some are not white enough, or were refused by
    --strict; 75 some were not done, run it again; 2 nothing was started.
    """
    clock = Clock()
    mode = _mode(given)
    options = _options(given)
    from diffdecor.batch.batch import UnrecordedError, as_it_stands

    about = json_facts(context, version=JSON_VERSION, manifest=options.manifest)
    plan = planned(options, given, quiet=quiet)
    if mode == "print_commands":
        _print_commands(plan, options)
        return
    if mode == "dry_run":
        _print_waiting(plan, options, about, as_json=as_json)
        return
    try:
        records = as_it_stands(plan) if mode else _done(plan, options, given, quiet=quiet)
    except UnrecordedError as error:
        records = error.records
        json_facts(context, unrecorded=str(error))
        _LOG.error("%s", error)
    finally:
        json_facts(context, **clock.read())
    if not mode:
        _say_warnings(plan, records)
    code = _summary(plan, records, about, as_json=as_json, shown=mode == "status")
    joined = join_outputs(plan, records) if joins and not mode else 0
    context.exit(code or joined)


def _mode(given: Mapping[str, Any]) -> str:
    """Return the option that makes another command of it, empty if there is none."""
    return _one_of(given, "status", "dry_run", "print_commands")


def _one_of(given: Mapping[str, Any], *names: str) -> str:
    """Return the one of some options that was given, empty if none was; refuse several."""
    chosen = [name for name in names if given[name]]
    if len(chosen) > 1:
        one, other = (f"--{name.replace('_', '-')}" for name in chosen[:2])
        msg = f"{one} and {other} exclude each other; leave out one of them"
        raise click.UsageError(msg)
    return chosen[0] if chosen else ""


def _options(given: Mapping[str, Any]) -> BatchOptions:
    from diffdecor.batch.batch import BatchOptions
    from diffdecor.batch.loop import Limits
    from diffdecor.cli.configs import shared_values

    _one_of(given, "redo", "retry_failed")
    deadline = given["deadline"]
    return BatchOptions(
        manifest=given["manifest"],
        shared=_within_memory(shared_values(given)),
        configuration=given["toml"],
        out_dir=given["out_dir"],
        logs=logs(given),
        shard=given["shard"],
        redo=given["redo"],
        retry_failed=given["retry_failed"],
        limits=Limits(
            timeout=given["timeout"],
            retries=given["retries"],
            deadline=None if deadline is None else time.monotonic() + deadline,
            fail_fast=given["fail_fast"],
        ),
    )


def _within_memory(values: dict[str, Any]) -> dict[str, Any]:
    """Return options with the bound of one job, which is that of `run` or of all jobs together.

    It must not depend on the number of jobs, for results may depend on it.
    """
    if "max_memory" in values:
        of_all = kinds.MEMORY.parse(values["max_memory"])
        values["max_memory"] = min(of_all, DecorrelationConfig().max_memory)
    return values


def _done(
    plan: Plan, options: BatchOptions, given: Mapping[str, Any], *, quiet: bool
) -> Mapping[str, Record]:
    """Do the tasks, with a progress bar on a terminal, and say what came of each."""
    from diffdecor.batch.batch import run_batch
    from diffdecor.cli.progress import progress

    begin_work()
    with progress("batch", "jobs", quiet=quiet) as show:
        return run_batch(plan, options, _executor(plan, given), _say, show)


def _executor(plan: Plan, given: Mapping[str, Any]) -> Executor:
    """Return where the tasks are done: on this machine, or by the workers of a Dask scheduler."""
    if _one_of(given, "scheduler", "scheduler_file", "dask"):
        from diffdecor.batch.dask import DaskExecutor

        return DaskExecutor(
            scheduler=given["scheduler"],
            scheduler_file=given["scheduler_file"],
            local=given["dask"] or 0,
        )
    from diffdecor.batch.capacity import jobs_at_once
    from diffdecor.batch.local import LocalExecutor

    return LocalExecutor(given["jobs"] or jobs_at_once(plan.waiting, given["max_memory"]))


def _say(task: Task, record: Record) -> None:
    """Log what came of a task, in one line."""
    from diffdecor.batch.batch import exit_code

    seconds = "" if record.wall_seconds is None else f" in {record.wall_seconds:.3g} s"
    why = f": {_reason(task, record)}" if record.error else ""
    text = f"{task.place}: {task.output}: {record.status}{seconds}{why}"
    fields = {"output": task.output, "status": str(record.status), "exit_code": record.exit_code}
    # What is undone is summed up in one line: there may be thousands, for one reason.
    is_wrong = exit_code([record]) and record.status != "undone"
    _LOG.log(logging.ERROR if is_wrong else logging.INFO, "%s", text, extra={"fields": fields})
    for warning in record.warnings:
        to_file(f"{task.place}: {task.output}: {warning}", "WARNING", fields)


def _reason(task: Task, record: Record) -> str:
    """Return what is wrong with a task, where its output has been named."""
    return record.error.removeprefix(f"{task.job.output}: ")


def _say_warnings(plan: Plan, records: Mapping[str, Record]) -> None:
    """Say in one line that outputs were made with warnings: often they are all the same."""
    from diffdecor.batch.model import THERE

    made = [records[task.job.output] for task in plan.waiting]
    warned = [one for one in made if one.warnings and one.status in THERE]
    if warned:
        _LOG.warning(
            "%s: %d of %d jobs had warnings (%s has them all), the first: %s",
            plan.manifest.file.name,
            len(warned),
            len(made),
            plan.ledger.file.name,
            warned[0].warnings[0],
        )


def _summary(
    plan: Plan,
    records: Mapping[str, Record],
    about: Mapping[str, Any],
    *,
    as_json: bool,
    shown: bool,
) -> int:
    """Say how many tasks have which status, on stdout where that was asked for; return the code."""
    from diffdecor.batch.batch import counts, exit_code

    code = exit_code(records.values(), is_recorded="unrecorded" not in about)
    number = counts(records.values())
    text = ", ".join(f"{count} {status}" for status, count in number.items()) or "nothing to do"
    line = f"{plan.manifest.file.name}: {text} ({plan.ledger.table})"
    tasks = [(task, records[task.job.output]) for task in plan.tasks]
    undone = (f"{task.output}: {one.error}" for task, one in tasks if one.status == "undone")
    first = next(undone, "")
    line += f"; the first undone is {first}" if first else ""
    if as_json:
        rows = [_row(task, record) for task, record in tasks]
        print_json({**about, "exit_code": code, "counts": number, "tasks": rows})
    elif shown:
        for task, record in tasks:
            # What is undone is only counted: while a batch runs, there may be thousands.
            if exit_code([record]) and record.status != "undone":
                say(f"{task.place}: {task.output}: {record.status}: {_reason(task, record)}")
        for status, count in number.items():
            say(f"{count:8}  {status}" + (f", the first {first}" if status == "undone" else ""))
        say(f"{len(tasks):8}  jobs of {plan.manifest.file.name} ({plan.ledger.table})")
    fields = {"exit_code": code, "counts": number}
    if code or shown:
        if not shown:
            complain(line)
        to_file(line, "ERROR" if code else "INFO", fields)
    else:
        _LOG.info("%s", line, extra={"fields": fields})
    return code


def _row(task: Task, record: Record) -> dict[str, Any]:
    """Return what the JSON says of a task."""
    return {
        "row": task.number,
        "place": task.place,
        "output": task.output,
        "status": str(record.status),
        "exit_code": record.exit_code,
        "error": record.error,
        "warnings": list(record.warnings),
        "metrics": record.metrics,
    }


def _print_commands(plan: Plan, options: BatchOptions) -> None:
    """Print the tasks to be done as commands, which replace what is stale, and nothing else."""
    from diffdecor.batch.batch import as_it_stands
    from diffdecor.batch.commands import commands
    from diffdecor.batch.model import THERE
    from diffdecor.batch.work import file_of_others

    tasks = plan.waiting
    if not options.redo:
        records = as_it_stands(plan)
        tasks = [task for task in tasks if records[task.job.output].status not in THERE]
    jobs = [task.job for task in tasks]
    stale = {job.output for job in jobs if Path(job.output).exists() and not file_of_others(job)}
    for line in commands(tasks, overwrite=stale):
        click.echo(os.fsencode(line))


def _print_waiting(
    plan: Plan, options: BatchOptions, about: Mapping[str, Any], *, as_json: bool
) -> None:
    """Print the tasks to be done, each with the reason."""
    from diffdecor.batch.batch import reasons

    found = reasons(plan, options)
    if as_json:
        rows = [
            {"row": task.number, "place": task.place, "output": task.output, "reason": why}
            for task, why in found
        ]
        print_json({**about, "exit_code": 0, "tasks": rows})
        return
    for task, why in found:
        say(f"{task.place}: {task.output}: {why}")
    say(f"{plan.manifest.file.name}: {len(found)} of {len(plan.tasks)} to be done")
