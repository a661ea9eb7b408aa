"""Files of every role and format, and what damages them: bits, cards, ends, types, streams."""

import gzip
import io
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
from astropy.io import fits
from helpers.workplace import SHAPE, WCS, convolved, exposure, gaussian

DATA = Path(__file__).parents[1] / "data"
BLOCK, CARD = 2880, 80
#: How images are compressed by tiles: all codecs, integers, and floats with every quantisation.
TILED = {
    "rice-i2": ("i2", {"compression_type": "RICE_1"}),
    "rice-i4": ("i4", {"compression_type": "RICE_1", "tile_shape": (16, 16)}),
    "rice-u1": ("u1", {"compression_type": "RICE_1"}),
    "rice-dither": ("f4", {"compression_type": "RICE_1", "quantize_method": 1}),
    "rice-dither2": ("f4", {"compression_type": "RICE_1", "quantize_method": 2}),
    "rice-f8": ("f8", {"compression_type": "RICE_1", "quantize_method": -1}),
    "gzip1": ("f4", {"compression_type": "GZIP_1", "quantize_level": 0}),
    "gzip1-dither": ("f4", {"compression_type": "GZIP_1", "quantize_method": 1}),
    "gzip2": ("f4", {"compression_type": "GZIP_2", "quantize_level": 0}),
    "gzip2-i4": ("i4", {"compression_type": "GZIP_2"}),
    "hcompress-i4": ("i4", {"compression_type": "HCOMPRESS_1"}),
    "hcompress-tiles": ("i2", {"compression_type": "HCOMPRESS_1", "tile_shape": (10, 10)}),
    "hcompress-lossy": (
        "f4",
        {"compression_type": "HCOMPRESS_1", "hcomp_scale": 3, "hcomp_smooth": 1},
    ),
    "plio": ("i2", {"compression_type": "PLIO_1"}),
    "nocompress": ("i4", {"compression_type": "NOCOMPRESS"}),
}
_NUMBERS = (
    *(-(2**63), -(2**31), -32, -7, -1, 0, 1, 2, 3, 7, 8, 16, 33, 64, 99, 100, 999, 1000, 32767),
    *(99999, 2**31 - 1, 2**31, 2**32, 10**9, 10**12, 2**63 - 1, 2**63, 10**19, 10**40),
    *("1E308", "1E-320", "1E400", "-0.0", "0.5", "NaN", "2.", "1D5", "T", "F", ""),
)
_TEXTS = (
    *("", "T", "RICE_1", "GZIP_2", "HCOMPRESS_1", "PLIO_1", "SUBTRACTIVE_DITHER_1", "NONE"),
    *("IMAGE", "BINTABLE", "TABLE", "1PB(9)", "1QJ", "999999999D", "D", "é", "\x1b[31mred", "\0"),
    *("x" * 67, "COMPRESSED_DATA", "X", "[1:5,1:9]", "TEMPLATE", "RA---TAN-SIP", "-TAB", "adu**2"),
)
_SIZES = re.compile(
    rb"(BITPIX|Z?NAXIS\d*|PCOUNT|GCOUNT|THEAP|TFIELDS|T(FORM|TYPE|DIM|SCAL|ZERO|NULL)\d+|XTENSION"
    rb"|Z(IMAGE|BITPIX|TILE\d|CMPTYPE|NAME\d|VAL\d|QUANTIZ|DITHER0|BLANK|SCALE|ZERO)|SIMPLE"
    rb"|BSCALE|BZERO|BLANK|EXTNAME|WCSAXES|CTYPE\d|[AB]_ORDER|NPIX\d"
    rb"|CTR[XY]|KER\w+|POL\w+|PSF\w+|MP_\w+) *"
)
_BITPIX = (8, 16, 32, 64, -32, -64)


class Target(NamedTuple):
    """A file, in what role it is given, and with which words of the command line."""

    name: str
    file: str
    content: bytes
    #: ``{}`` is the damaged file, ``{out}`` the output, ``{dir}`` the folder of whole files.
    words: tuple[str, ...]


