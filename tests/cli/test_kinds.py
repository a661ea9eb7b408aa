"""Values that options take: whatever is given, what is said of it is in words of ours."""

import datetime as dt
import re

import pytest
from helpers.workplace import call, check_failure, json_object
from hypothesis import given, settings
from hypothesis import strategies as st

from diffdecor.config import DecorrelationConfig, FilesConfig, kinds
from diffdecor.config.options import options
from diffdecor.errors import ConfigError

KINDS = {name: kind for name, kind in vars(kinds).items() if isinstance(kind, kinds.Kind)}
DECLARED = [*options(DecorrelationConfig), *options(FilesConfig)]
NUMBER_LIKE = st.text("0123456789-+.eExXnaifkMG_,/ \t", max_size=12)
PLAIN = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    NUMBER_LIKE,
    st.binary(max_size=5),
    st.dates(),
    st.builds(pow, st.just(10), st.just(5000)),
    st.just("9" * 5000),
    st.just("0x" + "f" * 5000),
    st.just("0xg"),
    st.just("1e308G"),
    st.complex_numbers(),
)
ANYTHING = st.recursive(
    PLAIN,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(max_size=3), inner, max_size=2)
    ),
    max_leaves=5,
)


def tried(kind, value):
    """Return the parsed value, and None, or what is said of it; other errors get through."""
    try:
        return kind.parse(value), None
    except ValueError as error:
        return None, str(error)


@pytest.mark.parametrize("name", KINDS)
@given(value=ANYTHING)
@settings(deadline=None, max_examples=40)
def test_a_parser_takes_a_value_or_says_what_is_expected(name, value):
    parsed, said = tried(KINDS[name], value)
    if said is not None:
        assert said.startswith("expected ")
    elif not KINDS[name].several:
        assert KINDS[name].parse(parsed) == parsed


@pytest.mark.parametrize(
    ("kind", "value", "says"),
    [
        ("VARIANCE", "a", "expected a number"),
        ("VARIANCE", dt.date(2020, 1, 1), "expected a number"),
        ("VARIANCE", 10**400, "expected a finite number"),
        ("SIZE", "3,b", "expected a number"),
        ("BITS", "x", "expected bit numbers from 0 to 31, or values like 0x40"),
        ("BITS", "0xzz", "expected bit numbers from 0 to 31, or values like 0x40"),
        ("BITS", [1.5], "expected bit numbers from 0 to 31, or values like 0x40"),
        ("MEMORY", "1e308G", "expected a size like 500M or 2G, at least 64M"),
        ("MEMORY", "much", "expected a size like 500M or 2G, at least 64M"),
        ("SEED", "9" * 5000, "expected a whole number, zero or more"),
        ("SEED", "one", "expected a number"),
        ("COUNT", "1.5", "expected a whole number above zero"),
        ("SWITCH", "yes", "expected true or false"),
        ("OUTPUT", "", "expected a file name, but it is empty (a shell variable that is not set?)"),
        ("FILE", "a\0b", "expected a file name"),
    ],
)
def test_what_is_said(kind, value, says):
    with pytest.raises(ValueError, match=f"^{re.escape(says)}$"):
        KINDS[kind].parse(value)


VALUES = ["", "a", "nan", "1e400", "-", "0xzz", "1,2,3", "\u0663x", "9" * 5000, "1_0_", "=", "a=b"]


@pytest.mark.parametrize("item", [i for i in DECLARED if not i.is_switch], ids=lambda i: i.name)
def test_a_wrong_value_is_a_wrong_use_of_the_option(item):
    """The text is that of Python and TOML; nothing of Python's own shows."""
    for value in VALUES:
        _, said = tried(item.kind, value)
        if said is None:
            continue
        result = call("run", "no.fits", "-o", "o.fits", item.flag_name, value)
        check_failure(result, 2, f"Error: Invalid value for '{item.flag_name}'")
        text = result.stderr.splitlines()[-1]
        assert text.endswith(said)
        assert len(text) < 400
        assert not re.search(r"could not|invalid literal|convert|argument|Exceeds", text)


def test_options_of_check_are_called_by_their_names():
    for name in ("--fwhm", "--max-rho", "--max-memory", "--bad-bits", "--noise", "--noise-kind"):
        value = "" if name == "--noise" else "x"
        check_failure(call("check", "no.fits", name, value), 2, f"Invalid value for '{name}'")


def test_python_hears_the_same():
    with pytest.raises(ConfigError, match=r"^`cell_size` is 'a': expected a number$"):
        DecorrelationConfig(cell_size="a")
    with pytest.raises(ValueError, match="expected X0:X1"):
        KINDS["REGION"].parse(10**5000)
    for name in ("cell_size", "max_memory", "threads", "mode"):
        with pytest.raises(ConfigError, match=r"is a number of thousands of digits: expected"):
            DecorrelationConfig(**{name: 10**5000})


STANDARD_OUTPUT = {
    "run": ["run", "d.fits", "-o", "-"],
    "run, by its long name": ["run", "d.fits", "--output", "-"],
    "a part of the result": ["run", "d.fits", "-o", "o.fits", "--write", "noisecov=-"],
    "its log": ["run", "d.fits", "-o", "o.fits", "--log-file", "-"],
    "kernel convert": ["kernel", "convert", "k.fits", "-"],
    "kernel plot": ["kernel", "plot", "k.fits", "-o", "-"],
    "check": ["check", "d.fits", "--plot", "-"],
}


@pytest.mark.parametrize("name", STANDARD_OUTPUT)
def test_nothing_is_written_to_standard_output(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = call(*STANDARD_OUTPUT[name])
    text = " ".join(result.stderr.replace("\n", " ").split())
    assert result.exit_code == 2
    assert "standard output is not written to; write a file, then pass it on" in text
    assert not list(tmp_path.iterdir())


def test_an_option_that_may_be_given_often_is_parsed_as_a_whole(work):
    twice = ("--write", f"noisecov={work / 'a.fits'}", "--write", f"noisecov={work / 'b.fits'}")
    work.fails(2, "--write", "every NAME once", options=twice)
    one = ("--write", f"noisecov={work / 'a.fits'}")
    assert json_object(work.run(*one, "--json").stdout)["options"]["write"] == [one[1]]
