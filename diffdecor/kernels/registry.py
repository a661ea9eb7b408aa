"""Recognise the format of a kernel file, and read it: `read_kernel`.

A format is a reader registered under a name. Its module is imported when the first kernel is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from diffdecor.errors import ConfigError, DiffdecorError, InputError, KernelError
from diffdecor.fitsfile import UNREADABLE, one_line, tolerant
from diffdecor.kernels.model import BasisKernel, MatchingKernel, Side, StampKernel
from diffdecor.kernels.source import Source, open_source
from diffdecor.registry import Registry


@dataclass(frozen=True, kw_only=True)
class KernelOptions:
    """What the user knows better than the file.

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


class KernelReader(Protocol):
    """What a format has to offer. A class with static methods will do."""

    def identify(self, hdus: Sequence[Any]) -> bool:
        """Say whether these HDUs hold a kernel in this format. Look at headers only.

        They are all HDUs of the file, or the one that the user named in brackets.
        """

    def read(self, source: Source, options: KernelOptions) -> MatchingKernel:
        """Read the kernel. Whatever is returned must not need the file any more."""


_registry: Registry[KernelReader] = Registry(
    thing="matching kernel",
    modules=tuple(f"diffdecor.kernels.{name}" for name in ("stamp", "native", "hotpants")),
    error=KernelError,
)
register = _registry.register


def kernel_formats() -> dict[str, str]:
    """Return what kernel formats can be read.

    Returns
    -------
    dict of str to str
        Description of every format by its name.
    """
    return {name: known.description for name, known in _registry.formats().items()}


def read_kernel(
    path: str | Path,
    difference: str | Path | None = None,
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
        If a file is missing, damaged or not FITS.
    KernelError
        If it holds no kernel, or one that cannot be used.
    ConfigError
        If an option has an impossible value.
    """
    chosen = KernelOptions(**options)
    with ExitStack() as opened:
        other = None if difference is None else opened.enter_context(open_source(difference))
        source = opened.enter_context(open_source(path, other))
        carried = other is not None and source.selected is None and source.path == other.path
        return _overridden(_read(source, chosen, carried=carried), chosen)


def _read(source: Source, options: KernelOptions, *, carried: bool) -> MatchingKernel:
    """Read an opened file, with everything that goes wrong inside astropy named."""
    if carried and _registry.claim(source.candidates, source.name) is None:
        # Any image passes for a plain stamp: the difference must not be taken for its own kernel.
        msg = (
            f"{source.name}: the difference carries no matching kernel that is known; give the "
            "file of the kernel with --kernel"
        )
        raise KernelError(msg)
    known = _registry.identify(source.candidates, source.name)
    try:
        with tolerant(source.name):
            return known.reader.read(source, options)
    except DiffdecorError:
        raise
    except UNREADABLE as error:
        problem = f"damaged {known.name} kernel ({one_line(error)})"
        msg = f"{source.name}: {problem}; fetch or make it again"
        raise InputError(msg) from error


def _overridden(kernel: MatchingKernel, options: KernelOptions) -> MatchingKernel:
    """Apply the options that hold for every format."""
    changes: dict[str, Any] = {
        "science_scale": options.science_scale,
        "template_scale": options.template_scale,
        "convolved" if isinstance(kernel, StampKernel) else "side": options.convolved,
    }
    changes = {name: value for name, value in changes.items() if value is not None}
    if isinstance(kernel, StampKernel):
        return replace(kernel, **changes)
    if isinstance(kernel, BasisKernel):
        return replace(kernel, regions=tuple(replace(r, **changes) for r in kernel.regions))
    return kernel
