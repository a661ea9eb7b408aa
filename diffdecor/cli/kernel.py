"""``diffdecor kernel``: what is in a kernel file; draw it, convert it, find it from the images."""

from __future__ import annotations

import click

from diffdecor.cli.groups import Group
from diffdecor.cli.kernel_facts import lines_of
from diffdecor.cli.kernel_fit import fit
from diffdecor.cli.options import (
    SomeOptionsCommand,
    json_option,
    overwrite_option,
    print_json,
    start_logging,
    verbosity_options,
)
from diffdecor.cli.parameters import INPUT_FILE, OUTPUT_FILE
from diffdecor.cli.text import say
from diffdecor.process import keep_home_clean

of_difference = click.option(
    "--difference",
    type=INPUT_FILE,
    metavar="FILE",
    help="The difference that the kernel file belongs to (HOTPANTS, SFFT).",
)


_OF_INFO = """
\b
Examples:
  diffdecor kernel info diff.fits
      HOTPANTS -hki: the difference carries its kernel
  diffdecor kernel info kernel.fits --difference diff.fits
      kernel in a file of its own
"""
_OF_CONVERT = """
\b
Example:
  diffdecor kernel convert diff.fits kernel.fits
"""
_OF_PLOT = """
\b
Example:
  diffdecor kernel plot diff.fits -o kernel.png
"""


@click.group(cls=Group)
def kernel() -> None:
    """Show or draw what is in a kernel file, convert it, or find a kernel from the images."""


@kernel.command(
    cls=SomeOptionsCommand,
    names=("ignore_checksums",),
    epilog=_OF_INFO,
    short_help="Show format, size, side, sum and width of a kernel.",
)
@click.argument("kernel", type=INPUT_FILE)
@json_option()
@of_difference
@verbosity_options
def info(
    *,
    kernel: str,
    as_json: bool,
    difference: str | None,
    verbose: int,
    quiet: bool,
    ignore_checksums: bool | None,
) -> None:
    """Show format, size, side, sum and width of KERNEL, and how they vary over the image."""
    start_logging(verbose, quiet=quiet)
    from diffdecor.kernels.describe import describe
    from diffdecor.kernels.registry import read_kernel

    read = read_kernel(kernel, difference, ignore_checksums=bool(ignore_checksums))
    facts = describe(read)
    if as_json:
        print_json(facts)
        return
    oddities = facts.pop("warnings")
    for line in lines_of(facts):
        say(line)
    for oddity in oddities:
        say(f"warning: {oddity}")


@kernel.command(
    cls=SomeOptionsCommand,
    names=("ignore_checksums",),
    epilog=_OF_CONVERT,
    short_help="Write a kernel to a file in the native format, losslessly.",
)
@click.argument("kernel", type=INPUT_FILE)
@click.argument("out", type=OUTPUT_FILE)
@click.option("--overwrite", is_flag=True, help="Replace OUT if it is there already.")
@of_difference
@verbosity_options
def convert(
    *,
    kernel: str,
    out: str,
    overwrite: bool,
    difference: str | None,
    verbose: int,
    quiet: bool,
    ignore_checksums: bool | None,
) -> None:
    """Write KERNEL to the file OUT in the native format, losslessly."""
    start_logging(verbose, quiet=quiet)
    from diffdecor.pipeline.run import convert_kernel

    convert_kernel(
        kernel,
        out,
        difference=difference,
        overwrite=overwrite,
        ignore_checksums=bool(ignore_checksums),
    )


@kernel.command(
    cls=SomeOptionsCommand,
    names=("ignore_checksums",),
    epilog=_OF_PLOT,
    short_help="Draw a kernel, and its sum over the image, as a PNG file.",
)
@click.argument("kernel", type=INPUT_FILE)
@click.option("-o", "--output", type=OUTPUT_FILE, required=True, metavar="FILE", help="PNG file.")
@overwrite_option
@of_difference
@verbosity_options
def plot(
    *,
    kernel: str,
    output: str,
    overwrite: bool,
    difference: str | None,
    verbose: int,
    quiet: bool,
    ignore_checksums: bool | None,
) -> None:
    """Draw KERNEL at 3 x 3 positions, and its sum over the image, as a PNG file.

    Needs matplotlib: pip install 'diffdecor[plot]'.
    """
    start_logging(verbose, quiet=quiet)
    from diffdecor.fits.atomic import atomic_output, check_output
    from diffdecor.kernels.registry import read_kernel
    from diffdecor.report.kernel_figure import plot_kernel

    inputs = [kernel, *filter(None, [difference])]
    check_output(output, overwrite=overwrite, inputs=inputs)
    keep_home_clean()
    read = read_kernel(kernel, difference, ignore_checksums=bool(ignore_checksums))
    png = plot_kernel(read)
    # The file it was read from may be one that the difference names.
    with atomic_output(output, overwrite=overwrite, inputs=[*inputs, read.name]) as file:
        file.write(png)


kernel.add_command(fit)
