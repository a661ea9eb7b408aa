"""Time and memory, beside other programs; `make bench` measures it."""

from __future__ import annotations

from collections.abc import Iterator

from diffdecor.cli.topics.blocks import Block, Row, Table, parsed, table

#: Of the tables of runs.
DATE, MACHINE = (
    "2026-11-30",
    "a virtual machine with 2 cores (x86_64), Python 3.11.7, numpy 2.4.6, astropy 8.0.2",
)
_TURNS = "one turn, at 10240x10240 on a busy machine"
_SIZES = ("2048x4096", "4096x4096", "10240x10240")
_COLUMNS = ("s", "fixed", "ns", "CPU ns", "FFT pairs", "to whole", "MB")
_FACTS = ("s", "fixed_s", "ns_per_pixel", "fft_pairs", "grid_to_whole")
#: Rows of tables as make bench prints them.
_RUNS = {
    "2048x4096": """
| numpy: FFT pair, float32 | 0.17 / 0.17 | - | 20.6 / 20.5 | 1.00 / 1.00 | - | 225 MB |
| plain astropy script | 0.98 / 1.06 | -0.06 / 0.03 | 125 / 123 | 6.06 / 5.97 | - | 434 MB |
| whole, one thread | 1.17 / 1.13 | 0.83 / 0.79 | 41.0 / 39.5 | 1.99 / 1.92 | - | 137 MB |
| whole, two threads | 1.02 / 1.31 | 0.88 / 1.04 | 16.7 / 32.0 | 0.81 / 1.56 | - | 167 MB |
| whole, full variance | 1.40 / 1.38 | 0.73 / 0.70 | 80.4 / 81.3 | 3.91 / 3.96 | - | 143 MB |
| grid, one thread | 1.60 / 1.57 | 0.85 / 0.79 | 89.5 / 93.4 | 4.35 / 4.55 | 2.19 / 2.36 | 139 MB |
| grid, two threads | 1.43 / 2.02 | 0.95 / 0.80 | 57.4 / 146 | 2.79 / 7.10 | 3.44 / 4.55 | 182 MB |
| grid, full variance | 2.02 / 1.98 | 0.92 / 0.90 | 132 / 128 | 6.40 / 6.22 | 1.64 / 1.57 | 179 MB |
""",
    "4096x4096": """
| numpy: FFT pair, float32 | 0.33 / 0.33 | - | 19.6 / 19.4 | 1.00 / 1.00 | - | 417 MB |
| plain astropy script | 1.53 / 1.61 | 0.10 / 0.18 | 84.8 / 84.7 | 4.32 / 4.36 | - | 818 MB |
| whole, one thread | 1.72 / 1.66 | 0.72 / 0.72 | 60.0 / 55.9 | 3.05 / 2.88 | - | 148 MB |
| whole, two threads | 1.41 / 1.88 | 0.78 / 0.79 | 38.0 / 64.9 | 1.93 / 3.34 | - | 181 MB |
| whole, full variance | 2.01 / 1.96 | 0.79 / 0.75 | 72.5 / 72.4 | 3.69 / 3.72 | - | 154 MB |
| grid, one thread | 2.53 / 2.48 | 0.77 / 0.76 | 105 / 102 | 5.32 / 5.27 | 1.74 / 1.83 | 155 MB |
| grid, two threads | 2.19 / 3.19 | 0.86 / 0.93 | 79.1 / 134 | 4.03 / 6.91 | 2.08 / 2.07 | 205 MB |
| grid, full variance | 3.24 / 3.20 | 0.91 / 0.89 | 139 / 138 | 7.07 / 7.09 | 1.92 / 1.90 | 165 MB |
""",
    "10240x10240": """
| numpy: FFT pair, float32 | 5.78 / 3.32 | - | 55.1 / 31.7 | 1.00 / 1.00 | - | 2434 MB |
| plain astropy script | 25.9 / 9.51 | 0.74 / 0.20 | 240 / 88.8 | 4.35 / 2.80 | - | 4849 MB |
| whole, one thread | 20.8 / 8.07 | 2.92 / 0.97 | 170 / 67.8 | 3.09 / 2.14 | - | 220 MB |
| whole, two threads | 19.4 / 7.31 | 2.01 / 0.86 | 166 / 61.5 | 3.02 / 1.94 | - | 302 MB |
| whole, full variance | 23.0 / 9.35 | 2.01 / 0.86 | 200 / 81.0 | 3.64 / 2.56 | - | 232 MB |
| grid, one thread | 31.0 / 11.0 | 2.80 / 0.94 | 269 / 95.8 | 4.88 / 3.02 | 1.58 / 1.41 | 240 MB |
| grid, two threads | 31.2 / 11.6 | 3.28 / 0.98 | 267 / 101 | 4.84 / 3.18 | 1.61 / 1.64 | 400 MB |
| grid, full variance | 46.6 / 16.0 | 4.03 / 1.26 | 406 / 141 | 7.36 / 4.45 | 2.03 / 1.74 | 255 MB |
""",
}
#: By the version of Python.
_SECOND_CORE = {
    "3.11": """
| 4096x4096 | whole | 1.57 / 1.54 | 1.60 / 2.27 | 1.69 / 3.14 | 0.98 | 1.85 |
| 4096x4096 | grid | 2.46 / 2.42 | 2.69 / 3.91 | 2.73 / 5.17 | 0.92 | 1.80 |
""",
    "3.13": """
| 4096x4096 | whole | 1.65 / 1.61 | 1.62 / 2.18 | 1.76 / 3.30 | 1.02 | 1.88 |
| 4096x4096 | grid | 2.45 / 2.42 | 2.73 / 3.88 | 2.67 / 5.03 | 0.90 | 1.83 |
""",
    "3.13t": """
| 4096x4096 | whole | 1.98 / 1.96 | 1.56 / 2.03 | 2.16 / 4.00 | 1.27 | 1.83 |
| 4096x4096 | grid | 2.94 / 2.91 | 2.20 / 2.98 | 3.20 / 5.88 | 1.33 | 1.84 |
""",
}
_VERIFY = """
| 4096x4096 | 1.63 / 1.60 | 4.25 / 4.16 | 2.62 | 2.61 | 106 MB |
"""
#: Ratio of the time to that of the plain script, MB of peak memory, at each size; None where it
#: did not fit.
_OTHERS: tuple[tuple[str, tuple[tuple[float, int] | None, ...]], ...] = (
    ("diffdecor whole", ((1.51, 126), (1.16, 130), (0.82, 244))),
    ("diffdecor whole, double precision", ((1.59, 150), (1.05, 161), (0.78, 311))),
    ("diffdecor grid", ((2.34, 149), (1.79, 160), (1.56, 276))),
    ("astropy, scipy rfft2 in one go", ((3.97, 468), (3.97, 846), (8.21, 4829))),
    ("LSST's algorithm", ((7.47, 1004), (6.58, 1934), (12.11, 11681))),
    ("LSST's algorithm, full variance", ((11.58, 1521), (10.65, 2966), None)),
    ("SFFT's kernel, astropy convolve_fft, image only",
     ((6.14, 1109), (3.00, 2063), (6.44, 11964))),
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
The complete job, from the start of the process to the finished file, takes a fixed time and some
nanoseconds a pixel:

- s: seconds of the whole job.
- fixed: seconds of it that do not depend on the number of pixels: the start of the process,
  imports, filters, and the judgement of the result's whiteness, which is made on samples (images of
  less than 4 megapixels have less of it). They are those of the straight line through the times of
  2048x2048 and of this image.
