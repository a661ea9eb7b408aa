"""Time and memory, beside other programs; `make bench` measures it."""

from __future__ import annotations

from diffdecor.cli.topics.blocks import Block, Row, Table, parsed, table

#: Of the first table.
DATE, MACHINE = (
    "2026-11-22",
    "a virtual machine with 2 cores (x86_64), Python 3.11.7, numpy 2.4.6, astropy 8.0.2",
)
_SIZES = ("2048x4096", "4096x4096", "10240x10240")
#: Seconds, ratio to the plain script, MB of peak memory for every size; None where it did not fit.
_WHOLE_JOB: tuple[tuple[str, tuple[tuple[float, float, int] | None, ...]], ...] = (
    ("plain astropy script: read and write",
     ((0.58, 1.00, 433), (1.15, 1.00, 817), (8.26, 1.00, 4849))),
    ("diffdecor whole", ((0.80, 1.51, 126), (1.27, 1.16, 130), (4.26, 0.82, 244))),
    ("diffdecor whole, one thread", ((0.95, 1.79, 102), (1.50, 1.24, 100), (5.51, 1.12, 160))),
    ("diffdecor whole, full variance", ((1.03, 1.85, 134), (1.64, 1.42, 143), (5.94, 1.06, 270))),
    ("diffdecor whole, double precision",
     ((0.86, 1.59, 150), (1.20, 1.05, 161), (4.58, 0.78, 311))),
    ("diffdecor grid", ((1.38, 2.34, 149), (2.00, 1.79, 160), (9.02, 1.56, 276))),
    ("diffdecor grid, full variance", ((1.66, 2.90, 193), (2.68, 2.33, 192), (11.89, 3.12, 336))),
    ("astropy, scipy rfft2 in one go", ((2.49, 3.97, 468), (4.47, 3.97, 846), (31.0, 8.21, 4829))),
    ("LSST's algorithm", ((3.88, 7.47, 1004), (7.01, 6.58, 1934), (46.0, 12.11, 11681))),
    ("LSST's algorithm, full variance", ((6.79, 11.58, 1521), (12.28, 10.65, 2966), None)),
    ("SFFT's kernel, astropy convolve_fft, image only",
     ((3.15, 6.14, 1109), (4.23, 3.00, 2063), (25.0, 6.44, 11964))),
)  # fmt: skip
_MEASURED = (
    ("1024x1024", "whole", "163 (134-422)", "172 (157-228)", "1.22", "108", "107"),
    ("1024x1024", "grid", "264 (205-286)", "326 (304-338)", "1.07", "111", "111"),
    ("1440x1440", "whole", "241 (208-269)", "182 (156-224)", "1.48", "136", "100"),
    ("1440x1440", "grid", "183 (154-250)", "241 (191-248)", "1.31", "136", "109"),
    ("2048x4096", "whole", "46 (13-78)", "43 (43-52)", "1.27", "156", "153"),
    ("2048x4096", "grid", "66 (57-106)", "53 (49-56)", "1.63", "160", "161"),
    ("4096x4096", "whole", "31 (25-45)", "22 (21-24)", "1.17", "163", "161"),
    ("4096x4096", "grid", "29 (13-47)", "32 (31-36)", "1.23", "176", "175"),
    ("10240x10240", "whole", "7 (5-9)", "5 (4-6)", "-", "272", "268"),
    ("10240x10240", "grid", "5 (one turn)", "5 (4-6)", "-", "292", "322"),
)
#: Images; triples a minute, time and CPU time as ratios to a batch with one job, memory.
_BATCHES = (
    ("1024x1024", "batch, one job", "74", "1.00", "1.00", "114"),
    ("1024x1024", "batch, two jobs", "88", "0.84", "1.26", "114"),
    ("1024x1024", "loop over run", "49", "1.51", "1.74", "129"),
    ("1024x1024", "decorrelate() on arrays", "107", "0.72", "0.88", "150"),
    ("1024x1024", "LSST's algorithm", "165", "0.49", "0.51", "209"),
    ("2048x4096", "batch, one job", "40", "1.00", "1.00", "146"),
    ("2048x4096", "batch, two jobs", "63", "0.63", "1.02", "149"),
    ("2048x4096", "loop over run", "36", "1.09", "1.43", "191"),
    ("2048x4096", "decorrelate() on arrays", "40", "1.00", "1.09", "482"),
    ("2048x4096", "LSST's algorithm", "26", "1.53", "1.56", "1036"),
)
_TEXT = f"""
The complete job, from the start of the process to the finished file, beside a plain astropy script
that reads all planes of the same files as arrays and writes three, without any arithmetic. Each
entry is the time in seconds, the ratio to that script, and the peak memory in MB. make bench
reproduces it; this was measured on {DATE} on {MACHINE}: medians of five turns (fewer of the slowest
programs), warm caches, a kernel of 21 x 21 pixels, white noise.

{{}}

LSST's algorithm is written after its description (transforms of the whole padded image in complex
double precision). SFFT's row makes the image only: no variance, no mask. Grid mode has a kernel and
noise levels that vary.

The time of the plain script depends on how fast the system finds memory for it: 10240x10240 took
2.7 s after other large processes had freed theirs, and 8 to 12 s otherwise; diffdecor took 4 s in
both cases (a ratio of 0.4 to 1.6; at 2048x4096 of 0.8 to 1.5). Importing numpy and astropy is 0.3 s
of every entry. With tile-compressed inputs diffdecor takes 1.2 times as long as the plain script
on them (2048x4096).

## What measured noise adds

The difference between --noise-model measured and white: CPU time of the whole process, and of its
arithmetic alone, in nanoseconds per pixel, median and range of five turns on a busy machine (at
10240x10240 one to three of the whole process); the ratio of the times of both runs (at 10240x10240
other work had spoilt it); the peak memory of both in MB. At most 64 windows are measured, of
128 x 128 pixels in images of up to 4 megapixels, 192 x 192 up to 33, and 256 x 256 beyond, so the
cost per pixel falls with their number. Images of up to half a megapixel are measured completely,
and about half of those of up to 2.

{{}}

## Many triples

The same triple six times (make bench, 2026-11-30, two cores, medians of three): triples a minute,
time and CPU time as ratios to a batch with one job, and peak memory of a process in MB. Arrays
for decorrelate() and LSST's algorithm are read and written by astropy, in one process; they check
nothing, and record nothing. The start of the processes, half a second each, is in all of it: of
twenty triples of 2048x4096 two jobs do 1.8 times as many in the same time as one.

{{}}

10 000 rows that are done already are recognised in 6 s.

## What else takes time

- --significance adds 0.3 to 0.9 times the CPU time of the run without it in grid mode (1024x1024
  and 2048x2048, 81 to 2236 nodes), and 0.2 to 1.6 times in whole mode, where that is less; most
  where PSF and kernel vary.
- kernel fit, which finds the kernel from the images, takes 1.3 times as long as run in grid mode
  for a constant kernel, 1.6 times for one of order 1, 2.2 times for one of order 2 that is held
  constant in blocks (21 x 21 pixels, 4096x4096; 3 to 5 s, 140 to 190 MB).
- Time grows with the number of pixels, memory with the width of the image: 20000x20000 takes
  0.5 GB.
- Kernels of 61 instead of 11 pixels take a tenth more; grids of 561 and 2145 instead of 153 nodes
  1.2 and 2.4 times as long.
- diffdecor --help takes 1.0 times as long as python -c "import click", a usage error 1.2 times.
"""


