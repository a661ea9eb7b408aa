"""The output row by row: complete and sound, or not there."""

import errno
import os
import random
import re
import shutil
import subprocess

import numpy as np
import pytest
from astropy.io import fits
from helpers.results import write_result

from diffdecor.core.parallel import ordered_map
from diffdecor.errors import OutputError
from diffdecor.images.model import Exposure, MaskPlanes
from diffdecor.images.write import result_file

RNG = np.random.default_rng(11)


def _exposure(shape, **more):
    image = RNG.normal(0, 1e3, shape).astype(np.float32)
    variance = RNG.uniform(1, 2, shape).astype(np.float32)
    mask = RNG.integers(0, 2**31 - 1, shape).astype(np.int32)
    planes = MaskPlanes({"BAD": 0, "A_LONG_NAME": 3})
    values = {"image": image, "variance": variance, "mask": mask, "mask_planes": planes}
    return Exposure(**{**values, **more})


def _fill(result, exposure, threads=1, height=1, seed=1):
    shape = exposure.shape
    starts = list(range(0, shape[0], height))
    random.Random(seed).shuffle(starts)  # noqa: S311  no secret

    def one(start):
        rows = slice(start, start + height)
        result.image[rows] = exposure.image[rows]
        result.mask[rows] = exposure.mask[rows]
        result.variance[rows] = exposure.variance[rows]

    list(ordered_map(one, starts, threads))


