"""File arguments with an extension."""

from pathlib import Path

import pytest

from diffdecor.fits.paths import split_extension


@pytest.mark.parametrize(
    ("text", "file", "extension"),
    [
        ("a.fits", "a.fits", None),
        ("a.fits[SCI]", "a.fits", "SCI"),
        ("a.fits[ SCI ]", "a.fits", "SCI"),
        ("a.fits[0]", "a.fits", 0),
        ("a.fits.fz[12]", "a.fits.fz", 12),
        ("a.fits[SCI,2]", "a.fits", ("SCI", 2)),
        ("a.fits[SCI , 2]", "a.fits", ("SCI", 2)),
        ("a.fits[a,b]", "a.fits", "a,b"),
        ("run[3]/a.fits", "run[3]/a.fits", None),
        ("run[3]/a.fits[SCI]", "run[3]/a.fits", "SCI"),
        ("a.fits[]", "a.fits[]", None),
        ("[1]", "[1]", None),
    ],
)
@pytest.mark.parametrize("kind", [str, Path])
def test_split(text, file, extension, kind):
    assert split_extension(kind(text)) == (Path(file), extension)


def test_a_real_file_wins(tmp_path):
    (tmp_path / "a[1].fits[2]").touch()
    assert split_extension(tmp_path / "a[1].fits[2]") == (tmp_path / "a[1].fits[2]", None)


def test_a_name_too_long_is_no_error():
    assert split_extension("x" * 5000 + "[1]") == (Path("x" * 5000), 1)
