"""Outputs of detectors in one file: bytes as they were, cards where they belong, or nothing."""

import gzip
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from helpers.detectors import NAMES, write_exposure
from helpers.workplace import call, described, verify

from diffdecor import read_exposure
from diffdecor.batch.join import JoinStatus, join
from diffdecor.batch.manifest import read_manifest
from diffdecor.config import FilesConfig
from diffdecor.fits.open import open_fits, read_pixels
from diffdecor.pipeline.job import Job
from diffdecor.pipeline.run import run_job

ENDINGS = (".fits", ".fits.fz", ".fits.gz")


def rows(folder, ending=".fits", joined=None):
    text = "difference,output,joined,detector\n"
    for name in NAMES:
        text += f"diff_1.fits[{name}],{name}{ending},{joined or f'all{ending}'},{name}\n"
    file = folder / "night.csv"
    file.write_text(text)
    return read_manifest(str(file), {}).tasks


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with the outputs of three detectors, in every packing."""
    folder = tmp_path_factory.mktemp("made")
    write_exposure(folder, 1)
    for ending in ENDINGS:
        for task in rows(folder, ending):
            run_job(task.job)
    return folder


@pytest.fixture
def night(tmp_path, made):
    for path in made.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def contents(file):
    """Pixels and headers by name and version, as they are read."""
    with fits.open(file, memmap=False) as hdus:
        return {
            (hdu.name, hdu.ver): (np.array(hdu.data), hdu.header.copy())
            for hdu in hdus
            if hdu.data is not None
        }


@pytest.mark.parametrize("ending", ENDINGS)
def test_every_detector_is_in_it_as_it_was(night, ending):
    (found,) = join(rows(night, ending))
    file = night / f"all{ending}"
    assert (found.file, found.status, found.missing) == (str(file), JoinStatus.DONE, [])
    whole = contents(file)
    expected = {}
    for name in NAMES:
        for (part, version), there in contents(night / f"{name}{ending}").items():
            expected[name if part == "IMAGE" else f"{name}_{part}", version] = there
    assert list(whole) == list(expected)
    for key, (pixels, header) in expected.items():
        np.testing.assert_array_equal(whole[key][0], pixels)
        kept = whole[key][1]
        for card in header.cards:
            if card.keyword not in {"EXTNAME", "CHECKSUM", "DATASUM", "HISTORY", "COMMENT", ""}:
                assert kept[card.keyword] == card.value
    with fits.open(file, checksum=True, disable_image_compression=True) as hdus:
        for hdu in hdus:
            assert hdu.verify_checksum() == 1
            assert hdu.verify_datasum() == 1
    if ending != ".fits.gz":
        verify(file)
    if ending == ".fits.gz":
        plain = night / "plain.fits"
        plain.write_bytes(gzip.decompress(file.read_bytes()))
        verify(plain)


def test_cards_are_where_they_belong(night):
    join(rows(night))
    with fits.open(night / "all.fits") as hdus:
        primary = hdus[0].header
        assert primary["OBJECT"] == "field 7"
        assert "CCDNUM" not in primary
        assert not any(keyword.startswith("DD") for keyword in primary if keyword != "DDJOIN")
        for number, name in enumerate(NAMES, 1):
            header = hdus[name].header
            own = fits.getheader(night / f"{name}.fits")
            assert header["CCDNUM"] == number
            assert header["DDJPART"] == f"{name}.fits"
            for card in own.cards:
                if card.keyword.startswith("DD"):
                    assert header[card.keyword] == card.value
            assert list(map(str, own["HISTORY"])) == list(map(str, header["HISTORY"]))
            assert "DDVERS" not in hdus[f"{name}_VARIANCE"].header


def test_the_image_of_a_detector_is_found_as_in_the_input(night):
    join(rows(night))
    with open_fits(f"{night}/all.fits[S2]") as (hdus, extension):
        pixels = read_pixels(hdus[extension], "all.fits")
    with fits.open(night / "S2.fits") as hdus:
        np.testing.assert_array_equal(pixels, hdus["IMAGE"].data)
    assert call("check", f"{night}/all.fits[S2]").exit_code == 0
    again = call("run", f"{night}/all.fits[S2]", "-o", f"{night}/again.fits")
    assert again.exit_code == 3
    assert "decorrelated it already" in again.stderr


@pytest.mark.parametrize("ending", ENDINGS)
def test_what_is_joined_already_is_left_as_it_is(night, ending):
    tasks = rows(night, ending)
    join(tasks)
    before = described(night)
    (found,) = join(tasks)
    assert found.status == JoinStatus.ALREADY
    assert described(night) == before


def test_it_is_made_anew_of_other_parts(night):
    tasks = rows(night)
    join(tasks)
    (night / "S2.fits").unlink()
    run_job(
        Job(
            difference=f"{night}/diff_1.fits[S2]",
            output=f"{night}/S2.fits",
            files=FilesConfig(dtype="float64"),
        )
    )
    (found,) = join(tasks)
    assert found.status == JoinStatus.DONE
    assert contents(night / "all.fits")["S2", 1][0].dtype.itemsize == 8


def test_foreign_files_are_not_renewed(night):
    fits.PrimaryHDU().writeto(night / "all.fits")
    tasks = rows(night)
    before = described(night)
    (found,) = join(tasks)
    assert (found.status, found.exit_code) == (JoinStatus.ERROR, 2)
    assert "exists already, and was not joined of outputs; move it" in found.error
    assert described(night) == before


def test_nothing_is_written_while_outputs_are_missing(night):
    (night / "S2.fits").unlink()
    before = described(night)
    (found,) = join(rows(night))
    assert (found.status, found.missing) == (JoinStatus.INCOMPLETE, [f"{night}/S2.fits"])
    assert "1 of 3 outputs are missing" in found.error
    assert described(night).keys() == before.keys()


def test_what_is_left_of_an_earlier_time_is_said(night):
    tasks = rows(night)
    join(tasks)
    (found,) = join(tasks, is_there=lambda task: task.detector != "N1")
    assert found.status == JoinStatus.INCOMPLETE
    assert "of an earlier time" in found.error


def damaged(folder):
    content = bytearray((folder / "S2.fits").read_bytes())
    with fits.open(folder / "S2.fits") as hdus:
        content[hdus["VARIANCE"].fileinfo()["datLoc"] + 100] ^= 1
    (folder / "S2.fits").write_bytes(content)


def cut_off(folder):
    content = (folder / "S2.fits").read_bytes()
    (folder / "S2.fits").write_bytes(content[: len(content) // 2])


def foreign(folder):
    fits.PrimaryHDU(np.ones((3, 3))).writeto(folder / "S2.fits", overwrite=True)


@pytest.mark.parametrize("spoil", [damaged, cut_off, foreign])
def test_parts_that_cannot_be_used(night, spoil):
    """Nothing is left of the joined file, and others are joined all the same."""
    spoil(night)
    good = rows(night, ".fits.fz")
    first, second = join([*rows(night), *good])
    assert first.status == JoinStatus.ERROR
    assert first.exit_code == 3
    assert "S2.fits" in first.error
    assert second.status == JoinStatus.DONE
    assert not (night / "all.fits").exists()
    assert not list(night.glob(".*"))


def test_compressed_parts_stay_compressed(night):
    (found,) = join(rows(night, ".fits.fz", joined="all.fits"))
    assert found.status == JoinStatus.ERROR
    assert "name it .fits.fz" in found.error
    (found,) = join(rows(night, ".fits", joined="packed.fits.fz"))
    assert found.status == JoinStatus.DONE
    verify(night / "packed.fits.fz")
    pixels = contents(night / "packed.fits.fz")["N1", 1][0]
    np.testing.assert_array_equal(pixels, contents(night / "N1.fits")["IMAGE", 1][0])


def test_the_folder_is_made(night):
    (found,) = join(rows(night, joined="new/folder/all.fits"))
    assert found.status == JoinStatus.DONE
    (found,) = join(rows(night, joined="N1.fits/all.fits"))
    assert found.status == JoinStatus.ERROR


def test_a_joined_file_that_is_an_output_is_not_written(night):
    tasks = rows(night)
    spoiled = [tasks[0], tasks[1]]
    object.__setattr__(spoiled[1], "joined", spoiled[0].job.output)
    object.__setattr__(spoiled[0], "joined", spoiled[0].job.output)
    before = described(night)
    (found,) = join(spoiled)
    assert found.status == JoinStatus.ERROR
    assert Path(found.file).name == "N1.fits"
    assert described(night) == before


@pytest.mark.parametrize("ending", ENDINGS)
def test_planes_of_a_detector_are_found_again(night, ending, caplog):
    """Mask and variance of N1 are N1_MASK and N1_VARIANCE, and nothing of the others."""
    join(rows(night, ending))
    caplog.clear()
    for name in NAMES:
        with_planes = read_exposure(f"{night / f'all{ending}'}[{name}]")
        own = read_exposure(f"{night / f'{name}{ending}'}")
        assert not caplog.records
        assert with_planes.mask_planes == own.mask_planes
        for plane in ("image", "mask", "variance"):
            pixels = [np.asarray(getattr(one, plane)[:]) for one in (with_planes, own)]
            np.testing.assert_array_equal(*pixels)
