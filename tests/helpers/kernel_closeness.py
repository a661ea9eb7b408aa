"""How close a kernel that was found is to the true one: its stamps, and what it makes of D."""

import itertools
from dataclasses import replace

import numpy as np

from diffdecor import DecorrelationConfig, decorrelate


def places(kernel, shape, number=4, border=0.03):
    """Positions of a grid where the true kernel is to be compared: of blocks their middles."""
    grid = (np.linspace(border * n, (1 - border) * (n - 1), number) for n in shape)
    for y, x in itertools.product(*grid):
        region = next((one for one in reversed(regions(kernel)) if one.box.covers(x, y)), None)
        if region is None and regions(kernel):
            continue
        if region is None or region.blocks is None:
            yield float(x), float(y)
            continue
        place = (float(p[0]) for p in region.blocks.snapped(np.array([x]), np.array([y])))
        x0, y0 = place
        if region.box.covers(x0, y0):
            yield x0, y0


def regions(kernel):
    return getattr(kernel, "regions", ())


def stamp_of(kernel, x, y):
    """The kernel of the output pixel ``(x, y)`` times its image's scale.

    Of a kernel that was evaluated at the source pixel: ``K_out(u; x) = K_src(u; x - u)``.
    """
    scale = kernel.scales(x, y)[0 if side_of(kernel, x, y) == "science" else 1]
    if getattr(kernel, "evaluated_at", "OUTPUT") == "OUTPUT":
        return scale * kernel.stamp(x, y)
    (ky, kx), (cx, cy) = kernel.shape, kernel.origin
    stamp, region = np.zeros((ky, kx)), kernel.region(x, y)
    u = (x - (np.arange(kx) - cx) - region.x0) / region.xs
    v = (y - (np.arange(ky) - cy) - region.y0) / region.ys
    by_term = np.tensordot(region.coefficients.T, kernel.basis, axes=1)
    for term, image in zip(kernel.terms, by_term, strict=True):
        stamp += image * term.grid(u, v)
    return scale * stamp


def side_of(kernel, x, y):
    return kernel.side(x, y) or "template"


def on_canvas(stamp, origin, reach):
    """The stamp in the middle of a square that holds its origin in the middle."""
    wide = np.zeros((2 * reach + 1,) * 2)
    (ky, kx), (cx, cy) = stamp.shape, origin
    wide[reach - cy : reach - cy + ky, reach - cx : reach - cx + kx] = stamp
    return wide


def stamp_error(found, true, shape, number=4):
    """Largest error of a pixel of the kernel, in units of its peak, over the field."""
    reach = max(*found.shape, *true.shape)
    worst = 0.0
    for x, y in places(true, shape, number):
        one, two = (
            on_canvas(stamp_of(kernel, x, y), kernel.origin, reach) for kernel in (found, true)
        )
        worst = max(worst, np.abs(one - two).max() / np.abs(two).max())
    return worst


def scale_error(found, true, shape):
    """Largest relative error of the scale of the image that was not convolved."""
    worst = 0.0
    for x, y in places(true, shape):
        which = 1 if side_of(true, x, y) == "science" else 0
        one, two = (kernel.scales(x, y)[which] for kernel in (found, true))
        worst = max(worst, abs(one / two - 1))
    return worst


def sides_agree(found, true, shape):
    return all(side_of(found, x, y) == side_of(true, x, y) for x, y in places(true, shape))


def middle_of(exposures, kernels, side):
    """The middle of a triple, where regions meet, and what kernels are there.

    A result takes seconds, and as long again for every node of the grid that it needs.
    """
    y0, x0 = (max(0, (length - side) // 2) for length in exposures[2].shape)
    part = np.s_[y0 : y0 + side, x0 : x0 + side]

    def cut(plane):
        return None if plane is None else np.array(plane[part[0]][:, part[1]])

    middles = [
        replace(one, image=cut(one.image), variance=cut(one.variance), mask=cut(one.mask))
        for one in exposures
    ]
    return middles, [kernel.moved(x0, y0) for kernel in kernels]


def result_error(exposures, found, true, *, side=None, **options):
    """Rms of the difference of both results, in sigma, and the share of pixels that have both.

    Of the whole image, or of so many pixels along a side in its middle.
    """
    if side:
        exposures, (found, true) = middle_of(exposures, (found, true), side)
    config = DecorrelationConfig(**({"noise_model": "white"} | options))
    results = [decorrelate(*exposures, kernel, config=config).exposure for kernel in (found, true)]
    images = [np.asarray(one.image, float) for one in results]
    both = np.isfinite(images[0]) & np.isfinite(images[1])
    sigma = np.sqrt(np.nanmedian(np.asarray(results[1].variance, float)[both]))
    off = (images[0] - images[1])[both] / sigma
    return float(np.sqrt(np.mean(off**2))), both.sum() / np.isfinite(images[1]).sum()


def assert_recovered(fit, triple, *, stamps=1e-4, scales=1e-5, result=0.01):
    """The kernel that was found is the true one."""
    shape = triple.difference.shape
    assert sides_agree(fit.kernel, triple.kernel, shape)
    assert scale_error(fit.kernel, triple.kernel, shape) < scales
    assert stamp_error(fit.kernel, triple.kernel, shape) < stamps
    rms, share = result_error(triple.exposures, fit.kernel, triple.kernel)
    assert rms < result
    assert share > 0.999
