"""Time the whole job, processes side by side, and print Markdown tables (`make bench`).

Every figure is of a fresh process, start included, files in to file out, with warm caches: median
of the turns. Ratios are medians of those of the turns. Tables of different days, or machines, are
compared in units of the yardstick, an FFT pair of the same image in numpy (`yardstick.py`).
"""

import argparse
import datetime as dt
import json
import os
import platform
import re
import shutil
import sys
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from statistics import median

import batches as side_by_side
from apart import apart, beside, threads, verified
from bench import FULL, ONE_THREAD, PEERS, VARYING, WHOLE, Bench, cell, pixels_of, ratio, say, table
from measure import Way

TINY, MIDDLE = "64x64", "2048x4096"
SIZES = [MIDDLE, "4096x4096", "10240x10240"]
LARGE = "20000x20000"
SMALL = ["1024x1024", "1440x1440"]  # the latter has most windows for its size
FITTED = {"21": "constant", "linear": "order 1", "blocks": "order 2, in blocks"}
KERNELS = ["11", "21", "31", "41", "61"]
STEPS = ["512", "256", "128", "64", "32"]


def ways(bench):
    """Everything there is, at every size."""
    columns = [
        bench.measure(
            bench.peer(size, "plain"),
            bench.whole(size),
            bench.whole(size, "diffdecor whole, double precision", "--precision", "double"),
            bench.grid(size),
            *(bench.peer(size, way) for way in PEERS if way not in {"plain", "read"}),
        )
        for size in bench.sizes
    ]
    lines = list(zip(*columns, strict=True))
    table(
        "The whole job: time, CPU time, ratio to the plain script, peak memory",
        ["way", *bench.sizes],
        [[line[0].name, *map(cell, line, lines[0])] for line in lines],
    )


def measured(bench):
    """What measured noise adds to a run."""
    title = "What measured noise adds: `--noise-model measured` less `white`"
    head = ["image", "mode", "CPU ns a pixel", "own arithmetic", "time", "peak memory", "white"]
    sizes = [*(SMALL if bench.sizes == SIZES else []), *bench.sizes]
    modes = ("whole", "21", bench.whole), ("grid", VARYING, bench.grid)
    table(title, head, (measured_row(bench, size, *one) for size in sizes for one in modes))


def measured_row(bench, size, mode, kernel, make):
    """One row: of a size in one mode."""
    options = "--noise-model", "measured", *ONE_THREAD  # others would wait for each other's Python
    white, found = bench.measure(
        make(size, f"{mode}, white", *ONE_THREAD), make(size, f"{mode}, measured", *options)
    )
    own = bench.own_cost(size, *(WHOLE if mode == "whole" else []), *ONE_THREAD, kernel=kernel)
    more = sorted(1e9 * one / pixels_of(size) for one in found.beyond(white, "cpu").values())
    costs = (median(more), more[0], more[-1]), [own[name] for name in ("own", "least", "most")]
    return [
        *(size, mode),
        *(f"{middle:.0f} ({least:.0f} to {most:.0f})" for middle, least, most in costs),
        *(f"**{ratio(found, white)}**", found.memory_used(), white.memory_used()),
    ]


def checks(bench):
    """`diffdecor check` beside a plain read of the same file."""
    rows = []
    for size in bench.sizes:
        plain, check = bench.measure(bench.peer(size, "read"), bench.check(size))
        rows.append([size, cell(plain), cell(check, plain)])
    table("`check`, and a plain read of the file", ["image", "plain read", "check"], rows)


def fits(bench):
    """The kernel from the images, beside a run on the same files that is given it."""
    size = "4096x4096" if bench.sizes == SIZES else bench.sizes[-1]
    rows = []
    for kernel, name in FITTED.items():
        run, fit = bench.measure(bench.ours("run", size, kernel=kernel), bench.fit(size, kernel))
        rows.append([name, cell(run), cell(fit, run), ratio(fit, run, "cpu")])
    head = ["kernel, 21 x 21", "`run` in grid mode", "`kernel fit`, ratio", "CPU, ratio"]
    table(f"The kernel from the images, {size}", head, rows)


