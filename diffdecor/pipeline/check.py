"""Files in, judgements out: what `diffdecor check` calls."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Any

from diffdecor.config import IGNORED_PLANES, ImageOptions
from diffdecor.core.parallel import affordable_threads, threads_for
from diffdecor.core.psf import gaussian_stamp
from diffdecor.decorrelation.judgement import Judgement, describe, judge, probability
from diffdecor.errors import DiffdecorError, InputError
from diffdecor.fits.reading import Reading
from diffdecor.fits.sums import check_sums
from diffdecor.images.model import Exposure
from diffdecor.images.read import open_exposure
from diffdecor.psfs.model import StampPsf
from diffdecor.words import of_commands

#: Windows of 256 x 256 pixels that are measured at most: 64 megapixels.
_MOST = 1024
#: Layout of the JSON.
VERSION = 1
#: Memory of a thread per pixel of the rows it works on, roughly, bytes.
_BYTES, _ROWS = 40, 320


@dataclass(frozen=True, kw_only=True)
class CheckOptions:
    """How files are judged."""

    #: How the files are read; the role is that of a difference.
    image: ImageOptions = field(default_factory=lambda: ImageOptions(role="difference"))
    #: Mask planes whose pixels do not count.
    ignore_planes: Collection[str] = IGNORED_PLANES
    #: FWHM of a Gaussian PSF for files that have none, pixels.
    fwhm: float | None = None
    #: Limits of the largest correlation, and of ``|I - 1|``.
    max_rho: float | None = None
    max_factor: float | None = None
    #: Threads that work at a time, and the memory that they may take.
    threads: int | None = None
    max_memory: int = 1 << 30


@dataclass(frozen=True, eq=False, kw_only=True)
class Checked:
    """A file that was judged, or the error that it raised."""

    file: str
    judgement: Judgement | None = None
    error: DiffdecorError | None = None
    #: Why it does not pass the limits; empty if it does, or if there are none.
    failures: list[str]
    has_limits: bool
    #: Files of its planes, where they are not in that of the image.
    files: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """The judgement in one line."""
        if self.judgement is None:
            return f"cannot be judged: {self.error}"
        failed = f"; failed: {'; '.join(self.failures)}" if self.failures else ""
        return describe(self.judgement) + failed

    @property
    def values(self) -> dict[str, Any]:
        """Everything by name, as it goes into the JSON."""
        about: dict[str, Any] = {"version": VERSION, "file": self.file}
        if self.judgement is None:
            code = 0 if self.error is None else self.error.exit_code
            return about | {"status": "error", "error": str(self.error), "exit_code": code}
        gate = ("failed" if self.failures else "passed") if self.has_limits else None
        return about | values_of(self.judgement) | {"gate": gate}


@of_commands()
def check_file(file: str, options: CheckOptions) -> Checked:
    """Judge the noise of an image of any tool; what is wrong with the file is in the result."""
    has_limits = options.max_rho is not None or options.max_factor is not None
    try:
        ignored = options.image.ignore_checksums
        with Reading(options.max_memory // 2, ignore_checksums=ignored) as reading:
            opened = open_exposure(file, options.image, reading)
            judgement = judged(with_psf(opened.exposure, options), options)
            check_sums((file, options.image.psf, *opened.files), reading.files, reading)
    except DiffdecorError as error:
        return Checked(
            file=file, error=_in_words_of_check(error), failures=[], has_limits=has_limits
        )
    return Checked(
        file=file,
        judgement=judgement,
        failures=judgement.exceeds(max_rho=options.max_rho, max_factor=options.max_factor),
        has_limits=has_limits,
        files=opened.files,
    )


def judged(exposure: Exposure, options: CheckOptions) -> Judgement:
    """Judge the noise of an image, with the threads that its width affords."""
    threads = threads_for(math.prod(exposure.shape), options.threads)
    threads = affordable_threads(threads, options.max_memory, _BYTES * _ROWS * exposure.shape[1])
    return judge(exposure, options.ignore_planes, _MOST, threads)


def with_psf(exposure: Exposure, options: CheckOptions) -> Exposure:
    """Give an image without a PSF the Gaussian that the options name."""
    if exposure.psf is None and options.fwhm is not None:
        psf = StampPsf(gaussian_stamp(options.fwhm), name=f"Gaussian PSF of FWHM {options.fwhm:g}")
        return replace(exposure, psf=psf)
    if exposure.psf is None and options.max_factor is not None:
        msg = f"{exposure.name}: it has no PSF, which --max-factor needs; give --fwhm or --psf"
        raise InputError(msg)
    return exposure


def _in_words_of_check(error: DiffdecorError) -> DiffdecorError:
    """Name options as `check` calls them: it has one image, of no role."""
    return type(error)(str(error).replace("--difference-", "--"))


def values_of(judgement: Judgement) -> dict[str, Any]:
    """Return everything that a judgement has measured, by name; NaN where it is not known."""
    return judgement.as_dict()


HEAD = ("file", "verdict", "max |rho|", "+-", "p", "I", "+-", "claimed/measured", "limits")


def row_of(one: Checked) -> tuple[str, ...]:
    """Return the row of a file in a table, under `HEAD`."""
    if one.judgement is None:
        return (one.file, "cannot be judged", *("-",) * (len(HEAD) - 2))
    found, (factor, error) = one.judgement.whiteness, one.judgement.factor
    ratio = one.judgement.variance_ratio
    limits = ("failed" if one.failures else "passed") if one.has_limits else "-"
    return (
        one.file,
        one.judgement.verdict,
        f"{found.largest:.4f}",
        f"{found.error:.4f}",
        probability(one.judgement.probability).removeprefix("= "),
        f"{factor:.3f}" if error > 0 else "-",
        f"{error:.3f}" if error > 0 else "-",
        f"{ratio:.3f}" if ratio > 0 else "-",
        limits,
    )