- ns: nanoseconds that a pixel takes on that line. CPU ns: the same of the CPU time of all threads.
- FFT pairs: the CPU time of a pixel in units of a yardstick, by which machines and days can be
  compared: irfft2(rfft2(image), s=image.shape) in numpy, an image of this size in single precision,
  one thread, measured in the same turns.
- to whole: CPU time of a pixel on the grid, as ratio to that for the whole image with the same
  options.
- MB: peak memory.

The runs have one thread if nothing else is said, white noise and a kernel of 21 x 21 pixels; on the
grid kernel and noise levels vary. The plain astropy script reads all planes of the same files as
arrays and writes three, without any arithmetic. make bench makes these tables; they were measured
on {DATE} on {MACHINE}: {_TURNS}, warm caches.

{{}}

The time of the plain script depends on how fast the system finds memory for it: 10240x10240 took
2.7 s after other large processes had freed theirs, and 8 to 12 s otherwise; diffdecor took 4 s in
both cases. Importing numpy and astropy is 0.3 s of every fixed part. With tile-compressed inputs
diffdecor takes 1.2 times as long as the plain script on them (2048x4096).

## A second core

The triples that are done in the same time, as ratio to one thread: by a second thread, or by two
runs at once with one thread each, as diffdecor batch has them; and the seconds of one and of two
threads. 3.13t is free-threaded Python, in which threads do not wait for one another's Python. It
must be told PYTHON_GIL=0: importing astropy 8.0, which does not say that it can do without the lock
of the interpreter, takes that lock again.

