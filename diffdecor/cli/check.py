"""``diffdecor check``: whether the noise of images is white."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from diffdecor.cli.options import (
    SomeOptionsCommand,
    json_option,
    log_file_option,
    log_json_option,
    overwrite_option,
    print_json,
    start_logging,
    verbosity_options,
)
from diffdecor.cli.parameters import INPUT_FILE, OUTPUT_FILE
from diffdecor.cli.text import complain, say
from diffdecor.process import begin_work, keep_home_clean

if TYPE_CHECKING:
    from diffdecor.config.options import Option
    from diffdecor.pipeline.check import Checked, CheckOptions

#: Options of one image, of several, of the numerics: those of `run` that a check has, too.
_OF_IMAGE = ("layout", "noise", "noise_kind", "mask", "mask_preset", "psf")
_OF_FILES = ("diffcmd", "bad_bits", "ignore_bits", "mask_codes", "zero_borders", "ignore_checksums")
_OF_NUMERICS = ("ignore_planes", "threads", "max_memory")
_LIMITS = ("max_rho", "max_factor")
_EXAMPLES = """\
\b
Examples:
  diffdecor check diff.fits
      is its noise white, and is its variance right?
  diffdecor check *_diff.fits --max-rho 0.03
      a table; exit code 4 if the noise of any is correlated by more
  diffdecor check diff.fits --fwhm 3.2 --plot diff.png
      the point-source noise for a Gaussian PSF, and a figure
"""


def _declared() -> list[Option]:
    """Return the options, in the words of one image of no role."""
    from diffdecor.config import DecorrelationConfig, FilesConfig, ImageOptions, kinds
    from diffdecor.config.options import Option, options

    def of(config: type, names: Sequence[str]) -> list[Option]:
        by_name = {item.name: item for item in options(config)}
        return [by_name[name] for name in names]

    words = {"image": "the image", "role": "image's", "use": ""}
    of_image = [
        item._replace(
            help=item.help.format(**words)
            .replace("--mask-preset", "that of the layout")
            .replace("--noise-kind, or ", "")
        )
        for item in of(ImageOptions, _OF_IMAGE)
    ]
    fwhm = Option("", None, kinds.FWHM, "Assume a Gaussian PSF of this FWHM if there is none.")
    limits = [
        item._replace(help=item.help.replace("the output is kept and the ", "the "))
        for item in of(FilesConfig, _LIMITS)
    ]
    return [
        *of_image,
        fwhm._replace(name="fwhm"),
        *limits,
        *of(FilesConfig, _OF_FILES),
        *of(DecorrelationConfig, _OF_NUMERICS),
    ]


class _Check(SomeOptionsCommand):
    """A command with options in the words of one image, whose JSON is a list."""

    def declared(self) -> Sequence[Option]:
        """Return the options of one image of no role, and others."""
        return _declared()

    def json_error(self, values: Mapping[str, Any]) -> Sequence[Any]:
        """Return a list, as of files."""
        return [values]


@click.command(cls=_Check, epilog=_EXAMPLES)
@click.argument("files", type=INPUT_FILE, nargs=-1, required=True, metavar="FILE...")
@json_option("Print a list with one JSON object for every file.")
@click.option("--plot", type=OUTPUT_FILE, metavar="FILE", help="Draw the measurements (PNG file).")
@overwrite_option
@log_file_option
@log_json_option
@verbosity_options
@click.pass_context
def check(  # noqa: PLR0913  what it has options for
    context: click.Context,
    /,
    *,
    files: tuple[str, ...],
    as_json: bool,
    plot: str | None,
    overwrite: bool,
    log_file: str | None,
    log_json: str | None,
    verbose: int,
    quiet: bool,
    **given: Any,  # noqa: ANN401
) -> None:
    """Say whether the noise of every FILE is white, and whether its variance is right.

    FILE may be a difference of any tool, or any other image; no kernel is needed. Sources are left
    out. The probability p says whether there is correlation; max |rho| and the point-source noise I
    say how much. I is 1 for white noise of the claimed variance.
    """
    options = _check_options(given)
    if plot is not None and len(files) != 1:
        msg = "--plot draws one FILE."
        raise click.UsageError(msg)
    inputs = [*files, *filter(None, (options.image.noise, options.image.mask, options.image.psf))]
    outputs = [] if plot is None else [plot]
    start_logging(
        verbose,
        quiet=quiet,
        log_file=log_file,
        log_json=log_json,
        inputs=inputs,
        outputs=outputs,
    )
    from diffdecor.fits.atomic import atomic_output, check_output

    if plot is not None:
        check_output(plot, overwrite=overwrite, inputs=inputs)
    begin_work()
    found = _judged(files, options, quiet=quiet)
    if as_json:
        print_json([one.values for one in found])
    else:
        for line in _lines(found):
            say(line)
    for one in found:
        if one.error is not None:
            complain(str(one.error))
    judgement = found[0].judgement
    if plot is not None and judgement is not None:
        from diffdecor.report.judgement_figure import plot_judgement

        keep_home_clean()
        png = plot_judgement(judgement, files[0])
        used = [*inputs, *found[0].files]
        with atomic_output(plot, overwrite=overwrite, inputs=used) as file:
            file.write(png)
    context.exit(_exit_code(found))


def _check_options(given: dict[str, Any]) -> CheckOptions:
    """Return the checked options."""
    from diffdecor.config import DecorrelationConfig, FilesConfig, ImageOptions
    from diffdecor.pipeline.check import CheckOptions

    values = {name: value for name, value in given.items() if value is not None}
    image = ImageOptions(
        role="difference", **{name: values[name] for name in _OF_IMAGE if name in values}
    )
    several = FilesConfig.of(
        **{name: values[name] for name in (*_OF_FILES, *_LIMITS) if name in values}
    )
    numerics = DecorrelationConfig(
        **{name: values[name] for name in _OF_NUMERICS if name in values}
    )
    return CheckOptions(
        image=replace(image, **{name: getattr(several, name) for name in _OF_FILES}),
        fwhm=given["fwhm"],
        max_rho=several.max_rho,
        max_factor=several.max_factor,
        **{name: getattr(numerics, name) for name in _OF_NUMERICS},
    )


def _judged(files: Sequence[str], options: CheckOptions, *, quiet: bool) -> list[Checked]:
    """Judge the files one by one, with a progress bar on a terminal."""
    from diffdecor.cli.logs import to_file
    from diffdecor.cli.progress import progress
    from diffdecor.pipeline.check import check_file

    found: list[Checked] = []
    with progress("checking", "files", quiet=quiet or len(files) == 1) as show:
        for file in files:
            found.append(check_file(file, options))
            level = "INFO" if found[-1].error is None else "ERROR"
            to_file(f"{file}: {found[-1].words}", level, {"file": file})
            if show is not None:
                show(len(found), len(files))
    return found


def _lines(found: Sequence[Checked]) -> list[str]:
    """Return one line for one file, or a table."""
    if len(found) == 1:
        (one,) = found
        return [] if one.judgement is None else [f"{one.file}: {one.words}"]
    from diffdecor.pipeline.check import HEAD, row_of

    rows = [HEAD, *(row_of(one) for one in found)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    return [
        "  ".join(
            text.ljust(width) if column < 2 else text.rjust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _exit_code(found: Sequence[Checked]) -> int:
    """Return the worst: a file that could not be judged, then one that failed."""
    errors = [one.error.exit_code for one in found if one.error is not None]
    return max(errors, default=0) or (4 if any(one.failures for one in found) else 0)