def make_files(folder):
    """Write a triple and what may belong to it; return a target for every role and format."""
    random = np.random.default_rng(7)
    science, template = (random.normal(100.0, sigma, SHAPE) for sigma in (3.0, 2.0))
    kernel = gaussian(3, 1.2)
    difference = science - convolved(template, kernel)
    mask = np.zeros(SHAPE, np.int32)
    mask[4:7, 5:9] = 1
    exposure(science, 9.0, mask).writeto(folder / "science.fits")
    exposure(template, 4.0).writeto(folder / "template.fits")
    exposure(difference, None, mask).writeto(folder / "difference.fits")
    side = fits.Header({"CONVSIDE": "TEMPLATE", "CTRX": 4, "CTRY": 4})
    fits.PrimaryHDU(kernel, side).writeto(folder / "kernel.fits")
    fits.PrimaryHDU(gaussian(7, 1.7)).writeto(folder / "psf.fits")
    fits.PrimaryHDU(np.full(SHAPE, 9, np.float32), fits.Header(WCS)).writeto(folder / "noise.fits")
    fits.PrimaryHDU(mask, fits.Header({"MP_BAD": 0})).writeto(folder / "mask.fits")
    _write_positions(folder)
    (folder / "config.toml").write_text(
        'spacing = 16\nfill-planes = ["BAD", "CR"]\nmask-bits = [1, 2]\nconvolved = "template"\n'
    )
    (folder / "stack.toml").write_text(
        f'[[member]]\nnoise = "{folder}/noise.fits"\nnoise-kind = "variance"\nweight = 0.5\n'
        f'[[member]]\nvariance = 16.0\nweight = 0.5\nkernel = "{folder}/kernel.fits"\n'
    )
    return [
        *_images(folder),
        *_tiled(science, difference, mask),
        *_others(folder),
        *_kernels(),
        *_psfs(),
    ]


def _write_positions(folder):
    rows = [(x, y) for y in (5.0, 20.0, 35.0) for x in (6.0, 24.0, 42.0)]
    (folder / "cells.txt").write_text("x y\n" + "".join(f"{x} {y}\n" for x, y in rows))
    columns = [fits.Column(c, "D", array=a) for c, a in zip("xy", np.array(rows).T, strict=True)]
    fits.BinTableHDU.from_columns(columns).writeto(folder / "cells.fits")


def _run(**files):
    """Return the words of `diffdecor run`: the triple, but for files that are given."""
    named = {"kernel": "{dir}/kernel.fits"} | files
    triple = [named.pop(r, f"{{dir}}/{r}.fits") for r in ("science", "template", "difference")]
    pairs = [(f"--{name}", value) for name, value in named.items() if value is not None]
    return ("run", *triple, *(word for pair in pairs for word in pair), "-o", "{out}")


def _images(folder):
    for role in ("science", "template", "difference"):
        content = (folder / f"{role}.fits").read_bytes()
        yield Target(role, "in.fits", content, _run(**{role: "{}"}))
        packed = gzip.compress(content, mtime=0)
        yield Target(f"{role} gzipped", "in.fits.gz", packed, _run(**{role: "{}"}))
    yield Target("check", "in.fits", content, ("check", "{}"))
    alone = ("run", "{}", "-o", "{out}")
    yield Target("difference alone", "in.fits", content, alone)
    hotpants = gzip.decompress((DATA / "hotpants" / "A1_diff.fits.gz").read_bytes())
    yield Target("HOTPANTS difference", "in.fits", hotpants, alone)


def _tiled(science, difference, mask):
    for name, (dtype, options) in TILED.items():
        pixels = np.round(science * 10) if dtype[0] != "f" else science
        pixels = np.clip(pixels, 0, 255) if dtype == "u1" else pixels
        made = _fz(pixels.astype(dtype), **options)
        words = (*_run(science="{}"), "--science-gain", "1.6")
        yield Target(f"science {name}", "in.fits.fz", made, words)
        if dtype[0] == "f":
            made = _fz(difference.astype(dtype), **options)
            yield Target(f"difference {name}", "in.fits.fz", made, _run(difference="{}"))
        if name in {"rice-i4", "gzip2-i4", "plio", "hcompress-i4"}:
            made = _fz(mask.astype(dtype), fits.Header({"MP_BAD": 0}), **options)
            masked = _run(**{"difference-mask": "{}", "difference": "{dir}/difference.fits"})
            yield Target(f"mask {name}", "in.fits.fz", made, masked)


def _fz(pixels, cards=None, **options):
    header = fits.Header(WCS)
    header.update(cards or {})
    file = io.BytesIO()
    hdu = fits.CompImageHDU(pixels, header, **options)
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(file)
    return file.getvalue()


def _others(folder):
    def target(name, file, words):
        return Target(name, file, (folder / file).read_bytes(), words)

    noise = {"science-noise": "{}", "science-noise-kind": "variance"}
    yield target("noise", "noise.fits", _run(**noise))
    yield target("mask", "mask.fits", _run(**{"science-mask": "{}"}))
    yield target("cells as text", "cells.txt", _run(**{"cell-centroids": "{}"}))
    yield target("cells as a table", "cells.fits", _run(**{"cell-centroids": "{}"}))
    yield target("config", "config.toml", _run(config="{}"))
    yield target("stack", "stack.toml", _run(**{"template-stack": "{}"}))


