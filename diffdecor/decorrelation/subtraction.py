"""A subtraction ``D = a_S (A * S) - a_T (B * T) + background``: its images, kernels and scales.

S is the science image, T the template on the same pixels; ``*`` is a true convolution. Usually one
of A and B is the matching kernel, and the other a delta function. Of a difference that is given
alone nothing of this is known: it is one image with noise of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from diffdecor.config import DecorrelationConfig
from diffdecor.config.kinds import INVERSE_SUM
from diffdecor.core.fourier import Origin, convolve_stamps, reflect
from diffdecor.core.noise import NoiseSide, white_side, with_noise
from diffdecor.core.noise_power import NoisePower
from diffdecor.core.parallel import threads_for
from diffdecor.core.planes import Plane
from diffdecor.core.spectrum_field import SpectrumField
from diffdecor.errors import ConfigError, KernelError
from diffdecor.images.model import Exposure
from diffdecor.kernels.model import MatchingKernel, Side, StampKernel, nearest_covered
from diffdecor.psfs.model import PointSpreadFunction, StampPsf

Role = Literal["science", "template"]
ROLES: tuple[Role, Role] = ("science", "template")

SCALES = ("science_scale", "template_scale")


@dataclass(frozen=True, eq=False)
class Member:
    """One of the images of a stack, or an image that was convolved before it was subtracted.

    Parameters
    ----------
    exposure : Exposure
        Its variance plane and mask, on the pixels of the difference.
    kernel : MatchingKernel or array (ky, kx), optional
        What it was convolved with before it was added.
    weight : float
        Its factor in the sum.

    Raises
    ------
    KernelError
        If the array is not a kernel.

    Examples
    --------
    >>> import numpy as np
    >>> from diffdecor import Exposure, Member
    >>> member = Member(Exposure(image=np.zeros((9, 9)), variance=2.0), np.ones((3, 3)) / 9, 0.5)
    >>> member.kernel.origin
    (1, 1)
    """

    exposure: Exposure
    kernel: MatchingKernel | None = None
    weight: float = 1.0

    if TYPE_CHECKING:
        # More may be given than what is kept.
        def __init__(
            self,
            exposure: Exposure,
            kernel: MatchingKernel | ArrayLike | None = None,
            weight: float = 1.0,
        ) -> None: ...

    def __post_init__(self) -> None:
        """Make a kernel of an array."""
        if self.kernel is not None:
            object.__setattr__(self, "kernel", as_kernel(self.kernel))


@dataclass(frozen=True, eq=False)
class Subtraction:
    """How a difference was made of its images, and how it is to be decorrelated.

    Raises `ConfigError` where only one of its images is given.
    """

    #: The images that were subtracted; neither for a difference alone. Its noise is then that of
    #: the science side, whose only member it is, and the template side has no members.
    science: Exposure | None
    template: Exposure | None
    difference: Exposure
    #: The matching kernel; a delta function where images went through the members' kernels only.
    kernel: MatchingKernel
    #: All options, and scales of ``1/k`` as numbers.
    config: DecorrelationConfig = field(default_factory=DecorrelationConfig)
    #: What the science image of a score image was correlated with; its PSF by default.
    preconvolution: PointSpreadFunction | None = None
    #: The images that each side is the weighted sum of: by default one, itself; of a difference
    #: alone the difference.
    science_members: tuple[Member, ...] = ()
    template_members: tuple[Member, ...] = ()
    #: How the noise power differs from that of white noise in the images; None for white noise.
    spectra: SpectrumField | None = None
    #: The same of each side alone, relative to its variance, where it is known otherwise.
    side_spectra: Mapping[Role, SpectrumField] = field(default_factory=dict)
    #: Noise that is known otherwise, by its image: "science", "template" or "difference".
    noise_powers: Mapping[str, NoisePower] = field(default_factory=dict)
    #: Images whose variance was computed from their pixels, with a gain.
    of_gain: Collection[str] = ()

    def __post_init__(self) -> None:
        """Replace what was left out, and scales of ``1/k``."""
        if (self.science is None) != (self.template is None):
            msg = (
                "a science image and no template, or a template and no science image; give both, "
                "or the difference alone"
            )
            raise ConfigError(msg)
        science = self.science or self.difference
        of_template = () if self.template is None else (Member(self.template),)
        known = {
            "config": _with_known_scales(self.config, self.kernel, self.shape),
            "preconvolution": self.preconvolution or (self.science and self.science.psf),
            "science_members": self.science_members or (Member(science),),
            "template_members": self.template_members or of_template,
        }
        for name, value in known.items():
            object.__setattr__(self, name, value)

    @property
    def shape(self) -> tuple[int, int]:
        """Shape ``(ny, nx)`` of every plane."""
        return self.difference.shape

    @property
    def threads(self) -> int:
        """How many threads to use, if memory allows them."""
        return threads_for(math.prod(self.shape), self.config.threads)

    @property
    def is_alone(self) -> bool:
        """Whether the difference is all there is: no images, no kernel."""
        return self.science is None

    @property
    def images(self) -> tuple[Exposure, ...]:
        """The images whose noise is in the difference: science and template, or itself if alone."""
        if self.science is None or self.template is None:
            return (self.difference,)
        return self.science, self.template

    @property
    def pair(self) -> tuple[Exposure, Exposure]:
        """Science and template; raises `ConfigError` if the difference is alone."""
        if self.science is None or self.template is None:
            msg = f"{self.difference.name}: a difference alone cannot be compared with its images"
            raise ConfigError(msg)
        return self.science, self.template

    @property
    def exposures(self) -> tuple[Exposure, ...]:
        """All there are of science, template and difference, in this order."""
        return (self.difference,) if self.is_alone else (*self.images, self.difference)

    @property
    def psf(self) -> PointSpreadFunction | None:
        """PSF of the difference, or that of the image whose PSF comes closest to it."""
        known = (one.psf for one in (self.difference, *self.images))
        return next((psf for psf in known if psf is not None), None)

    @property
    def can_be_rebuilt(self) -> bool:
        """Whether the images went through the matching kernel only, so that D follows from them."""
        plain = all(_is_plain(self.members(role)) for role in ROLES)
        return plain and not self.config.score and not self.is_alone

    def members(self, role: Role) -> tuple[Member, ...]:
        """Return the images whose noise makes that of a side."""
        return self.science_members if role == "science" else self.template_members

    def given_level(self, role: Role) -> float | None:
        """Return the noise variance of a side's images that the options give."""
        config = self.config
        return config.science_variance if role == "science" else config.template_variance

    def with_planes(self, change: Callable[[Plane], Plane], *, masks: bool = True) -> Subtraction:
        """Return the same subtraction with other planes; kernels and PSFs are not moved."""

        def exposure(old: Exposure) -> Exposure:
            return replace(
                old,
                image=change(old.image),
                variance=None if old.variance is None else change(old.variance),
                mask=change(old.mask) if masks and old.mask is not None else old.mask,
            )

        return self.with_exposures(exposure)

    def with_exposures(self, change: Callable[[Exposure], Exposure]) -> Subtraction:
        """Return the same subtraction of other exposures."""
        changed: dict[int, Exposure] = {}

        def once(old: Exposure) -> Exposure:
            if id(old) not in changed:  # an image and its only member are one exposure, and stay so
                changed[id(old)] = change(old)
            return changed[id(old)]

        def of_members(old: tuple[Member, ...]) -> tuple[Member, ...]:
            return tuple(replace(member, exposure=once(member.exposure)) for member in old)

        return replace(
            self,
            science=self.science and once(self.science),
            template=self.template and once(self.template),
            difference=once(self.difference),
            science_members=of_members(self.science_members),
            template_members=of_members(self.template_members),
        )

    def side(self, x: float, y: float) -> Side:
        """Return the convolved side at a covered position."""
        if self.config.convolved != "auto":
            return self.config.convolved
        return self.kernel.side(x, y) or "template"

    def scales(self, x: float, y: float) -> tuple[float, float]:
        """Return ``(a_S, a_T)`` at a covered position."""
        science, template = self.kernel.scales(x, y)
        given = self.config.science_scale, self.config.template_scale
        return (
            science if given[0] is None else float(given[0]),
            template if given[1] is None else float(given[1]),
        )

    def noise_sides(
        self,
        positions: NDArray[np.float64],
        science_levels: NDArray[np.float64],
        template_levels: NDArray[np.float64],
    ) -> tuple[NoiseSide, NoiseSide]:
        """Return the noise of both sides at 0-based positions ``(n, 2)``.

        The levels ``(members, n)`` are the noise variances of the members, image unit squared.
        """
        science, template = self._matched(positions)
        sides = (
            _with_noise(science, science_levels, self.science_members, positions),
            _with_noise(template, template_levels, self.template_members, positions),
        )
        # What is known of the noise of an image, and then of that of the difference.
        of_both = None if self.spectra is None else self.spectra.kernels(positions)
        science, template = (
            reduce(with_noise, [one for one in (own, of_both) if one is not None], side)
            for side, own in zip(sides, self._own_noise(positions), strict=True)
        )
        return science, template

    def _own_noise(self, positions: NDArray[np.float64]) -> list[NDArray[np.float64] | None]:
        """Return the noise kernels of the images, None where their noise is white."""
        spectra = map(self.side_spectra.get, ROLES)
        return [None if one is None else one.kernels(positions) for one in spectra]

    def _matched(self, positions: NDArray[np.float64]) -> tuple[NoiseSide, NoiseSide]:
        """Return both sides as the matching kernel leaves them, with noise of unit level."""
        places = [nearest_covered(self.kernel, x, y) for x, y in positions.tolist()]
        stamps = np.array([self._checked_stamp(x, y) for x, y in places])
        science, template = np.array([self.scales(x, y) for x, y in places]).T
        on_template = np.array([self.side(x, y) == "template" for x, y in places])
        origin, unit = self.kernel.origin, np.ones(len(places))
        if self.config.score:
            if not on_template.all():
                msg = "--score is for differences with the template convolved (--convolved)"
                raise ConfigError(msg)
            return self._preconvolved(places, science), NoiseSide(unit, template, stamps, origin)
        return (
            _convolved_at(~on_template, white_side(unit, science), stamps, origin),
            _convolved_at(on_template, white_side(unit, template), stamps, origin),
        )

    def _checked_stamp(self, x: float, y: float) -> NDArray[np.float64]:
        stamp = self.kernel.stamp(x, y)
        if abs(stamp.sum()) <= 1e-9 * np.abs(stamp).sum():
            msg = (
                f"{self.kernel.name}: the sum of the matching kernel at the 0-based position "
                f"({x:g}, {y:g}) is zero; it cannot have matched the two images"
            )
            raise KernelError(msg)
        return stamp

    def _preconvolved(
        self, places: Sequence[tuple[float, float]], scales: NDArray[np.float64]
    ) -> NoiseSide:
        """Return the science side of a score image, correlated with the preconvolution kernel."""
        if self.preconvolution is None:
            msg = (
                "--score needs the kernel that the science image was correlated with: give "
                "--preconvolution-kernel, or --science-psf if it was its PSF"
            )
            raise ConfigError(msg)
        if not _is_plain(self.science_members):
            msg = "--score cannot be combined with --science-kernel or --science-stack"
            raise ConfigError(msg)
        stamps = np.array([self.preconvolution.stamp(x, y) for x, y in places])
        origin = self.preconvolution.origin
        return NoiseSide(np.ones(len(places)), scales, *reflect(stamps, origin))


