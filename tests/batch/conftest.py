"""Tasks on a small triple, each in a folder of its own."""

import os

import numpy as np
import pytest
from astropy.io import fits
from helpers.nights import Night, content, make_inputs
from helpers.workplace import convolved, exposure, gaussian

from diffdecor.batch.model import Order, Task
from diffdecor.config import FilesConfig
from diffdecor.pipeline.job import Job

SHAPE = (40, 48)
KERNEL = gaussian(3, 1.2)


@pytest.fixture(scope="session")
def pixels():
    """Science image, template, difference."""
    random = np.random.default_rng(1)
    science, template = (random.normal(10.0, sigma, SHAPE) for sigma in (3.0, 2.0))
    return science, template, science - convolved(template, KERNEL)


@pytest.fixture
def triple(tmp_path, pixels):
    """Folder with the files of a triple, an hour old."""
    folder = tmp_path / "in"
    folder.mkdir()
    science, template, difference = pixels
    exposure(science, 9.0).writeto(folder / "sci.fits")
    exposure(template, 4.0).writeto(folder / "tmpl.fits")
    fits.PrimaryHDU(difference.astype(np.float32)).writeto(folder / "diff.fits")
    side = fits.Header({"CONVSIDE": "TEMPLATE"})
    fits.PrimaryHDU(KERNEL, side).writeto(folder / "kernel.fits")
    return folder


@pytest.fixture
def task(triple, tmp_path):
    """Make a task: ``task(number=1, output=..., **options)``."""

    def make(number=1, output=None, options=None, **about):
        output = str(output or tmp_path / "out" / f"{number}.fits")
        files = {"science": "sci", "template": "tmpl", "difference": "diff", "kernel": "kernel"}
        named = {role: str(triple / f"{name}.fits") for role, name in files.items()} | about
        job = Job(**named, output=output, files=FilesConfig.of(**(options or {})))
        return Task(number=number, place=f"line {number + 1}", job=job, output=output)

    return make


@pytest.fixture
def order(task, tmp_path):
    """Make an order: ``order(since=0, tries=1, redo=False, **of_task)``."""

    def make(*, since=0, tries=1, redo=False, **of_task):
        ledger = tmp_path / "out" / "results.jsonl"
        made = of_task.pop("task", None) or task(**of_task)
        return Order(
            task=made, ledger=ledger, since=since, tries=tries, redo=redo, manifest="night.csv"
        )

    return make


@pytest.fixture
def settled(monkeypatch):
    """Files that were written a moment ago are taken for old ones."""
    from diffdecor.batch import recognition

    monkeypatch.setattr(recognition, "_TICK", 0)


#: How often batches are killed, and from what number on there are more triples in them.
KILLS, LONG = int(os.environ.get("DIFFDECOR_KILLS", "3")), 50
#: Triples of a night.
NUMBER = 40 if KILLS >= LONG else 10


@pytest.fixture(scope="session")
def inputs(tmp_path_factory):
    """Folder with the triples of a night, never to be changed."""
    folder = tmp_path_factory.mktemp("inputs")
    make_inputs(folder, NUMBER)
    return folder


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory, inputs):
    """What the outputs of a night are that one process made one after another, by their names."""
    night = Night(tmp_path_factory.mktemp("undisturbed"), inputs, NUMBER)
    assert night.ends(0, "--jobs", 1) == ("", "")
    assert night.hidden() == []
    night.is_true()
    return {output.name: content(output) for output in night.outputs}


@pytest.fixture
def night(tmp_path, inputs):
    """Make a manifest of the first triples: ``night(number)``."""

    def make(number=NUMBER, **about):
        folder = tmp_path / "night"
        folder.mkdir(exist_ok=True)
        return Night(folder, inputs, number, **about)

    return make
