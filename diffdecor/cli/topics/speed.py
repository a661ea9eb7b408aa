"""Time and memory, beside other programs; `make bench` measures it."""

from __future__ import annotations

from collections.abc import Iterator

from diffdecor.cli.topics.blocks import Block, Row, Table, parsed, table

#: Of the tables of runs.
DATE, MACHINE = (
    "2026-11-30",
    "a virtual machine with 2 cores (x86_64), Python 3.11.7, numpy 2.4.6, astropy 8.0.2",
)
_SIZES = ("2048x4096", "4096x4096", "10240x10240")
_COLUMNS = ("s", "fixed", "ns", "CPU ns", "FFT pairs", "to whole", "MB")
_FACTS = ("s", "fixed_s", "ns_per_pixel", "fft_pairs", "grid_to_whole")
#: Rows of tables as make bench prints them.
_RUNS = {
    "2048x4096": """
| numpy: FFT pair, float32 | 0.33 / 0.16 | - | 39.1 / 19.5 | 1.00 / 1.00 | - | 225 MB |
| plain astropy script | 2.18 / 1.02 | 0.11 / 0.09 | 246 / 110 | 6.30 / 5.66 | - | 433 MB |
| whole, one thread | 2.38 / 1.18 | 2.23 / 0.80 | 18.4 / 45.3 | 0.47 / 2.32 | - | 137 MB |
| whole, two threads | 3.59 / 1.28 | 1.67 / 0.94 | 228 / 39.7 | 5.84 / 2.04 | - | 167 MB |
| whole, full variance | 2.73 / 1.35 | 1.81 / 0.88 | 109 / 56.4 | 2.80 / 2.89 | - | 143 MB |
| grid, one thread | 3.41 / 1.69 | 1.66 / 0.82 | 208 / 104 | 5.33 / 5.35 | 11.3 / 2.30 | 139 MB |
| grid, two threads | 3.55 / 1.72 | 1.62 / 0.80 | 229 / 109 | 5.87 / 5.61 | 1.00 / 2.75 | 187 MB |
| grid, full variance | 4.33 / 2.12 | 1.96 / 0.87 | 282 / 149 | 7.22 / 7.64 | 2.58 / 2.64 | 177 MB |
""",
    "4096x4096": """
| numpy: FFT pair, float32 | 0.67 / 0.33 | - | 40.0 / 19.7 | 1.00 / 1.00 | - | 417 MB |
| plain astropy script | 2.82 / 1.48 | 0.37 / 0.20 | 146 / 76.0 | 3.65 / 3.86 | - | 817 MB |
| whole, one thread | 4.23 / 1.78 | 2.82 / 0.80 | 84.0 / 58.9 | 2.10 / 2.99 | - | 148 MB |
| whole, two threads | 5.44 / 1.78 | 2.56 / 0.89 | 171 / 53.0 | 4.29 / 2.69 | - | 181 MB |
| whole, full variance | 5.34 / 2.18 | 2.12 / 0.84 | 192 / 79.8 | 4.81 / 4.05 | - | 158 MB |
| grid, one thread | 6.90 / 2.73 | 1.09 / 0.86 | 346 / 112 | 8.66 / 5.67 | 4.12 / 1.90 | 155 MB |
| grid, two threads | 5.07 / 2.82 | 1.38 / 0.88 | 220 / 116 | 5.51 / 5.87 | 1.29 / 2.18 | 214 MB |
| grid, full variance | 6.90 / 3.60 | 1.64 / 1.04 | 313 / 153 | 7.84 / 7.75 | 1.63 / 1.91 | 166 MB |
""",
    "10240x10240": """
| numpy: FFT pair, float32 | 0.67 / 0.33 | - | 40.0 / 19.7 | 1.00 / 1.00 | - | 417 MB |
| plain astropy script | 2.82 / 1.48 | 0.37 / 0.20 | 146 / 76.0 | 3.65 / 3.86 | - | 817 MB |
| whole, one thread | 4.23 / 1.78 | 2.82 / 0.80 | 84.0 / 58.9 | 2.10 / 2.99 | - | 148 MB |
| whole, two threads | 5.44 / 1.78 | 2.56 / 0.89 | 171 / 53.0 | 4.29 / 2.69 | - | 181 MB |
| whole, full variance | 5.34 / 2.18 | 2.12 / 0.84 | 192 / 79.8 | 4.81 / 4.05 | - | 158 MB |
| grid, one thread | 6.90 / 2.73 | 1.09 / 0.86 | 346 / 112 | 8.66 / 5.67 | 4.12 / 1.90 | 155 MB |
| grid, two threads | 5.07 / 2.82 | 1.38 / 0.88 | 220 / 116 | 5.51 / 5.87 | 1.29 / 2.18 | 214 MB |
| grid, full variance | 6.90 / 3.60 | 1.64 / 1.04 | 313 / 153 | 7.84 / 7.75 | 1.63 / 1.91 | 166 MB |
""",
}
_SECOND_CORE = """
| 4096x4096 | whole | 1.50 / 1.50 | 1.30 / 1.60 | 1.60 / 3.00 | 1.15 | 1.88 |
| 4096x4096 | grid | 2.70 / 2.70 | 1.90 / 2.80 | 2.80 / 5.50 | 1.42 | 1.93 |
"""
_VERIFY = """
| 4096x4096 | 1.50 / 1.50 | 2.25 / 2.20 | 1.50 | 1.47 | 1400 MB |
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
on {DATE} on {MACHINE}: medians of five turns, warm caches.

{{}}

The time of the plain script depends on how fast the system finds memory for it: 10240x10240 took
2.7 s after other large processes had freed theirs, and 8 to 12 s otherwise; diffdecor took 4 s in
both cases. Importing numpy and astropy is 0.3 s of every fixed part. With tile-compressed inputs
diffdecor takes 1.2 times as long as the plain script on them (2048x4096).

## A second core

The triples that are done in the same time, as ratio to one thread: by a second thread, or by two
runs at once with one thread each, as diffdecor batch has them.

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
other work had spoilt it); the peak memory of both in MB. In images of more than 2 megapixels 64
windows of 256 x 256 pixels are measured, so the cost per pixel falls with their number. Smaller
images are measured completely: 0.2 to 0.5 s up to 1440x1440.

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
        "image": "image",
        "mode": "mode",
        "two_threads": "two threads",
        "two_runs": "two runs at once",
    }
    of_verify = {"image": "image", "time": "time", "cpu": "CPU time", "memory": "MB"}
    verify = ((image, *cells) for image, _, _, *cells in _pasted(_VERIFY))
    core = ((image, mode, *cells[-2:]) for image, mode, *cells in _pasted(_SECOND_CORE))
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
