"""The one-liners of the README, on real output of each tool: verified, white, with no fault."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from astropy.io import fits
from helpers.workplace import call

HERE = Path(__file__).parent
DATA = HERE / "data"
SAMPLE = DATA / "hotpants-a1"
TRIPLES = DATA / "triples"


def noise(science, template):
    """Options for noise planes that are sigma."""
    return [
        *("--science-noise", science, "--science-noise-kind", "sigma"),
        *("--template-noise", template, "--template-noise-kind", "sigma"),
    ]


CASES = {
    "hotpants": [
        *(SAMPLE / f"{role}.fits" for role in ("science", "template", "difference")),
        *noise(SAMPLE / "science_sigma.fits", SAMPLE / "template_sigma.fits"),
    ],
    "sfft": [
        *(TRIPLES / f"sfft_{name}.fits.gz" for name in ("D_sci", "D_ref", "D1_diff")),
        *("--kernel", DATA / "sfft" / "D1_solution.fits"),
        *("--science-gain", 1.6, "--science-sky", 200, "--template-gain", 6.6),
        *("--template-sky", 200),
    ],
    "lsst": [
        *(TRIPLES / f"lsst_poly_{role}.fits.gz" for role in ("science", "template", "difference")),
        *("--kernel", DATA / "lsst-persistence" / "poly_matching_kernel.fits"),
        *("--convolved", "science"),
    ],
}


def run(arguments, out):
    words = [str(word) for word in arguments]
    done = call("run", *words, "-o", str(out), "--json")
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("tool", CASES)
def test_one_line_does_it(tool, tmp_path):
    out = tmp_path / "out.fits"
    metrics = run(CASES[tool], out)
    assert metrics["residual"] < 0.05
    assert metrics["correlation_rms_after"] < 1.6 * metrics["correlation_error"]
    with fits.open(out) as hdus:
        assert {"IMAGE", "MASK", "VARIANCE", "PSI"} <= {hdu.name for hdu in hdus}
    if shutil.which("fitsverify"):
        done = subprocess.run(
            ["fitsverify", "-q", str(out)], check=False, capture_output=True, text=True
        )
        assert "OK" in done.stdout, done.stdout


def test_a_plain_stamp(tmp_path):
    """The kernel of the middle, as a bare image, for a difference whose kernel hardly varies."""
    images = [SAMPLE / f"{role}.fits" for role in ("science", "template", "difference")]
    fits.writeto(
        tmp_path / "stamp.fits", __import__("diffdecor").read_kernel(images[2]).stamp(179.5, 179.5)
    )
    metrics = run(
        [
            *images,
            *("--kernel", tmp_path / "stamp.fits", "--convolved", "template"),
            *("--science-scale", 1 / 0.84579852, "--template-scale", 1 / 0.84579852),
            *("--science-gain", 1.6, "--science-read-noise", 5),
            *("--template-gain", 6.6, "--template-read-noise", 5, "--no-verify"),
        ],
        tmp_path / "out.fits",
    )
    assert metrics["kernel_sum"] == pytest.approx(0.84579852)
    assert metrics["filters"] > 1


@pytest.mark.reference
@pytest.mark.parametrize(
    "name", ["hotpants", "sfft_ref", pytest.param("sfft_sci", marks=pytest.mark.long)]
)
def test_real_nircam_images_verify(reference, name, tmp_path):
    folder = reference / "real-nircam"
    kernel = [] if name == "hotpants" else ["--kernel", folder / f"{name}_solution.fits"]
    metrics = run(
        [
            *(folder / file for file in ("science.fits", "template.fits", f"{name}_diff.fits")),
            *kernel,
            *noise(folder / "science_sigma.fits", folder / "template_sigma.fits"),
        ],
        tmp_path / "out.fits",
    )
    assert metrics["residual"] < 1e-5
    # Drizzled images: their own noise is correlated, which a model of white noise leaves as it is.
    assert metrics["correlation_x_after"] < metrics["correlation_x_before"]
