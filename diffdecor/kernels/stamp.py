"""A plain two-dimensional image as a kernel that holds everywhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from astropy.io import fits

from diffdecor.errors import KernelError
from diffdecor.fits.open import image_shape, read_pixels
from diffdecor.kernels.model import Side, StampKernel
from diffdecor.kernels.registry import KernelOptions, register
from diffdecor.kernels.source import Source, scale_card, side_of

LARGEST_SIDE = 1001
_OF_EXPOSURES = {"MASK", "VARIANCE", "VAR", "WEIGHT", "WHT", "ERR", "DQ", "UNCERT"}
_ZERO_SUM = 1e-9  # of the sum of absolute values: far above rounding, far below any flux ratio


@register(
    "stamp",
    description="a 2-D image (cards CTRX, CTRY, CONVSIDE, SSCALE, TSCALE, KERSENSE)",
    fallback=True,
)
class StampReader:
    """Reads a bare kernel image."""

    @staticmethod
    def identify(hdus: Sequence[Any]) -> bool:
        """Say whether there is any image; only asked when nothing else claims the file."""
        return any(image_shape(hdu) for hdu in hdus)

    @staticmethod
    def read(source: Source, options: KernelOptions) -> StampKernel:
        """Read the first two-dimensional image, or the HDU that was named.

        Parameters
        ----------
        source : Source
            The opened file.
        options : KernelOptions
            Origin, sense, side and scales go before those of the cards.

        Returns
        -------
        StampKernel
            Not normalised; its origin is pixel ``n // 2`` unless card or option say otherwise.

        Raises
        ------
        KernelError
            If this is no kernel: other than two axes, an exposure, NaN pixels, zero sum.
        """
        hdu = _choose(source)
        stamp = read_pixels(hdu, source.name).astype(np.float64)
        _check_pixels(source.name, stamp)
        cx, cy = options.center or _center_cards(source.name, hdu.header, stamp.shape)
        if _is_correlation(source.name, hdu.header, options):
            ky, kx = stamp.shape
            stamp, cx, cy = stamp[::-1, ::-1].copy(), kx - 1 - cx, ky - 1 - cy
        return StampKernel(
            stamps=stamp[np.newaxis],
            origin=(int(cx), int(cy)),
            convolved=options.convolved or _side_card(source.name, hdu.header),
            science_scale=scale_card(source.name, hdu.header, "SSCALE"),
            template_scale=scale_card(source.name, hdu.header, "TSCALE"),
            name=source.name,
            format="stamp",
        )


def _choose(source: Source) -> Any:  # noqa: ANN401  astropy has no types
    """Return the HDU of the stamp."""
    candidates = source.candidates
    exposure = sorted(_OF_EXPOSURES & {hdu.name.upper() for hdu in candidates})
    if exposure:
        msg = (
            f"{source.name}: the HDU {exposure[0]} is part of an exposure, not a kernel; "
            "name the kernel's HDU as file.fits[EXT]"
        )
        raise KernelError(msg)
    hdu = next((hdu for hdu in candidates if len(image_shape(hdu)) == 2), None)
    if hdu is None:
        shapes = ", ".join(str(image_shape(hdu)) for hdu in candidates if image_shape(hdu))
        msg = f"{source.name}: an image of shape {shapes}, but a kernel stamp has two axes"
        raise KernelError(msg)
    ky, kx = image_shape(hdu)
    if max(ky, kx) > LARGEST_SIDE:
        msg = (
            f"{source.name}: {kx} x {ky} pixels are an image, not a kernel; "
            "give the kernel's own file or HDU"
        )
        raise KernelError(msg)
    return hdu


def _check_pixels(name: str, stamp: np.ndarray[Any, np.dtype[np.float64]]) -> None:
    if not np.isfinite(stamp).all():
        msg = f"{name}: a kernel pixel is NaN or infinite; make the kernel anew"
        raise KernelError(msg)
    if abs(stamp.sum()) <= _ZERO_SUM * np.abs(stamp).sum():
        msg = f"{name}: the kernel sums to zero, so it would remove all flux; make it anew"
        raise KernelError(msg)


def _center_cards(name: str, header: fits.Header, shape: tuple[int, ...]) -> tuple[int, int]:
    """Return the 0-based origin that the cards give, or the middle."""
    ky, kx = shape
    values = header.get("CTRX", kx // 2 + 1), header.get("CTRY", ky // 2 + 1)
    if not all(type(v) in (int, float) and v == np.floor(v) for v in values):
        msg = f"{name}: CTRX, CTRY = {values} are no 1-based pixel; correct the cards"
        raise KernelError(msg)
    return int(values[0]) - 1, int(values[1]) - 1


def _is_correlation(name: str, header: fits.Header, options: KernelOptions) -> bool:
    sense = options.sense or str(header.get("KERSENSE", "convolution")).strip().lower()
    if sense not in ("convolution", "correlation"):
        msg = f"{name}: KERSENSE = {sense!r}; expected CONVOLUTION or CORRELATION"
        raise KernelError(msg)
    return sense == "correlation"


def _side_card(name: str, header: fits.Header) -> Side | None:
    value = header.get("CONVSIDE")
    return None if value is None else side_of(name, "CONVSIDE", value)
