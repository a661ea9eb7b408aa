"""Triples whose kernel is to be found from the images: made apart from the package, by scipy.

Stars of one Moffat profile with Poisson and read noise, in float32 as in files; the difference is
computed of these very pixels in double precision, with a kernel of every kind that tools make.
"""

import itertools
from dataclasses import dataclass, field, replace

import numpy as np
from helpers.simulate import moffat_profile, render
from helpers.warped import WARPED, warped
from scipy.interpolate import BSpline
from scipy.signal import fftconvolve

from diffdecor import DecorrelationConfig, Exposure, MaskPlanes
from diffdecor.core.spatial import Term
from diffdecor.decorrelation.subtraction import Subtraction, as_kernel
from diffdecor.kernels.model import BasisKernel, Blocks, Box, KernelArea, Region

ROLES = ("science", "template", "difference")
GAIN, READ_NOISE, SKY = 1.5, 5.0, 300.0
#: Variance of the science image's sky.
SKY_VARIANCE = SKY / GAIN + READ_NOISE**2
#: Pixels to a star.
AREA = 1800
BAD = MaskPlanes({"BAD": 0})
#: Sizes of the parts of a kernel relative to the largest of them.
PARTS = np.array([1.0, 0.5, 0.15, -0.12, 0.08, 1.0])


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What a triple is like.

    `family` is POLY, BSPLINE (cubic, two intervals) or ODD (quadratic, of unequal intervals);
    `depth` is how much smaller the template's noise variance is, at the same flux scale; `total`
    the sum of the kernel; `scale` the factor of both images, 1/total where it is None.
    """

    seed: int = 0
    shape: tuple = (260, 300)
    size: int = 15
    order: int = 1
    family: str = "POLY"
    total: float = 1.0
    shift: tuple = (0.0, 0.0)
    sides: tuple = ("template",)
    scale: float | None = 1.0
    in_blocks: bool = False
    regions: tuple = (1, 1)
    background: int = 1
    steps: float = 0.0
    depth: float = 3.0
    warp: bool = False
    rough: float = 0.02
    border: str = "cut"

    @property
    def margin(self):
        """Pixels around the images that are cut off."""
        return self.size // 2 + 2 if self.border == "cut" else 0

    @property
    def wide(self):
        return tuple(length + 2 * self.margin for length in self.shape)


@dataclass(frozen=True, eq=False, kw_only=True)
class Triple:
    """A triple, all planes arrays, and the kernel that it was made with."""

    science: np.ndarray
    template: np.ndarray
    difference: np.ndarray
    variances: tuple
    kernel: BasisKernel
    masks: dict = field(default_factory=dict)

    @property
    def areas(self):
        """What the headers of a tool may tell."""
        return tuple(KernelArea(one.box, one.blocks) for one in self.kernel.regions)

    @property
    def exposures(self):
        variances = dict(zip(ROLES, (*self.variances, None), strict=True))
        return tuple(
            Exposure(
                image=getattr(self, role),
                variance=variances[role],
                mask=None if role not in self.masks else self.masks[role].astype(np.int32),
                mask_planes=BAD if role in self.masks else MaskPlanes(),
                name=f"{role}.fits",
            )
            for role in ROLES
        )

    def subtraction(self, **options):
        """Without a kernel, as the fit gets it."""
        config = DecorrelationConfig(**options)
        return Subtraction(*self.exposures, as_kernel(None), config=config)

    @property
    def sigma(self):
        """Noise of the difference, roughly: its central half about the level of blocks."""
        side = 20
        ny, nx = (length // side for length in self.difference.shape)
        blocks = self.difference[: ny * side, : nx * side].astype(float)
        blocks = blocks.reshape(ny, side, nx, side).swapaxes(1, 2).reshape(ny * nx, -1)
        blocks = blocks[np.isfinite(blocks).all(axis=1)]
        values = blocks - np.median(blocks, axis=1)[:, np.newaxis]
        return float(np.subtract(*np.percentile(values, [75, 25])) / 1.349)


def simulate(scene=None, **changes):
    """Make the triple of a scene; `changes` of its fields."""
    scene = replace(scene or Scene(), **changes)
    kernel, (stars, noise) = true_kernel(scene), random(scene, 2)
    light = starlight(scene, stars, 3.0)
    convolved = scene.sides[0]
    ratio = 1.0
    if len(set(scene.sides)) == 1:
        other = matched(kernel, light)
        if convolved == "science":  # the sharper image is the science image; levels stay
            ratio = scene.total
    else:
        other = starlight(scene, np.random.default_rng([scene.seed, 7]), 4.0)
    lights = (other, light) if convolved == "template" else (light, other)
    flux = scene.total if convolved == "template" else 1 / ratio
    levels = SKY_VARIANCE, SKY_VARIANCE / (scene.depth * flux**2)
    images, variances = [], []
    for number, (one, level) in enumerate(zip(lights, levels, strict=True)):
        variance = level * (1 + np.maximum(one, 0) / SKY * (1 if number == 0 else flux))
        draw = noise.normal(size=scene.wide)
        if scene.warp and number == 1:
            draw = warped(draw) / np.sqrt(WARPED)
        pixels = one + SKY * (1 if number == 0 else 0.6) + np.sqrt(variance) * draw
        images.append(pixels.astype(np.float32))
        variances.append(variance)
    difference = subtracted(kernel, *images) + steps(scene)
    inner = np.s_[scene.margin : -scene.margin or None, scene.margin : -scene.margin or None]
    if scene.margin:
        kernel = replace(kernel.moved(scene.margin, scene.margin), image_shape=scene.shape)
    science, template, difference, *variances = (
        plane[inner] for plane in (*images, difference.astype(np.float32), *variances)
    )
    return Triple(
        science=science,
        template=template,
        difference=difference,
        variances=tuple(variances),
        kernel=kernel,
    )


def random(scene, number):
    """Independent generators of random numbers."""
    return [np.random.default_rng([scene.seed, n]) for n in range(number)]


def starlight(scene, stars, fwhm):
    """Light of stars whose numbers follow a power law of flux."""
    ny, nx = scene.wide
    number = max(12, ny * nx // AREA)
    x, y = stars.uniform(0, nx - 1, number), stars.uniform(0, ny - 1, number)
    flux = 2e3 * stars.pareto(0.9, number).clip(0, 150)
    return render(moffat_profile(fwhm, 3.5), list(zip(x, y, flux, strict=True)), scene.wide)


def steps(scene):
    """Levels of the amplifiers: steps in the difference, `scene.steps` sigma high."""
    ny, nx = scene.wide
    level = np.zeros(scene.wide)
    level[:, nx // 2 :] += scene.steps
    level[ny // 3 :] -= 0.7 * scene.steps
    return level * np.sqrt(SKY_VARIANCE)


# The kernel


def true_kernel(scene):
    """A kernel of the scene's kind on the wide image."""
    draw = np.random.default_rng([scene.seed, 99])
    basis = basis_images(scene, draw)
    terms = spatial_terms(scene)
    background = tuple(polynomials(scene.background))
    boxes = grid_of_boxes(scene)
    sides = itertools.cycle(scene.sides)
    half = scene.size // 2
    regions = []
    for box, side in zip(boxes, sides, strict=False):
        spans = (box.xmax - box.xmin + 1) / 2, (box.ymax - box.ymin + 1) / 2
        total = scene.total * (1 + 0.02 * draw.normal() * (len(boxes) > 1))
        scale = 1 / total if scene.scale is None else scene.scale
        blocks = Blocks(box.xmin, box.ymin, scene.size, half) if scene.in_blocks else None
        regions.append(
            Region(
                box=box,
                side=side,
                science_scale=scale,
                template_scale=scale,
                x0=box.xmin + spans[0],
                xs=spans[0],
                y0=box.ymin + spans[1],
                ys=spans[1],
                coefficients=total * coefficients(scene, terms, draw),
                background=15 * draw.normal(size=len(background)) * scale,
                blocks=blocks,
            )
        )
    return BasisKernel(
        basis=basis,
        origin=(half, half),
        terms=terms,
        regions=tuple(regions),
        background_terms=background,
        image_shape=scene.wide,
        boundary="WRAP" if scene.border == "wrap" else "VALID",
        name="true kernel",
    )