def _is_plain(members: Sequence[Member]) -> bool:
    """Say whether a side is one image that went through no kernel of its own."""
    return len(members) == 1 and members[0].kernel is None


def as_kernel(kernel: MatchingKernel | ArrayLike | None) -> MatchingKernel:
    """Return a kernel as it is, that of one stamp ``(ky, kx)``, or a delta function for None."""
    if kernel is None:
        kernel = np.ones((1, 1))
    if hasattr(kernel, "stamp"):
        return kernel  # type: ignore[return-value]
    return StampKernel(stamps=kernel, name="kernel array")


def as_psf(psf: PointSpreadFunction | ArrayLike | None) -> PointSpreadFunction | None:
    """Return a PSF as it is, or that of one stamp ``(ny, nx)``."""
    if psf is None or hasattr(psf, "stamp"):
        return psf  # type: ignore[return-value]
    return StampPsf(psf, name="preconvolution kernel")


def _with_known_scales(
    config: DecorrelationConfig, kernel: MatchingKernel, shape: tuple[int, int]
) -> DecorrelationConfig:
    """Return options with numbers for scales of ``1/k``.

    The kernel sum k is that at the image centre, as in LSST's differences.
    """
    inverse = [name for name in SCALES if getattr(config, name) == INVERSE_SUM]
    if not inverse:
        return config
    x, y = nearest_covered(kernel, (shape[1] - 1) / 2, (shape[0] - 1) / 2)
    total = kernel.sum(x, y)
    if total == 0:
        msg = f"{kernel.name}: the sum of the kernel is zero; it cannot have matched two images"
        raise KernelError(msg)
    known: dict[str, Any] = dict.fromkeys(inverse, 1.0 / total)
    return replace(config, **known)


