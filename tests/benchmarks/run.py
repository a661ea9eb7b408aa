"""Time the whole job, processes side by side, and print Markdown tables (`make bench`).

Every figure is of a fresh process, start included, files in to file out, with warm caches: median
of the turns, ratio to a plain astropy script that reads and writes the same files, peak memory.
"""

import argparse
import datetime as dt
import json
import os
import platform
import shutil
import subprocess
import sys
from functools import cache
from importlib.metadata import version
from pathlib import Path

import batches as side_by_side
from measure import Way, take_turns

HERE = Path(__file__).parent
MIDDLE = "2048x4096"
SIZES = [MIDDLE, "4096x4096", "10240x10240"]
PIXELS = ["1024x1024", *SIZES]
LARGE = "20000x20000"
SMALL = ["1024x1024", "1440x1440"]  # the latter has most windows for its size
VARYING = "varying"
FITTED = {"21": "constant", "linear": "order 1", "blocks": "order 2, in blocks"}
KERNELS = ["11", "21", "31", "41", "61"]
STEPS = ["512", "256", "128", "64", "32"]
PEERS = {  # name, and bytes a pixel that it needs
    "read": ("plain astropy script: read the difference", 15),
    "plain": ("plain astropy script: read and write", 50),
    "rfft2": ("astropy, scipy rfft2 in one go", 60),
    "lsst": ("LSST's algorithm", 125),
    "lsst-full": ("LSST's algorithm, full variance", 200),
    "sfft": ("SFFT's kernel, astropy convolve_fft, image only", 140),
}
WHOLE = ["--mode", "whole"]
ONE_THREAD = ["--threads", "1"]
FULL = ["--variance", "full"]


def say(*words):
    print(*words, flush=True)  # noqa: T201


class Bench:
    """The files, and what is run over them."""

    def __init__(self, arguments):
        self.data, self.runs, self.patience = arguments.data, arguments.runs, arguments.patience
        self.sizes, self.large = arguments.sizes, arguments.large
        self.triples, self.rows = arguments.triples, arguments.rows
        self.sfft = shutil.which(arguments.sfft_python)
        self.output = self.data / "out.fits"
        self.files = cache(self._files)

    def _files(self, size, kernel, ending):
        """Science, template, difference and kernel; made if they are not there."""
        folder = self.data / size
        make = [sys.executable, HERE / "data.py", folder, size, "--kernels", kernel]
        subprocess.run([*make, *(["--compress"] if ending != ".fits" else [])], check=True)
        images = [folder / f"{name}{ending}" for name in ("science", "template")]
        return [*images, folder / f"difference-{kernel}{ending}", folder / f"kernel-{kernel}.fits"]

    def ours(self, name, size, *options, kernel="21", ending=".fits"):
        *images, kernel = self.files(size, kernel, ending)
        model = [] if "--noise-model" in options else ["--noise-model", "white"]
        command = [sys.executable, "-m", "diffdecor", "run", *images, "--kernel", kernel, *options]
        command += ["--convolved", "template", "-o", self.output, "--json", "--quiet", *model]
        return Way(name, command, self.output, inputs=images)

    def own_cost(self, size, *options, kernel):
        """Noise measured in one process, over and over: its time, and that of reading."""
        run = self.ours("", size, "--noise-model", "measured", *options, kernel=kernel).command
        arguments = ["--output" if word == "-o" else word for word in run[4:] if word != "--json"]
        command = [sys.executable, HERE / "measured_cost.py", self.runs, *arguments]
        found = subprocess.run([*map(str, command)], check=True, stdout=subprocess.PIPE, text=True)
        return json.loads(found.stdout)

    def whole(self, size, name="diffdecor whole", *options, **files):
        return self.ours(name, size, *WHOLE, *options, **files)

    def grid(self, size, name="diffdecor grid", *options, ending=".fits"):
        return self.ours(name, size, *options, kernel=VARYING, ending=ending)

    def fit(self, size, kernel):
        """The kernel found from the images, into a file of its own."""
        *images, _ = self.files(size, kernel, ".fits")
        output = self.data / "fitted.fits"
        command = [sys.executable, "-m", "diffdecor", "kernel", "fit", *images, "-o", output]
        return Way("diffdecor kernel fit", command, output, inputs=images)

    def check(self, size):
        difference = self.files(size, "21", ".fits")[2]
        command = [sys.executable, "-m", "diffdecor", "check", difference, "--quiet"]
        return Way("diffdecor check", command, inputs=[difference])

    def peer(self, size, way, ending=".fits"):
        name, memory = PEERS[way]
        ny, nx = map(int, size.split("x"))
        python = self.sfft if way == "sfft" else sys.executable
        *images, kernel = self.files(size, "21", ending)
        command = [python, HERE / "peers.py", way, *images, kernel, self.output]
        failure = "" if python else "not installed"
        return Way(name, command, self.output, images, memory * ny * nx, failure=failure)

    def measure(self, *ways, runs=None):
        return take_turns(ways, runs or self.runs, self.patience)


