"""A whole result file in one call."""

from diffdecor.core.planes import bands
from diffdecor.images.write import fitting_dtype, result_file


def write_result(path, exposure, *, extra=(), dtype="float32", **how):
    """Write an exposure in memory as a run writes its result."""
    variance = exposure.variance
    with result_file(
        path,
        exposure,
        dtype=dtype,
        variance_dtype=dtype if variance is None else fitting_dtype(variance, dtype),
        **how,
    ) as result:
        planes = (exposure.image, exposure.mask, variance)
        for plane, output in zip(planes, (result.image, result.mask, result.variance), strict=True):
            if plane is not None and output is not None:
                for rows in bands(plane.shape):
                    output[rows] = plane[rows]
        result.append(extra)
