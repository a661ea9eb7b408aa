"""What all pictures share: matplotlib, and only where it is wanted; colours; PNG files."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from diffdecor.errors import ConfigError

#: Before, after, and what is expected, in colours that colour-blind eyes tell apart (Okabe, Ito).
BEFORE, AFTER, EXPECTED = "#d55e00", "#0072b2", "#444444"
COLOURS = {"before": BEFORE, "after": AFTER}
#: Lines tell them apart where colours are not seen.
LINES = {"before": "--", "after": "-"}
#: Maps of pixels, of numbers around zero, and of others.
PIXELS, AROUND_ZERO, NUMBERS = "gray", "RdBu_r", "viridis"
#: What has no data, in any map.
NO_DATA = "#d9c8a9"
#: Width of a picture, inches; CSS pixels to an inch, and pixels.
WIDTH, _CSS, _PAGE_DPI = 4.8, 100, 150
#: Margins of a panel, inches: on the left, right, right of a map with its colours, below, above.
LEFT, RIGHT, BAR, BELOW, ABOVE = 0.62, 0.12, 1.05, 0.5, 0.14
_STYLE: Any = {
    "font.size": 9.0,
    "axes.titlesize": 10.0,
    "axes.linewidth": 0.6,
    "axes.edgecolor": "#333333",
    "legend.fontsize": 8.5,
    "legend.framealpha": 0.85,
    "figure.facecolor": "#ffffff",
    "image.interpolation": "nearest",
    "image.origin": "lower",
    "xtick.direction": "in",
    "ytick.direction": "in",
}
#: Width of a letter, in units of its size.
_WIDE = 0.56
_COLOURS = 255
#: Of zlib: its last, 9, takes a third of the time of a page more, for 2 % fewer bytes.
_LEVEL = 8


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture for a page: a PNG file, how large it is shown, and what it shows in words."""

    #: For file names.
    name: str
    title: str
    #: What good and bad look like, one line.
    caption: str
    #: What somebody is told who does not see it.
    alt: str
    png: bytes
    #: Size on the page, CSS pixels.
    width: int
    height: int


def require_matplotlib(extra: str = "plot") -> None:
    """Raise a ConfigError unless there is matplotlib."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg as _  # noqa: F401
    except ImportError as error:
        msg = f"plots need matplotlib ({error}); pip install 'diffdecor[{extra}]'"
        raise ConfigError(msg) from error


def new_figure(width: float, height: float, layout: Any = "constrained") -> Any:  # noqa: ANN401  matplotlib's types
    """Return an empty figure, its size in inches; no screen is needed."""
    require_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout=layout)
    FigureCanvasAgg(figure)
    return figure


def panel_of(
    width: float, height: float, margins: tuple[float, float, float, float]
) -> tuple[Any, Any]:
    """Return a figure of one panel, inches, with margins on the left, right, bottom and top.

    Finding the margins takes matplotlib as long as all the rest.
    """
    left, right, bottom, top = margins
    figure = new_figure(width, height, layout=None)
    size = (width - left - right) / width, (height - bottom - top) / height
    return figure, figure.add_axes((left / width, bottom / height, *size))


def title_of(figure: Any, text: str, size: float) -> int:  # noqa: ANN401
    """Put a text above a figure, as it is, in lines as long as the figure is wide; count them.

    Where matplotlib itself breaks lines, it takes what is between dollars for a formula.
    """
    letters = int(figure.get_size_inches()[0] * 72 / (_WIDE * size))
    lines = textwrap.wrap(text, letters)
    figure.suptitle("\n".join(lines), fontsize=size, parse_math=False)
    return len(lines)


@contextmanager
def style() -> Iterator[None]:
    """Draw in the style of pages."""
    require_matplotlib()
    import matplotlib as mpl

    with mpl.rc_context(_STYLE):
        yield


def png_of(figure: Any, dpi: int = 120, *, few_colours: bool = False) -> bytes:  # noqa: ANN401
    """Return a figure as a PNG file: of 255 colours, a third of the bytes, if these are enough."""
    png = io.BytesIO()
    about = {"Software": "diffdecor"}
    if not few_colours:
        figure.savefig(png, format="png", dpi=dpi, metadata=about)
    else:
        # matplotlib itself needs Pillow.
        from PIL import Image, PngImagePlugin

        figure.set_dpi(dpi)
        figure.canvas.draw()
        pixels = np.asarray(figure.canvas.buffer_rgba())[..., :3]
        if (pixels == pixels[..., :1]).all():
            reduced = Image.fromarray(np.ascontiguousarray(pixels[..., 0]))
        else:
            whole = Image.fromarray(np.ascontiguousarray(pixels))
            reduced = whole.quantize(_COLOURS, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
        texts = PngImagePlugin.PngInfo()
        for keyword, text in about.items():
            texts.add_text(keyword, text)
        reduced.save(png, "png", compress_level=_LEVEL, pnginfo=texts)
    return png.getvalue()


def colour_map(name: str, missing: str = NO_DATA) -> Any:  # noqa: ANN401
    """Return a map of colours in which missing data show as such."""
    import matplotlib as mpl

    return mpl.colormaps[name].with_extremes(bad=missing)


def picture_of(figure: Any, name: str, title: str, caption: str, alt: str) -> Picture:  # noqa: ANN401
    """Return a figure as a picture of a page."""
    width, height = (round(length * _CSS) for length in figure.get_size_inches())
    png = png_of(figure, _PAGE_DPI, few_colours=True)
    return Picture(
        name=name, title=title, caption=caption, alt=alt, png=png, width=width, height=height
    )