def _kernels():
    for path in (
        "sfft/D1_solution.fits",
        "sfft/BS3_solution.fits",
        "native/A1_stampgrid.fits",
        "native/BS1_native.fits",
        "native/D1_native.fits",
        "native/A3_plain_stamp.fits",
        "hotpants/A2_kernel.fits",
        "hotpants/B2_kernel.fits",
        "ficonv/Df_kernel.list",
        "lsst-persistence/cheb_matching_kernel.fits",
    ):
        content = (DATA / path).read_bytes()
        file = "k" + Path(path).suffix
        told = ("--force", "--convolved", "template")
        yield Target(f"kernel {path}", file, content, (*_run(kernel="{}"), *told))
        yield Target(f"info {path}", file, content, ("kernel", "info", "{}"))


def _psfs():
    model = (DATA / "psfex" / "B_sci_const.psf").read_bytes()
    varying = (DATA / "psfex" / "A_sci.psf").read_bytes()
    stamp = io.BytesIO()
    fits.PrimaryHDU(gaussian(7, 1.7)).writeto(stamp)
    for name, content in (
        ("PSFEx", varying),
        ("constant PSFEx", model),
        ("stamp", stamp.getvalue()),
    ):
        words = (*_run(**{"science-psf": "{}"}), "--significance")
        yield Target(f"PSF {name}", "in.psf", content, words)


def damaged(target, random):
    """Return the content of a file with some damage, and a word or two on what was done."""
    if not target.content.startswith((b"SIMPLE", b"\x1f\x8b")):
        return _of_text(target.content, random)
    packed = target.content.startswith(b"\x1f\x8b")
    if packed and random.random() < 0.3:
        return _bytes(bytearray(target.content), random)
    content = bytearray(gzip.decompress(target.content) if packed else target.content)
    done = []
    for _ in range(random.choice([1, 1, 1, 2, 3])):
        how = _WAYS[random.integers(len(_WAYS))]
        content, what = how(content, random)
        content = bytearray(content)
        done.append(what)
    made = gzip.compress(bytes(content), 1, mtime=0) if packed else bytes(content)
    return made, "; ".join(done)


def _cards(content):
    """Return where the cards of all headers are, whatever the headers say of the data."""
    places, inside = [], False
    for place in range(0, len(content) - CARD + 1, CARD):
        keyword = bytes(content[place : place + 8])
        if place % BLOCK == 0 and keyword in {b"SIMPLE  ", b"XTENSION"}:
            inside = True
        if inside:
            places.append(place)
        if keyword == b"END     ":
            inside = False
    return places


def _written(keyword, value):
    text = f"'{value}'" if isinstance(value, str) and value in _TEXTS else str(value)
    return keyword.ljust(8)[:8] + b"= " + f"{text:>20}".encode("latin-1")[:70].ljust(70)


def _value(content, random):
    """Give a card another value."""
    places = _cards(content)
    sizes = [p for p in places if _SIZES.fullmatch(bytes(content[p : p + 8]))]
    place = int(random.choice(sizes if sizes and random.random() < 0.7 else places or [0]))
    keyword = bytes(content[place : place + 8])
    if keyword.startswith(b"BITPIX") and random.random() < 0.5:
        value = int(random.choice(_BITPIX))
    else:
        pool = _NUMBERS if random.random() < 0.7 else _TEXTS
        value = pool[random.integers(len(pool))]
    content[place : place + CARD] = _written(keyword, value)
    return content, f"{keyword.decode('latin-1').strip()} = {value!r}"


def _card(content, random):
    """Blank a card, repeat one, exchange two, rename one, or write bytes into it."""
    places = _cards(content) or [0]
    one, other = (int(place) for place in random.choice(places, 2))
    a, b = bytes(content[one : one + CARD]), bytes(content[other : other + CARD])
    how = random.integers(5)
    if how == 0:
        content[one : one + CARD] = b" " * CARD
    elif how == 1:
        content[other : other + CARD] = a
    elif how == 2:
        content[one : one + CARD], content[other : other + CARD] = b, a
    elif how == 3:
        content[one : one + 8] = b[:8]
    else:
        content[one : one + CARD] = random.bytes(CARD)
    return content, f"card {one // CARD} ({a[:8]!r}, {b[:8]!r}) way {how}"


def _added(content, random):
    """Put a block of further cards into a header."""
    ends = [p for p in _cards(content) if content[p : p + 8] == b"END     "]
    if not ends:
        return content, "nothing"
    end = int(random.choice(ends))
    words = (
        b"WCSAXES",
        b"A_ORDER",
        b"CRPIX3",
        b"NAXIS9",
        b"ZNAXIS",
        b"TFORM99",
        b"NPIX1",
        b"HISTORY",
    )
    keyword = words[random.integers(len(words))]
    value = _NUMBERS[random.integers(len(_NUMBERS))]
    many = int(random.choice([1, 35, 360, 11000]))
    more = _written(keyword, value) * many
    more += b" " * (-len(more) % BLOCK)
    start = end // BLOCK * BLOCK
    return content[:start] + more + content[start:], f"{many} x {keyword.decode()} = {value!r}"


