"""What the numerics take and give: planes, the names of mask planes, exposures.

A *plane* is anything two-dimensional with a shape that can be sliced by rows. A numpy array is one;
so is a part of a FITS file, or a plane made row by row from others. Shapes are ``(ny, nx)``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from diffdecor.core.given import refuse
from diffdecor.core.planes import LazyPlane, Plane, in_memory
from diffdecor.errors import InputError
from diffdecor.images.arrays import image_plane, mask_plane, split_masked, variance_plane

if TYPE_CHECKING:
    from diffdecor.psfs.model import PointSpreadFunction

#: Planes of a mask in one HDU of 32 bits (the sign is never used), and in memory, of 64 bits.
PLANES_PER_HDU, MOST_PLANES = 31, 62


def mapped(function: Callable[..., NDArray[Any]], *planes: Plane) -> LazyPlane:
    """Return the plane whose rows are made by a function of the same rows of other planes."""
    ny, nx = planes[0].shape
    return LazyPlane((ny, nx), lambda rows: function(*(plane[rows] for plane in planes)))


@dataclass(frozen=True)
class MaskPlanes:
    """The planes of a mask: which bit of a mask pixel carries which name.

    Parameters
    ----------
    bits : mapping of str to int
        Name of the plane to its bit *number*: plane ``n`` is set where ``mask & (1 << n)``. Masks
        with a plane beyond bit 30 have pixels of 64 bits.
    """

    bits: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the bit numbers."""
        for name, bit in self.bits.items():
            if isinstance(bit, bool) or int(bit) != bit or not 0 <= bit < MOST_PLANES:
                last = MOST_PLANES - 1
                msg = f"mask plane {name}: {bit!r} is not a bit number; it must be 0 to {last}"
                raise InputError(msg)

    def __contains__(self, name: object) -> bool:
        """Say whether there is a plane of this name."""
        return name in self.bits

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the pixels: int32 if all planes fit, else int64."""
        wide = max(self.bits.values(), default=0) >= PLANES_PER_HDU
        return np.dtype(np.int64 if wide else np.int32)

    def value(self, names: Iterable[str]) -> int:
        """Return the bit value that selects the planes ``names``; absent ones add nothing."""
        value = 0
        for name in names:
            if name in self.bits:
                value |= 1 << self.bits[name]
        return value

    def adding(self, *names: str) -> MaskPlanes:
        """Return these planes and ``names``, new ones on the lowest free bits.

        Raises
        ------
        InputError
            If no bit is free.
        """
        bits = dict(self.bits)
        free = (bit for bit in range(MOST_PLANES) if bit not in self.bits.values())
        for name in names:
            if name not in bits:
                bit = next(free, None)
                if bit is None:
                    msg = (
                        f"the mask has no free bit for the plane {name}: all {MOST_PLANES} are in "
                        "use"
                    )
                    raise InputError(msg)
                bits[name] = bit
        return MaskPlanes(bits)


def union_of_masks(
    masks: Sequence[tuple[Plane, MaskPlanes]], shape: tuple[int, int]
) -> tuple[LazyPlane, MaskPlanes]:
    """Return the union of masks of one shape, and its planes; planes of one name are one.

    Without any it is 0 everywhere.
    """
    planes = MaskPlanes()
    for _, own in masks:
        planes = planes.adding(*own.bits)
    bits = [
        (mask, [(1 << bit, planes.value([name])) for name, bit in own.bits.items()])
        for mask, own in masks
    ]

    def read(rows: slice) -> NDArray[np.integer[Any]]:
        total = np.zeros((rows.stop - rows.start, shape[1]), dtype=planes.dtype)
        for mask, pairs in bits:
            pixels = mask[rows]
            for own, value in pairs:
                where = (pixels & own) != 0
                if where.any():
                    np.bitwise_or(total, value, out=total, where=where)
        return total

    return LazyPlane(shape, read), planes


@dataclass(frozen=True, eq=False, kw_only=True)
class Exposure:
    """An image with what is known of its noise, its defects and its point-spread function.

    Shapes are checked here, once, and what Python programs give is made what is expected: lists and
    numbers of any real type are arrays of floats, masked pixels of image and variance have no data.
    Quantities, and whatever else would lose a part of its meaning, are refused. Nothing in
    diffdecor changes the arrays of an exposure.

    Parameters
    ----------
    image : plane (ny, nx)
        Pixel values, in any unit.
    variance : plane (ny, nx) or float, optional
        Variance of the noise of every pixel, in the image's unit squared. Pixels without data have
        infinite or NaN variance, never zero.
    mask : plane (ny, nx), optional
        Integer bit image; 0 is good. True is BAD; so is, without `mask_planes`, what is not 0.
    mask_planes : MaskPlanes or mapping of str to int
        Names of the bits of `mask`.
    psf : PointSpreadFunction or array (ny, nx), optional
        Point-spread function of the image: what `read_psf` returns, a `StampPsf`, or a stamp with
        the source on pixel ``(nx // 2, ny // 2)``.
    header : astropy.io.fits.Header, optional
        Cards of the image: WCS, unit, observation.
    name : str
        What error messages call this exposure: its file name, mostly.
    step : float
        Step in which the pixels were stored, image unit: of whole numbers, or of a compression
        with loss. 0 where they are floats as they were.

    Raises
    ------
    InputError
        If a plane is not two-dimensional, is empty, or has another shape than the image.

    Examples
    --------
    >>> import numpy as np
    >>> from diffdecor import Exposure
    >>> image = np.ones((50, 60), dtype="f4")
    >>> exposure = Exposure(image=image, variance=4.0, mask=image > 5)
    >>> exposure.shape, exposure.mask_planes
    ((50, 60), MaskPlanes(bits={'BAD': 0}))
    """

    image: Plane
    variance: Plane | None = None
    mask: Plane | None = None
    mask_planes: MaskPlanes = field(default_factory=MaskPlanes)
    psf: PointSpreadFunction | None = None
    header: Any = None
    name: str = "exposure"
    step: float = 0.0

    if TYPE_CHECKING:
        # More may be given than what is kept.
        def __init__(  # noqa: PLR0913  as many as it has fields
            self,
            *,
            image: Plane | ArrayLike,
            variance: Plane | ArrayLike | None = None,
            mask: Plane | ArrayLike | None = None,
            mask_planes: MaskPlanes | Mapping[str, int] = ...,
            psf: PointSpreadFunction | ArrayLike | None = None,
            header: Any = None,  # noqa: ANN401  astropy has no types
            name: str = "exposure",
            step: float = 0.0,
        ) -> None: ...

    def __post_init__(self) -> None:
        """Make planes of what is given, and check the shapes."""
        self._make_planes()
        shape = tuple(self.image.shape)
        if len(shape) != 2 or 0 in shape:
            msg = (
                f"{self.name}: the image has shape {shape}; it must have two axes and be non-empty"
            )
            raise InputError(msg)
        for what, plane in (("variance", self.variance), ("mask", self.mask)):
            if plane is not None and tuple(plane.shape) != shape:
                msg = (
                    f"{self.name}: the {what} plane has shape {tuple(plane.shape)} but the image "
                    f"{shape} (ny, nx); give planes of the same image"
                )
                raise InputError(msg)

    def _make_planes(self) -> None:
        """Replace what is given by what the numerics expect."""
        given, without_data = split_masked(self.image)
        image = image_plane(given, self.name)
        variance, mask = self.variance, self.mask
        planes: Any = self.mask_planes
        if not isinstance(planes, MaskPlanes):
            if not isinstance(planes, Mapping):
                refuse(self.name, "mask_planes", "are not a mapping of names to bit numbers")
            planes = MaskPlanes(dict(planes))
        if variance is not None and len(image.shape) == 2:
            given, infinite = split_masked(variance)
            variance = variance_plane(given, image.shape, self.name)
            if infinite is not None:
                variance = np.where(infinite, np.inf, np.asarray(variance))
        if mask is not None:
            mask, bits = mask_plane(mask, dict(planes.bits), self.name)
            planes = planes if bits == planes.bits else MaskPlanes(bits)
        if without_data is not None and without_data.any():
            planes = planes.adding("NO_DATA")
            flags = without_data.astype(np.int32) << np.int32(planes.bits["NO_DATA"])
            if mask is not None and tuple(mask.shape) == flags.shape:
                flags = np.asarray(mask[0 : len(flags)]) | flags
            mask = flags
        new = {"image": image, "variance": variance, "mask": mask, "mask_planes": planes}
        for name, value in (new | {"psf": self._psf()}).items():
            object.__setattr__(self, name, value)

    def _psf(self) -> PointSpreadFunction | None:
        """Return the PSF, which may be given as an array."""
        if self.psf is None or hasattr(self.psf, "stamp"):
            return self.psf
        from diffdecor.psfs.model import StampPsf

        return StampPsf(self.psf, name=f"PSF of {self.name}")  # type: ignore[arg-type]

    @property
    def shape(self) -> tuple[int, int]:
        """Shape ``(ny, nx)`` of every plane."""
        ny, nx = self.image.shape
        return ny, nx

    @staticmethod
    def from_ccddata(
        data: Any,  # noqa: ANN401  astropy has no types
        *,
        psf: PointSpreadFunction | ArrayLike | None = None,
        mask_planes: MaskPlanes | Mapping[str, int] | None = None,
        name: str = "exposure",
    ) -> ArrayExposure:
        """Return a CCDData, or another NDData, as an exposure.

        Parameters
        ----------
        data : astropy.nddata.NDData
            Image with an uncertainty that is a sigma, a variance or an inverse variance; unit,
            mask, flags, WCS, meta and PSF are used, too. Nothing of it is changed; arrays are
            shared where they are what is needed.
        psf : PointSpreadFunction or array (ny, nx), optional
            Point-spread function, instead of that of the data.
        mask_planes : MaskPlanes or mapping of str to int, optional
            Names of the bits of its flags, or of its mask if that has bits. Without it cards
            ``MP_<NAME>`` of its header name the flags, and what is masked is BAD.
        name : str
            What error messages call it.

        Returns
        -------
        ArrayExposure
            An `Exposure` whose planes are arrays. The WCS is in its header, and so is the unit.

        Raises
        ------
        InputError
            If the uncertainty is of another class, or its unit does not go with that of the image;
            if flags have no names; or for what `Exposure` refuses.

        Examples
        --------
        >>> import numpy as np
        >>> from astropy.nddata import CCDData, StdDevUncertainty
        >>> from diffdecor import Exposure
        >>> sigma = StdDevUncertainty(np.full((4, 5), 3.0))
        >>> exposure = Exposure.from_ccddata(CCDData(np.ones((4, 5)), sigma, unit="adu"))
        >>> float(exposure.variance[0, 0]), exposure.header["BUNIT"]
        (9.0, 'adu')
        """
        from diffdecor.images.ccddata import exposure_of

        return exposure_of(data, psf, mask_planes, name)

    def to_ccddata(
        self,
        *,
        unit: Any = None,  # noqa: ANN401
        mask_planes: Collection[str] | None = None,
    ) -> Any:  # noqa: ANN401
        """Return the exposure as a CCDData, from which `from_ccddata` makes the same one.

        Parameters
        ----------
        unit : str or astropy.units.Unit, optional
            Unit of the image; by default that of its header (BUNIT).
        mask_planes : collection of str, optional
            Planes of the mask whose pixels are masked; by default SAT, CR, BAD, NO_DATA, EDGE and
            NEAR_FILLED. All planes are in the `flags`, named by cards ``MP_<NAME>``.

        Returns
        -------
        astropy.nddata.CCDData
            Its uncertainty is a VarianceUncertainty, its PSF that of the middle of the image.

        Raises
        ------
        InputError
            If there is no unit.

        Examples
        --------
        >>> import numpy as np
        >>> from diffdecor import Exposure
        >>> exposure = Exposure(image=np.ones((4, 5)), variance=np.full((4, 5), 9.0))
        >>> data = exposure.to_ccddata(unit="electron")
        >>> data.uncertainty.unit
        Unit("electron2")
        """
        from diffdecor.images.ccddata import ccddata_of

        return ccddata_of(self, unit, mask_planes)


class ArrayExposure(Exposure):
    """An exposure whose planes are arrays in memory."""

    image: NDArray[np.floating[Any]]
    variance: NDArray[np.floating[Any]] | None
    mask: NDArray[np.integer[Any]] | None

    @classmethod
    def of(cls, exposure: Exposure) -> ArrayExposure:
        """Return an exposure with all its planes read into memory."""
        values = {item.name: getattr(exposure, item.name) for item in fields(exposure)}
        for name in ("image", "variance", "mask"):
            if values[name] is not None:
                values[name] = np.asarray(in_memory(values[name]))
        return cls(**values)
