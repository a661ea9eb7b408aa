"""Files that are known, but are not matching kernels."""

import pickle

import numpy as np
import pytest
from astropy.io import fits
from kernels.conftest import DATA

from diffdecor.errors import KernelError, NoKernelError
from diffdecor.kernels.registry import read_kernel

# What is tested is said as a command says it.
pytestmark = pytest.mark.usefixtures("as_a_command")

SKY = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "EXPTIME": 30.0}


def primary(*hdus, **cards):
    return fits.HDUList([fits.PrimaryHDU(header=fits.Header(cards)), *hdus])


def psfex():
    mask = fits.Column("PSF_MASK", "9E", dim="(3,3,1)", array=np.ones((1, 1, 3, 3)))
    return primary(fits.BinTableHDU.from_columns([mask], name="PSF_DATA"))


def image(shape, **cards):
    return fits.HDUList([fits.PrimaryHDU(np.ones(shape, "f4"), fits.Header(cards))])


KINDS = {
    "PSFEx": (psfex, "made by PSFEx, not a matching kernel; give it as --science-psf"),
    "ZOGY": (lambda: image((30, 30), **{"Z-P": "T"}), "ZOGY, which uses no matching kernel"),
    "basis": (lambda: image((3, 9, 9), KTYPE="BASIS"), "KTYPE = 'BASIS'.*X, Y .*STAMP"),
    "SFFT difference": (
        lambda: image((30, 30), CONVD="REF", KERHW=7),
        "a difference by SFFT.*give that file",
    ),
    "our output": (
        lambda: primary(fits.ImageHDU(np.ones((40, 40)), name="IMAGE"),
                        fits.ImageHDU(np.ones((9, 5, 5)), name="PSI")),
        "PSI is the filter that diffdecor has applied",
    ),
    "exposure": (lambda: image((300, 220), **SKY), "a whole exposure, not a matching kernel"),
    "exposure with extensions": (
        lambda: primary(fits.ImageHDU(np.ones((300, 220))), **SKY),
        "a whole exposure",
    ),
    "SFFT": (
        lambda: image((1, 10), FIJAB=9, N0=9, N1=9, L0=3, L1=3, DK=0, DB=0, KSPTYPE="RBF"),
        "KSPTYPE = 'RBF': SFFT solutions with Polynomial and B-Spline can be read; convert",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_fits_files(tmp_path, kind):
    make, problem = KINDS[kind]
    make().writeto(tmp_path / "k.fits")
    with pytest.raises(KernelError, match=rf"k\.fits: .*{problem}") as caught:
        read_kernel(tmp_path / "k.fits")
    # Of these nothing is wrong with the file: where it is a difference its kernel may be found.
    assert isinstance(caught.value, NoKernelError) == (kind in {"PSFEx", "SFFT difference"})


class Bomb:
    """Would end the process if it were unpickled."""

    def __reduce__(self):
        return exec, ("raise SystemExit",)


def save_arrays(path):
    with path.open("wb") as file:
        np.savez(file, kernel=np.ones((3, 3)))


def save_array(path):
    with path.open("wb") as file:
        np.save(file, np.ones((3, 3)))


OTHERS = {
    **{
        f"pickle {protocol}": (
            lambda path, protocol=protocol: path.write_bytes(pickle.dumps(Bomb(), protocol)),
            "a Python pickle, which runs code when it is loaded: it is never opened; write",
        )
        for protocol in (2, 3, 4, 5)
    },
    "npz": (save_arrays, "a NumPy archive or another zip file; write the kernel as a FITS image"),
    "npy": (save_array, "a NumPy array file; write"),
    "HDF5": (lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n" + b"\0" * 99), "an HDF5 file"),
    "ASDF": (lambda path: path.write_text("#ASDF 1.0.0\n"), "an ASDF file"),
    "text": (lambda path: path.write_text("1 2 3\n"), "text file.*not a kernel list of ficonv"),
    "Latin-1": (lambda path: path.write_bytes(b"\xe9" * 99), "not a readable FITS file"),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_other_files(tmp_path, kind):
    make, problem = OTHERS[kind]
    make(tmp_path / "kernel.pkl")
    with pytest.raises(ValueError, match=rf"kernel\.pkl: .*{problem}"):
        read_kernel(tmp_path / "kernel.pkl")


def test_a_pickle_of_protocol_0_is_text_and_nothing_more(tmp_path):
    (tmp_path / "k.pkl").write_bytes(pickle.dumps(Bomb(), 0))
    with pytest.raises(KernelError, match="a text file"):
        read_kernel(tmp_path / "k.pkl")


def test_a_stamp_is_named_inside_an_exposure(tmp_path):
    stamp = fits.ImageHDU(np.ones((5, 5)), name="K")
    primary(fits.ImageHDU(np.ones((300, 220))), stamp, **SKY).writeto(tmp_path / "k.fits")
    assert read_kernel(f"{tmp_path}/k.fits[K]").shape == (5, 5)


def test_a_difference_without_kernel(write_image):
    path = write_image(np.ones((300, 220), "f4"), name="diff.fits", **SKY)
    with pytest.raises(NoKernelError, match=r"carries no matching kernel.*--kernel") as caught:
        read_kernel(path, path)
    assert caught.value.why == f"{path}: the difference carries no matching kernel that is known"


def test_the_difference_of_sfft_does_not_carry_its_kernel():
    path = DATA / "sfft" / "D1_diff.fits.gz"
    with pytest.raises(NoKernelError, match="give that file"):
        read_kernel(path, path)
