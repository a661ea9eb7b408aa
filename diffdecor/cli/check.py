"""``diffdecor check``: whether the noise of images is white."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import click

from diffdecor.cli.options import (
    file_name,
    json_option,
    overwrite_option,
    print_json,
    start_logging,
    verbosity_options,
)
from diffdecor.cli.process import begin_work, keep_home_clean
from diffdecor.cli.text import complain, say

if TYPE_CHECKING:
    from diffdecor.config.options import Option
    from diffdecor.pipeline.check import Checked

#: Options of one image, of several, of the numerics: those of `run` that a check has, too.
_OF_IMAGE = ("layout", "noise", "noise_kind", "mask", "mask_preset", "psf")
_OF_FILES = ("bad_bits", "ignore_bits", "mask_codes", "zero_borders", "ignore_checksums")
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
        item._replace(help=item.help.format(**words).replace("--mask-preset", "of the layout"))
        for item in of(ImageOptions, _OF_IMAGE)
    ]
    fwhm = Option("", None, kinds.FWHM, "Take a Gaussian PSF of this FWHM where there is none.")
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


class _Check(click.Command):
    """A command with options that are declared elsewhere, made when it is called."""

    @cached_property
    def _of_configs(self) -> Sequence[click.Option]:
        from diffdecor.cli.configs import click_option

        return [click_option(item) for item in _declared()]

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Return the command's own parameters and those declared elsewhere."""
        own = super().get_params(ctx)
        help_option = [param for param in own if "--help" in param.opts]
        return [*own[: len(own) - len(help_option)], *self._of_configs, *help_option]


@click.command(cls=_Check, epilog=_EXAMPLES)
@click.argument("files", type=file_name, nargs=-1, required=True, metavar="FILE...")
@json_option("Print a list with one JSON object for every file.")
@click.option("--plot", type=file_name, metavar="FILE", help="Draw what was measured (PNG file).")
@overwrite_option
@verbosity_options
@click.pass_context
def check(
    context: click.Context,
    /,
    *,
    files: tuple[str, ...],
    as_json: bool,
    plot: str | None,
    overwrite: bool,
    verbose: int,
    quiet: bool,
    **given: Any,  # noqa: ANN401
) -> None:
    """Say whether the noise of every FILE is white, and whether its variance is right.

    FILE may be a difference of any tool, or any other image; no kernel is needed. Sources are left
    out. The probability p says whether there is correlation, max |rho| and the point-source noise I
    how much: 1 in white noise of the claimed variance.
    """
    start_logging(verbose, quiet=quiet)
    options = _check_options(given)
    if plot is not None and len(files) != 1:
        msg = "--plot draws one FILE."
        raise click.UsageError(msg)
    from diffdecor.fits.atomic import atomic_output, check_output
    from diffdecor.pipeline.check import check_file

    inputs = [*files, *filter(None, (options.image.noise, options.image.mask, options.image.psf))]
    if plot is not None:
        check_output(plot, overwrite=overwrite, inputs=inputs)
    begin_work()
    found = [check_file(file, options) for file in files]
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
        with atomic_output(plot, overwrite=overwrite, inputs=inputs) as file:
            file.write(png)
    context.exit(_exit_code(found))


def _check_options(given: dict[str, Any]) -> Any:  # noqa: ANN401  imported late
    """Return the checked options."""
    from diffdecor.config import DecorrelationConfig, FilesConfig, ImageOptions
    from diffdecor.errors import ConfigError
    from diffdecor.pipeline.check import CheckOptions

    values = {name: value for name, value in given.items() if value is not None}
    try:
        image = ImageOptions(
            role="difference", **{name: values[name] for name in _OF_IMAGE if name in values}
        )
    except ConfigError as error:
        raise ConfigError(str(error).replace("--difference-", "--")) from None
    several = FilesConfig.of(
        **{name: values[name] for name in (*_OF_FILES, *_LIMITS) if name in values}
    )
    numerics = DecorrelationConfig(
        **{name: values[name] for name in _OF_NUMERICS if name in values}
    )
    fwhm = given["fwhm"]
    return CheckOptions(
        image=replace(image, **{name: getattr(several, name) for name in _OF_FILES}),
        fwhm=None if fwhm is None else _parsed_fwhm(fwhm),
        max_rho=several.max_rho,
        max_factor=several.max_factor,
        **{name: getattr(numerics, name) for name in _OF_NUMERICS},
    )


def _parsed_fwhm(text: str) -> float:
    from diffdecor.config.kinds import FWHM
    from diffdecor.errors import ConfigError

    try:
        return float(FWHM.parse(text))
    except (TypeError, ValueError, OverflowError) as error:
        msg = f"--fwhm is {text!r}: {error}"
        raise ConfigError(msg) from None


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
