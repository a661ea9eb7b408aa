"""Refuses what cannot be decorrelated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NoReturn

import numpy as np

from diffdecor import words
from diffdecor.config import IGNORED_PLANES, DecorrelationConfig
from diffdecor.config.options import options
from diffdecor.core.planes import Plane, bands
from diffdecor.decorrelation.subtraction import ROLES, SCALES, Subtraction
from diffdecor.errors import ConfigError, InputError, KernelError
from diffdecor.images.model import Exposure

log = words.logger(__name__)

#: Options that say something of the images that were subtracted, or of their kernel.
_OF_IMAGES = (
    *("convolved", "score", "kernel_position", "science_variance", "template_variance"),
    *SCALES,
)


def check_exposures(**given: object) -> None:
    """Raise an `InputError` if what a program gives as an image is something else."""
    for name, value in given.items():
        if not isinstance(value, Exposure):
            kind = type(value).__name__
            msg = (
                f"{name} is of the class {kind}, not an Exposure; make one of an array with "
                "Exposure(image=..., variance=...), of a CCDData with Exposure.from_ccddata"
            )
            raise InputError(msg)


def validate(subtraction: Subtraction) -> Subtraction:
    """Refuse what cannot go together, and drop variance planes without data.

    Raises `ConfigError` if options contradict each other or what the exposures have, `InputError`
    if shapes disagree, and `KernelError` if the kernel is larger than the images.
    """
    if subtraction.is_alone:
        _check_alone(subtraction)
    _check_shapes(subtraction)
    _check_kernel_position(subtraction)
    config = subtraction.config
    _check_planes(subtraction.exposures, config.ignore_planes, "--ignore-planes")
    _check_planes(subtraction.exposures, config.fill_planes, "--fill-planes")
    if config.significance and not config.score and subtraction.psf is None:
        msg = "--significance needs a PSF: give --difference-psf, --science-psf or --template-psf"
        if subtraction.is_alone:
            msg = "--significance needs a PSF: give --difference-psf"
        raise ConfigError(msg)
    if isinstance(config.cell_centroids, str):
        msg = f"cell centroids must be positions here, not the file {config.cell_centroids}"
        raise ConfigError(msg)
    if config.cell_centroids is not None and config.blend == "interpolate":
        msg = "--cell-centroids needs another --blend than interpolate: nodes lie on a grid"
        raise ConfigError(msg)
    return _without_empty_variances(subtraction)


def empty_input(subtraction: Subtraction) -> str:
    """Return the name of an input image without a single finite pixel, if there is one."""
    empty = (one.name for one in subtraction.exposures if not _any_finite(one.image))
    return next(empty, "")


def _check_alone(subtraction: Subtraction) -> None:
    """Refuse what says something of images or a kernel that there are not."""
    difference = subtraction.difference
    check_options_alone(subtraction.config, difference.name)
    if subtraction.kernel.shape != (1, 1):
        refuse_alone(f"{subtraction.kernel.name}, a kernel,", difference.name)
    if subtraction.preconvolution is not None:
        refuse_alone("a preconvolution kernel", difference.name)
    members = (*subtraction.science_members, *subtraction.template_members)
    if [member.exposure for member in members] != [difference] or members[0].kernel is not None:
        refuse_alone("members of a stack", difference.name)
    if not _any_finite(difference.image):
        msg = f"{difference.name}: it has no finite pixel, so its noise cannot be measured"
        raise InputError(msg)


def check_options_alone(config: DecorrelationConfig, name: str) -> None:
    """Refuse options that say something of images or a kernel; `name` is the difference."""
    for item in options(DecorrelationConfig):
        value = item.value_in(config)
        if item.name in _OF_IMAGES and value != item.default:
            refuse_alone(item.flag_name, name)
        if item.name == "noise_model" and value == "white" != item.default:
            refuse_alone(f"{item.flag_name} white", name)


def refuse_alone(what: str, name: str) -> NoReturn:
    """Raise `ConfigError` for what makes no sense where the difference is given alone."""
    msg = (
        f"{what} cannot be used: the difference {name} is given alone, without science image and "
        "template; give all three, or leave it out"
    )
    raise ConfigError(msg)


def _check_shapes(subtraction: Subtraction) -> None:
    shape, kernel = subtraction.shape, subtraction.kernel
    members = (*subtraction.science_members, *subtraction.template_members)
    for exposure in (*subtraction.exposures, *(member.exposure for member in members)):
        if exposure.shape != shape:
            msg = (
                f"{exposure.name} has the shape {exposure.shape} but "
                f"{subtraction.difference.name} {shape} (ny, nx); give images on one pixel grid"
            )
            raise InputError(msg)
    if any(size > axis for size, axis in zip(kernel.shape, shape, strict=True)):
        msg = (
            f"{kernel.name}: the kernel of {kernel.shape[1]} x {kernel.shape[0]} pixels is larger "
            f"than the image of {shape[1]} x {shape[0]}; is it the right file?"
        )
        raise KernelError(msg)


def _check_kernel_position(subtraction: Subtraction) -> None:
    if subtraction.config.kernel_position is None:
        return
    (x, y), (ny, nx) = subtraction.config.kernel_position, subtraction.shape
    if not (-0.5 <= x <= nx - 0.5 and -0.5 <= y <= ny - 0.5):
        msg = f"--kernel-position {x:g},{y:g} lies outside the image of {nx} x {ny} pixels"
        raise ConfigError(msg)


def _check_planes(exposures: Sequence[Exposure], names: Sequence[str], option: str) -> None:
    """Refuse the name of a mask plane that no image has, unless it is one of the defaults."""
    known = {name for exposure in exposures for name in exposure.mask_planes.bits}
    for name in names:
        if name not in known and name not in IGNORED_PLANES:
            there = ", ".join(sorted(known)) or "none"
            msg = f"{option}: no image has a mask plane {name}; there are: {there}"
            raise ConfigError(msg)


def _without_empty_variances(subtraction: Subtraction) -> Subtraction:
    """Drop variance planes without data if the level is given: all pixels would be unusable.

    That of a difference alone is dropped, too: its noise can be measured.
    """
    if subtraction.is_alone:
        return _without_empty_variance(subtraction)
    empty = set()
    for role, image in zip(ROLES, subtraction.pair, strict=True):
        level = subtraction.given_level(role)
        for exposure in (image, *(member.exposure for member in subtraction.members(role))):
            plane = exposure.variance
            if level is None or plane is None or id(exposure) in empty or _any_finite(plane):
                continue
            empty.add(id(exposure))
            log.warning(
                "%s: the variance plane has no finite pixel; the given level %g is used instead",
                exposure.name,
                level,
            )

    def without(exposure: Exposure) -> Exposure:
        return replace(exposure, variance=None) if id(exposure) in empty else exposure

    return subtraction.with_exposures(without) if empty else subtraction


def _without_empty_variance(subtraction: Subtraction) -> Subtraction:
    """Drop the variance plane of a difference alone if it has no data."""
    difference = subtraction.difference
    if difference.variance is None or _any_finite(difference.variance):
        return subtraction
    log.warning(
        "%s: the variance plane has no finite pixel; it is measured in the pixels instead",
        difference.name,
    )
    return subtraction.with_exposures(lambda exposure: replace(exposure, variance=None))


def _any_finite(plane: Plane) -> bool:
    """Return whether any pixel is finite, without reading more than necessary."""
    return any(np.isfinite(plane[rows]).any() for rows in bands(plane.shape, 16))
