"""The topics of ``diffdecor help``: a module for each, which makes its tables of those in the code.

A topic is imported when it is asked for; only those whose tables need numpy import it.
"""

from __future__ import annotations

from importlib import import_module

from diffdecor.cli.topics.blocks import Topic

#: What every topic is about, in the order of the list.
TOPICS = {
    "method": "what is computed: the filter, the variance, the PSF",
    "options": "every option, with its default, unit and card",
    "layouts": "image files that are recognised, and where their planes are",
    "masks": "what the bits of masks mean, survey by survey",
    "noise": "how the noise of the images is given, or measured",
    "kernels": "kernel files that can be read, with a command for each tool",
    "psfs": "PSF files that can be read",
    "stacks": "images that are sums of others, or were convolved themselves",
    "scales": "unit and zero point of the result; the scales a_S and a_T",
    "pixels": "which pixels count, which are filled, which are flagged",
    "output": "the HDUs of an output",
    "cards": "the cards of an output, and their names in JSON",
    "photometry": "which image to use for what, and how right its errors are",
    "whiteness": "how diffdecor check judges noise",
    "exit-codes": "what the exit codes mean",
    "accuracy": "how good the results are, on real and simulated images",
    "limits": "what it cannot do",
    "speed": "time and memory, beside other programs",
    "reliability": "killed runs, locks, damaged files, bounds of files",
    "python": "the same from Python, on arrays",
    "batches": "tables of jobs: what is done again, what is recorded",
    "cron": "running it every night",
    "cluster": "running it on many machines: job arrays, xargs, Dask",
}


def topic_named(name: str) -> Topic:
    """Return a topic; only its own module is imported."""
    module = import_module(f"{__name__}.{name.replace('-', '_')}")
    return Topic(name, TOPICS[name], module.blocks())
