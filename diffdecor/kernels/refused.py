"""Known kinds of file that hold no usable matching kernel, and what to give instead."""

from __future__ import annotations

from diffdecor.fits.formats import column_names
from diffdecor.fits.open import Hdus, image_shape
from diffdecor.kernels.source import Source
from diffdecor.kernels.textfile import TextFile

_SMALLEST_EXPOSURE = 200  # pixels; real kernels with a position on the sky are smaller
_OF_THE_SKY = ("CTYPE1", "EXPTIME", "MJD-OBS", "DATE-OBS", "CRVAL1", "FILTER", "TELESCOP")


def refuse_known(source: Source) -> None:
    """Refuse what is not a matching kernel, and say what it is and what to give instead.

    Called for files that only fallbacks claim, or no format.
    """
    hdus = source.candidates
    if any(isinstance(hdu, TextFile) for hdu in hdus):
        source.refuse(
            "a text file, not a readable FITS file and not a kernel list of ficonv (with [kernel] "
            "blocks); these are the text files that are understood"
        )
    tables = [hdu for hdu in hdus if not hdu.is_image]
    if any(hdu.name == "PSF_DATA" or "PSF_MASK" in column_names(hdu) for hdu in tables):
        source.lack(
            "the PSF of an image, made by PSFEx, not a matching kernel",
            "give it as --science-psf or --template-psf, and here the file of the kernel",
        )
    if any("Z-P" in hdu.header or "Z-V" in hdu.header for hdu in hdus):
        source.refuse(
            "made by ZOGY, which uses no matching kernel: the noise of its difference is white by "
            "construction, so there is nothing to decorrelate"
        )
    if any(str(hdu.header.get("KTYPE", "")).strip() == "BASIS" for hdu in hdus):
        source.refuse(
            "basis images with coefficients (KTYPE = 'BASIS'), but nothing says where and in what "
            "order they apply; write a table of the columns X, Y (1-based pixels) and STAMP"
        )
    if any("CONVD" in hdu.header and "KERHW" in hdu.header for hdu in hdus):
        source.lack(
            "a difference by SFFT, whose kernel is in a file of its own",
            "give that file (the solution) as the kernel, and this one as the difference",
        )
    if any(hdu.name in {"PSI", "PSIPOS"} for hdu in hdus):
        source.refuse(
            "PSI is the filter that diffdecor has applied, not the matching kernel; give the "
            "kernel of the difference as it was before"
        )
    if any(hdu.name in {"NOISECOV", "NOISEREAL"} for hdu in hdus):
        source.refuse(
            "NOISECOV and NOISEREAL are the noise of a result of diffdecor, not the matching "
            "kernel; give the kernel of the difference as it was before"
        )


def refuse_exposure(source: Source) -> None:
    """Refuse a whole exposure, whose image would pass for a stamp.

    Its first image is large and its header says where or when it was taken. An HDU that the user
    named is not refused.
    """
    if source.selected is None and _is_exposure(source.hdus):
        source.refuse(
            "a whole exposure, not a matching kernel; give the file that the subtraction tool "
            "wrote its kernel to, or name the HDU of a stamp as file.fits[EXT]"
        )


def _is_exposure(hdus: Hdus) -> bool:
    """Say whether the first image is too large for a kernel and knows where and when it was."""
    image = next((hdu for hdu in hdus if image_shape(hdu)), None)
    if image is None or min(image_shape(image)[-2:]) <= _SMALLEST_EXPOSURE:
        return False
    headers = (hdus[0].header, image.header)
    return any(card in header for header in headers for card in _OF_THE_SKY)
