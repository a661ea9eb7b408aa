"""Recognise the format of a kernel file, and read it: `read_kernel`.

A format is a reader registered under a name. Its module is imported when a file may be in this
format; modules of other packages, entry points of the group `PLUGINS`, with the first file.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from diffdecor import words
from diffdecor.errors import ConfigError, KernelError
from diffdecor.fits.damage import damage_named, one_line
from diffdecor.fits.formats import Format, Identifies, Registry
from diffdecor.fits.open import OpenFiles, quiet_astropy
from diffdecor.fits.paths import split_extension
from diffdecor.fits.sums import check_sums
from diffdecor.kernels.model import MatchingKernel, Side
from diffdecor.kernels.refused import refuse_exposure, refuse_known
from diffdecor.kernels.source import Source, open_source

logger = words.logger(__name__)

#: Group of entry points under which other packages name their modules with readers.
PLUGINS = "diffdecor.kernels"


@dataclass(frozen=True, kw_only=True)
class KernelOptions:
    """What the user states, whatever the file says.

    Parameters
    ----------
    convolved : {"template", "science"}, optional
        The convolved side, whatever the file says.
    science_scale, template_scale : float, optional
        The factors a_S and a_T, whatever the file says.
    sense : {"convolution", "correlation"}, optional
        How a plain stamp was applied; convolution where neither file nor user says.
    center : tuple of int, optional
        0-based ``(x, y)`` of the origin in a plain stamp, as it is in the file.
    nsx, nsy, rss : int, optional
        HOTPANTS's ``-nsx -nsy -rss``, where the file does not carry the command line.

    Raises
    ------
    ConfigError
        If a value is not one of these.
    """

    convolved: Side | None = None
    science_scale: float | None = None
    template_scale: float | None = None
    sense: str | None = None
    center: tuple[int, int] | None = None
    nsx: int | None = None
    nsy: int | None = None
    rss: int | None = None

    def __post_init__(self) -> None:
        """Check the values."""
        problem = ""
        scales = [s for s in (self.science_scale, self.template_scale) if s is not None]
        counts = [n for n in (self.nsx, self.nsy, self.rss) if n is not None]
        if self.convolved not in (None, "template", "science"):
            problem = f"convolved = {self.convolved!r}: give 'template' or 'science'"
        elif self.sense not in (None, "convolution", "correlation"):
            problem = f"sense = {self.sense!r}: give 'convolution' or 'correlation'"
        elif not all(np.isfinite(s) and s != 0 for s in scales):
            problem = f"kernel scales {scales}: give finite numbers other than 0"
        elif self.center is not None and not _is_pixel(self.center):
            problem = f"kernel center = {self.center}: give a 0-based pixel (x, y), whole numbers"
        elif not all(n == int(n) >= 1 for n in counts):
            problem = f"nsx, nsy, rss = {counts}: give whole numbers from 1"
        if problem:
            raise ConfigError(problem)


def _is_pixel(center: Sequence[float]) -> bool:
    return len(center) == 2 and all(np.isfinite(c) and c == int(c) for c in center)


class KernelReader(Identifies, Protocol):
    """What a format has to offer. A class with static methods will do.

    `identify` gets a text file as one `TextFile`, with an empty header and all of its text.
    """

    def read(self, source: Source, options: KernelOptions) -> MatchingKernel:
        """Read the kernel. The result must not need the file any more."""


#: Modules of the tree. Of the words after a name every file of its format has one, as a keyword or
#: in a text: the module is only imported for such files (all take 28 ms, HOTPANTS's 6; 2026-11).
IN_TREE: dict[str, tuple[str, ...]] = {
    "stamps": (),
    "native": ("DDKERN",),
    "hotpants": ("NGAUSS", "TFIELDS"),
    "sfft": ("FIJAB",),
    "lsst": ("EXTTYPE",),
    "lsst_images": ("DATAMODL", "JSONADDR"),
    "ficonv": ("[kernel]",),
}

_registry: Registry[KernelReader] = Registry(
    thing="matching kernel",
    modules={f"diffdecor.kernels.{name}": words for name, words in IN_TREE.items()},
    error=KernelError,
)
register = _registry.register


def kernel_formats() -> dict[str, str]:
    """Return the kernel formats that can be read.

    Returns
    -------
    dict of str to str
        Description of every format by its name.
    """
    return {name: known.description for name, known in described_formats().items()}


def described_formats() -> dict[str, Format[KernelReader]]:
    """Return what is registered of every kernel format.

    Returns
    -------
    dict of str to Format
        Name, description, reader and notes, by the name.
    """
    _load_plugins()
    return _registry.formats()


@cache
def _load_plugins() -> None:
    """Import what other packages offer, once; what fails is skipped, and the log says so."""
    plugins = sorted(entry_points(group=PLUGINS), key=lambda plugin: plugin.name)
    if plugins:
        _registry.formats()  # so that no other package takes the name of a format in the tree
    for plugin in plugins:
        try:
            plugin.load()
        except Exception as error:  # noqa: BLE001  other people's modules can raise anything
            reason = f"{type(error).__name__}: {one_line(error)}"
            logger.warning(
                "kernel format %s (%s): cannot be loaded (%s); skipped",
                *(plugin.name, plugin.value, reason),
            )


def read_kernel(
    path: str | Path,
    difference: str | Path | None = None,
    *,
    ignore_checksums: bool = False,
    **options: Any,  # noqa: ANN401  KernelOptions checks them
) -> MatchingKernel:
    """Read a matching kernel, whatever its format.

    Parameters
    ----------
    path : str or Path
        The kernel file, or a difference that carries its kernel; ``file.fits[EXT]`` names an HDU.
    difference : str or Path, optional
        The difference image, where formats leave facts about the kernel. Where it is the same file,
        no image in it is taken for a plain stamp unless `path` names its HDU.
    ignore_checksums : bool
        Use data that do not add up to the DATASUM of their header.
    **options
        Fields of `KernelOptions`.

    Returns
    -------
    MatchingKernel
        0-based positions, stamps ``(ky, kx)`` of a true convolution with an explicit origin, in
        the flux units of the images; it does not need the file any more.

    Raises
    ------
    InputError
        If a file is missing, damaged or not readable, or does not add up to its DATASUM.
    KernelError
        If it holds no kernel, or one that cannot be used.
    ConfigError
        If an option has an impossible value.
    """
    with OpenFiles(ignore_checksums=ignore_checksums) as files:
        return read_opened_kernel(path, difference, KernelOptions(**options), files)


def read_opened_kernel(
    path: str | Path,
    difference: str | Path | None,
    options: KernelOptions,
    files: OpenFiles | None = None,
) -> MatchingKernel:
    """Do what `read_kernel` does, with the open files of a job.

    Parameters
    ----------
    path : str or Path
        The kernel file.
    difference : str or Path, optional
        The difference image.
    options : KernelOptions
        What the user states.
    files : OpenFiles, optional
        Files that are open already, or stay open.

    Returns
    -------
    MatchingKernel
        As `read_kernel`.
    """
    with ExitStack() as opened:
        other = None
        if difference is not None:
            other = opened.enter_context(open_source(difference, files=files))
        source = opened.enter_context(open_source(path, other, text=True, files=files))
        carried = other is not None and source.selected is None and source.path == other.path
        known = _format(source, carried=carried)
        with (
            damage_named(source.name, f"damaged {known.name} kernel"),
            quiet_astropy(source.name),
            np.errstate(all="ignore"),  # the kernel refuses what is not finite
        ):
            kernel = known.reader.read(source, options)
        if files is not None:
            check_sums((path, _file_of(kernel)), files)
    return _overridden(kernel, options)


def _format(source: Source, *, carried: bool) -> Format[KernelReader]:
    """Return the format of an opened file; `carried` if it is the difference."""
    _load_plugins()
    known = _registry.claim(source.candidates, source.name)
    if known is not None:
        return known
    refuse_known(source)
    if carried:
        # Any image passes for a plain stamp: the difference must not be taken for its own kernel.
        source.lack(
            "the difference carries no matching kernel that is known",
            "give the file of the kernel with --kernel",
        )
    refuse_exposure(source)
    return _registry.identify(source.candidates, source.name)


def _file_of(kernel: MatchingKernel) -> str | None:
    """Return the file that a kernel was read from; formats of other packages may call it else."""
    return kernel.name if split_extension(kernel.name)[0].is_file() else None


def _overridden(kernel: MatchingKernel, options: KernelOptions) -> MatchingKernel:
    """Apply the options that hold for every format."""
    values: dict[str, Any] = {
        "side": options.convolved,
        "science_scale": options.science_scale,
        "template_scale": options.template_scale,
    }
    given = {name: value for name, value in values.items() if value is not None}
    return kernel.with_usage(lambda usage: usage._replace(**given)) if given else kernel