def blocks() -> tuple[Block, ...]:
    """Return the blocks of the topic."""
    titles = {
        "image": "image",
        "mode": "mode",
        "cpu_ns_per_pixel": "CPU ns",
        "arithmetic_ns_per_pixel": "arithmetic",
        "ratio": "time",
        "memory": "MB",
        "memory_white": "white",
    }
    of_batches = {
        "image": "image",
        "way": "way",
        "triples_per_minute": "a minute",
        "time": "time",
        "cpu": "CPU",
        "memory": "MB",
    }
    rows = tuple(_row(program, cells) for program, cells in _WHOLE_JOB)
    whole_job = Table("whole_job", ("program", *_SIZES), rows)
    return parsed(
        _TEXT,
        whole_job,
        table("measured_noise", titles, *_MEASURED),
        table("batches", of_batches, *_BATCHES),
    )


def _row(program: str, cells: tuple[tuple[float, float, int] | None, ...]) -> Row:
    def shown(seconds: float, ratio: float, megabytes: int) -> str:
        return f"{seconds:.{2 if seconds < 20 else 0}f}, {ratio:.2f}, {megabytes}"

    facts = {
        size: None if cell is None else dict(zip(("s", "ratio", "mb"), cell, strict=True))
        for size, cell in zip(_SIZES, cells, strict=True)
    }
    texts = ("does not fit" if cell is None else shown(*cell) for cell in cells)
    return Row((program, *texts), {"program": program, **facts})
