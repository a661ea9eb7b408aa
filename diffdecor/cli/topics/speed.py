"""Time and memory, beside other programs; `make bench` measures it."""

from __future__ import annotations

from collections.abc import Iterator

from diffdecor.cli.topics.blocks import Block, Row, Table, parsed, table

#: Of the tables of runs.
DATE, MACHINE = (
    "2026-11-30 (4096x4096: 2026-12-01)",
    "a virtual machine with 2 cores (x86_64), Python 3.11.7, numpy 2.4.6, astropy 8.0.2",
)
_TURNS = "medians of seven turns at 4096x4096, of three elsewhere"
_SIZES = ("2048x4096", "4096x4096", "10240x10240")
_COLUMNS = ("s", "fixed", "ns", "CPU ns", "FFT pairs", "to whole", "MB")
_FACTS = ("s", "fixed_s", "ns_per_pixel", "fft_pairs", "grid_to_whole")
#: Rows of tables as make bench prints them.
_RUNS = {
    "2048x4096": """
| numpy: FFT pair, float32 | 0.16 / 0.16 | - | 18.6 / 18.6 | 1.00 / 1.00 | - | 225 MB |
| plain astropy script | 0.88 / 0.96 | -0.09 / 0.03 | 116 / 110 | 6.27 / 5.98 | - | 434 MB |
| whole, one thread | 1.02 / 1.02 | 0.66 / 0.66 | 43.0 / 42.9 | 2.32 / 2.31 | - | 125 MB |
| whole, two threads | 0.90 / 1.18 | 0.63 / 0.69 | 33.7 / 59.1 | 1.71 / 3.01 | - | 157 MB |
| whole, full variance | 1.22 / 1.22 | 0.62 / 0.62 | 72.6 / 73.0 | 3.70 / 3.77 | - | 132 MB |
| grid, one thread | 1.29 / 1.28 | 0.65 / 0.65 | 76.3 / 75.1 | 4.13 / 4.07 | 1.81 / 1.77 | 129 MB |
| grid, two threads | 1.19 / 1.54 | 0.69 / 0.74 | 59.8 / 95.2 | 3.04 / 4.85 | 1.78 / 1.64 | 169 MB |
| grid, full variance | 1.69 / 1.69 | 0.75 / 0.75 | 112 / 111 | 5.68 / 5.67 | 1.54 / 1.50 | 175 MB |
""",
    "4096x4096": """
| numpy: FFT pair, float32 | 0.34 / 0.34 | - | 20.3 / 20.3 | 1.00 / 1.00 | - | 417 MB |
| plain astropy script | 1.96 / 2.02 | -0.04 / 0.08 | 117 / 116 | 5.93 / 5.90 | - | 817 MB |
| whole, one thread | 1.66 / 1.66 | 0.69 / 0.69 | 57.9 / 57.7 | 2.86 / 2.85 | - | 139 MB |
| whole, two threads | 1.40 / 1.91 | 0.68 / 0.75 | 48.3 / 73.1 | 2.44 / 3.81 | - | 169 MB |
| whole, full variance | 1.99 / 1.98 | 0.63 / 0.63 | 80.6 / 80.6 | 3.82 / 3.86 | - | 143 MB |
| grid, one thread | 2.13 / 2.13 | 0.72 / 0.72 | 84.6 / 84.6 | 4.03 / 4.09 | 1.34 / 1.34 | 147 MB |
| grid, two threads | 1.99 / 2.68 | 0.78 / 0.86 | 76.8 / 112 | 3.78 / 5.56 | 1.55 / 1.45 | 189 MB |
| grid, full variance | 3.20 / 3.20 | 0.78 / 0.78 | 142 / 142 | 6.57 / 6.53 | 1.82 / 1.81 | 184 MB |
""",
    "10240x10240": """
| numpy: FFT pair, float32 | 2.07 / 2.07 | - | 19.8 / 19.8 | 1.00 / 1.00 | - | 2434 MB |
| plain astropy script | 8.83 / 8.89 | 0.07 / 0.16 | 83.5 / 83.2 | 3.68 / 3.67 | - | 4850 MB |
| whole, one thread | 5.57 / 5.57 | 0.71 / 0.70 | 46.4 / 46.4 | 1.82 / 1.88 | - | 196 MB |
| whole, two threads | 4.15 / 6.59 | 0.80 / 0.90 | 33.4 / 56.0 | 1.27 / 2.13 | - | 280 MB |
| whole, full variance | 7.87 / 7.87 | 0.63 / 0.63 | 69.0 / 69.0 | 3.52 / 3.52 | - | 207 MB |
| grid, one thread | 7.08 / 7.08 | 0.70 / 0.70 | 60.9 / 60.9 | 3.05 / 3.05 | 1.33 / 1.33 | 213 MB |
| grid, two threads | 5.35 / 8.62 | 0.79 / 0.87 | 43.2 / 73.7 | 2.19 / 3.72 | 1.29 / 1.32 | 351 MB |
| grid, full variance | 11.0 / 11.0 | 0.85 / 0.85 | 98 / 98 | 4.98 / 4.98 | 1.41 / 1.41 | 252 MB |
""",
}
#: By the version of Python.
_SECOND_CORE = {
    "3.11": """
| 4096x4096 | whole | 1.55 / 1.55 | 1.25 / 1.73 | 1.60 / 3.16 | 1.21 | 1.86 |
| 4096x4096 | grid | 1.98 / 1.98 | 1.78 / 2.48 | 2.10 / 4.05 | 1.09 | 1.87 |
""",
    "3.13t": """
| 4096x4096 | whole | 1.88 / 1.88 | 1.50 / 2.09 | 2.01 / 3.91 | 1.22 | 1.87 |
| 4096x4096 | grid | 2.24 / 2.24 | 1.76 / 2.44 | 2.46 / 4.83 | 1.28 | 1.87 |
""",
}
_VERIFY = """
| 4096x4096 | 1.43 / 1.43 | 1.83 / 1.83 | 1.29 | 1.29 | 139 MB |
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
    ("1024x1024", "whole", "39 (34-55)", "40 (40-41)", "1.06", "89", "89"),
    ("1024x1024", "grid", "57 (48-60)", "58 (57-59)", "1.08", "90", "90"),
    ("1440x1440", "whole", "37 (34-39)", "31 (31-33)", "1.11", "90", "90"),
    ("1440x1440", "grid", "52 (49-55)", "44 (44-45)", "1.13", "90", "95"),
    ("2048x4096", "whole", "16 (15-24)", "17 (17-17)", "1.13", "126", "125"),
    ("2048x4096", "grid", "26 (25-28)", "22 (22-24)", "1.18", "148", "129"),
    ("4096x4096", "whole", "8 (-5 to 10)", "9 (8-11)", "1.07", "137", "139"),
    ("4096x4096", "grid", "38 (12-48)", "11 (11-11)", "1.32", "142", "148"),
)
#: Images; triples a minute, time and CPU time as ratios to a batch with one job, memory.
_BATCHES = (
    ("1024x1024", "batch, one job", "129", "1.00", "1.00", "104"),
    ("1024x1024", "batch, two jobs", "193", "0.68", "1.09", "104"),
    ("1024x1024", "loop over run", "80", "1.58", "1.59", "90"),
    ("1024x1024", "decorrelate() on arrays", "174", "0.76", "1.01", "125"),
    ("1024x1024", "LSST's algorithm", "240", "0.55", "0.57", "209"),
    ("2048x4096", "batch, one job", "64", "1.00", "1.00", "138"),
    ("2048x4096", "batch, two jobs", "105", "0.61", "1.05", "139"),
    ("2048x4096", "loop over run", "56", "1.15", "1.47", "186"),
    ("2048x4096", "decorrelate() on arrays", "57", "1.13", "1.26", "478"),
    ("2048x4096", "LSST's algorithm", "27", "2.38", "2.41", "1036"),
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
2.7 s after other large processes had freed theirs, and 8 to 12 s otherwise. Importing numpy and
astropy is 0.3 s of every fixed part. With tile-compressed inputs diffdecor takes 1.2 times as long
as the plain script on them (2048x4096).

## A second core

The triples that are done in the same time, as ratio to one thread: by a second thread, or by two
runs at once with one thread each, as diffdecor batch has them; and the seconds of one and of two
threads. 3.13t is free-threaded Python, in which threads do not wait for one another's Python. It
must be told PYTHON_GIL=0: importing astropy 8.0, which does not say that it can do without the lock
of the interpreter, takes that lock again. One thread takes 1.1 to 1.2 times as long as in 3.11.

{{}}

Threads hand that lock over between any two calls of numpy. Two threads that add arrays, each its
own, do 0.74 times as many as one if these have 8192 values, 1.5 times with 32768, 1.7 with 131072
and 1.8 with 524288; without the lock 1.7 to 1.8 times. So by default there is one thread for each
2 megapixels, and at most one a core: two threads take 1.1 times as long as one over 1024x1024, and
about as long over 2048x2048. For many images diffdecor batch has processes, which gain nearly all
there is.

## diffdecor verify

Its time and CPU time, as ratios to those of run --mode whole on the same files, both with one
thread.

{{}}

## Other programs

The time as ratio to that of the plain script, and the peak memory in MB; diffdecor with two
threads. Measured on 2026-11-22, when the grid took a quarter longer than now. LSST's algorithm is
written after its description (transforms of the whole padded image in complex double precision).
SFFT's row makes the image only: no variance, no mask. Fewer turns of the slowest programs.

{{}}

## What measured noise adds

The difference between --noise-model measured and white: CPU time of the whole process, and of its
arithmetic alone, in nanoseconds per pixel, median and range of three turns with one thread; the
ratio of the times of both runs; the peak memory of both in MB. At most 64 windows are measured, of
128 x 128 pixels in images of up to 4 megapixels, 192 x 192 up to 33, and 256 x 256 beyond, so the
cost per pixel falls with their number: 3 ns at 10240x10240. Images of up to half a megapixel are
measured completely, and about half of those of up to 2.

{{}}

## Many triples

The same triple twelve times (make bench, 2026-12-01, two cores, medians of three): triples a
minute, time and CPU time as ratios to a batch with one job, and peak memory of a process in MB.
Arrays for decorrelate() and LSST's algorithm are read and written by astropy, in one process; they
check nothing, and record nothing. The start of the processes, half a second each, is in all of it:
of twenty triples of 2048x4096 two jobs do 1.8 times as many in the same time as one.

{{}}

10 000 rows that are done already are recognised in 4 s.

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
