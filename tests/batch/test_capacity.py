"""How many tasks at a time: from the cores, and from the memory that a task needs."""

import numpy as np
from astropy.io import fits

from diffdecor.batch import capacity
from diffdecor.batch.capacity import (
    COLUMN,
    PIXEL,
    PROCESS,
    free_memory,
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


def needed(name, **fields):
    """Bytes that a job takes besides those of any process."""
    return needed_memory(Job(difference=str(name), **fields)) - PROCESS


def test_the_largest_image_counts(tmp_path):
    file = image(tmp_path / "d.fits", (30, 40), (50, 60))
    assert needed(file) == PIXEL * 3000
    assert needed(f"{file}[1]") == PIXEL * 1200
    assert needed(f"{file}[2]") == PIXEL * 3000


def test_packed_planes_are_kept_in_memory(tmp_path):
    file = image(tmp_path / "d.fits", (30, 40), (50, 60), packed=True)
    other = image(tmp_path / "s.fits", (30, 40), packed=True)
    assert needed(file) == PIXEL * 3000 + 4 * (3000 + 1200)
    assert needed(file, science=other) == needed(file) + 4 * 1200
    # One of many in a file comes with no more than mask and variance.
    assert needed(f"{file}[1]") == PIXEL * 1200 + 3 * 4 * 1200


def test_brackets_name_an_image(tmp_path):
    hdus = [fits.PrimaryHDU()]
    for version, shape in ((1, (3, 4)), (2, (5, 6))):
        hdus.append(fits.ImageHDU(np.zeros(shape), name="SCI", ver=version))
    fits.HDUList(hdus).writeto(tmp_path / "d.fits")
    found = [needed(tmp_path / f"d.fits{name}") for name in ("[sci]", "[SCI,2]", "[SCI,3]", "[1]")]
    assert found == [PIXEL * n for n in (12, 30, (1 << 23), 12)]


def test_an_image_in_the_primary_hdu(tmp_path):
    fits.PrimaryHDU(np.zeros((7, 9))).writeto(tmp_path / "d.fits")
    assert needed(tmp_path / "d.fits") == PIXEL * 63


def test_what_cannot_be_looked_at_has_a_usual_size(tmp_path):
    (tmp_path / "text.fits").write_text("no image")
    (tmp_path / "empty.fits").touch()
    image(tmp_path / "whole.fits", (30, 40))
    short = (tmp_path / "whole.fits").read_bytes()[:6000]
    (tmp_path / "short.fits").write_bytes(short)
    image(tmp_path / "packed.fits.gz", (30, 40))
    fits.PrimaryHDU().writeto(tmp_path / "header.fits")
    names = ["text.fits", "empty.fits", "short.fits", "packed.fits.gz", "header.fits", "", "gone"]
    assert {needed(tmp_path / name) for name in names} == {PIXEL * (1 << 23)}


def test_only_some_rows_of_large_images_are_in_memory(tmp_path):
    assert needed(image(tmp_path / "d.fits", (9000, 500))) == COLUMN * 500


def test_the_options_of_a_task_bound_its_memory(tmp_path):
    """They, not the number of jobs, decide how it is done."""
    file = image(tmp_path / "d.fits", (5000, 2000), packed=True)
    assert needed(file) == COLUMN * 2000 + 4 * 10_000_000
    small = DecorrelationConfig(max_memory=64 << 20)
    assert needed(file, decorrelation=small) == COLUMN * 2000 + (32 << 20)


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
    monkeypatch.setattr(capacity, "_images", lambda name: seen.append(name) or [])
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
