"""Broken files of every format: readers raise our own errors, or read them, and nothing else.

Two hundred in the suite; as many as DIFFDECOR_FUZZ says on request.
"""

import gzip
import io
import os
import tempfile
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.io.fits.verify import VerifyError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kernels.conftest import DATA

from diffdecor.errors import DiffdecorError
from diffdecor.kernels.describe import describe
from diffdecor.kernels.native import native_hdus
from diffdecor.kernels.registry import read_kernel

# astropy leaves a file open that it cannot read; it is closed when the garbage is collected.
pytestmark = pytest.mark.filterwarnings(
    "ignore:unclosed file:ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)

EXAMPLES = int(os.environ.get("DIFFDECOR_FUZZ", "200"))


def content(path):
    data = (DATA / path).read_bytes()
    return gzip.decompress(data) if path.endswith(".gz") else data


FITS = {
    path: content(path)
    for path in (
        "sfft/D1_solution.fits",
        "sfft/BS2_solution.fits",
        "sfft/BS3_solution.fits",
        "native/A1_stampgrid.fits",
        "native/BS1_native.fits",
        "native/D1_native.fits",
        "native/A3_plain_stamp.fits",
        "hotpants/A2_kernel.fits",
        "hotpants/B2_kernel.fits",
        "hotpants/B1_diff.fits.gz",
    )
}
LIST = content("ficonv/Df_kernel.list").decode()
DIFFERENCES = {"sfft/D1_solution.fits": content("sfft/D1_diff.fits.gz")}

VALUES = st.one_of(
    st.integers(-3, 40),
    st.sampled_from([0, -1, 2**31, 10**9, 10**18, -(10**9)]),
    st.floats(allow_nan=False, allow_infinity=False, width=32),
    st.booleans(),
    st.text("AB-[]:,'. 019tiu", max_size=12),
    st.sampled_from(["REF", "SCI", "TEMPLATE", "B-Spline", "True", "[1:5,1:9]", "D10.8", "PD(8)"]),
)
# astropy itself counts up to these numbers, a microsecond each; FITS allows 999.
COUNTS = ("COMMENT", "NAXIS", "TFIELDS")
NUMBERS = st.sampled_from([np.nan, np.inf, -1.0, 0.0, 1e300, -1e300, 2.5])
SETTINGS = settings(
    max_examples=EXAMPLES,
    derandomize=EXAMPLES <= 200,  # more are asked for to find new ones
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


class Broken:
    """A file that has been damaged, and in short what has been done to it."""

    def __init__(self, name, change, data):
        self.name, self.change, self.data = name, change, data

    def __repr__(self):
        return f"Broken({self.name!r}, {self.change!r})"

    @property
    def difference(self):
        return DIFFERENCES.get(self.name)


def read(path, difference):
    """Return the kernel, or our own error."""
    try:
        return read_kernel(path, difference), None
    except DiffdecorError as error:
        return None, error


def survives(data, name="k.fits", difference=None):
    """Read a file as `kernel info` and `kernel convert` would."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(data)
        other = None
        if difference is not None:
            other = Path(folder) / "diff.fits"
            other.write_bytes(difference)
        kernel, problem = read(path, other)
    if kernel is None:
        assert "\n" not in str(problem)
        assert problem.exit_code == 3
        return
    native_hdus(kernel)
    if zlib.crc32(data) % 8 == 0:  # it takes long
        with np.errstate(all="ignore"), suppress(DiffdecorError):
            describe(kernel)


def saved(hdus, original):
    """Bytes of a changed file; those of the original where astropy refuses to write it."""
    with tempfile.NamedTemporaryFile(suffix=".fits") as file:
        try:
            hdus.writeto(file.name, output_verify="ignore", overwrite=True)
        except (ValueError, TypeError, VerifyError, KeyError, OverflowError, AttributeError):
            return original
        return Path(file.name).read_bytes()


@st.composite
def headers(draw):
    """Change cards: values, whole cards, or those of the structure."""
    name = draw(st.sampled_from(sorted(FITS)))
    with fits.open(io.BytesIO(FITS[name]), memmap=False) as hdus:
        header = hdus[draw(st.integers(0, len(hdus) - 1))].header
        changes = []
        for _ in range(draw(st.integers(1, 3))):
            keyword = draw(st.sampled_from([k for k in header if k and k not in COUNTS]))
            value = draw(st.none() | VALUES)
            changes.append((keyword, value))
            try:
                if value is None:
                    del header[keyword]
                else:
                    header[keyword] = value
            except (ValueError, KeyError, VerifyError):
                continue
        return Broken(name, changes, saved(hdus, FITS[name]))


@st.composite
def cards(draw):
    """Write over a card with another of the same length, whatever it says."""
    name = draw(st.sampled_from(sorted(FITS)))
    data = bytearray(FITS[name])
    starts = [n for n in range(0, len(data), 80) if data[n + 8 : n + 10] == b"= "]
    start = draw(st.sampled_from(starts))
    value = draw(VALUES)
    if data[start : start + 8].decode().strip() in COUNTS and isinstance(value, int):
        value %= 1000
    text = f"'{value}'" if isinstance(value, str) else str(value)
    data[start + 10 : start + 80] = f"{text:>20}"[:70].ljust(70).encode("ascii", "replace")
    return Broken(name, [start, text], bytes(data))


@st.composite
def tables(draw):
    """Change cells and pixels."""
    name = draw(st.sampled_from(sorted(FITS)))
    with fits.open(io.BytesIO(FITS[name]), memmap=False) as hdus:
        full = [hdu for hdu in hdus if hdu.data is not None]
        hdu = draw(st.sampled_from(full))
        value = draw(NUMBERS | st.integers(-5, 5))
        with np.errstate(all="ignore"):
            if hdu.is_image:
                hdu.data.flat[draw(st.integers(0, hdu.data.size - 1))] = value
            else:
                column = draw(st.sampled_from(hdu.columns.names))
                row = draw(st.integers(0, len(hdu.data) - 1))
                try:
                    hdu.data[column][row] = (
                        str(value) if "A" in hdu.columns[column].format else value
                    )
                except (ValueError, OverflowError):
                    return Broken(name, [], FITS[name])
        return Broken(name, [hdu.name, value], saved(hdus, FITS[name]))


@st.composite
def bytes_(draw):
    """Cut the file, and change single bytes of it."""
    name = draw(st.sampled_from(sorted(FITS)))
    data = bytearray(FITS[name])
    changes = draw(
        st.lists(
            st.tuples(st.integers(0, len(data) - 1), st.integers(0, 255)), min_size=1, max_size=4
        )
    )
    for place, value in changes:
        data[place] = value
    length = draw(st.integers(1, len(data)) | st.just(len(data)))
    return Broken(name, [*changes, length], bytes(data[:length]))


@SETTINGS
@given(case=st.one_of(headers(), cards(), tables(), bytes_()))
def test_broken_fits_files(case):
    survives(case.data, difference=case.difference)


@st.composite
def lists(draw):
    lines = LIST.split("\n")
    for _ in range(draw(st.integers(1, 3))):
        number = draw(st.integers(0, len(lines) - 1))
        action = draw(st.sampled_from(["delete", "copy", "cut", "value", "text"]))
        if action == "delete":
            del lines[number]
        elif action == "copy":
            lines.insert(number, lines[draw(st.integers(0, len(lines) - 1))])
        elif action == "cut":
            lines[number] = lines[number][: draw(st.integers(0, 30))]
        elif action == "value":
            lines[number] = f"{lines[number].partition('=')[0]}= {draw(VALUES)}"
        else:
            lines[number] = draw(st.text(max_size=20))
        if not lines:
            break
    return "\n".join(lines)


@SETTINGS
@given(text=lists())
def test_broken_lists(text):
    survives(text.encode("utf-8", "surrogatepass"), "k.list")


@SETTINGS
@given(data=st.binary(max_size=300), start=st.sampled_from([b"", b"SIMPLE  =", b"\x1f\x8b", b"["]))
def test_anything_at_all(data, start):
    if start or data:
        survives(start + data)


@pytest.mark.parametrize("name", sorted(FITS))
def test_the_originals_are_read(tmp_path, name):
    (tmp_path / "k.fits").write_bytes(FITS[name])
    read_kernel(tmp_path / "k.fits")
