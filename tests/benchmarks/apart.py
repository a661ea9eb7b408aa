"""What a run is made of, a fixed part and what every pixel costs; tables of `run.py`.

Both are of the line through the times of two sizes, of the same turn. The smaller one, 2048 x 2048
unless it is given, has enough pixels for all that is measured in samples: noise, and the whiteness
of the result. The fixed part contains these, beside the start of the process, imports and filters;
what images of a few pixels take is the start only. Cells are of the time and of the CPU time.
"""

from dataclasses import dataclass
from itertools import chain
from statistics import median

from bench import FULL, ONE_THREAD, TWO_THREADS, Bench, figures, pixels_of, ratio, table
from measure import Way, ratio_of_turns

TIMES = "seconds", "cpu"


@dataclass(frozen=True)
class Part:
    """A way on images of a size, and on smaller ones if it has a fixed part."""

    way: Way
    pixels: int
    small: Way | None = None
    small_pixels: int = 0

    @property
    def ways(self):
        return [self.way, *([self.small] if self.small else [])]

    @property
    def failure(self):
        return next((way.failure for way in self.ways if way.failure), "")

    def pixel(self, of):
        """Return the nanoseconds a pixel of every turn, of its time or its `cpu`."""
        more = self.way.beyond(self.small, of) if self.small else self.way.counted(of)
        pixels = self.pixels - self.small_pixels
        return {turn: 1e9 * seconds / pixels for turn, seconds in more.items()}

    def nanoseconds(self):
        return both(median(self.pixel(of).values()) for of in TIMES)

    def fixed(self):
        """Return the seconds that do not depend on the number of pixels."""
        return both(map(self._fixed, TIMES))

    def _fixed(self, of):
        seconds, pixel = self.small.counted(of), self.pixel(of)
        return median(seconds[turn] - 1e-9 * self.small_pixels * pixel[turn] for turn in pixel)

    def over(self, other):
        """Return the ratios to what a pixel costs elsewhere."""
        if other is None or self.failure or other.failure:
            return "-"
        return both(ratio_of_turns(self.pixel(of), other.pixel(of)) for of in TIMES)


def both(numbers):
    """Figures of the time and of the CPU time."""
    return " / ".join(map(figures, numbers))


def seconds(way):
    return way.failure or both(map(way.time, TIMES))


def parts(bench, size, make):
    """Return what `make` gives for a size, as parts to be measured."""
    sizes = size, bench.small
    ways = zip(*(make(one) for one in sizes), strict=True)
    big, less = map(pixels_of, sizes)
    return [Part(way, big, small, less) for way, small in ways]


def measure(bench, parts):
    bench.measure(*chain.from_iterable(part.ways for part in parts))


def runs(bench, size):
    """Return the ways of a run for a whole image, and the same on a grid; one thread is usual."""
    options = {
        "one thread": ONE_THREAD,
        "two threads": TWO_THREADS,
        "full variance": [*FULL, *ONE_THREAD],
    }
    return [
        make(size, f"{mode}, {name}", *words)
        for mode, make in (("whole", bench.whole), ("grid", bench.grid))
        for name, words in options.items()
    ]


def apart(bench):
    """A run, taken apart."""
    head = ["way", "s", "fixed, s", "ns a pixel", "in FFT pairs", "grid to whole", "peak memory"]
    for size in bench.sizes:
        yardstick = Part(bench.yardstick(size), pixels_of(size))
        plain = parts(bench, size, lambda size: [bench.peer(size, "plain")])
        ours = parts(bench, size, lambda size: runs(bench, size))
        found = [yardstick, *plain, *ours]
        measure(bench, found)
        whole = ours[: len(ours) // 2]
        others = [*[None] * (len(found) - len(whole)), *whole]
        rows = (apart_row(*one, yardstick) for one in zip(found, others, strict=True))
        table(f"A run, taken apart, {size}: time / CPU time", head, rows)


def apart_row(part, whole, yardstick):
    if part.failure:
        return [part.way.name, part.failure, *["-"] * 5]
    return [
        *(part.way.name, seconds(part.way), part.fixed() if part.small else "-"),
        *(part.nanoseconds(), part.over(yardstick), part.over(whole), part.way.memory_used()),
    ]


def verified(bench):
    """`verify` beside a run on the same files."""
    rows = []
    for size in bench.sizes:
        run, verify = bench.whole(size, "run", *ONE_THREAD), bench.verify(size, *ONE_THREAD)
        bench.measure(run, verify)
        ratios = (ratio(verify, run, of) for of in TIMES)
        rows.append([size, seconds(run), seconds(verify), *ratios, verify.memory_used()])
    head = ["image", "`run --mode whole`, s", "`verify`, s", "ratio", "CPU, ratio", "peak memory"]
    table("`verify` beside a run, one thread: time / CPU time", head, rows)


def threads(bench):
    """What a second core gains: by one more thread, or by one more process with another triple."""
    rows = []
    for size in bench.sizes:
        for mode, make in (("whole", bench.whole), ("grid", bench.grid)):
            one = make(size, "one thread", *ONE_THREAD)
            ways = one, make(size, "two threads", *TWO_THREADS), bench.at_once("two runs", one)
            bench.measure(*ways)
            rows.append([size, mode, *map(seconds, ways), *gains(*ways)])
    title = "A second core: time / CPU time; triples in the same time, ratio to one thread"
    columns = ["one thread, s", "two threads, s", "two runs at once, s"]
    table(title, ["image", "mode", *columns, "gain of two threads", "of two runs at once"], rows)
    rows = [[size, f"{time:.0f}", f"{gain:.2f}"] for size, (time, gain) in bench.calls().items()]
    table("Calls of numpy", ["values", "one call, microseconds", "gain of two threads"], rows)


def gains(one, two, twice):
    """Return the triples in the same time, as ratios to one thread."""
    found = (1, one.ratio(two)), (2, one.ratio(twice))
    return ["-" if gain is None else figures(triples * gain) for triples, gain in found]


def beside(bench):
    """Two checkouts, or two Pythons, in turns."""
    other = Bench(bench.arguments, bench.arguments.beside)
    columns = [f"{what}: {where}" for what in ("s", "ns a pixel") for where in ("there", "here")]
    head = ["way", *columns[:2], "ratio", *columns[2:], "ratio", "peak memory: there", "here"]
    for size in bench.sizes:
        there = parts(bench, size, lambda size: everything(other, size))
        here = parts(bench, size, lambda size: everything(bench, size))
        pairs = list(zip(there, here, strict=True))
        measure(bench, chain.from_iterable(pairs))
        title = f"{bench.arguments.beside} (there) and this one (here), {size}: time / CPU time"
        table(title, head, (beside_row(*one) for one in pairs))


def everything(bench, size):
    """Return all that is compared with another checkout."""
    measured = ["--noise-model", "measured", *ONE_THREAD]
    return [
        *runs(bench, size),
        bench.whole(size, "whole, measured noise", *measured),
        bench.grid(size, "grid, measured noise", *measured),
        bench.verify(size, *ONE_THREAD),
    ]


def beside_row(there, here):
    ways = there.way, here.way
    failure = there.failure or here.failure
    if failure:
        return [here.way.name, failure, *["-"] * 7]
    ratios = both(here.way.ratio(there.way, of) for of in TIMES)
    return [
        *(here.way.name, *map(seconds, ways), ratios),
        *(there.nanoseconds(), here.nanoseconds(), here.over(there)),
        *(way.memory_used() for way in ways),
    ]