def basis_images(scene, draw):
    """A Gaussian, a broader one less it, odd parts and roughness; only the first has a sum."""
    half = scene.size // 2
    y, x = np.indices((scene.size, scene.size), dtype=float) - half
    x, y = x - scene.shift[0], y - scene.shift[1]
    narrow, wide = scene.size / 13, scene.size / 7.5
    core = np.exp(-(x**2 + (y / 0.85) ** 2 + 0.3 * x * y) / (2 * narrow**2))
    halo = np.exp(-((x / 1.1) ** 2 + y**2) / (2 * wide**2))
    rough = halo * draw.normal(size=halo.shape)
    rough *= scene.rough * (core / core.sum()).max() / np.abs(rough).max()
    core, halo = core / core.sum(), halo / halo.sum()
    odd = [core * x / narrow, core * y / narrow, core * x * y / narrow**2]
    others = [halo - core, *odd, rough]
    return np.array([core, *(one - one.sum() * core for one in others)])


def polynomials(order):
    return (Term("POLY", i, j) for i in range(order + 1) for j in range(order + 1 - i))


def spatial_terms(scene):
    if scene.family == "POLY":
        return tuple(polynomials(scene.order))
    degree, inner = (3, [0.0]) if scene.family == "BSPLINE" else (2, [-0.3, 0.35])
    knots = np.r_[[-1.0] * (degree + 1), inner, [1.0] * (degree + 1)]
    number = range(len(knots) - degree - 1)
    return tuple(
        Term("BSPLINE", i, j, degree, (knots, knots)) for i, j in itertools.product(number, number)
    )


