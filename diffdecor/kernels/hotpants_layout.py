"""Where HOTPANTS's regions lie: its command line, and the buffered regions of its polynomials."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from diffdecor.kernels.model import Blocks, Box, Side
from diffdecor.kernels.registry import KernelOptions
from diffdecor.kernels.source import Source

logger = logging.getLogger(__name__)

# Options that shape the kernel, and the numbers that each takes.
_NUMBERS = {
    **dict.fromkeys(("r", "nrx", "nry", "nsx", "nsy", "rss", "kcs", "ip", "tp"), 1),
    "gd": 4,
}
_FLAGS = ("rf", "rkw", "pca")
_DEFAULTS = {"nsx": 10, "nsy": 10, "rss": 15}
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?"

_REGION = re.compile(r"\s*\[\s*(\d+)\s*:\s*(\d+)\s*,\s*(\d+)\s*:\s*(\d+)\s*\]\s*")

Command = Mapping[str, tuple[float, ...]]


@dataclass(frozen=True)
class Layout:
    """How all regions of a solution are laid out."""

    #: Pixels by which a region is grown to its buffered region, within the limits.
    padding: int
    limits: Box
    #: Pixels over which the tool held the kernel constant.
    step: int
    #: What the tool subtracted from the images beforehand.
    science_pedestal: float = 0.0
    template_pedestal: float = 0.0

    def buffered(self, box: Box) -> Box:
        """Return the region on which the polynomials of the region `box` live."""
        return Box(
            max(box.xmin - self.padding, self.limits.xmin),
            min(box.xmax + self.padding, self.limits.xmax),
            max(box.ymin - self.padding, self.limits.ymin),
            min(box.ymax + self.padding, self.limits.ymax),
        )

    def blocks(self, box: Box, width: int) -> Blocks:
        """Return where the tool held a kernel of odd `width` constant in the region `box`."""
        outer, half = self.buffered(box), width // 2
        return Blocks(outer.xmin + half, outer.ymin + half, self.step, half)

    def pedestal(self, side: Side, kernel_sum: float) -> float:
        """Return what the pedestals add to the background that the tool fitted."""
        if side == "template":
            return self.science_pedestal - kernel_sum * self.template_pedestal
        return self.template_pedestal - kernel_sum * self.science_pedestal


def parse_command(text: object) -> Command:
    """Return the options of a DIFFCMD that shape the kernel, and their numbers.

    An option has no numbers where they cannot be separated: some builds keep only the last
    argument, a fork joins all of them. Empty without a command; a command always has ``inim``.
    """
    command = "" if text is None else str(text)
    if "-inim" not in command:
        return {}
    words = command.split()
    found = _spaced(words) if "-inim" in words else _concatenated(command)
    return {"inim": (), **found}


def _spaced(words: list[str]) -> dict[str, tuple[float, ...]]:
    found: dict[str, tuple[float, ...]] = {}
    for position, word in enumerate(words):
        name = word.removeprefix("-")
        if word.startswith("-") and (name in _NUMBERS or name in _FLAGS):
            count = _NUMBERS.get(name, 0)
            values = words[position + 1 : position + 1 + count]
            readable = all(re.fullmatch(_NUMBER, value, re.IGNORECASE) for value in values)
            found[name] = tuple(float(value) for value in values) if readable else ()
    return found


def _concatenated(command: str) -> dict[str, tuple[float, ...]]:
    found: dict[str, tuple[float, ...]] = {name: () for name in _FLAGS if f"-{name}" in command}
    for name, count in _NUMBERS.items():
        match = re.search(rf"-{name}({_NUMBER})(?=-|$)", command, re.IGNORECASE)
        if match:  # where one number ends and the next begins is lost
            found[name] = (float(match[1]),) if count == 1 else ()
    return found


def region_box(source: Source, number: int) -> Box | None:
    """Return the pixels of a region; None where the tool skipped it and wrote no cards."""
    keyword = f"REGION{number:02d}"
    text = source.card(keyword)
    if text is None:
        return None
    match = _REGION.fullmatch(str(text))
    limits = [int(limit) - 1 for limit in match.groups()] if match else [0, -1, 0, -1]
    box = Box(*limits)
    if box.xmin > box.xmax or box.ymin > box.ymax or min(limits) < 0:
        source.refuse(f"{keyword} = {text!r} is not a region [x1:x2,y1:y2]; correct the card")
    return box


def cut_out(source: Source, boxes: Mapping[int, Box]) -> tuple[int, int] | None:
    """Return the 0-based pixel ``(x, y)`` of the tool's image at which a cut-out of it begins.

    None where the regions fit into the image, which then is the tool's. Otherwise LTV1 and LTV2 of
    the cut-out say it, or the reference pixels of the cut-out and of the kernel's own file; an
    error if neither does.
    """
    union, shape = _union(boxes), source.image_shape
    if shape is None or (union.xmax < shape[1] and union.ymax < shape[0]):
        return None
    image = source.difference or source
    own = None if image.path == source.path else replace(source, difference=None)
    shift = _shift_by(image, own, ("LTV1", "LTV2"), needs_own=False)
    if shift is None:
        shift = _shift_by(image, own, ("CRPIX1", "CRPIX2"), needs_own=True)
    region = f"regions up to the pixel ({union.xmax + 1}, {union.ymax + 1})"
    if shift is None:
        source.refuse(
            f"{region} reach beyond the image of {shape[1]} x {shape[0]}: it is the kernel of "
            "another image, or the image is a cut-out and no card says of where; give the kernel "
            "of this one, the whole difference, or cards LTV1 and LTV2 (minus the number of pixels "
            "cut off)"
        )
    x, y = shift
    moved = union.moved(x, y)
    if moved.xmax < 0 or moved.ymax < 0 or moved.xmin >= shape[1] or moved.ymin >= shape[0]:
        source.refuse(
            f"{region}, and an image that is a cut-out from ({x + 1}, {y + 1}) on by its cards: "
            "they do not overlap; correct LTV1 and LTV2, or give the whole difference"
        )
    logger.info("%s: a cut-out from pixel (%d, %d) on; kernel moved", source.name, x + 1, y + 1)
    return shift


def _shift_by(
    image: Source, own: Source | None, cards: tuple[str, str], *, needs_own: bool
) -> tuple[int, int] | None:
    """Return how far an image is shifted by its cards, and those of the kernel's own file.

    None where they do not say it: cards are missing, are not whole pixels, or pixels were binned.
    """
    shift = []
    for card in cards:
        value = image.card(card)
        before = None if own is None else own.card(card)
        if before is None:
            before = None if needs_own else 0.0
        numbers = [value, before]
        if not all(isinstance(n, int | float) and not isinstance(n, bool) for n in numbers):
            return None
        shift.append(float(before) - float(value))  # type: ignore[arg-type]
    scales = [image.card(card) for card in ("LTM1_1", "LTM2_2")]
    if any(scale not in (None, 1) for scale in scales):
        return None
    if max(abs(pixels - round(pixels)) for pixels in shift) > 1e-3:
        return None
    return round(shift[0]), round(shift[1])


def _union(boxes: Mapping[int, Box]) -> Box:
    """Return the box around all regions."""
    return Box(
        min(box.xmin for box in boxes.values()),
        max(box.xmax for box in boxes.values()),
        min(box.ymin for box in boxes.values()),
        max(box.ymax for box in boxes.values()),
    )


def region_layout(
    source: Source,
    options: KernelOptions,
    command: Command,
    boxes: Mapping[int, Box],
    columns: int,
    width: int,
    *,
    cut: tuple[int, int] | None = None,
) -> Layout:
    """Work out how far the regions were buffered, which no card says.

    Boxes are those of regions with a solution, by number; `columns` counts all regions; `width` is
    FWKERN; of a `cut` the image is not the one that the tool had. Options replace a missing command
    line.
    """
    union = _union(boxes)
    known = source.image_shape if cut is None else None
    ny, nx = known or (union.ymax + 1, union.xmax + 1)
    padding = width // 2
    if columns > 1:
        grid = _grid(boxes, columns, (nx, ny), command)
        padding = _padding((nx, ny), grid, width, *_stamp_options(source.name, command, options))
    return Layout(
        padding=padding,
        limits=_limits(command, Box(0, nx - 1, 0, ny - 1), union, columns),
        step=int(_first(command, "kcs", 0)) or width,
        science_pedestal=_first(command, "ip", 0),
        template_pedestal=_first(command, "tp", 0),
    )


def _first(command: Command, name: str, default: float) -> float:
    values = command.get(name, ())
    return values[0] if values else default


def _limits(command: Command, image: Box, union: Box, columns: int) -> Box:
    """Return the pixels that the tool was allowed to use: ``-gd``, or the image."""
    if len(command.get("gd", ())) == 4:
        xmin, xmax, ymin, ymax = (int(limit) for limit in command["gd"])
        return Box(xmin, xmax - 1, ymin, ymax - 1)
    # A single region smaller than the image means -gd, unless the command line says otherwise.
    if "gd" in command or (not command and columns == 1):
        return union
    return image


def _grid(
    boxes: Mapping[int, Box], columns: int, size: tuple[int, int], command: Command
) -> tuple[int, int]:
    """Return the number of regions in x and y; (1, 1) where they came from a list."""
    if "rf" in command or "rkw" in command:
        return 1, 1
    if command:
        return int(_first(command, "nrx", 1)), int(_first(command, "nry", 1))
    for in_x in range(1, columns + 1):
        grid = in_x, columns // in_x
        if in_x * grid[1] == columns and all(
            box == _grid_box(n, grid, size) for n, box in boxes.items()
        ):
            return grid
    return 1, 1


def _grid_box(number: int, grid: tuple[int, int], size: tuple[int, int]) -> Box:
    """Return a region of a regular grid: neighbours share a row or column."""
    (in_x, in_y), (nx, ny) = grid, size
    row, column = divmod(number, in_x)
    x1, x2 = (c * (nx - 1) // in_x for c in (column, column + 1))
    y1, y2 = (r * (ny - 1) // in_y for r in (row, row + 1))
    return Box(x1, x2, y1, y2)


def _stamp_options(name: str, command: Command, options: KernelOptions) -> tuple[int, ...]:
    """Return nsx, nsy and rss: of the command line, of the user, or the tool's defaults."""
    given = {key: getattr(options, key) for key in _DEFAULTS}
    if command:
        found = {key: int(_first(command, key, default)) for key, default in _DEFAULTS.items()}
        ignored = [key for key, value in given.items() if value not in (None, found[key])]
        if ignored:
            logger.warning("%s: the file has its own %s; ignored yours", name, ", ".join(ignored))
    else:
        found = {key: given[key] or default for key, default in _DEFAULTS.items()}
        guessed = ", ".join(f"-{key} {found[key]}" for key in found if given[key] is None)
        if guessed:
            logger.warning(
                "%s: no HOTPANTS command line (DIFFCMD); assuming its defaults %s", name, guessed
            )
    return tuple(found.values())


def _padding(
    size: tuple[int, int], grid: tuple[int, int], width: int, nsx: int, nsy: int, rss: int
) -> int:
    """Return the buffer around each of several regions: half a fitting stamp of the tool."""
    (nx, ny), (in_x, in_y) = size, grid
    stamp = min(nx // in_x // nsx, ny // in_y // nsy) - width
    stamp -= 1 - stamp % 2
    if stamp < 2 * rss + 1:
        stamp = 2 * rss + width
    return stamp // 2