{{}}

## diffdecor verify

Its time and CPU time, as ratios to those of run --mode whole on the same files, both with one
thread.

{{}}

## Other programs

The time as ratio to that of the plain script, and the peak memory in MB; diffdecor with two
threads. LSST's algorithm is written after its description (transforms of the whole padded image in
complex double precision). SFFT's row makes the image only: no variance, no mask. Fewer turns of
the slowest programs.

{{}}

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
    of_a_core = {
        "python": "Python",
        "image": "image",
        "mode": "mode",
        "one_thread_s": "one thread",
        "two_threads_s": "two threads",
        "two_threads": "gain",
        "two_runs": "two runs at once",
    }
    of_verify = {"image": "image", "time": "time", "cpu": "CPU time", "memory": "MB"}
    verify = ((image, *cells) for image, _, _, *cells in _pasted(_VERIFY))
    core = (
        (python, image, mode, *(cell.split(" / ")[0] for cell in (one, two)), *gains)
        for python, pasted in _SECOND_CORE.items()
        for image, mode, one, two, _, *gains in _pasted(pasted)
    )
    return parsed(
        _TEXT,
        [_run(*one) for one in _RUNS.items()],
        table("second_core", of_a_core, *core),
        table("verify", of_verify, *verify),
        Table("other_programs", ("program", *_SIZES), tuple(_other(*one) for one in _OTHERS)),
        table("measured_noise", titles, *_MEASURED),
        table("batches", of_batches, *_BATCHES),
    )


def _pasted(rows: str) -> Iterator[list[str]]:
    """Give the cells of rows that make bench has printed."""
    for row in rows.strip().splitlines():
        yield row.removesuffix(" MB |").strip("| ").split(" | ")


def _run(image: str, pasted: str) -> Table:
    """Return the table of the runs on images of a size."""
    rows = []
    for way, *cells, memory in _pasted(pasted):
        both = [cell.split(" / ") if cell != "-" else ["-", "-"] for cell in cells]
        (seconds, _), (fixed, _), (pixel, cpu), (_, pairs), (_, to_whole) = both
        shown = way, seconds, fixed, pixel, cpu, pairs, to_whole, memory
        facts = {
            name: None if one == "-" else float(one)
            for names, pair in zip(_FACTS, both, strict=True)
            for name, one in zip((names, f"cpu_{names}"), pair, strict=True)
        }
        rows.append(Row(shown, {"image": image, "way": way, **facts, "mb": int(memory)}))
    return Table("runs", (image, *_COLUMNS), tuple(rows))


def _other(program: str, sizes: tuple[tuple[float, int] | None, ...]) -> Row:
    facts = {
        size: None if cell is None else dict(zip(("ratio", "mb"), cell, strict=True))
        for size, cell in zip(_SIZES, sizes, strict=True)
    }
    texts = ("does not fit" if cell is None else f"{cell[0]:.2f}, {cell[1]}" for cell in sizes)
    return Row((program, *texts), {"program": program, **facts})
