"""What Python programs call besides `decorrelate` and the readers: judge, verify, write.

The commands do the same with files.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from numpy.typing import ArrayLike

from diffdecor.config import IGNORED_PLANES, DecorrelationConfig, FilesConfig, kinds
from diffdecor.core.noise_power import power_of_sums
from diffdecor.core.planes import bands, copy_planes
from diffdecor.decorrelation import verification
from diffdecor.decorrelation.decorrelate import Result
from diffdecor.decorrelation.fitting import with_fitted_kernel, without_inverse_sums
from diffdecor.decorrelation.judgement import Judgement
from diffdecor.decorrelation.kernel_fit import KernelFit
from diffdecor.decorrelation.subtraction import Subtraction, as_kernel
from diffdecor.decorrelation.validation import check_exposures, validate
from diffdecor.decorrelation.verification import Verdict
from diffdecor.errors import ConfigError
from diffdecor.fits.paths import split_extension
from diffdecor.images.model import Exposure
from diffdecor.images.write import fitting_dtype, result_file
from diffdecor.kernels.model import MatchingKernel
from diffdecor.pipeline.check import CheckOptions, judged, with_psf
from diffdecor.pipeline.noise_outputs import noise_hdus
from diffdecor.pipeline.provenance import METRIC_CARDS, cards_of
from diffdecor.pipeline.run import bad_planes, cell_hdus, fresh_header, psi_stamps
from diffdecor.words import spoken


def check(
    image: Exposure | ArrayLike,
    *,
    fwhm: float | None = None,
    ignore_planes: Collection[str] = IGNORED_PLANES,
    threads: int | None = None,
    max_memory: int = 1 << 30,
) -> Judgement:
    """Judge whether the noise of an image is white, and whether its variance is right.

    Sources are found and left out. What `diffdecor check` says of a file, this says of arrays.

    Parameters
    ----------
    image : Exposure or array (ny, nx)
        Any image with noise: a difference, its decorrelated result, a coadd.
    fwhm : float, optional
        FWHM of a Gaussian PSF in pixels, for an image without one. Without either there is no
        point-source noise.
    ignore_planes : collection of str
        Planes of the mask whose pixels do not count, besides NEAR_FILLED, EDGE and NO_DATA.
    threads : int, optional
        Threads that work at a time; one a core by default, fewer for small images. The result does
        not depend on it.
    max_memory : int
        Memory that they may take, roughly, in bytes.

    Returns
    -------
    Judgement
        The verdict, and all that was measured. `Judgement.exceeds` compares it with limits.

    Raises
    ------
    InputError
        If there are too few pixels of sky with noise.
    ConfigError
        If an argument has an impossible value.

    Examples
    --------
    >>> import numpy as np
    >>> from diffdecor import check
    >>> noise = np.random.default_rng(8).normal(size=(300, 300))
    >>> print(check(noise[:, 1:] + noise[:, :-1]))  # doctest: +ELLIPSIS
    correlated: max |rho| 0.50... at lag (1, 0), p < 1e-99, no variance plane
    """
    exposure = image if isinstance(image, Exposure) else Exposure(image=image, name="image")
    planes = ignore_planes if isinstance(ignore_planes, str) else list(ignore_planes)
    options = CheckOptions(
        ignore_planes=_parsed("ignore_planes", kinds.PLANES, planes),
        fwhm=None if fwhm is None else _parsed("fwhm", kinds.FWHM, fwhm),
        threads=None if threads is None else _parsed("threads", kinds.COUNT, threads),
        max_memory=_parsed("max_memory", kinds.MEMORY, max_memory),
    )
    return judged(with_psf(exposure, options), options)


def _is_file(name: str) -> bool:
    """Say whether a name is that of a file; it may be any text."""
    return os.path.isfile(split_extension(name)[0])  # noqa: PTH113  Path raises on odd ones


def _parsed(name: str, kind: kinds.Kind, value: object) -> Any:  # noqa: ANN401
    """Return an argument as an option of its kind has it, or raise a `ConfigError`."""
    try:
        return kind.parse(value)
    except (TypeError, ValueError, OverflowError) as error:
        msg = f"{name} is {value!r}: {error}"
        raise ConfigError(msg) from None


def verify(
    science: Exposure,
    template: Exposure,
    difference: Exposure,
    kernel: MatchingKernel | ArrayLike | None,
    *,
    config: DecorrelationConfig | None = None,
) -> Verdict:
    """Rebuild a difference from its images and kernel, and say whether they belong together.

    Where they do not, the usual misreadings of a kernel are tried, and the one that fits is named.
    Where none does, a kernel is fitted to the images, and what is wrong is named by that.

    Parameters
    ----------
    science, template : Exposure
        The images that were subtracted; here their pixels count.
    difference : Exposure
        Their difference, before its noise was decorrelated.
    kernel : MatchingKernel, array (ky, kx) or None
        The matching kernel, as of `decorrelate`.
    config : DecorrelationConfig, optional
        The convolved side and scales, where the kernel does not know them; planes of the masks.

    Returns
    -------
    Verdict
        Whether they belong together, how far the difference is off, and what is wrong.

    Raises
    ------
    ConfigError
        For score images, which cannot be rebuilt.
    InputError
        If shapes disagree; `KernelError` if the kernel cannot be used.

    Examples
    --------
    The kernel is given upside down.

    >>> import numpy as np
    >>> from scipy.ndimage import convolve
    >>> from diffdecor import Exposure, verify
    >>> science, template = np.random.default_rng(4).normal(size=(2, 100, 100))
    >>> kernel = np.outer([0.1, 0.3, 0.4, 0.15, 0.05], [0.3, 0.4, 0.3])
    >>> images = [Exposure(image=image, variance=1.0) for image in (science, template)]
    >>> difference = Exposure(image=science - convolve(template, kernel))
    >>> verify(*images, difference, kernel).belongs
    True
    >>> verdict = verify(*images, difference, kernel[::-1])
    >>> verdict.belongs, verdict.cause
    (False, 'the kernel is flipped in both axes (correlation, not convolution: `sense`)')
    """
    check_exposures(science=science, template=template, difference=difference)
    subtraction = Subtraction(
        science,
        template,
        difference,
        as_kernel(kernel),
        config=config or DecorrelationConfig(),
    )
    verification.check_verifiable(subtraction)
    verdict = verification.verify(validate(subtraction))
    return replace(verdict, cause=spoken(verdict.cause))


def fit_kernel(
    science: Exposure,
    template: Exposure,
    difference: Exposure,
    *,
    config: DecorrelationConfig | None = None,
) -> KernelFit:
    """Find the matching kernel of a difference from its two images.

    What `diffdecor kernel fit` does with files. The difference follows from its images but for
    rounding, so the kernel is exact where its family is right, and the fit says whether it is.

    Parameters
    ----------
    science, template : Exposure
        The images that were subtracted; here their pixels count. They need no variance.
    difference : Exposure
        Their difference, before its noise was decorrelated. Where it is by HOTPANTS or SFFT, and
        its header is there, that tells where and how the kernel varies.
    config : DecorrelationConfig, optional
        The convolved side and scales, where these are known; planes of the masks.

    Returns
    -------
    KernelFit
        The kernel, and how much of the difference it leaves.

    Raises
    ------
    KernelError
        If no kernel explains the difference; the error says how far it is off, and why.
    ConfigError
        For score images, whose kernel the images do not show.
    InputError
        If shapes disagree.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy.ndimage import convolve
    >>> from diffdecor import Exposure, fit_kernel
    >>> science, template = np.random.default_rng(4).normal(size=(2, 200, 200))
    >>> kernel = np.outer([0.1, 0.3, 0.4, 0.15, 0.05], [0.3, 0.4, 0.3])
    >>> images = [Exposure(image=image) for image in (science, template)]
    >>> fit = fit_kernel(*images, Exposure(image=science - convolve(template, kernel)))
    >>> fit.side, fit.family, round(fit.kernel.sum(100, 100), 6)
    ('template', 'constant', 1.0)
    """
    check_exposures(science=science, template=template, difference=difference)
    from diffdecor.kernels.areas import kernel_areas

    config = config or DecorrelationConfig()
    subtraction = Subtraction(
        science, template, difference, as_kernel(None), config=without_inverse_sums(config)
    )
    areas = kernel_areas(difference.header, difference.shape, difference.name)
    return with_fitted_kernel(subtraction, config, areas)[1]


def write_result(
    result: Result,
    path: str | Path,
    *,
    dtype: Literal["float32", "float64"] = "float32",
    overwrite: bool = False,
) -> None:
    """Write a result to a FITS file, as `diffdecor run` does.

    It has the same HDUs, and of the cards those of version, options and metrics; what only files
    have, their names and sums, it does not. `read_exposure` reads it.

    Parameters
    ----------
    result : Result
        What `decorrelate` returned.
    path : str or Path
        The file. It is there when it is complete, or not at all.
    dtype : {"float32", "float64"}
        Type of the pixels; float64 in any case where float32 has no such numbers.
    overwrite : bool
        Replace a file that is there; never one that the exposures or the kernel were read from.

    Raises
    ------
    ConfigError
        If the type is another one.
    OutputError
        If the file cannot be written: `OutputExistsError` if it is there already, or an
        input.

    Examples
    --------
    >>> import numpy as np, tempfile
    >>> from diffdecor import Exposure, decorrelate, read_exposure, write_result
    >>> noise = np.random.default_rng(1).normal(size=(128, 128))
    >>> science = Exposure(image=noise, variance=1.0)
    >>> result = decorrelate(science, science, science, np.ones((1, 1)))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_result(result, f"{folder}/out.fits")
    ...     again = read_exposure(f"{folder}/out.fits")
    >>> bool((again.image == result.exposure.image).all())
    True
    """
    dtype = FilesConfig(dtype=dtype).dtype  # type: ignore[assignment]
    exposure, config = result.exposure, result.config
    variance = exposure.variance
    variance_dtype = dtype if variance is None else fitting_dtype(variance, dtype)
    pixels = dtype if variance_dtype == dtype else "float64"
    with result_file(
        path,
        replace(exposure, header=fresh_header(exposure.header)),
        cards=cards_of([config], {}, result.metrics.as_dict()),
        cards_room=len(METRIC_CARDS),
        psi=psi_stamps(result.filters, result.positions, result.windows)
        if len(result.filters)
        else None,
        windows=result.windows,
        dtype=pixels,
        variance_dtype=variance_dtype,
        bad_planes=bad_planes(config),
        significance=result.significance is not None,
        flux_error=result.flux_error is not None,
        overwrite=overwrite,
        inputs=[name for name in result.sources if _is_file(name)],
    ) as file:
        pairs: list[Any] = [
            (exposure.image, file.image),
            (exposure.mask, file.mask),
            (variance, file.variance),
            (result.significance, file.significance),
            (result.flux_error, file.flux_error),
        ]
        there = [(plane, target) for plane, target in pairs if plane is not None]
        copy_planes(there, bands(exposure.shape), 1)
        if result.covariances is not None:
            lags, name = result.covariances, exposure.name
            powers = power_of_sums(lags.before, name), power_of_sums(lags.after, str(path))
            file.append(noise_hdus(*powers, exposure.header))
        file.append(cell_hdus(result.cells, exposure, pixels))