def kernels(bench):
    """Time with the size of the kernel."""
    found = bench.measure(
        *(
            bench.whole(MIDDLE, kernel, *options, kernel=kernel)
            for kernel in KERNELS
            for options in ([], FULL)
        )
    )
    rows = [
        [f"{one.name} x {one.name}", half_width(one), cell(one), cell(full)]
        for one, full in zip(found[::2], found[1::2], strict=True)
    ]
    head = ["kernel", "half width of the filter", "whole", "whole, full variance"]
    table(f"With the size of the kernel, {MIDDLE}", head, rows)


def nodes(bench):
    """Time with the number of nodes of the grid."""
    steps = (bench.grid(MIDDLE, step, "--grid-step", step, "--no-scale-by-fwhm") for step in STEPS)
    whole, *grids = bench.measure(bench.whole(MIDDLE), *steps)
    rows = [[way.name, figure(way, "filters"), cell(way, whole)] for way in grids]
    head = ["`--grid-step` (pixels)", "filters", "grid, ratio to whole image"]
    table(f"With the number of nodes, {MIDDLE}", head, rows)


def compressed(bench):
    """Rice-compressed input."""
    found = bench.measure(
        *(
            way
            for ending in (".fits", ".fits.fz")
            for way in (
                bench.peer(MIDDLE, "plain", ending),
                bench.whole(MIDDLE, ending=ending),
                bench.grid(MIDDLE, ending=ending),
            )
        )
    )
    plain, packed = found[:3], found[3:]
    rows = [
        [one.name, cell(one, plain[0]), cell(two, packed[0])]
        for one, two in zip(plain, packed, strict=True)
    ]
    head = ["way", "`.fits`", "`.fits.fz`"]
    table(f"Compressed input, {MIDDLE}, ratio to the plain script with the same files", head, rows)


def batches(bench):
    """Many triples: batches beside loops, and a batch that is done already."""
    sizes = ["1024x1024", MIDDLE] if bench.sizes == SIZES else bench.sizes
    table(
        f"Throughput of batches: the same triple {bench.triples} times",
        ["image", "way", "triples a minute", "time, ratio to one job", "CPU, ratio", "peak memory"],
        (row for size in sizes for row in throughput(bench, size)),
    )
    folder = bench.data / f"done-{bench.rows}"
    found = bench.measure(
        side_by_side.done_already("`diffdecor batch`", folder, bench.rows),
        side_by_side.done_already("`diffdecor batch --status`", folder, bench.rows, "--status"),
    )
    rows = [[way.name, cell(way)] for way in found]
    table(f"{bench.rows} rows that are done already", ["command", "time, peak memory"], rows)


def throughput(bench, size):
    """Rows of one size."""
    files = bench.files(size, "21", ".fits")
    about = bench.data / f"batch-{size}", [path.absolute() for path in files], bench.triples
    found = bench.measure(
        side_by_side.batch("batch, one job", *about, "--jobs", "1"),
        side_by_side.batch("batch, two jobs", *about, "--jobs", "2"),
        side_by_side.loop("loop over `run`", *about),
        side_by_side.loop("loop over `run --threads 1`", *about, *ONE_THREAD),
        side_by_side.peers("`decorrelate` on arrays, astropy reads and writes", "library", *about),
        side_by_side.peers("LSST's algorithm", "lsst", *about),
    )
    for way in found:
        rate = "-" if way.failure else f"{60 * bench.triples / way.time():.1f}"
        ratios = [f"**{ratio(way, found[0], of)}**" for of in ("seconds", "cpu")]
        yield [size, way.name, rate, *ratios, way.failure or way.memory_used()]


