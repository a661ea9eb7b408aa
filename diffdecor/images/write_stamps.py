"""PSF and filters in the output: few and small beside its planes, and as exact as is needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from diffdecor.core.interpolate import Stamps
from diffdecor.core.planes import Window
from diffdecor.core.thinning import Plan, Reducible, lost_energy, lost_flux, sigma_unit
from diffdecor.fits.checksum import BLOCK, padded
from diffdecor.fits.open import Hdu
from diffdecor.images.model import Exposure
from diffdecor.psfs.model import PointSpreadFunction
from diffdecor.psfs.stamp import psf_stamps, stamp_hdus

#: PSFs and filters take at most this share of the bytes of the planes; of large ones, in pixels.
_SHARE_OF_PLANES, _SHARE_OF_LARGE, _LARGE = 0.5, 0.2, 4_000_000
#: Bytes of a pixel of PSFs and filters.
_PIXEL = 4
#: Steps in which tolerances grow where there is not enough room.
_STEPS = 40


class _Limit(NamedTuple):
    """The largest error where there is room enough, and where there is least."""

    ample: float
    scarce: float

    def at(self, need: float) -> float:
        """Return the limit at a need of room from 0 to 1."""
        return float(self.ample * (self.scarce / self.ample) ** need)


class _Kind(NamedTuple):
    """What PSFs, or filters, may be off."""

    name: str
    comment: str
    interpolation: _Limit
    of_interpolation: str
    cutting: _Limit
    of_cutting: str


_PSF = _Kind(
    "PSF",
    "point-spread function of IMAGE",
    _Limit(1e-4, 0.1),
    "largest interpolation error, of the L2 norm",
    _Limit(1e-6, 1e-3),
    "largest share of the flux that was cut off",
)
#: Errors of filters are rms, in sigmas of the result, with what is cut off; single pixels may be
#: off by four times that. They matter less than those of the PSF, so they grow faster.
_PSI = _Kind(
    "PSI",
    "decorrelation kernel: IMAGE is PSI * input",
    _Limit(2.5e-5, 0.3),
    "[sigma] largest rms error by interpolation",
    _Limit(5e-6, 1e-2),
    "largest share of the L2 norm that was cut off",
)


@dataclass(frozen=True, eq=False)
class _Candidate:
    """PSFs or filters, and what is to be known of them to make them fewer and smaller."""

    kind: _Kind
    reducible: Reducible
    #: Share that was cut off before.
    cut: float
    #: Pixels that every stamp serves, where they are not interpolated.
    windows: Sequence[Window]
    #: Place of the one that is kept at least.
    middle: tuple[float, float]

    def plan(self, need: float) -> Plan:
        """Return what is enough at a need of room from 0 to 1."""
        return self.reducible.within(self.kind.interpolation.at(need), self.kind.cutting.at(need))

    def size(self, plan: Plan) -> int:
        """Return the bytes of the HDUs of a plan, with their headers."""
        image = BLOCK + padded(plan.number * plan.pixels * _PIXEL)
        row = 16 * (1 + bool(self.windows))
        return image + (BLOCK + padded(plan.number * row) if plan.number > 1 else 0)

    def hdus(self, plan: Plan) -> list[Hdu]:
        """Return the HDUs of a plan."""
        return self._described(self.reducible.taken(plan), plan, self.windows)

    def only(self) -> list[Hdu]:
        """Return the HDU of the one in the middle, which is whole."""
        one, plan = self.reducible.alone(self.middle, self.kind.cutting.ample)
        return self._described(one, plan, ())

    def _described(self, stamps: Stamps, plan: Plan, windows: Sequence[Window]) -> list[Hdu]:
        image, *table = stamp_hdus(self.kind.name, stamps, self.kind.comment, windows)
        image.header["CUTSHARE"] = (self.cut + plan.lost, self.kind.of_cutting)
        image.header["INTERROR"] = (plan.off, self.kind.of_interpolation)
        return [image, *table]


def filter_and_psf_hdus(
    exposure: Exposure, psi: Stamps | None, windows: Sequence[Window], planes: int
) -> list[Hdu]:
    """Return the HDUs of the PSF and of the decorrelation kernels, beside planes of some bytes.

    As many as interpolation needs are kept, and as much of each as is not negligible. Where that
    takes too much room they may be off further; one of each is always kept whole. `windows` are the
    pixels of every filter, where they are not interpolated.
    """
    ny, nx = exposure.shape
    middle = (nx - 1) / 2, (ny - 1) / 2
    share = _SHARE_OF_LARGE if ny * nx > _LARGE else _SHARE_OF_PLANES
    several = []
    if exposure.psf is not None:
        several.append(_psfs(exposure.psf, exposure.shape, middle))
    if psi is not None:
        several.append(_filters(psi, windows, middle))
    return _fitting(several, share * planes)


def _psfs(
    psf: PointSpreadFunction, shape: tuple[int, int], middle: tuple[float, float]
) -> _Candidate:
    stamps = psf_stamps(psf, shape)
    norms = np.sqrt(np.square(stamps.stamps).sum(axis=(1, 2)))
    cut = float(getattr(psf, "cut", 0.0))
    reducible = Reducible.of(stamps, norms, lost_flux(stamps))
    return _Candidate(_PSF, reducible, cut, (), middle)


def _filters(psi: Stamps, windows: Sequence[Window], middle: tuple[float, float]) -> _Candidate:
    unit = sigma_unit(psi)
    largest = float(np.sqrt(np.square(psi.stamps).sum(axis=(1, 2)).max()))
    units = np.full(len(psi.stamps), unit)
    reducible = Reducible.of(psi, units, lost_energy(psi), largest / unit)
    return _Candidate(_PSI, reducible, 0.0, windows, middle)


def _fitting(several: Sequence[_Candidate], room: float) -> list[Hdu]:
    """Return the HDUs of the most exact choice that takes at most so many bytes, one of each."""
    for number in range(len(several)):
        alone = [hdu for one in several[:number] for hdu in one.only()]
        left = room - sum(BLOCK + padded(hdu.size) for hdu in alone)
        free = several[number:]
        for step in range(_STEPS + 1):
            plans = [one.plan(step / _STEPS) for one in free]
            if _size(free, plans) <= left:
                plans = _improved(free, plans, step, left)
                several_hdus = (one.hdus(plan) for one, plan in zip(free, plans, strict=True))
                return alone + [hdu for hdus in several_hdus for hdu in hdus]
    return [hdu for one in several for hdu in one.only()]


def _size(several: Sequence[_Candidate], plans: Sequence[Plan]) -> int:
    """Return the bytes that plans take."""
    return sum(one.size(plan) for one, plan in zip(several, plans, strict=True))


def _improved(
    several: Sequence[_Candidate], plans: Sequence[Plan], step: int, room: float
) -> list[Plan]:
    """Return plans of smaller steps where there is room left; filters, the last, come first."""
    best = list(plans)
    for number in reversed(range(len(several))):
        for smaller in range(step):
            tried = best.copy()
            tried[number] = several[number].plan(smaller / _STEPS)
            if _size(several, tried) <= room:
                best = tried
                break
    return best
