"""HOTPANTS's command line: as the tool, its forks and damaged headers give it."""

import gzip
import math
import re
from pathlib import Path

import pytest
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st

from diffdecor.images.surveys.hotpants_command import WORDS, command_of, parsed

DATA = Path(__file__).parents[1] / "data" / "hotpants"
REAL = sorted(DATA.glob("*_diff.fits.gz"))
NUMBERS = ("ig", "ir", "ip", "tg", "tr", "tp")
FILES = ("ini", "imi", "tni", "tmi", "oni", "omi")


def real_header(path):
    with gzip.open(path) as file, fits.open(file) as hdus:
        return hdus[0].header.copy()


@pytest.mark.parametrize("path", REAL, ids=lambda path: path.name)
def test_real_commands_with_blanks_and_without(path):
    """The reference is a plain search: names and numbers of these files are plain."""
    header = real_header(path)
    text = header["DIFFCMD"]
    expected = dict(re.findall(r"-(\S+) ([^-]\S*)", text))
    for command in (command_of(header), parsed(text.replace(" ", ""))):
        assert not command.cut
        for name in FILES:
            assert command.file(name) == expected.get(name)
        for name in NUMBERS:
            number = None if name not in expected else float(expected[name])
            assert command.number(name) == number
        images = [command.file(words.image) for words in WORDS.values()]
        assert images == [header[card] for card in ("TARGET", "TEMPLATE", "DIFFIM")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hotpants -inim a.fits -ig 2 -ig 3 -tmplim b.fits", {"ig": "3"}),  # the last counts
        ("hotpants -INIM a.fits -Ig 2 -TMPLIM b.fits", {"ig": "2", "tmplim": "b.fits"}),
        ("hotpants -inim a b.fits -imi my  mask.fits -c t", {"imi": "my  mask.fits"}),
        ("hotpants -inim a.fits -imi m.fits -nthreads 4", {"imi": "m.fits"}),  # of a fork
        ("hotpants -inim a.fits -il -100 -ig 2 -ip -5", {"ig": "2", "ip": "-5"}),
        ("hotpants -inim a.fits -omi", {"omi": None}),
        ("hotpants -inim a.fits -ig -ir 5", {"ig": None, "ir": "5"}),
        ("/opt/bin/hotpants -inim d/a.fits -ini d/s.fits[2]", {"ini": "d/s.fits[2]"}),
        ("hotpants-inima.fits-ig2-ig3-ir5", {"ig": None, "ir": "5"}),  # which?
        ("hotpants-inima-ig5-x.fits-ig2-tg4", {"ig": None, "tg": "4"}),
    ],
)
def test_values(text, expected):
    command = parsed(text)
    assert {name: command.values.get(name) for name in expected} == expected


@pytest.mark.parametrize("text", ["", "A1_mask.fits", "2", "T", "-omi", "swarp a.fits -c x"])
def test_texts_that_are_no_command(text):
    assert parsed(text) is None


def test_quotes_and_marks_of_names():
    command = parsed("""hotpants -inim "a b.fits" -imi 'm.fits' -omi !o.fits -oni ' """)
    assert [command.file(name) for name in ("inim", "imi", "omi", "oni", "tmi")] == [
        *("a b.fits", "m.fits", "o.fits", "'", None),
    ]


@pytest.mark.parametrize("value", ["nan", "inf", "1e999", "1,6", "0x10", "1.6abc", "one", "1 2"])
def test_numbers_that_are_none(value):
    assert math.isnan(parsed(f"hotpants -inim a.fits -ig {value} -ir 5").number("ig"))


@pytest.mark.parametrize("keep", [1, 2, 3])
def test_a_command_whose_cards_were_dropped(keep):
    """Programs that know no CONTINUE leave the first card, or some: no value is half of one."""
    header = real_header(REAL[0])
    whole = command_of(header)
    lines = [header.tostring(endcard=False, padding=False)[i : i + 80] for i in range(0, 80000, 80)]
    start = next(n for n, line in enumerate(lines) if line.startswith("DIFFCMD"))
    stop = next(n for n in range(start + 1, len(lines)) if not lines[n].startswith("CONTINUE"))
    assert stop - start > 3
    cut = fits.Header.fromstring("".join(lines[: start + keep] + lines[stop:]))
    command = command_of(cut)
    if command is None:
        assert keep == 1
        return
    assert command.cut
    assert command.values.items() <= whole.values.items()


def test_a_command_cut_to_one_card():
    header = real_header(REAL[0])
    text = header["DIFFCMD"]
    for length in (67, 68):
        header["DIFFCMD"] = text[:length]
        assert command_of(header).values.items() <= parsed(text).values.items()


def test_several_commands():
    """A science image that is a difference itself leaves its own."""
    header = real_header(REAL[0])
    header.append(("DIFFCMD", header["DIFFCMD"]))
    assert command_of(header) is not None
    header.append(("DIFFCMD", "hotpants -inim other.fits -tmplim t.fits -outim o.fits -ig 99"))
    assert command_of(header) is None
    assert command_of(fits.Header()) is None
    assert command_of(fits.Header({"DIFFCMD": 3})) is None


NAME = st.from_regex(r"[A-Za-z0-9_./+]{1,30}\.fits(\[[A-Z0-9,]{1,5}\])?", fullmatch=True)
BLANKS = st.lists(NAME, min_size=1, max_size=3).map(" ".join)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
OTHERS = st.sampled_from(["-hki", "-c t", "-nsx 10", "-il -1e9", "-ng 3 6 0.70 4 1.50 2 3.00"])
OPTIONS = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(NUMBERS, FINITE) | dict.fromkeys(FILES, BLANKS)
)


@given(options=OPTIONS, others=st.lists(OTHERS), order=st.randoms(use_true_random=False))
def test_every_command_that_can_be(options, others, order):
    words = [f"-{name} {value}" for name, value in options.items()] + others
    order.shuffle(words)
    text = " ".join(["hotpants -inim a.fits", *words, "-outim d.fits", " " * 70])
    command = parsed(text + "-v 0")
    for name in FILES:
        assert command.file(name) == options.get(name)
    for name in NUMBERS:
        assert command.number(name) == options.get(name)


@given(options=OPTIONS, others=st.lists(OTHERS), length=st.integers(0, 400))
def test_a_cut_command_never_gives_another_value(options, others, length):
    words = [f"-{name} {value}" for name, value in options.items()] + others
    text = " ".join(["hotpants -inim a.fits -tmplim b.fits", *words, "-outim d.fits"])
    command = parsed(text[: length - 1] + "&") if 0 < length < len(text) else None
    if command is not None:
        assert command.values.items() <= {**parsed(text + " -v 0 ").values}.items()


@given(text=st.text(max_size=300) | st.text("-inmigtr e.09 '&!", max_size=200))
def test_no_text_is_too_strange(text):
    for whole in (text, f"hotpants -inim {text}", f"hotpants-inim{text}"):
        command = parsed(whole)
        for name in (*NUMBERS, *FILES) if command else ():
            command.file(name)
            number = command.number(name)
            assert number is None or math.isnan(number) or math.isfinite(number)
