"""What happens to triples on their way through files: nothing of it hides the kernel."""

from dataclasses import replace
from functools import partial

import numpy as np
from helpers.kernel_scenes import ROLES, subtracted


def of(triple, **planes):
    return replace(triple, **planes)


def blobs(shape, share, random):
    """Discs of pixels, about a share of all."""
    bad = np.zeros(shape, dtype=bool)
    y, x = np.indices(shape)
    while bad.mean() < share:
        (x0, y0), radius = random.uniform(0, shape[::-1]), random.uniform(3, 14)
        bad |= np.hypot(x - x0, y - y0) < radius
    return bad


def columns(shape, share, random):
    bad = np.zeros(shape, dtype=bool)
    bad[:, random.random(shape[1]) < share] = True
    return bad


def scattered(shape, share, random):
    return random.random(shape) < share


def masked(triple, random, shape_of, share=0.3, role="difference"):
    """Wild pixels in the difference, and a mask that tells of them."""
    bad = shape_of(triple.difference.shape, share, random)
    wild = np.where(bad, 1e4 * random.normal(size=bad.shape), triple.difference)
    return of(triple, difference=wild.astype(np.float32), masks={role: bad})


def untold(triple, random, value, share=0.05):
    """Blobs of one value in the difference that no mask tells of."""
    bad = blobs(triple.difference.shape, share, random)
    return of(triple, difference=np.where(bad, np.float32(value), triple.difference))


def missing(triple, random, roles):
    """NaN in some pixels of these files only."""
    changed = {}
    for role in roles:
        bad = blobs(triple.difference.shape, 0.02, random)
        bad |= scattered(bad.shape, 0.002, random)
        changed[role] = np.where(bad, np.float32(np.nan), getattr(triple, role))
    return of(triple, **changed)


def saturated(triple, _random):
    """Images cut off at a level, before the difference was made; a mask tells of these pixels."""
    level = np.percentile(triple.science, 99.5), np.percentile(triple.template, 99.5)
    images = [np.minimum(one, top) for one, top in zip(pair(triple), level, strict=True)]
    bad = (images[0] >= level[0]) | (images[1] >= level[1])
    difference = subtracted(triple.kernel, *images)
    inner = interior(triple)
    planes = dict(zip(ROLES, images, strict=False))
    cut = {role: plane[inner].astype(np.float32) for role, plane in planes.items()}
    return reduced(
        triple, inner, **cut, difference=difference[inner], masks={"science": bad[inner]}
    )


def interior(triple):
    """Where a difference that is made anew of the cut-out is complete."""
    half = triple.kernel.shape[0] // 2
    return np.s_[half:-half, half:-half]


def reduced(triple, inner, **planes):
    """A smaller triple."""
    x, y = inner[1].start, inner[0].start
    planes["difference"] = planes["difference"].astype(np.float32)
    variances = tuple(one[inner] for one in triple.variances)
    return of(triple, **planes, variances=variances, kernel=triple.kernel.moved(x, y))


def pair(triple):
    return triple.science, triple.template


def quantised(triple, random, share):
    """Compressed with loss: steps of a share of sigma, and a dither that is taken off again."""
    step, dither = triple.sigma * share, random.uniform(-0.5, 0.5, triple.difference.shape)
    lossy = (np.round(triple.difference / step + dither) - dither) * step
    return of(triple, difference=lossy.astype(np.float32))


def whole_numbers(triple, _random):
    """Rounded to 16 bits, without a factor."""
    return of(triple, difference=np.round(triple.difference).clip(-32768, 32767).astype(np.float32))


def clipped(triple, _random, least=-3, most=4):
    """Values beyond a range, counted from the level of the sky, are its limits."""
    limits = np.nanmedian(triple.difference) + triple.sigma * np.array([least, most])
    return of(triple, difference=triple.difference.clip(*limits.astype(np.float32)))


def in_double(triple, _random):
    """The difference as it was before it was written in single precision, and its images."""
    difference = subtracted(triple.kernel, *pair(triple))
    inner = interior(triple)
    images = {role: one[inner] for role, one in zip(ROLES, pair(triple), strict=False)}
    made = reduced(triple, inner, **images, difference=difference[inner])
    return of(made, difference=difference[inner])


def of_other_images(triple, random, change):
    """A difference of images that are slightly other than those that are given."""
    images = change(*(one.astype(float) for one in pair(triple)), triple, random)
    difference = subtracted(triple.kernel, *images)
    inner = interior(triple)
    given = {role: one[inner] for role, one in zip(ROLES, pair(triple), strict=False)}
    return reduced(triple, inner, **given, difference=difference[inner])


def other_rounding(science, template, _triple, random):
    """Single precision, once more: every pixel off by half a unit in its last place."""
    last = np.spacing(science.astype(np.float32)).astype(float)
    return science + last * random.uniform(-0.5, 0.5, science.shape), template


def other_sky(science, template, triple, _random):
    """A tenth of sigma of sky, sloping."""
    return science - 0.1 * triple.sigma * np.linspace(0.8, 1.2, science.shape[1]), template


def other_gain(science, template, _triple, _random):
    return 1.001 * science, template


def other_flat(science, template, _triple, random):
    """A flat field that is otherwise by 0.1 per cent in every pixel."""
    return science * random.normal(1, 0.001, science.shape), template


def other_cosmics(science, template, triple, random):
    """Cosmic rays that were removed from the images that are given, and not from the others."""
    hit = random.random(science.shape) < 5e-4
    return np.where(hit, science + 60 * triple.sigma, science), template


def shifted_template(science, template, _triple, _random):
    """A template that was moved by a part of a pixel: a kernel of its own, of 2 x 2 pixels."""
    along_x = 0.7 * template + 0.3 * np.roll(template, 1, axis=1)
    return science, 0.8 * along_x + 0.2 * np.roll(along_x, 1, axis=0)


#: Kinds of damage after which the kernel is found as before.
HARMLESS = {
    "masked blobs": partial(masked, shape_of=blobs),
    "masked columns": partial(masked, shape_of=columns),
    "masked pixels": partial(masked, shape_of=scattered),
    "masked in the template": partial(masked, shape_of=blobs, role="template"),
    "blobs of 1e-30": partial(untold, value=1e-30),
    "blobs of 0": partial(untold, value=0.0),
    "blobs of -9999": partial(untold, value=-9999.0),
    "NaN in the science image": partial(missing, roles=("science",)),
    "NaN in the template": partial(missing, roles=("template",)),
    "NaN in the difference": partial(missing, roles=("difference",)),
    "NaN everywhere": partial(missing, roles=ROLES),
    "saturated": saturated,
    "double precision": in_double,
    "clipped": clipped,
    "other rounding": partial(of_other_images, change=other_rounding),
    "other sky": partial(of_other_images, change=other_sky),
    "other cosmic rays": partial(of_other_images, change=other_cosmics),
}
#: Kinds that leave noise: how large its rms is, in sigma of the difference.
NOISY = {
    "16 bits": (whole_numbers, lambda t: 12**-0.5 / t.sigma),
    "q = sigma / 4": (partial(quantised, share=1 / 4), lambda _: 12**-0.5 / 4),
    "q = sigma / 16": (partial(quantised, share=1 / 16), lambda _: 12**-0.5 / 16),
    "other flat field": (
        partial(of_other_images, change=other_flat),
        lambda t: 0.001 * np.sqrt(np.mean(t.science.clip(0, 500) ** 2)) / t.sigma,
    ),
}