def _without_times(path):
    content = re.sub(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", b"", path.read_bytes())
    return re.sub(rb"CHECKSUM= '.{16}'", b"", content)


# 720 pixels of 4 bytes are exactly one block.
@pytest.mark.parametrize("shape", [(1, 1), (1, 720), (720, 1), (36, 40), (7, 103), (101, 33)])
@pytest.mark.parametrize("threads", [1, 2, 4])
def test_it_is_the_file_of_the_whole_planes(tmp_path, shape, threads):
    exposure = _exposure(shape)
    path = tmp_path / "out.fits"
    with result_file(path, exposure) as result:
        assert not path.exists()
        _fill(result, exposure, threads, height=4)
        np.testing.assert_array_equal(result.image[0 : shape[0]], exposure.image)
        assert result.significance is None
    with fits.open(path, checksum=True) as hdus:  # a wrong sum would warn
        assert [hdu.name for hdu in hdus] == ["PRIMARY", "IMAGE", "MASK", "VARIANCE"]
        np.testing.assert_array_equal(hdus["IMAGE"].data, exposure.image)
        np.testing.assert_array_equal(hdus["MASK"].data, exposure.mask)
        np.testing.assert_array_equal(hdus["VARIANCE"].data, exposure.variance)
    whole = tmp_path / "whole.fits"
    write_result(whole, exposure)
    assert _without_times(path) == _without_times(whole)
    # Astropy itself writes the same bytes.
    again = tmp_path / "again.fits"
    with fits.open(path) as hdus:
        hdus.writeto(again, checksum=True)
    assert _without_times(path) == _without_times(again)


def test_types_of_the_planes(tmp_path):
    exposure = _exposure((9, 8))
    path = tmp_path / "out.fits"
    options = {"dtype": "float64", "variance_dtype": "float32", "significance": True}
    with result_file(path, exposure, **options) as result:
        _fill(result, exposure)
        result.significance[0:9] = exposure.image / 7
        result.append([fits.ImageHDU(np.ones((3, 3)), name="CELL_IMAGE", ver=2)])
    with fits.open(path, checksum=True) as hdus:
        bits = {hdu.name: hdu.header["BITPIX"] for hdu in hdus[1:]}
        assert bits == {"IMAGE": -64, "MASK": 32, "VARIANCE": -32, "SIGNIF": -32, "CELL_IMAGE": -64}
        np.testing.assert_array_equal(hdus["SIGNIF"].data, exposure.image / np.float32(7))
        assert hdus["CELL_IMAGE", 2].data.sum() == 9


def test_planes_that_there_are_not(tmp_path):
    path = tmp_path / "out.fits"
    exposure = _exposure((3, 4), mask=None, variance=None)
    with result_file(path, exposure) as result:
        assert result.mask is result.variance is result.significance is None
        result.image[0:3] = exposure.image
    with fits.open(path, checksum=True) as hdus:
        assert [hdu.name for hdu in hdus] == ["PRIMARY", "IMAGE"]


@pytest.mark.parametrize("early", [0, 5, 31, 60])
@pytest.mark.parametrize("late", [0, 1, 36, 100])
def test_cards_that_are_known_at_the_end(tmp_path, early, late):
    path = tmp_path / "out.fits"
    exposure = _exposure((3, 4), header=fits.Header({"OBJECT": "M 1", "EXPTIME": 3.0}))
    cards = fits.Header({f"EARLY{n}": n for n in range(early)})
    with result_file(path, exposure, cards=cards, cards_room=late) as result:
        _fill(result, exposure)
        cards.extend(fits.Header({f"LATE{n}": n + 0.5 for n in range(late)}))
        cards["EXPTIME"] = 4.0
        result.set_cards(cards)
    with fits.open(path, checksum=True) as hdus:
        header = hdus[0].header
        assert (header["OBJECT"], header["EXPTIME"]) == ("M 1", 4.0)
        assert [header[f"EARLY{n}"] for n in range(early)] == list(range(early))
        assert [header[f"LATE{n}"] for n in range(late)] == [n + 0.5 for n in range(late)]
        np.testing.assert_array_equal(hdus["IMAGE"].data, exposure.image)


def test_long_texts_at_the_end(tmp_path):
    path = tmp_path / "out.fits"
    exposure = _exposure((3, 4))
    with result_file(path, exposure, cards_room=20) as result:
        _fill(result, exposure)
        result.set_cards(fits.Header({"DDMODE": "long " * 100}))
    with fits.open(path, checksum=True) as hdus:
        assert hdus[0].header["DDMODE"] == ("long " * 100).rstrip()
        assert "LONGSTRN" in hdus[0].header


@pytest.mark.skipif(shutil.which("fitsverify") is None, reason="fitsverify is not installed")
@pytest.mark.parametrize("late", [0, 3])
def test_fitsverify_finds_nothing_where_room_is_left(tmp_path, late):
    path = tmp_path / "out.fits"
    exposure = _exposure((3, 4))
    with result_file(path, exposure, cards_room=200, significance=True) as result:
        _fill(result, exposure)
        result.significance[0:3] = exposure.image
        result.set_cards(fits.Header({f"LATE{n}": "long text " * 12 for n in range(late)}))
    assert path.stat().st_size == 2880 * (6 + 2 * 4)
    done = subprocess.run(
        ["fitsverify", path.name], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert "0 warning(s) and 0 error(s)" in done.stdout or "found 0 warning" in done.stdout, (
        done.stdout
    )


def test_more_cards_than_there_is_room_for(tmp_path):
    exposure = _exposure((3, 4))

    def fail():
        with result_file(tmp_path / "out.fits", exposure, cards_room=2) as result:
            _fill(result, exposure)
            result.set_cards(fits.Header({f"LATE{n}": n for n in range(40)}))

    with pytest.raises(RuntimeError, match="the primary header has 5760 bytes, and room for 2880"):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_rows_that_never_came(tmp_path):
    exposure = _exposure((3, 4))

    def fail():
        with result_file(tmp_path / "out.fits", exposure) as result:
            result.image[0:3] = exposure.image

    with pytest.raises(RuntimeError, match="3 rows of the output are missing, the first is 0"):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_noticed_before_the_work(tmp_path, monkeypatch):
    def full(*_args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def work():
        with result_file(tmp_path / "out.fits", _exposure((3, 4))):
            pytest.fail("there was no space, and it works")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OutputError, match="cannot be written: the disk is full"):
        work()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("code", [errno.EOPNOTSUPP, errno.EINVAL, None])
def test_file_systems_that_set_no_space_aside(tmp_path, monkeypatch, code):
    def refuse(*_args):
        raise OSError(code, os.strerror(code))

    if code is None:
        monkeypatch.delattr(os, "posix_fallocate", raising=False)
    else:
        monkeypatch.setattr(os, "posix_fallocate", refuse)
    exposure = _exposure((3, 4))
    write_result(tmp_path / "out.fits", exposure)
    with fits.open(tmp_path / "out.fits", checksum=True) as hdus:
        np.testing.assert_array_equal(hdus["VARIANCE"].data, exposure.variance)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_disk_that_fills_up_during_the_work(tmp_path, monkeypatch, threads):
    def full(*_args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    exposure = _exposure((40, 4))

    def work():
        with result_file(tmp_path / "out.fits", exposure) as result:
            monkeypatch.setattr(os, "pwrite", full)
            _fill(result, exposure, threads)

    with pytest.raises(OutputError, match="cannot be written: the disk is full"):
        work()
    assert list(tmp_path.iterdir()) == []