def table(title, head, rows):
    """Print one Markdown table, every row as soon as there is one."""
    say(f"\n**{title}**\n")
    for line in (head, ["---"] * len(head), *rows):
        say(f"| {' | '.join(line)} |")


def ratio(way, other, of="seconds"):
    found = way.ratio(other, of)
    return "-" if found is None else f"{found:.2f}"


def cell(way, other=None):
    """Time, ratio if there is something to compare with, and memory."""
    if way.failure:
        return way.failure
    time = f"{way.time():.2f} s" if way.time() < 20 else f"{way.time():.0f} s"
    return ", ".join([time, *([f"**{ratio(way, other)}**"] if other else []), way.memory_used()])


def ways(bench):
    """Everything there is, at every size."""
    columns = [
        bench.measure(
            bench.peer(size, "plain"),
            bench.whole(size),
            bench.whole(size, "diffdecor whole, one thread", "--threads", "1"),
            bench.whole(size, "diffdecor whole, full variance", *FULL),
            bench.whole(size, "diffdecor whole, double precision", "--precision", "double"),
            bench.grid(size),
            bench.grid(size, "diffdecor grid, full variance", *FULL),
            *(bench.peer(size, way) for way in PEERS if way not in {"plain", "read"}),
        )
        for size in bench.sizes
    ]
    lines = list(zip(*columns, strict=True))
    plain, whole = lines[:2]
    table(
        "The whole job: time, ratio to the plain script, peak memory",
        ["way", *bench.sizes],
        [[line[0].name, *map(cell, line, plain)] for line in lines],
    )
    table(
        "The same, ratio to `diffdecor whole`",
        ["way", *bench.sizes],
        [[line[0].name, *map(ratio, line, whole)] for line in lines],
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
    ny, nx = map(int, size.split("x"))
    options = "--noise-model", "measured"
    white, found = bench.measure(make(size), make(size, f"{mode}, measured", *options))
    own = bench.own_cost(size, *(WHOLE if mode == "whole" else []), kernel=kernel)
    more = [1e9 * one / (ny * nx) for one in found.more_cpu(white)]
    costs = more, [own[name] for name in ("own", "least", "most")]
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


def pixels(bench):
    """Time and memory with the size of the image."""
    rows = []
    for size in (*PIXELS, *([LARGE] if bench.large else [])):
        whole, grid = bench.measure(bench.whole(size), bench.grid(size))
        rows.append([size, cell(whole), cell(grid)])
    table("With the number of pixels", ["image", "whole", "grid"], rows)


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


def threads(bench):
    """Time with the number of threads."""
    size = "4096x4096"
    counts = [str(n) for n in sorted({1, 2, os.cpu_count()})]
    found = bench.measure(
        *(
            way
            for n in counts
            for way in (
                bench.whole(size, n, "--threads", n),
                bench.grid(size, n, "--threads", n),
            )
        )
    )
    rows = [
        [whole.name, cell(whole, found[0]), cell(grid, found[1])]
        for whole, grid in zip(found[::2], found[1::2], strict=True)
    ]
    table(f"With the number of threads, {size}", ["threads", "whole", "grid"], rows)


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
    """What it costs to say something short."""
    python, ours = [sys.executable], [sys.executable, "-m", "diffdecor"]
    found = bench.measure(
        Way('`python -c "import click"`', [*python, "-c", "import click"]),
        Way('`python -c "pass"`', [*python, "-c", "pass"]),
        Way("`diffdecor --help`", [*ours, "--help"]),
        Way("`diffdecor run --help`", [*ours, "run", "--help"]),
        Way("`diffdecor run` without files: usage error", [*ours, "run"], exit_code=2),
        Way("`diffdecor run --mode no`: usage error", [*ours, "run", "--mode", "no"], exit_code=2),
        runs=4 * bench.runs,
    )
    rows = [
        [way.name, f"{1000 * way.time():.0f} ms", ratio(way, found[0]), way.memory_used()]
        for way in found
    ]
    table("Start-up", ["command", "time", "ratio to click", "peak memory"], rows)


def figure(way, name):
    """Return one of the figures that `run --json` prints."""
    return "-" if way.failure else str(json.loads(way.stdout)[name])


def half_width(way):
    return figure(way, "filter_half_width")


SECTIONS = {
    f.__name__: f
    for f in (
        *(startup, ways, measured, checks, fits, pixels, kernels, nodes, threads, compressed),
        batches,
    )
}


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--only", nargs="+", choices=SECTIONS, default=list(SECTIONS), help="tables to make"
    )
    parser.add_argument(
        "--sizes", nargs="+", default=SIZES, metavar="NYxNX", help="images of the table of all ways"
    )
    parser.add_argument(
        "--large", action="store_true", help=f"{LARGE} too, of which the files take 20 GB"
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
    return parser.parse_args()


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
    for section in arguments.only:
        SECTIONS[section](bench)


if __name__ == "__main__":
    main()
