"""What the pixels of difference and result say against the inputs: warnings."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from diffdecor import words
from diffdecor.decorrelation.filtering import FilterGrid
from diffdecor.decorrelation.subtraction import ROLES, Subtraction
from diffdecor.images.model import Exposure

log = words.logger(__name__)

#: Claimed and measured variance disagree if they differ by this factor and by this many errors.
_APART, _SIGMAS = 1.2, 5.0
#: Correlation that is too much, and the errors it must be beyond.
_CORRELATED, _CERTAIN = 0.05, 10.0
#: A result is less white than its input beyond this much more correlation.
_WORSE = 0.03
#: A cause explains a variance within this factor.
_EXPLAINS = 1.07
#: One of the kinds of noise planes does so within this part of the variance's logarithm, too.
_OF_LOG = 0.1
#: Most causes that are named.
_MOST = 2
#: Why a variance from a gain is too small.
_SKY = "a sky that was subtracted before (--science-sky, --template-sky)"
_IMAGES: Mapping[tuple[str, ...], str] = {
    ROLES[:1]: "the science image",
    ROLES[1:]: "the template",
    ROLES: "both images",
}


def warn_of_noise(
    subtraction: Subtraction, filters: FilterGrid, metrics: Mapping[str, Any], noise_model: str
) -> None:
    """Warn where the noise of the pixels contradicts what the inputs claim, or is left unwhite."""
    _warn_of_variance(subtraction, filters, metrics, noise_model)
    if not subtraction.config.score:  # whose noise stays correlated
        _warn_of_correlation(subtraction, metrics, noise_model)


def _warn_of_variance(
    subtraction: Subtraction, filters: FilterGrid, metrics: Mapping[str, Any], noise_model: str
) -> None:
    ratio, error = metrics.get("chi_before", math.nan), metrics.get("chi_error", math.nan)
    if not (abs(ratio - 1) > _SIGMAS * error and not 1 / _APART <= ratio <= _APART):
        return
    causes = list(_causes(subtraction, filters, ratio))
    # Where many would explain it, none is likely.
    of_gain = bool(subtraction.of_gain)
    if not 0 < len(causes) <= _MOST:
        causes = [_usual_cause(ratio, of_gain=of_gain)]
    elif of_gain and ratio > 1:
        causes.append(_SKY)
    cause = " or ".join(causes)
    scaled = "; that of the result is scaled to be right" if noise_model == "measured" else ""
    log.warning(
        "%s: its noise has %.3g +- %.2g times the variance that the noise planes, gains or "
        "variances of its images claim: %s%s",
        *(subtraction.difference.name, ratio, error, cause, scaled),
    )


def _causes(subtraction: Subtraction, filters: FilterGrid, ratio: float) -> Iterator[str]:
    """Yield what would explain a ratio of measured and claimed variance."""
    if subtraction.is_alone:
        return
    middle = len(filters.stamps) // 2
    shares: dict[str, float] = {}
    levels: dict[str, float] = {}
    for role, side in zip(ROLES, (filters.science, filters.template), strict=True):
        if side.parts:
            return
        energy = float(side.scale[middle] ** 2 * (side.stamps[middle] ** 2).sum())
        levels[role] = float(side.level[middle])
        shares[role] = levels[role] * energy
    total = sum(shares.values())
    # Where it is far off, something else may be off a little, too.
    within = max(math.log(_EXPLAINS), _OF_LOG * abs(math.log(ratio)))
    for roles in (ROLES[:1], ROLES[1:], ROLES):
        known = [role for role in roles if subtraction.given_level(role) is None]
        if len(known) < len(roles) or not total > 0:
            continue
        squares: dict[str, float] = {role: levels[role] for role in roles}
        roots: dict[str, float] = {role: 1 / math.sqrt(max(levels[role], 1e-300)) for role in roles}
        of_planes: list[tuple[dict[str, float], str]] = [
            (squares, "sigma is taken for variance ({} sigma)"),
            (roots, "variance is taken for sigma ({} variance)"),
        ]
        candidates = [
            *((*one, within) for one in of_planes if not set(roles) & set(subtraction.of_gain)),
            *((*one, math.log(_EXPLAINS)) for one in _by_cards(subtraction, roles)),
        ]
        for factors, text, most in candidates:
            predicted = sum(share * factors.get(role, 1.0) for role, share in shares.items())
            if abs(math.log(max(predicted, 1e-300) / total / ratio)) < most:
                flag = f"--{roles[0]}-noise-kind" if len(roles) == 1 else "--noise-kind"
                yield f"in {_IMAGES[roles]} {text.format(flag)}"


def _by_cards(
    subtraction: Subtraction, roles: tuple[str, ...]
) -> Iterator[tuple[dict[str, float], str]]:
    """Yield factors that the gain and the exposure time of the headers would explain."""
    exposures: dict[str, Exposure] = dict(zip(ROLES, subtraction.images, strict=True))
    for keyword, text in (
        ("GAIN", "the gain is not applied, or twice"),
        ("EXPTIME", "counts and counts per second are mixed"),
    ):
        headers = [exposures[role].header for role in roles]
        values = [0.0 if h is None else h.get(keyword, 0.0) for h in headers]
        if not all(isinstance(v, int | float) and v > 0 and abs(v - 1) > 0.1 for v in values):
            continue
        for power in (1, -1):
            factors = {role: float(v) ** power for role, v in zip(roles, values, strict=True)}
            yield factors, f"{text} ({keyword} {', '.join(f'{v:g}' for v in values)})"


def _usual_cause(ratio: float, *, of_gain: bool) -> str:
    if ratio > 1 and of_gain:
        return f"a gain that is too large, {_SKY}, or unmasked light of sources"
    if ratio > 1:
        return (
            "a gain that is too large, a noise plane in another unit (counts per second), sigma "
            "for variance, or unmasked light of sources"
        )
    return (
        "images whose noise is correlated already (resampled, coadded; --noise-model measured), a "
        "gain that is too small, or a noise plane in another unit (electrons) or of another kind "
        "(--noise-kind)"
    )


def _warn_of_correlation(
    subtraction: Subtraction, metrics: Mapping[str, Any], noise_model: str
) -> None:
    before, after, error = (
        metrics.get(name, math.nan) for name in ("rho_before", "rho_after", "rho_error")
    )
    if not error > 0:
        return
    worse = after - before > max(_WORSE, _SIGMAS * float(np.sqrt(2.0)) * error)
    still = after > max(_CORRELATED, _CERTAIN * error)
    if not (worse or still):
        return
    what = (
        f"is less white than the difference (max |rho| {before:.3f})" if worse else "is not white"
    )
    measured = "" if noise_model == "measured" else ", and try --noise-model measured"
    log.warning(
        "%s: the result %s: max |rho| %.3f +- %.3f; check the kernel, the convolved image, and "
        "gains and units of the noise%s",
        *(subtraction.difference.name, what, after, error, measured),
    )
