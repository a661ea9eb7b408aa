"""A small triple in a folder of its own for every test."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from helpers.processes import ENVIRONMENT, heeding
from helpers.workplace import SHAPE, WCS, Workplace, convolved, exposure, gaussian

import diffdecor


@pytest.fixture(scope="session")
def arrays():
    """Pixels of a difference of pure noise: science, template, difference, kernel."""
    random = np.random.default_rng(7)
    science, template = (random.normal(100.0, sigma, SHAPE) for sigma in (3.0, 2.0))
    kernel = gaussian(3, 1.2)
    difference = science - convolved(template, kernel)
    return science, template, difference, kernel


@pytest.fixture(scope="session")
def originals(tmp_path_factory, arrays):
    """Folder with the files of a triple: never to be changed."""
    folder = tmp_path_factory.mktemp("originals")
    science, template, difference, kernel = arrays
    exposure(science, 9.0).writeto(folder / "science.fits")
    exposure(template, 4.0).writeto(folder / "template.fits")
    header = fits.Header(WCS)
    fits.PrimaryHDU(difference.astype(np.float32), header).writeto(folder / "difference.fits")
    side = fits.Header({"CONVSIDE": "TEMPLATE"})
    fits.PrimaryHDU(kernel, side).writeto(folder / "kernel.fits")
    fits.PrimaryHDU(gaussian(7, 1.7)).writeto(folder / "psf.fits")
    return folder


@pytest.fixture
def work(tmp_path, originals):
    """A folder of its own with the files of the triple."""
    folder = tmp_path / "work"
    folder.mkdir()
    for path in originals.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return Workplace(folder)


@pytest.fixture
def rewrite():
    """Change a FITS file: ``rewrite(path, edit)`` with a function of its HDUs."""

    def change(path, edit):
        with fits.open(path, memmap=False) as hdus:
            for hdu in hdus:
                hdu.data  # noqa: B018  read it before the file goes
            edited = fits.HDUList([hdu.copy() for hdu in hdus])
        edited = edit(edited) or edited
        edited.writeto(path, overwrite=True, output_verify="ignore")
        return path

    return change


@pytest.fixture
def doubted(work, rewrite):
    """Give a run on the triple something to warn of."""
    for role in ("science", "difference"):
        rewrite(work / f"{role}.fits", lambda hdus: hdus[0].header.update(CONVD="REF"))


@pytest.fixture
def process():
    """Run `diffdecor` as a process of its own, with a clean environment."""
    environment = ENVIRONMENT | {"PYTHONPATH": str(Path(diffdecor.__file__).parents[1])}

    def start(*arguments, env=None, module=True, **about):
        command = [sys.executable, *(["-m", "diffdecor"] if module else []), *map(str, arguments)]
        about = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | about
        about.setdefault("preexec_fn", heeding)
        return subprocess.Popen(command, env=environment | (env or {}), **about)

    return start


@pytest.fixture
def hotpants_job():
    """Give the arguments of a run on a real HOTPANTS difference, with brackets after the names."""
    sample = Path(__file__).parents[1] / "data" / "hotpants-a1"

    def arguments(extension=""):
        files = [f"{sample / role}.fits{extension}" for role in ("science", "template")]
        levels = ["--science-variance", "180", "--template-variance", "22"]
        return ["run", *files, f"{sample / 'difference.fits'}{extension}", *levels]

    return arguments
