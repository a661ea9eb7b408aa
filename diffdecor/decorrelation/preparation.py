"""A decorrelation whose pixels are computed when they are read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffdecor.config import DecorrelationConfig
from diffdecor.core.parallel import affordable_threads
from diffdecor.core.planes import (
    Count,
    LazyPlane,
    Plane,
    Progress,
    Target,
    Window,
    bands,
    copy_planes,
)
from diffdecor.decorrelation.cells import CellResult
from diffdecor.decorrelation.filtering import FilterGrid
from diffdecor.decorrelation.mask import inherited_mask
from diffdecor.decorrelation.measured_noise import NoiseReport
from diffdecor.decorrelation.psf import Detection
from diffdecor.decorrelation.subtraction import Subtraction
from diffdecor.images.model import Exposure

#: Memory of a thread per pixel of the band of rows it works on, roughly, bytes.
_BYTES = 64


@dataclass(frozen=True, eq=False, kw_only=True)
class Prepared:
    """Everything of a decorrelation but its pixels, which are computed when they are read."""

    subtraction: Subtraction
    #: The result.
    exposure: Exposure
    #: True where a pixel is unusable, and is filled before filtering.
    filled: Plane
    #: Rows that are best read together.
    bands: Sequence[slice]
    #: None if there is nothing to filter, and the difference stays as it is.
    filters: FilterGrid | None = None
    #: The pixels that every filter serves, in separate cells; none where they are interpolated.
    windows: Sequence[Window] = ()
    #: Number of places whose noise levels are not their own.
    fallbacks: int = 0
    #: Whether noise levels change faster than the filters follow.
    bounded: bool = False
    #: Which noise model was used, and why.
    noise: NoiseReport = field(default_factory=lambda: NoiseReport("white"))
    #: What the significance of point sources is measured with, where it is requested.
    detection: Detection | None = None
    #: The separate cells, where ``blend`` is ``none``.
    cells: tuple[CellResult, ...] = ()

    @property
    def config(self) -> DecorrelationConfig:
        """All options."""
        return self.subtraction.config

    @property
    def threads(self) -> int:
        """How many bands may be worked on at a time."""
        nx = self.exposure.shape[1]
        tallest = max(rows.stop - rows.start for rows in self.bands)
        threads = self.subtraction.threads
        return affordable_threads(threads, self.config.max_memory, _BYTES * tallest * nx)

    def into(
        self,
        image: Target,
        mask: Target | None,
        variance: Target | None,
        progress: Progress | None = None,
    ) -> int:
        """Compute all pixels into targets ``(ny, nx)``; return the number that were filled.

        None stands for a plane that the result does not have. `progress` is told of rows done.
        """
        filled, exposure = Count(), self.exposure
        planes = exposure.image, exposure.mask, exposure.variance, self.filled
        pairs = [
            (plane, target)
            for plane, target in zip(planes, (image, mask, variance, filled), strict=True)
            if plane is not None and target is not None
        ]
        copy_planes(pairs, self.bands, self.threads, progress)
        return filled.number


def leave_unchanged(subtraction: Subtraction) -> Prepared:
    """Return the difference as it is, flagged where it has no data."""
    difference, shape = subtraction.difference, subtraction.shape
    before, planes = inherited_mask(subtraction)
    planes = planes.adding("NO_DATA")

    def read(rows: slice) -> NDArray[np.integer[Any]]:
        mask = np.array(before[rows], dtype=planes.dtype)
        mask[~np.isfinite(difference.image[rows])] |= planes.value(["NO_DATA"])
        return mask

    return Prepared(
        subtraction=subtraction,
        exposure=replace(difference, mask=LazyPlane(shape, read), mask_planes=planes),
        filled=LazyPlane(shape, lambda rows: ~np.isfinite(difference.image[rows])),
        bands=bands(shape),
    )