def _convolved_at(
    places: NDArray[np.bool_], side: NoiseSide, stamps: NDArray[np.float64], origin: Origin
) -> NoiseSide:
    """Return a side, so far unconvolved, convolved with stamps ``(n, ky, kx)`` at some places."""
    if not places.any():
        return side
    if not places.all():
        delta = np.zeros(stamps.shape[1:])
        delta[origin[1], origin[0]] = 1.0
        stamps = np.where(places[:, np.newaxis, np.newaxis], stamps, delta)
    return replace(side, stamps=stamps, origin=origin)


def _with_noise(
    side: NoiseSide,
    levels: NDArray[np.float64],
    members: Sequence[Member],
    positions: NDArray[np.float64],
) -> NoiseSide:
    """Give a side of unit noise the levels ``(members, n)`` of the images that it is the sum of.

    A side without members has no noise.
    """
    if not members:
        return replace(side, level=np.zeros(len(side)))
    pairs = list(zip(levels, members, strict=True))
    parts = tuple(_member_noise(side, row, member, positions) for row, member in pairs)
    if len(parts) == 1:
        return parts[0]
    total = np.sum([row * member.weight**2 for row, member in pairs], axis=0)
    return replace(side, level=total, parts=parts)


def _member_noise(
    side: NoiseSide, levels: NDArray[np.float64], member: Member, positions: NDArray[np.float64]
) -> NoiseSide:
    """Return the noise of one image, through its own kernel and then that of the side."""
    stamps, origin = side.stamps, side.origin
    if member.kernel is not None:
        places = [nearest_covered(member.kernel, x, y) for x, y in positions.tolist()]
        own = np.array([member.kernel.stamp(x, y) for x, y in places])
        stamps, origin = convolve_stamps(own, member.kernel.origin, stamps, origin)
    return NoiseSide(levels, side.scale * member.weight, stamps, origin)
