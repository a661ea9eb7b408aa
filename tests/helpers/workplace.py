"""A small triple in a folder, and `diffdecor` run on it and watched."""

import hashlib
import inspect
import json
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import click
import numpy as np
import pytest
from astropy.io import fits
from click.testing import CliRunner

from diffdecor.cli import main

SHAPE = NY, NX = (40, 48)
PLANES = ("BAD", "SAT", "CR", "EDGE")
WCS = {
    "CTYPE1": "RA---TAN",
    "CTYPE2": "DEC--TAN",
    "CRVAL1": 10.0,
    "CRVAL2": 20.0,
    "CRPIX1": 24.0,
    "CRPIX2": 20.0,
    "CD1_1": -1e-4,
    "CD1_2": 0.0,
    "CD2_1": 0.0,
    "CD2_2": 1e-4,
    "RADESYS": "ICRS",
    "BUNIT": "adu",
}
# Until version 8.2, click gives the two streams as one unless it is told not to.
ONE_STREAM = "mix_stderr" in inspect.signature(CliRunner).parameters
RUNNER = CliRunner(**({"mix_stderr": False} if ONE_STREAM else {}))
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*[a-z]")


def gaussian(half_width, sigma):
    y, x = np.mgrid[-half_width : half_width + 1, -half_width : half_width + 1]
    stamp = np.exp(-(x**2 + y**2) / (2 * sigma**2))
    return stamp / stamp.sum()


def convolved(image, kernel):
    """Convolve with periodic borders."""
    half = kernel.shape[0] // 2
    wrapped = np.zeros_like(image)
    wrapped[: kernel.shape[0], : kernel.shape[1]] = kernel
    wrapped = np.roll(wrapped, (-half, -half), axis=(0, 1))
    return np.fft.irfft2(np.fft.rfft2(image) * np.fft.rfft2(wrapped), image.shape)


def exposure(image, variance, mask=None, **cards):
    """Return the HDUs of an exposure; `variance` may be a number, or None for no plane."""
    header = fits.Header(WCS | cards)
    hdus = [fits.PrimaryHDU(), fits.ImageHDU(np.asarray(image, np.float32), header, name="IMAGE")]
    bits = np.zeros(image.shape, np.int32) if mask is None else np.asarray(mask, np.int32)
    plane = fits.ImageHDU(bits, name="MASK")
    plane.header.update({f"MP_{name}": bit for bit, name in enumerate(PLANES)})
    hdus.append(plane)
    if variance is not None:
        pixels = np.broadcast_to(np.asarray(variance, np.float32), image.shape)
        hdus.append(fits.ImageHDU(pixels.copy(), name="VARIANCE"))
    return fits.HDUList(hdus)


def real_options():
    """Return every option of every command."""

    return {
        name
        for _, command in all_commands()
        for param in parameters(command)
        for name in (*param.opts, *param.secondary_opts)
    }


def described(folder):
    """Return what is in a folder, with what the files hold."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


class Workplace:
    """A folder with a triple, and `diffdecor run` on it."""

    def __init__(self, folder):
        self.folder = folder
        self.output = folder / "out.fits"

    def __truediv__(self, name):
        return self.folder / name

    def arguments(self, *options, **files):
        """Return the arguments of `diffdecor run`; a file that is None is left out."""
        named = {"kernel": self / "kernel.fits", "output": self.output} | files
        triple = [named.pop(f, self / f"{f}.fits") for f in ("science", "template", "difference")]
        pairs = [(f"--{name}", value) for name, value in named.items() if value is not None]
        return ["run", *triple, *(part for pair in pairs for part in pair), *options]

    def run(self, *options, **files):
        return call(*self.arguments(*options, **files))

    def succeeds(self, *options, **files):
        """Run; return the header cards and the pixels of the output by name of their HDU."""
        result = self.run(*options, **files)
        assert result.exit_code == 0, result.stderr
        assert "Traceback" not in result.stderr
        return opened(Path(files.get("output") or self.output)), result

    def fails(self, code, *mentions, options=(), **files):
        """Run; check that it ends as a failure has to: one line, nothing written or changed."""
        before = described(self.folder)
        result = self.run(*options, **files)
        check_failure(result, code, *mentions)
        assert described(self.folder) == before
        return result.stderr


def call(*arguments, **about):
    """Call `diffdecor` within this process."""
    return RUNNER.invoke(main, [str(argument) for argument in arguments], **about)


def check_failure(result, code, *mentions):
    assert result.exit_code == code, (result.exit_code, result.stdout, result.stderr)
    if result.stdout:  # with --json
        told = json_object(result.stdout)
        (told,) = told if isinstance(told, list) else (told,)
        assert (told["status"], told["exit_code"]) == ("error", code)
    complaints = [
        line
        for line in result.stderr.splitlines()
        if line.startswith(("diffdecor: ", "Error: ")) and " WARNING: " not in line
    ]
    assert len(complaints) == 1, result.stderr
    assert not re.search(r"Traceback|internal error|Error:.*Error|Errno", complaints[0])
    for mention in mentions:
        assert str(mention) in complaints[0]
    assert set(OPTION.findall(complaints[0])) <= real_options() | set(mentions)


def opened(path):
    """Return headers and pixels of a file by EXTNAME, the primary as PRIMARY, loaded."""
    with fits.open(path, memmap=False) as hdus:
        return {
            (hdu.name, hdu.ver) if hdu.name.startswith("CELL") else hdu.name: (
                hdu.header.copy(),
                None if hdu.data is None else np.array(hdu.data),
            )
            for hdu in hdus
        }


def json_object(text):
    """Return the one JSON object that a text is; NaN and Infinity are no JSON."""

    def refuse(constant):
        pytest.fail(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


def parameters(command):
    """Return every option and argument of a command."""
    return command.get_params(click.Context(command, help_option_names=["-h", "--help"]))


def subcommands(command):
    """Return the commands of a group by name."""
    if not isinstance(command, click.Group):
        return {}
    context = click.Context(command)
    names = command.list_commands(context)
    return {name: command.get_command(context, name) for name in names}


def all_commands(command=main, path=()):
    """Give every command with the words that call it."""
    yield path, command
    for name, sub in subcommands(command).items():
        yield from all_commands(sub, (*path, name))


def verify(path):
    """Let fitsverify judge a file, where it is installed."""
    program = shutil.which("fitsverify")
    if program is None:
        return
    with tempfile.NamedTemporaryFile(suffix=".fits") as copy:  # brackets would name an HDU
        copy.write(path.read_bytes())
        copy.flush()
        command = [program, copy.name]
        found = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    complaints = [line for line in found.splitlines() if line.startswith("***")]
    assert complaints == ["**** Verification found 0 warning(s) and 0 error(s). ****"]
