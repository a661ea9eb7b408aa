"""Triples that do not belong together, one file of each exchanged for another that looks alike."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from helpers.kernel_damage import interior, pair, reduced
from helpers.kernel_scenes import (
    ROLES,
    Scene,
    Triple,
    matched,
    simulate,
    starlight,
    subtracted,
)
from scipy.ndimage import gaussian_filter, median_filter, uniform_filter
from scipy.signal import fftconvolve

from diffdecor import DecorrelationConfig, decorrelate


class Case(NamedTuple):
    """A triple, the scene that it was made of, and random numbers."""

    triple: Triple
    scene: Scene
    random: np.random.Generator


def wrong(kind, scene):
    """A triple of a scene that is wrong in one of these ways."""
    return WRONG[kind](Case(simulate(scene), scene, np.random.default_rng(scene.seed)))


def other_noise(triple, random, role):
    """The same field and PSF, other noise: another exposure."""
    number = ROLES.index(role)
    noise = np.sqrt(2 * triple.variances[number]) * random.normal(size=triple.difference.shape)
    return replace(triple, **{role: (getattr(triple, role) + noise).astype(np.float32)})


def other_epoch(triple, scene, random, role):
    """Another exposure with another PSF."""
    light = starlight(scene, np.random.default_rng([scene.seed, 0]), 3.9)
    inner = np.s_[scene.margin : -scene.margin, scene.margin : -scene.margin]
    noise = np.sqrt(triple.variances[ROLES.index(role)]) * random.normal(size=scene.shape)
    level = np.median(getattr(triple, role))
    return replace(triple, **{role: (light[inner] + level + noise).astype(np.float32)})


def of_others(triple, scene, *roles):
    """Files of other triples."""
    others = [simulate(scene, seed=scene.seed + 1000 * n) for n in range(1, len(roles) + 1)]
    return replace(
        triple, **{role: getattr(one, role) for role, one in zip(roles, others, strict=True)}
    )


def changed(triple, role, change):
    return replace(triple, **{role: np.ascontiguousarray(change(getattr(triple, role)))})


def whitened(triple):
    """A difference that was decorrelated already."""
    config = DecorrelationConfig(noise_model="white")
    result = decorrelate(*triple.exposures, triple.kernel, config=config)
    return replace(triple, difference=result.exposure.image.astype(np.float32))


def noisier(triple, random, sigmas):
    """A difference with more noise than its images have."""
    noise = sigmas * triple.sigma * random.normal(size=triple.difference.shape)
    return changed(triple, "difference", lambda d: (d + noise).astype(np.float32))


def median_template(triple):
    """A difference of a template of which the median of 3 x 3 pixels was taken before."""
    template = median_filter(triple.template, 3)
    difference = subtracted(triple.kernel, triple.science, template)[interior(triple)]
    images = {r: one[interior(triple)] for r, one in zip(ROLES, pair(triple), strict=False)}
    return reduced(triple, interior(triple), **images, difference=difference)


def both_convolved(triple):
    """Both images went through a kernel: no one kernel explains it."""
    core = np.array([[0.05, 0.1, 0.05], [0.1, 0.4, 0.1], [0.05, 0.1, 0.05]])
    science = fftconvolve(triple.science, core, mode="same")
    difference = science - matched(triple.kernel, triple.template)
    inner = interior(triple)
    images = {r: one[inner] for r, one in zip(ROLES, pair(triple), strict=False)}
    return reduced(triple, inner, **images, difference=difference[inner])


def unconvolved(scene):
    return "science" if scene.sides[0] == "template" else "template"


def moved(pixels, axis=1):
    return lambda plane: np.roll(plane, pixels, axis=axis)


def as_noise(random, sigma):
    return lambda plane: random.normal(0, sigma, plane.shape).astype(np.float32)


#: What is done to a case.
WRONG = {
    "other exposure as template": lambda c: other_noise(c.triple, c.random, "template"),
    "other exposure as science image": lambda c: other_noise(c.triple, c.random, "science"),
    "template of another epoch": lambda c: other_epoch(c.triple, c.scene, c.random, "template"),
    "science image of another epoch": lambda c: other_epoch(c.triple, c.scene, c.random, "science"),
    "template of another field": lambda c: of_others(c.triple, c.scene, "template"),
    "science image of another field": lambda c: of_others(c.triple, c.scene, "science"),
    "difference of another field": lambda c: of_others(c.triple, c.scene, "difference"),
    "scrambled": lambda c: of_others(c.triple, c.scene, *ROLES),
    "difference moved by a pixel": lambda c: changed(c.triple, "difference", moved(1)),
    "difference moved by half a pixel": lambda c: changed(
        c.triple, "difference", lambda d: (d + np.roll(d, 1, axis=0)) / 2
    ),
    "image that was not convolved moved": lambda c: changed(
        c.triple, unconvolved(c.scene), moved(2, 0)
    ),
    "template moved far": lambda c: changed(c.triple, "template", moved(60)),
    "difference flipped": lambda c: changed(c.triple, "difference", np.fliplr),
    "template flipped": lambda c: changed(c.triple, "template", np.flipud),
    "science image flipped": lambda c: changed(c.triple, "science", np.fliplr),
    "difference is noise": lambda c: changed(
        c.triple, "difference", as_noise(c.random, c.triple.sigma)
    ),
    "all are noise": lambda c: replace(
        c.triple,
        **{role: as_noise(c.random, c.triple.sigma)(c.triple.difference) for role in ROLES},
    ),
    "difference is 0": lambda c: changed(c.triple, "difference", np.zeros_like),
    "difference is the science image": lambda c: replace(c.triple, difference=c.triple.science),
    "difference smoothed": lambda c: changed(
        c.triple, "difference", lambda d: gaussian_filter(d, 0.8)
    ),
    "difference averaged": lambda c: changed(
        c.triple, "difference", lambda d: uniform_filter(d, 3)
    ),
    "difference whitened": lambda c: whitened(c.triple),
    "difference with noise of sigma / 3": lambda c: noisier(c.triple, c.random, 1 / 3),
    "both were convolved": lambda c: both_convolved(c.triple),
    "absolute value": lambda c: changed(c.triple, "difference", lambda d: np.abs(d - np.median(d))),
}
