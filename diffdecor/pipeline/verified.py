"""Before a run: whether the files belong together, and which image was convolved."""

from __future__ import annotations

import logging
from dataclasses import replace

from diffdecor.decorrelation.comparison import somewhere
from diffdecor.decorrelation.subtraction import Subtraction
from diffdecor.decorrelation.verification import Verdict, verify_quickly
from diffdecor.errors import AlreadyDecorrelatedError, InputError
from diffdecor.kernels.misreadings import on_side
from diffdecor.pipeline.inputs import Inputs

log = logging.getLogger(__name__)

#: Residual, in sigma, that no difference has whose noise was decorrelated.
_UNTOUCHED = 0.05


def verified(inputs: Inputs) -> tuple[Subtraction, dict[str, object]]:
    """Rebuild a part of the difference; refuse what cannot belong together.

    Returns the subtraction, of the side that has been found if the files do not say it, and
    metrics: how well the difference was rebuilt.
    """
    subtraction, files = inputs.subtraction, inputs.job.files
    metrics: dict[str, object] = {}
    verdict = None
    if files.verify and subtraction.can_be_rebuilt:
        verdict = verify_quickly(subtraction)
    if verdict is not None and verdict.fit.pixels:
        _judge(inputs, verdict)
        metrics = {"residual": verdict.fit.residual, "residual_bright": verdict.fit.bright}
    if verdict is None or not verdict.fit.residual < _UNTOUCHED:
        _warn_of_default(inputs)
    if subtraction.is_alone or subtraction.kernel.shape == (1, 1):  # neither was convolved
        return subtraction, metrics
    return _with_side(inputs, verdict, metrics)


def _judge(inputs: Inputs, verdict: Verdict) -> None:
    """Refuse what does not belong together; say what is doubtful."""
    job, fit, other = inputs.job, verdict.fit, verdict.alternative
    if job.files.force and not verdict.belongs:
        log.warning("%s: %s; it is used all the same (--force)", job.difference, verdict.cause)
        return
    if verdict.decorrelated:
        msg = (
            f"{job.difference}: {verdict.cause}; give the difference as it was, or --force to "
            "decorrelate it again"
        )
        raise AlreadyDecorrelatedError(msg)
    if not verdict.belongs:
        msg = (
            f"{job.difference}: not the difference that {_named(inputs)} makes of "
            f"{job.science} and {job.template}: it is off by {fit.worst:.3g} sigma"
        )
        if other is not None:
            msg += f", but by {other.worst:.2g} if {verdict.cause}"
        elif verdict.fitted is not None or inputs.is_fitted:
            msg += f"; {verdict.cause}"
        else:
            msg += f"; {verdict.cause}; give the images and the kernel that it was made of"
        msg += " (--no-verify goes on all the same)"
        raise InputError(msg)
    if verdict.cause:
        log.warning(
            "%s: rebuilt from its parts it is off by %.2g sigma, %.2g on bright pixels: %s",
            job.difference,
            fit.residual,
            fit.bright,
            verdict.cause,
        )


def _named(inputs: Inputs) -> str:
    """Return the name of the kernel in a sentence."""
    name = inputs.subtraction.kernel.name
    return f"the {name}" if inputs.is_fitted else name


def _warn_of_default(inputs: Inputs) -> None:
    """Warn of a difference by lsst.images that may be decorrelated: its pipeline's default."""
    difference, job = inputs.subtraction.difference, inputs.job
    header = difference.header
    if header is not None and "JSONADDR" in header and not job.is_alone and not job.files.force:
        log.warning(
            "%s: nothing in an lsst.images file says whether its noise is decorrelated already, as "
            "LSST's pipeline does by default, and rebuilding it does not decide; if it is, leave "
            "it as it is (--force says that it is not)",
            difference.name,
        )


def _with_side(
    inputs: Inputs, verdict: Verdict | None, metrics: dict[str, object]
) -> tuple[Subtraction, dict[str, object]]:
    """Return a subtraction whose convolved side is known, and say where it is known from."""
    subtraction = inputs.subtraction
    kernel = subtraction.kernel
    if subtraction.config.convolved != "auto":
        return subtraction, metrics | {"side_source": "option"}
    if inputs.is_fitted:
        return subtraction, metrics | {"side_source": "fit"}
    if kernel.side(*somewhere(kernel)) is not None:
        return subtraction, metrics | {"side_source": "file"}
    side = None if verdict is None else verdict.side
    if side is None:
        log.warning(
            "%s: the file does not say which image was convolved; taking the template "
            "(give it with --convolved)",
            kernel.name,
        )
        return subtraction, metrics | {"side_source": "assumed"}
    log.info(
        "%s: the file does not say which image was convolved; rebuilding the difference shows that "
        "it was the %s%s",
        kernel.name,
        *(side, " image" if side == "science" else ""),
    )
    return replace(subtraction, kernel=on_side(kernel, side)), metrics | {"side_source": "rebuilt"}
