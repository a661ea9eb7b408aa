"""For the tests of kernel formats, in the tree or in other packages: `check_reader`."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from diffdecor.kernels.describe import covers, describe, extent
from diffdecor.kernels.model import MatchingKernel
from diffdecor.kernels.native_write import native_hdus
from diffdecor.kernels.registry import kernel_formats, read_kernel

_ROUNDING = 1e-12  # of the peak


def check_reader(
    path: str | Path,
    expected_format: str,
    difference: str | Path | None = None,
    **options: Any,  # noqa: ANN401  as `read_kernel`
) -> MatchingKernel:
    """Read a kernel file, and check what every format must deliver.

    The format is recognised and described; the kernel has stamps of one shape, with the sums that
    it says, in doubles; and it comes back unchanged from the native format.

    Parameters
    ----------
    path : str or Path
        A kernel file.
    expected_format : str
        Name under which its reader is registered.
    difference : str or Path, optional
        The difference that belongs to it.
    **options
        Fields of `KernelOptions`.

    Returns
    -------
    MatchingKernel
        The kernel, for comparing its stamps with numbers from elsewhere: that they are neither
        flipped nor transposed, nor shifted by a pixel, only the tool itself can tell.

    Raises
    ------
    AssertionError
        If something is not as it must be.
    DiffdecorError
        If the file cannot be read.
    """
    kernel = read_kernel(path, difference, **options)
    _require(expected_format in kernel_formats(), f"no format {expected_format!r} is registered")
    _require(kernel.format == expected_format, f"read as {kernel.format!r}")
    _require(kernel.name == str(path), f"kernel.name is {kernel.name!r}, not the file")
    describe(kernel)
    with tempfile.TemporaryDirectory() as folder:
        native_hdus(kernel).writeto(Path(folder) / "native.fits")
        native = read_kernel(Path(folder) / "native.fits")
    for x, y in _places(kernel):
        _check_place(kernel, native, x, y)
    return kernel


def _check_place(kernel: MatchingKernel, native: MatchingKernel, x: float, y: float) -> None:
    """Check the kernel at one position, and that the native format has kept it."""
    stamp = kernel.stamp(x, y)
    peak = float(np.abs(stamp).max())
    _require(stamp.shape == kernel.shape, f"a stamp of shape {stamp.shape}, not {kernel.shape}")
    _require(stamp.dtype == np.float64, f"a stamp of {stamp.dtype}, not float64")
    _require(np.isfinite(stamp).all(), f"a stamp with NaN at ({x:g}, {y:g})")
    agree = abs(kernel.sum(x, y) - stamp.sum()) <= _ROUNDING * stamp.size * peak
    _require(agree, f"sum({x:g}, {y:g}) is not the sum of the stamp")
    _require(
        np.abs(native.stamp(x, y) - stamp).max() <= _ROUNDING * peak,
        f"the native format changes the stamp at ({x:g}, {y:g})",
    )
    for fact in ("side", "scales"):
        same = getattr(native, fact)(x, y) == getattr(kernel, fact)(x, y)
        _require(same, f"the native format changes {fact}({x:g}, {y:g})")
    _require(
        np.isclose(native.background(x, y), kernel.background(x, y), rtol=_ROUNDING, atol=0),
        f"the native format changes background({x:g}, {y:g})",
    )


def _places(kernel: MatchingKernel) -> list[tuple[float, float]]:
    """Return positions over the image at which there is a kernel."""
    xmin, xmax, ymin, ymax = extent(kernel)
    places = [(x, y) for y in np.linspace(ymin, ymax, 3) for x in np.linspace(xmin, xmax, 4)]
    return [(float(x), float(y)) for x, y in places if covers(kernel, x, y)]


def _require(holds: object, problem: str) -> None:
    if not holds:
        raise AssertionError(problem)