def coefficients(scene, terms, draw):
    """Coefficients ``(nbasis, nterm)`` of a kernel with a sum of about 1."""
    vary = 0.25 * draw.normal(size=(len(PARTS), len(terms)))
    vary[0] *= 0.1
    if scene.family == "POLY":
        vary[:, 0] = 1.0
        return PARTS[:, np.newaxis] * vary
    return PARTS[:, np.newaxis] * (1 + vary)


def grid_of_boxes(scene):
    """Boxes of regions in rows, which share no pixel."""
    (ny, nx), (in_x, in_y) = scene.wide, scene.regions
    columns, rows = (
        np.linspace(0, length, number + 1).astype(int)
        for length, number in ((nx, in_x), (ny, in_y))
    )
    return [
        Box(int(x0), int(x1) - 1, int(y0), int(y1) - 1)
        for y0, y1 in itertools.pairwise(rows)
        for x0, x1 in itertools.pairwise(columns)
    ]


# The difference, by its definition


def values(term, u, v):
    """A term on a grid of scaled positions ``(len(v), len(u))``."""
    if term.family == "POLY":
        return np.outer(v**term.j, u**term.i)
    along = [
        BSpline.basis_element(knots[n : n + term.degree + 2], extrapolate=False)(where)
        for knots, n, where in zip(term.knots, (term.i, term.j), (u, v), strict=True)
    ]
    return np.outer(np.nan_to_num(along[1]), np.nan_to_num(along[0]))


def positions(region, shape, *, snapped):
    """Scaled positions of all columns and rows, where the kernel is evaluated."""
    x, y = np.arange(shape[1], dtype=float), np.arange(shape[0], dtype=float)
    blocks = region.blocks
    if snapped and blocks is not None:
        x, y = (
            start + blocks.step * np.floor((p - start) / blocks.step) + blocks.offset
            for p, start in ((x, blocks.start_x), (y, blocks.start_y))
        )
    return (x - region.x0) / region.xs, (y - region.y0) / region.ys


def matched(kernel, image, region=None):
    """Convolve an image with the kernel of its regions, or of one everywhere."""
    if region is None:
        total = np.zeros(image.shape)
        for one in kernel.regions:
            part = inside(one.box)
            total[part] = matched(kernel, image, one)[part]
        return total
    stamps = np.tensordot(region.coefficients.T, kernel.basis, axes=1)
    half = kernel.shape[0] // 2
    mode = "wrap" if kernel.boundary == "WRAP" else "constant"
    grown = np.pad(np.asarray(image, float), half, mode=mode)
    total = np.zeros(image.shape)
    u, v = positions(region, image.shape, snapped=True)
    for term, stamp in zip(kernel.terms, stamps, strict=True):
        total += values(term, u, v) * fftconvolve(grown, stamp, mode="valid")
    return total


def inside(box):
    return np.s_[max(0, box.ymin) : box.ymax + 1, max(0, box.xmin) : box.xmax + 1]


def subtracted(kernel, science, template):
    """The difference of two images."""
    total = np.zeros(science.shape)
    for region in kernel.regions:
        images = [np.asarray(science, float), np.asarray(template, float)]
        which = 0 if region.side == "science" else 1
        images[which] = matched(kernel, images[which], region)
        one = region.science_scale * images[0] - region.template_scale * images[1]
        u, v = positions(region, science.shape, snapped=False)
        for term, factor in zip(kernel.background_terms, region.background, strict=True):
            one += factor * values(term, u, v)
        total[inside(region.box)] = one[inside(region.box)]
    return total
