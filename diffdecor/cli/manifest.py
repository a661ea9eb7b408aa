"""``diffdecor manifest``: a table of jobs for ``diffdecor batch``, from patterns of file names."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

import click

from diffdecor.cli.options import Command, overwrite_option, start_logging, verbosity_options
from diffdecor.cli.parameters import INPUT_FILE, OUTPUT_FILE

#: Remarks that are shown at most.
_MOST_SHOWN = 20
_EXAMPLES = """
\b
Examples:
  diffdecor manifest --science 'night/sci_*.fits' --template 'night/tmpl_*.fits' \\
      --difference 'night/diff_*.fits' --out-dir results
      results/manifest.csv with a row for every difference: sci_7, tmpl_7 and diff_7
  diffdecor manifest --science 'sci_*_*.fits' --template 'fields/*.fits' \\
      --difference 'diff_*_*.fits' --out-dir results
      one template for many differences: its star is one of the two
  diffdecor manifest --difference 'diffs/*.fits' --out-dir results -o night.csv
      differences alone
  diffdecor manifest --science 'c4d_*_ooi.fits.fz' --template deep.fits.fz \\
      --difference 'diff_*.fits.fz' --out-dir results --each-hdu
      a row for every detector of every file
"""


class _ManifestCommand(click.Command):
    """A command with a pattern for every option of `run` that is an input file."""

    @cached_property
    def _patterns(self) -> Sequence[click.Option]:
        from diffdecor.config.flat import all_options

        return [
            click.Option(
                [item.flag_name, item.name], type=INPUT_FILE, metavar="GLOB", help=item.help
            )
            for item in all_options().values()
            if item.is_file
        ]

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Return the command's own parameters and those patterns."""
        *own, help_option = super().get_params(ctx)
        return [*own, *self._patterns, help_option]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write its own options; of the others only the names, for `run` has the same."""
        # Some versions of click list arguments too.
        own = [
            p.get_help_record(ctx) for p in super().get_params(ctx) if isinstance(p, click.Option)
        ]
        with formatter.section("Options"):
            formatter.write_dl([record for record in own if record is not None])
        with formatter.section("Files of other options of run, a GLOB each"):
            names = ", ".join(param.opts[0] for param in self._patterns)
            indent = " " * formatter.current_indent
            for line in textwrap.wrap(names, formatter.width - 2, break_on_hyphens=False):
                formatter.write(f"{indent}{line}\n")


def _pattern(name: str, text: str) -> Callable[[Command], Command]:
    required = name == "difference"
    return click.option(f"--{name}", type=INPUT_FILE, required=required, metavar="GLOB", help=text)


@click.command(cls=_ManifestCommand, epilog=_EXAMPLES)
@click.argument("surplus", nargs=-1, type=click.UNPROCESSED, metavar="")
@_pattern("science", "Science images.")
@_pattern("template", "Templates.")
@_pattern("difference", "Differences; without the other two images, differences alone.")
@_pattern(
    "kernel",
    "Files of the matching kernels, or fit.  [default: differences carry them; if not, fit]",
)
@click.option(
    "--out-dir",
    type=OUTPUT_FILE,
    required=True,
    metavar="DIR",
    help="Folder of the outputs: of diff.fits, DIR/diff_decorr.fits.",
)
@click.option(
    "-o",
    "--output",
    type=OUTPUT_FILE,
    metavar="FILE",
    help="Manifest to write: .csv, .ecsv or .fits.  [default: DIR/manifest.csv, DIR is made]",
)
@click.option(
    "--each-hdu",
    is_flag=True,
    help="A row for every detector of files with several, by EXTNAME; diffdecor batch can put "
    "their outputs into one file again.",
)
@overwrite_option
@verbosity_options
def manifest(
    *,
    surplus: tuple[str, ...],
    out_dir: str,
    output: str | None,
    each_hdu: bool,
    overwrite: bool,
    verbose: int,
    quiet: bool,
    **patterns: str | None,
) -> None:
    """Write a table of jobs for diffdecor batch: files that belong together by their names.

    A GLOB is a file name with stars, in quotes. A star stands for a part of one name, and files
    belong together if it stands for the same: there is a row for every difference whose partners
    are all there. What has none is left out, and said. A GLOB without stars is one file for all
    rows.
    """
    if surplus:
        some = " ".join([*surplus[:3], *["..."][: len(surplus) > 3]])
        msg = (
            f"Got unexpected extra arguments ({some}): put patterns in quotes, or the shell "
            "replaces them by many files"
        )
        raise click.UsageError(msg)
    start_logging(verbose, quiet=quiet)
    given = {role: pattern for role, pattern in patterns.items() if pattern is not None}
    if ("science" in given) != ("template" in given):
        msg = "--science and --template belong together; give both, or differences alone"
        raise click.UsageError(msg)
    _write(given, out_dir, output, each_hdu=each_hdu, overwrite=overwrite)


def _write(
    given: dict[str, str], out_dir: str, output: str | None, *, each_hdu: bool, overwrite: bool
) -> None:
    from diffdecor import words
    from diffdecor.batch.compose import check_name, compose, write_manifest

    log = words.logger(__name__)
    file = output or str(Path(out_dir, "manifest.csv"))
    check_name(file)
    composed = compose(given, out_dir, each_hdu=each_hdu)
    for remark in composed.remarks[:_MOST_SHOWN]:
        log.warning("%s", remark)
    more = len(composed.remarks) - _MOST_SHOWN
    if more > 0:
        log.warning("%d more files have been left out", more)
    written = write_manifest(file, composed.rows, overwrite=overwrite, make_folder=output is None)
    log.info("%s: %d rows%s", file, len(composed.rows), "" if written else ", there already")