def startup(bench):
    """What it costs to say something short, and to start a run."""
    imports = "import click", "pass", "import numpy, astropy.io.fits"
    ours = {
        "`diffdecor --help`": (["--help"], 0),
        "`diffdecor run --help`": (["run", "--help"], 0),
        "`diffdecor run` without files: usage error": (["run"], 2),
        "`diffdecor run --mode no`: usage error": (["run", "--mode", "no"], 2),
    }
    found = bench.measure(
        *(Way(f'`python -c "{one}"`', [sys.executable, "-c", one]) for one in imports),
        *(
            replace(bench.way(name, [], *words), exit_code=code)
            for name, (words, code) in ours.items()
        ),
        bench.grid(TINY, f"`diffdecor run`, {TINY}"),
        runs=4 * bench.runs,
    )
    rows = []
    for way in found:
        times = (f"{1000 * way.time(of):.0f} ms" for of in ("seconds", "cpu"))
        ratios = (ratio(way, found[n]) for n in (0, 2))
        rows.append([way.name, *times, *ratios, way.memory_used()])
    head = ["command", "time", "CPU", "ratio to click", "to numpy and astropy", "peak memory"]
    table("Start-up", head, rows)


def figure(way, name):
    """Return one of the figures that `run --json` prints."""
    return "-" if way.failure else str(json.loads(way.stdout)[name])


def half_width(way):
    return figure(way, "filter_half_width")


SECTIONS = {
    f.__name__: f
    for f in (
        *(apart, threads, verified, startup, ways, measured, checks, fits, kernels, nodes),
        *(compressed, batches),
    )
}


def size(text):
    if not re.fullmatch(r"[1-9]\d*x[1-9]\d*", text):
        msg = f"{text} is not a size such as 4096x4096"
        raise argparse.ArgumentTypeError(msg)
    return text


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--only", nargs="+", choices=SECTIONS, default=list(SECTIONS), help="tables to make"
    )
    parser.add_argument(
        "--beside",
        metavar="CHECKOUT",
        help="compare with the package of another checkout, or that of another Python, "
        "in a table of its own instead of all others",
    )
    parser.add_argument(
        "--sizes",
        type=size,
        nargs="+",
        default=SIZES,
        metavar="NYxNX",
        help=f"images; {LARGE} is possible, too: its files take 20 GB",
    )
    parser.add_argument(
        "--small",
        type=size,
        default="2048x2048",
        metavar="NYxNX",
        help="images that those are compared with to tell the fixed part of a run from its pixels",
    )
    parser.add_argument("--triples", type=int, default=12, help="triples of a batch")
    parser.add_argument("--rows", type=int, default=10000, help="rows that are done already")
    parser.add_argument("--runs", type=int, default=5, help="turns that count")
    parser.add_argument(
        "--patience",
        type=float,
        default=300,
        help="seconds after which a slow way has enough turns",
    )
    parser.add_argument(
        "--data", type=Path, default=Path("build/benchmarks"), help="where the files are kept"
    )
    parser.add_argument(
        "--sfft-python",
        default="build/sfft/bin/python",
        help="Python of an environment with `pip install sfft`",
    )
    arguments = parser.parse_args()
    other = arguments.beside
    if other and not (Path(other, "diffdecor").is_dir() or shutil.which(other)):
        parser.error(f"{other} is neither a checkout nor a Python")
    if arguments.small in arguments.sizes and (other or "apart" in arguments.only):
        parser.error(f"{arguments.small} is what other sizes are compared with (--small)")
    return arguments


def main():
    """Print the tables, and what they were made with."""
    arguments = parse_arguments()
    arguments.data.mkdir(parents=True, exist_ok=True)
    packages = ", ".join(f"{name} {version(name)}" for name in ("numpy", "scipy", "astropy"))
    say(
        f"{dt.datetime.now(dt.UTC):%Y-%m-%d}, {os.cpu_count()} cores "
        f"({platform.machine()}), Python {platform.python_version()}, {packages}; "
        f"medians of {max(1, arguments.runs)}"
    )
    bench = Bench(arguments)
    for make in [beside] if arguments.beside else [SECTIONS[name] for name in arguments.only]:
        make(bench)


if __name__ == "__main__":
    main()
