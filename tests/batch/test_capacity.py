"""How many tasks at a time: from the cores, and from the memory that a task needs."""

import numpy as np
import pytest
from astropy.io import fits

from diffdecor.batch import capacity
from diffdecor.batch.capacity import (
    DEFAULT_PIXELS,
    PIXEL,
    PROCESS,
    free_memory,
    image_pixels,
    jobs_at_once,
    needed_memory,
)
from diffdecor.batch.model import Task
from diffdecor.config import DecorrelationConfig
from diffdecor.pipeline.job import Job

GIGA = 1 << 30


def image(file, *shapes, packed=False):
    make = fits.CompImageHDU if packed else fits.ImageHDU
    fits.HDUList(
        [fits.PrimaryHDU(), *(make(np.zeros(shape, np.float32)) for shape in shapes)]
    ).writeto(file)
    return str(file)


def tasks(number, difference="/nowhere/d.fits", **fields):
    job = Job(difference=difference, output="o.fits", **fields)
    return [Task(number=i, place=f"line {i}", job=job, output="o.fits") for i in range(number)]


@pytest.mark.parametrize("packed", [False, True])
def test_the_largest_image_counts(tmp_path, packed):
    file = image(tmp_path / "d.fits", (30, 40), (50, 60), packed=packed)
    assert image_pixels(file) == 3000
    assert image_pixels(f"{file}[1]") == 1200
    assert image_pixels(f"{file}[SCI]") == 3000


def test_an_image_in_the_primary_hdu(tmp_path):
    fits.PrimaryHDU(np.zeros((7, 9))).writeto(tmp_path / "d.fits")
    assert image_pixels(str(tmp_path / "d.fits")) == 63


def test_what_cannot_be_looked_at_has_a_usual_size(tmp_path):
    (tmp_path / "text.fits").write_text("no image")
    (tmp_path / "empty.fits").touch()
    image(tmp_path / "whole.fits", (30, 40))
    short = (tmp_path / "whole.fits").read_bytes()[:6000]
    (tmp_path / "short.fits").write_bytes(short)
    image(tmp_path / "packed.fits.gz", (30, 40))
    fits.PrimaryHDU().writeto(tmp_path / "header.fits")
    names = ["text.fits", "empty.fits", "short.fits", "packed.fits.gz", "header.fits", "", "gone"]
    assert {image_pixels(str(tmp_path / name)) for name in names} == {None}
    assert needed_memory(tasks(1)[0].job) == PROCESS + PIXEL * DEFAULT_PIXELS


def test_the_options_of_a_task_bound_its_memory(tmp_path):
    """They, not the number of jobs, decide how it is done."""
    file = image(tmp_path / "d.fits", (3000, 4000))
    small = DecorrelationConfig(max_memory=100 << 20)
    assert needed_memory(Job(difference=file, decorrelation=small)) == PROCESS + (100 << 20)
    assert needed_memory(Job(difference=file)) == PROCESS + PIXEL * 12_000_000


def test_jobs_are_limited_by_cores_memory_and_tasks(monkeypatch):
    each = needed_memory(tasks(1)[0].job)
    monkeypatch.setattr(capacity, "cores", lambda: 8)
    monkeypatch.setattr(capacity, "free_memory", lambda: 5 * each + 1)
    assert jobs_at_once(tasks(100)) == 5
    assert jobs_at_once(tasks(3)) == 3
    assert jobs_at_once([]) == 1
    assert jobs_at_once(tasks(100), max_memory=100 * GIGA) == 8
    assert jobs_at_once(tasks(100), max_memory=1) == 1
    assert jobs_at_once(tasks(9, decorrelation=DecorrelationConfig(threads=3))) == 2
    monkeypatch.setattr(capacity, "free_memory", lambda: None)
    assert jobs_at_once(tasks(100)) == 8


def test_of_many_tasks_some_are_looked_at(monkeypatch):
    seen = []
    monkeypatch.setattr(capacity, "image_pixels", lambda name: seen.append(name) or 1)
    jobs_at_once(tasks(10_000))
    assert 50 < len(seen) < 200


def system(root, **files):
    """A machine's files: their names have two underscores for slashes."""
    for name, text in files.items():
        file = root / name.replace("__", "/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return root


MEMINFO = "MemTotal:       24000000 kB\nMemFree: 1 kB\nMemAvailable:   20000000 kB\n"


def test_what_the_machine_has(tmp_path):
    assert free_memory(system(tmp_path, proc__meminfo=MEMINFO)) == 20_000_000 * 1024


def test_groups_of_version_2_and_those_around_them_limit(tmp_path):
    root = system(tmp_path, proc__meminfo=MEMINFO, proc__self__cgroup="0::/slurm/job/step\n")
    group = root / "sys/fs/cgroup/slurm/job"
    (group / "step").mkdir(parents=True)
    (group / "step/memory.max").write_text("max\n")
    (group / "step/memory.current").write_text("1000\n")
    (group / "memory.max").write_text(f"{4 * GIGA}\n")
    (group / "memory.current").write_text(f"{3 * GIGA}\n")
    (group / "memory.stat").write_text(f"anon 5\ninactive_file {GIGA}\nactive_file 7\n")
    assert free_memory(root) == 2 * GIGA


def test_groups_of_version_1_limit_even_where_their_path_is_not_ours(tmp_path):
    root = system(
        tmp_path, proc__meminfo=MEMINFO, proc__self__cgroup="4:memory:/docker/1\n3:cpu:/\n"
    )
    group = root / "sys/fs/cgroup/memory"
    group.mkdir(parents=True)
    (group / "memory.limit_in_bytes").write_text(f"{2 * GIGA}\n")
    (group / "memory.usage_in_bytes").write_text(f"{3 * GIGA}\n")
    assert free_memory(root) == 0


def test_a_system_without_such_files(tmp_path):
    assert free_memory(tmp_path) is None or free_memory(tmp_path) > 0


def test_this_machine():
    assert free_memory() > 1 << 20