def _end(content, random):
    """Blank an END, or write one in the middle of a header."""
    places = _cards(content) or [0]
    ends = [p for p in places if content[p : p + 8] == b"END     "] or [0]
    if random.random() < 0.6:
        place = int(random.choice(ends))
        content[place : place + CARD] = b" " * CARD
        return content, f"END blanked at card {place // CARD}"
    place = int(random.choice(places))
    content[place : place + CARD] = b"END".ljust(CARD)
    return content, f"END at card {place // CARD}"


def _cut(content, random):
    """Cut the file, or put something at its end."""
    how = random.integers(4)
    if how == 0:
        content += bytes(int(random.choice([1, 100, BLOCK, 20 * BLOCK])))
        return content, "zeros at the end"
    if how == 1:
        content += random.bytes(int(random.choice([1, 100, BLOCK])))
        return content, "junk at the end"
    size = int(random.integers(1, len(content) + 1))
    size = size // BLOCK * BLOCK + (how == 2) if how < 3 else size
    return content[: max(size, 1)], f"cut to {size}"


def _bytes(content, random):
    """Change some bytes or bits anywhere, or in one place."""
    first, last = 0, len(content)
    if random.random() < 0.5:
        first = int(random.integers(len(content)))
        last = min(len(content), first + int(random.choice([8, 64, 512, BLOCK])))
    places = random.integers(first, last, int(random.choice([1, 2, 8, 40])))
    for place in places:
        new = (
            content[place] ^ (1 << random.integers(8))
            if random.random() < 0.5
            else random.integers(256)
        )
        content[place] = int(new)
    return content, f"{len(places)} bytes from {int(places.min())} to {int(places.max())}"


def _streams(content, random):
    """Change bytes of the data after the last header: pixels, rows of tables, compressed tiles."""
    ends = [p for p in _cards(content) if content[p : p + 8] == b"END     "]
    start = (ends[-1] // BLOCK + 1) * BLOCK if ends else 0
    if start >= len(content):
        return content, "nothing"
    near = start + int(random.choice([16, 512, len(content)]))
    places = random.integers(start, min(near, len(content)), int(random.choice([1, 3, 10])))
    for place in places:
        content[place] = int(random.choice([0, 1, 127, 128, 255, random.integers(256)]))
    return content, f"data bytes {sorted(int(p) - start for p in places)[:4]}"


def _blocks(content, random):
    """Drop, repeat, empty or exchange blocks."""
    count = max(1, len(content) // BLOCK)
    one, other = (int(n) * BLOCK for n in random.integers(count, size=2))
    how = random.integers(4)
    block = content[one : one + BLOCK]
    if how == 0:
        return content[:one] + content[one + BLOCK :], f"block {one // BLOCK} dropped"
    if how == 1:
        return content[:other] + block + content[other:], f"block {one // BLOCK} repeated"
    if how == 2:
        content[one : one + BLOCK] = bytes(len(block))
        return content, f"block {one // BLOCK} zeroed"
    content[one : one + BLOCK], content[other : other + BLOCK] = (
        content[other : other + BLOCK],
        block,
    )
    return content, f"blocks {one // BLOCK} and {other // BLOCK} exchanged"


#: The more frequent ones, the more there is to be found.
_WAYS = (*[_value] * 5, *[_card] * 2, _added, _end, _cut, *[_bytes] * 2, *[_streams] * 3, _blocks)


def _of_text(content, random):
    """Change a text: bytes, lines, numbers, its length."""
    lines = content.split(b"\n")
    number = int(random.integers(len(lines)))
    how = random.integers(8)
    if how == 0:
        return _bytes(bytearray(content), random)
    if how == 1:
        del lines[number]
    elif how == 2:
        lines.insert(number, lines[int(random.integers(len(lines)))])
    elif how == 3:
        lines[number] = lines[number][: int(random.integers(len(lines[number]) + 1))]
    elif how == 4:
        pool = [*map(str, _NUMBERS), *_TEXTS]
        new = pool[random.integers(len(pool))].encode()
        lines[number] = re.sub(rb"[\w.-]+$|\"[^\"]*\"$", lambda _: new, lines[number].rstrip())
    elif how == 5:
        lines[number] += bytes(random.choice([b" ", b"x", b"[", b"9", b"\0"])) * int(
            random.choice([3, 3000, 300_000])
        )
    elif how == 6:
        lines *= int(random.choice([2, 1000]))
    else:
        lines[number] = random.bytes(30)
    return b"\n".join(lines), f"line {number} way {how}"
