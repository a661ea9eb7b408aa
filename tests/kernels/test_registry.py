"""Recognising formats, options that hold for all of them, and files that are none."""

import gzip
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from kernels.conftest import DATA

from diffdecor.errors import ConfigError, InputError, KernelError
from diffdecor.fits.formats import has_any
from diffdecor.kernels import registry
from diffdecor.kernels.registry import kernel_formats, read_kernel, register
from diffdecor.kernels.source import open_source

STAMP = np.arange(1.0, 16.0).reshape(3, 5)


class Claims:
    """Reader that claims every file."""

    @staticmethod
    def identify(_hdus):
        return True

    @staticmethod
    def read(_source, _options):
        msg = "list index"
        raise IndexError(msg)


@pytest.fixture
def formats():
    """The formats, to be added to."""
    known = registry._registry  # noqa: SLF001
    known.formats()
    yield
    for name in ("one", "two"):
        known._formats.pop(name, None)  # noqa: SLF001


def test_known_formats():
    assert {"stamp", "native", "hotpants"} <= set(kernel_formats())


def test_a_name_is_registered_once(formats):  # noqa: ARG001
    with pytest.raises(ValueError, match="already a matching kernel format 'stamp'"):
        register("stamp", description="another")(Claims)


@pytest.mark.parametrize(
    "path", sorted(path for path in DATA.rglob("*.*") if path.suffix in {".fits", ".gz", ".list"})
)
def test_a_format_is_known_by_its_words_before_its_module_is_imported(path):
    known = registry._registry  # noqa: SLF001
    with open_source(path, text=True) as source:
        for module, words in known.modules.items():
            readers = [one for one in known.formats().values() if one.reader.__module__ == module]
            assert readers
            if any(one.reader.identify(source.candidates) for one in readers) and words:
                assert has_any(words, source.candidates)


def test_other_formats_are_not_imported(native_data):
    code = (
        "import sys\n"
        "from diffdecor.kernels.registry import read_kernel\n"
        f"print(read_kernel({str(native_data / 'D1_native.fits')!r}).format)\n"
        "print([name for name in sys.modules if name.endswith(('sfft', 'ficonv', 's.lsst'))])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_two_claimants_are_named(formats, write_image):  # noqa: ARG001
    register("one", description="x")(Claims)
    register("two", description="x")(Claims)
    with pytest.raises(KernelError, match=r"stamp\.fits: looks like one and two"):
        read_kernel(write_image(STAMP))


def test_failures_inside_a_reader_name_the_file(formats, write_image):  # noqa: ARG001
    register("one", description="x")(Claims)
    with pytest.raises(InputError, match=r"stamp\.fits: damaged one kernel \(list index\)"):
        read_kernel(write_image(STAMP))


def test_no_claimant_lists_the_formats(tmp_path):
    fits.HDUList([fits.PrimaryHDU()]).writeto(tmp_path / "none.fits")
    with pytest.raises(KernelError, match=r"none\.fits: holds no matching kernel.*hotpants: HOT"):
        read_kernel(tmp_path / "none.fits")


def _missing(path):
    del path


def _half(path):
    fits.PrimaryHDU(np.ones((50, 50))).writeto(path)
    path.write_bytes(path.read_bytes()[:9000])


def _half_gzip(path):
    fits.PrimaryHDU(np.random.default_rng(1).normal(size=(50, 50))).writeto(path)
    path.write_bytes(gzip.compress(path.read_bytes())[:9000])


BROKEN = {
    "missing": (_missing, "no such file"),
    "directory": (Path.mkdir, "is a directory"),
    "empty": (Path.touch, "the file is empty"),
    "text": (lambda path: path.write_text("not a kernel\n" * 500), "not a readable FITS file"),
    "short text": (lambda path: path.write_text("no"), "not a readable FITS file"),
    "header only": (
        lambda path: path.write_bytes(b"SIMPLE  =                    T"),
        "not a readable FITS file",
    ),
    "truncated": (_half, "the file is truncated"),
    "truncated gzip": (_half_gzip, "not a readable FITS file|truncated"),
}


@pytest.mark.parametrize("case", BROKEN)
@pytest.mark.parametrize("role", ["kernel", "difference"])
def test_broken_files(tmp_path, write_image, case, role):
    make, problem = BROKEN[case]
    path = tmp_path / "broken.fits"
    make(path)
    files = (path, None) if role == "kernel" else (write_image(STAMP), path)
    with pytest.raises(InputError, match=rf"broken\.fits: .*({problem})") as caught:
        read_kernel(*files)
    assert "\n" not in str(caught.value)


def test_no_permission(write_image, monkeypatch):
    def refuse(*_args, **_kwargs):
        raise PermissionError(13, "Permission denied")

    path = write_image(STAMP)
    monkeypatch.setattr(fits, "open", refuse)
    with pytest.raises(InputError, match=r"stamp\.fits: .*Permission denied"):
        read_kernel(path)


@pytest.mark.parametrize("extension", ["K", "k", "2", "K,1"])
def test_extension_is_chosen(tmp_path, extension):
    images = [fits.ImageHDU(STAMP * n, name=name) for n, name in ((1, "A"), (2, "K"))]
    fits.HDUList([fits.PrimaryHDU(), *images]).writeto(tmp_path / "many.fits")
    kernel = read_kernel(f"{tmp_path}/many.fits[{extension}]")
    np.testing.assert_array_equal(kernel.stamp(0, 0), STAMP * 2)
    assert kernel.name == f"{tmp_path}/many.fits[{extension}]"


def test_a_file_with_brackets_in_its_name(write_image):
    kernel = read_kernel(write_image(STAMP, name="k.fits[K]"))
    np.testing.assert_array_equal(kernel.stamp(0, 0), STAMP)


@pytest.mark.parametrize("extension", ["3", "NONE", "K,7"])
def test_missing_extension(tmp_path, extension):
    hdus = fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(STAMP, name="K")])
    hdus.writeto(tmp_path / "one.fits")
    with pytest.raises(InputError, match=r"one\.fits.*: there is no extension .*0 PRIMARY, 1 K"):
        read_kernel(f"{tmp_path}/one.fits[{extension}]")


@pytest.mark.parametrize("name", ["A3_plain_stamp", "A1_stampgrid", "B1_native", "M1_native"])
def test_side_and_scales_are_overridden(native_data, name):
    kernel = read_kernel(
        native_data / f"{name}.fits", convolved="science", science_scale=0.5, template_scale=0.25
    )
    assert kernel.side(300, 100) == "science"
    assert kernel.scales(300, 100) == (0.5, 0.25)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("convolved", "image"),
        ("sense", "flipped"),
        ("science_scale", 0.0),
        ("template_scale", float("nan")),
        ("center", (0.5, 1)),
        ("center", (1, 2, 3)),
        ("nsx", 0),
        ("rss", 1.5),
    ],
)
def test_impossible_options(write_image, option, value):
    with pytest.raises(ConfigError):
        read_kernel(write_image(STAMP), **{option: value})


def test_unknown_option(write_image):
    with pytest.raises(TypeError, match="sides"):
        read_kernel(write_image(STAMP), sides="template")
