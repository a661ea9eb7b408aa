"""The files of the benchmarks, the commands that run over them, and how tables are printed."""

import json
import math
import shlex
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

from measure import Way, take_turns

HERE = Path(__file__).parent
VARYING = "varying"
PEERS = {  # name, and bytes a pixel that it needs
    "read": ("plain astropy script: read the difference", 15),
    "plain": ("plain astropy script", 50),
    "rfft2": ("astropy, scipy rfft2 in one go", 60),
    "lsst": ("LSST's algorithm", 125),
    "lsst-full": ("LSST's algorithm, full variance", 200),
    "sfft": ("SFFT's kernel, astropy convolve_fft, image only", 140),
}
WHOLE = ["--mode", "whole"]
ONE_THREAD = ["--threads", "1"]
TWO_THREADS = ["--threads", "2"]
FULL = ["--variance", "full"]


def say(*words):
    print(*words, flush=True)  # noqa: T201


def program(at):
    """Return the command and the environment of the package in a checkout, or of a Python."""
    words = ["-P", "-m", "diffdecor"]  # not the package of the folder that this is started in
    if Path(at).is_dir():
        return [sys.executable, *words], {"PYTHONPATH": str(Path(at).absolute())}
    return [shutil.which(at), *words], {"PYTHONPATH": ""}


def pixels_of(size):
    ny, nx = map(int, size.split("x"))
    return ny * nx


class Bench:
    """The files, and what is run over them by the package in a checkout, or of a Python."""

    def __init__(self, arguments, at=HERE.parents[1]):
        self.arguments = arguments
        self.program, self.environment = program(at)
        self.data, self.runs, self.patience = arguments.data, arguments.runs, arguments.patience
        self.sizes, self.small = arguments.sizes, arguments.small
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

    def way(self, name, inputs, *words, output=None):
        """Return a command of diffdecor."""
        return Way(name, [*self.program, *words], output, inputs, environment=self.environment)

    def ours(self, name, size, *options, kernel="21", ending=".fits"):
        *images, kernel = self.files(size, kernel, ending)
        model = [] if "--noise-model" in options else ["--noise-model", "white"]
        words = [*images, "--kernel", kernel, *options, "--convolved", "template", *model]
        words += ["-o", self.output, "--json", "--quiet"]
        return self.way(name, images, "run", *words, output=self.output)

    def verify(self, size, *options):
        *images, kernel = self.files(size, "21", ".fits")
        words = *images, "--kernel", kernel, "--convolved", "template", "--quiet", *options
        return self.way("verify", images, "verify", *words)

    def at_once(self, name, way):
        """Return two processes of a way at the same time, each with its own output."""
        out = self.data / "two"
        one, other = (
            shlex.join(
                str(out / f"{n}.fits" if word == way.output else word) for word in way.command
            )
            for n in (1, 2)
        )
        script = f"mkdir -p {shlex.quote(str(out))}; {one} & first=$!; {other}; second=$?; "
        script += "wait $first && exit $second"
        return Way(name, ["sh", "-c", script], out, way.inputs, environment=way.environment)

    def own_cost(self, size, *options, kernel):
        """Noise measured in one process, over and over: its time, and that of reading."""
        run = self.ours("", size, "--noise-model", "measured", *options, kernel=kernel).command
        words = run[run.index("run") + 1 :]
        arguments = ["--output" if word == "-o" else word for word in words if word != "--json"]
        command = [sys.executable, HERE / "measured_cost.py", self.runs, *arguments]
        found = subprocess.run([*map(str, command)], check=True, stdout=subprocess.PIPE, text=True)
        return json.loads(found.stdout)

    def calls(self):
        """Return what calls of numpy of some sizes take, and gain by a second thread."""
        command = [sys.executable, HERE / "calls.py"]
        found = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        return json.loads(found.stdout)

    def whole(self, size, name="diffdecor whole", *options, **files):
        return self.ours(name, size, *WHOLE, *options, **files)

    def grid(self, size, name="diffdecor grid", *options, ending=".fits"):
        return self.ours(name, size, *options, kernel=VARYING, ending=ending)

    def fit(self, size, kernel):
        """The kernel found from the images, into a file of its own."""
        *images, _ = self.files(size, kernel, ".fits")
        output = self.data / "fitted.fits"
        words = "kernel", "fit", *images, "-o", output
        return self.way("diffdecor kernel fit", images, *words, output=output)

    def check(self, size):
        difference = self.files(size, "21", ".fits")[2]
        return self.way("diffdecor check", [difference], "check", difference, "--quiet")

    def peer(self, size, way, ending=".fits"):
        name, memory = PEERS[way]
        python = self.sfft if way == "sfft" else sys.executable
        *images, kernel = self.files(size, "21", ending)
        command = [python, HERE / "peers.py", way, *images, kernel, self.output]
        failure = "" if python else "not installed"
        return Way(name, command, self.output, images, memory * pixels_of(size), failure=failure)

    def yardstick(self, size):
        command = [sys.executable, HERE / "yardstick.py", size]
        return Way("numpy: FFT pair, float32", command, prints=True)

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
    """Time, CPU time, the time's ratio if there is something to compare with, and memory."""
    if way.failure:
        return way.failure
    times = f"{figures(way.time())} s", f"{figures(way.time('cpu'))} s CPU"
    return ", ".join([*times, *([f"**{ratio(way, other)}**"] if other else []), way.memory_used()])


def figures(number):
    """Three significant figures, at most two of them behind the point."""
    return f"{number:.{min(2, max(0, 2 - math.floor(math.log10(abs(number) or 1))))}f}"
