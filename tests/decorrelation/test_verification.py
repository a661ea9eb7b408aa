"""Files that belong together are recognised, and what is wrong with others is named."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from helpers import oracle
from helpers.workplace import call

from diffdecor import Exposure, MaskPlanes, read_exposure, read_kernel
from diffdecor.core.convolve import convolved
from diffdecor.core.interpolate import KernelField
from diffdecor.core.planes import Window, part_of
from diffdecor.decorrelation import named_kernel, verification
from diffdecor.decorrelation.rebuild import rebuild
from diffdecor.decorrelation.subtraction import Subtraction, as_kernel
from diffdecor.decorrelation.verification import verify, verify_quickly
from diffdecor.errors import KernelError
from diffdecor.kernels.misreadings import misreadings
from diffdecor.kernels.model import BasisKernel, Box, Region, StampKernel, Term
from diffdecor.psfs.model import StampPsf

SAMPLE = Path(__file__).parents[1] / "data" / "hotpants-a1"


@pytest.fixture(autouse=True)
def no_fit(monkeypatch):
    """No kernel is fitted here, which takes seconds: see test_named_kernel.py."""

    def refuse(*_):
        msg = "0.9 sigma"
        raise KernelError(msg)

    monkeypatch.setattr(named_kernel, "fit_kernel", refuse)


@pytest.fixture(scope="module")
def sample():
    """The real images of the sample, and their kernel."""
    exposures = [
        read_exposure(
            SAMPLE / f"{role}.fits", role=role, gain=None if role == "difference" else 2.0
        )
        for role in ("science", "template", "difference")
    ]
    return Subtraction(*exposures, read_kernel(SAMPLE / "difference.fits"))


@pytest.fixture(scope="module")
def part(sample):
    """A part of them, for what is tried again and again."""
    window = Window(80, 280, 90, 290)
    cut = sample.with_planes(lambda plane: part_of(plane, window))
    return replace(cut, kernel=sample.kernel.moved(80, 90))


def test_a_real_difference_belongs_to_its_images(sample):
    verdict = verify(sample)
    assert verdict.belongs
    assert verdict.fit.worst < 1e-5
    assert verdict.fit.bright_pixels > 1000
    assert verify_quickly(sample).fit.worst < 1e-5


@pytest.mark.parametrize("number", range(5))
@pytest.mark.parametrize("check", [verify, verify_quickly])
def test_a_misread_kernel_is_named(part, number, check):
    kernel = part.kernel
    name, misread = list(misreadings(kernel))[number]
    verdict = check(replace(part, kernel=misread))
    assert not verdict.belongs
    assert verdict.alternative.worst < 1e-5
    if number < 3:  # what undoes a turn is the same turn
        assert verdict.cause == name


def test_wrong_scales_are_named(part):
    kernel = part.kernel
    assert kernel.scales(10, 10)[0] == pytest.approx(1 / kernel.sum(10, 10))
    unscaled = next(one for name, one in misreadings(kernel) if "wise: --science-scale 1 " in name)
    verdict = verify(replace(part, kernel=unscaled))
    assert not verdict.belongs
    assert "--science-scale 1/k --template-scale 1/k" in verdict.cause


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (lambda s, t, d: (t, s, d), "exchanged"),
        (lambda s, t, d: (s, t, -d), "other sign"),
    ],
)
def test_wrong_images_are_named(part, change, cause):
    images = change(*(np.asarray(one.image) for one in part.exposures))
    changed = [replace(one, image=image) for one, image in zip(part.exposures, images, strict=True)]
    verdict = verify(Subtraction(*changed, part.kernel))
    assert not verdict.belongs
    assert cause in verdict.cause


def test_a_matched_template_is_named(sample):
    kernel = sample.kernel
    science, template = (np.asarray(one.image, dtype=np.float64) for one in sample.exposures[:2])
    scale = kernel.scales(10, 10)[0]
    matched = science - rebuild(kernel, science, template) / scale
    wrong = replace(sample.template, image=np.where(np.isfinite(matched), matched, 0.0))
    verdict = verify(replace(sample, template=wrong))
    assert not verdict.belongs
    assert "matched already" in verdict.cause


def test_a_cut_out_is_found(sample):
    window = Window(83, 360, 40, 333)
    cut = sample.with_planes(lambda plane: part_of(plane, window))
    verdict = verify(cut)
    assert not verdict.belongs
    assert "(84, 41)" in verdict.cause
    assert verify(replace(cut, kernel=sample.kernel.moved(83, 40))).fit.worst < 1e-5


def test_unrelated_images_do_not_belong(part):
    turned_image = replace(part.science, image=np.asarray(part.science.image)[::-1])
    verdict = verify(replace(part, science=turned_image))
    assert not verdict.belongs
    assert verdict.alternative is None
    assert verdict.cause.endswith("nor does any kernel: 0.9 sigma")


def test_symmetric_kernels_have_no_wrong_side_up():
    rng = np.random.default_rng(8)
    science, template = rng.normal(size=(2, 90, 100))
    stamp = oracle.gaussian(11, 1.5)
    field = KernelField.constant(stamp, (5, 5))
    difference = science - convolved(template, field) + rng.normal(size=science.shape) * 0.05
    exposures = [
        Exposure(image=image, variance=np.ones(image.shape))
        for image in (science, template, difference)
    ]
    kernel = StampKernel(stamps=stamp[np.newaxis], origin=(5, 5))
    verdict = verify(Subtraction(*exposures, kernel))
    assert verdict.belongs
    assert 0.01 < verdict.fit.residual < 0.1


def test_source_and_output_evaluation_differ_as_they_should():
    """Against the sums they are defined by, at one pixel."""
    rng = np.random.default_rng(9)
    science, template = rng.normal(size=(2, 40, 50))
    basis = rng.normal(size=(2, 5, 3))
    terms = (Term("POLY", 0, 0), Term("POLY", 1, 0), Term("POLY", 0, 2))
    coefficients = rng.normal(size=(2, 3))
    region = Region(
        box=Box(0, 49, 0, 39), side="template", xs=50.0, ys=40.0, coefficients=coefficients
    )
    y, x = 17, 23
    for evaluated_at in ("OUTPUT", "SOURCE"):
        kernel = BasisKernel(
            basis=basis, origin=(0, 3), terms=terms, regions=(region,), evaluated_at=evaluated_at
        )
        expected = science[y, x]
        for j in range(5):
            for i in range(3):
                sy, sx = y - (j - 3), x - (i - 0)
                at = (sx, sy) if evaluated_at == "SOURCE" else (x, y)
                expected -= kernel.stamp(*at)[j, i] * template[sy, sx]
        model = rebuild(kernel, science, template)
        assert model[y, x] == pytest.approx(expected, rel=1e-10)
        assert np.isnan(model[0, 0])
        assert np.isfinite(model[5:-5, 5:-5]).all()


PART = ("--region", "80:280,90:290")


def arguments(*more):
    files = [str(SAMPLE / f"{role}.fits") for role in ("science", "template", "difference")]
    return [*files, "--science-gain", "1.6", "--template-gain", "6.6", *more]


def test_command_says_yes():
    done = call("verify", *arguments("--json"))
    assert done.exit_code == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["belongs"]
    assert facts["fit"]["residual"] < 1e-5


def test_command_says_no_and_run_refuses(tmp_path):
    kernel = read_kernel(SAMPLE / "difference.fits")
    flipped = kernel.turned(lambda stamps, origin: (stamps[..., ::-1, ::-1], origin))
    from diffdecor.kernels.native_write import native_hdus

    native_hdus(flipped).writeto(tmp_path / "flipped.fits")
    more = arguments(*PART, "--kernel", str(tmp_path / "flipped.fits"))
    done = call("verify", *more)
    assert done.exit_code == 3
    assert "flipped" in done.stdout
    out = tmp_path / "out.fits"
    refused = call("run", *more, "-o", str(out))
    assert refused.exit_code == 3
    assert "flipped" in refused.stderr
    assert not out.exists()
    forced = call("run", *more, "-o", str(out), "--no-verify")
    assert forced.exit_code == 0, forced.stderr
    assert "DDRESID" not in fits.getheader(out)


def test_run_records_the_residual(tmp_path):
    out = tmp_path / "out.fits"
    done = call("run", *arguments("-o", str(out)))
    assert done.exit_code == 0, done.stderr
    assert fits.getheader(out)["DDRESID"] < 1e-5


def write(path, pixels):
    fits.writeto(path, np.asarray(pixels, dtype=np.float32))
    return str(path)


def test_cross_convolution_and_stacks_on_the_command_line(tmp_path):
    rng = np.random.default_rng(31)
    shape = (200, 210)
    stamp = oracle.gaussian(9, 0.8)
    field = KernelField.constant(stamp, (4, 4))
    first, second = rng.normal(size=(2, *shape)) * 2
    coadd = 0.5 * first + 0.5 * convolved(second, field)
    science = rng.normal(size=shape)
    names = [
        write(tmp_path / f"{name}.fits", image)
        for name, image in (("s", science), ("t", coadd), ("d", science - coadd))
    ]
    kernel = write(tmp_path / "k.fits", stamp)
    write(tmp_path / "sigma.fits", np.full(shape, 2.0))
    write(tmp_path / "delta.fits", np.ones((1, 1)))
    (tmp_path / "stack.toml").write_text(
        '[[member]]\nnoise = "sigma.fits"\nnoise-kind = "sigma"\nweight = 0.5\n'
        '[[member]]\nvariance = 4.0\nkernel = "k.fits"\nweight = 0.5\n'
    )
    base = ["run", *names, "--science-variance", "1", "--mode", "whole", "--json"]
    out = str(tmp_path / "out.fits")
    more = ["--template-stack", str(tmp_path / "stack.toml"), "-o", out]
    more += ["--kernel", str(tmp_path / "delta.fits"), "--template-variance", "4"]
    done = call(*base, *more, "--convolved", "template")
    assert done.exit_code == 0, done.stderr
    metrics = json.loads(done.stdout)
    assert metrics["template_level"] == pytest.approx(2.0)
    expected = 1 + 0.25 * 4 * (1 + 1)  # white sum of both at zero frequency
    assert fits.getdata(out, "VARIANCE").mean() == pytest.approx(expected, rel=1e-3)
    crossed = ["--science-kernel", kernel, "--template-variance", "2", "-o", out, "--overwrite"]
    done = call(*base, *crossed)
    assert done.exit_code == 0, done.stderr


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no [[member]] tables"),
        ("member = 3", "no [[member]] tables"),
        ("[[member]]\nweight = 1", "give either noise"),
        ("[[member]]\nvariance = 1\ncolour = 3", "nothing else"),
        ('[[member]]\nvariance = "x"', "expected a finite number"),
        ("[[member]\n", "not valid TOML"),
        ('[[member]]\nnoise = "gone.fits"', "gone.fits"),
    ],
)
def test_broken_stacks_are_refused(tmp_path, text, says):
    (tmp_path / "stack.toml").write_text(text)
    out = tmp_path / "out.fits"
    more = arguments("--template-stack", str(tmp_path / "stack.toml"), "-o", str(out))
    done = call("run", *more)
    assert done.exit_code == 3
    assert says in done.stderr
    assert not out.exists()


def test_without_a_pixel_nothing_is_said(sample):
    empty = replace(sample.science, image=np.full(sample.shape, np.nan))
    verdict = verify(replace(sample, science=empty))
    assert not verdict.belongs
    assert verdict.cause == "there is no pixel to compare"


def test_one_over_the_kernel_sum_as_a_scale(tmp_path):
    """The sample is of PHOTNORM t: both sides are divided by the kernel sum."""
    kernel = read_kernel(SAMPLE / "difference.fits")
    unscaled = next(one for name, one in misreadings(kernel) if "wise: --science-scale 1 " in name)
    from diffdecor.kernels.native_write import native_hdus

    native_hdus(unscaled).writeto(tmp_path / "unscaled.fits")
    more = arguments(*PART, "--kernel", str(tmp_path / "unscaled.fits"), "--json")
    scales = ["--science-scale", "1/k", "--template-scale", "1/k"]
    assert call("verify", *more).exit_code == 3
    out = tmp_path / "out.fits"
    done = call("run", *more, *scales, "-o", str(out))
    assert done.exit_code == 0, done.stderr
    metrics = json.loads(done.stdout)
    assert metrics["science_scale"] == pytest.approx(1 / kernel.sum(10, 10))
    assert fits.getheader(out)["DDSCISCA"] == "1/k"


class Counted:
    """A plane that counts the rows that are read."""

    def __init__(self, pixels):
        self.pixels, self.shape, self.read = pixels, pixels.shape, 0

    def __getitem__(self, rows):
        self.read += rows.stop - rows.start
        return self.pixels[rows]


@pytest.mark.parametrize("where", [(300, 700), (30, 10), (1190, 890)])
def test_the_quick_check_reads_little_and_looks_at_the_light(where):
    rng = np.random.default_rng(12)
    shape = (1200, 900)
    template = rng.normal(size=shape)
    y, x = (slice(max(0, at - 40), at + 40) for at in where)
    template[y, x] += 500.0
    template[500:520] += 1e6  # not sky: a stripe of the mask lies over it
    stamp = oracle.gaussian(11, 1.5)
    field = KernelField.constant(stamp, (5, 5))
    science = convolved(template, field) + rng.normal(size=shape)
    mask = np.zeros(shape, dtype=np.int32)
    mask[490:530] = 1
    planes = [Counted(plane) for plane in (science, template, science - convolved(template, field))]
    variance = [Counted(np.ones(shape)) for _ in range(3)]
    exposures = [
        Exposure(image=image, variance=plane, mask=mask, mask_planes=MaskPlanes({"SAT": 0}))
        for image, plane in zip(planes, variance, strict=True)
    ]
    kernel = StampKernel(stamps=stamp[np.newaxis], origin=(5, 5), convolved="template")
    verdict = verify_quickly(Subtraction(*exposures, kernel))
    assert verdict.fit.residual < 1e-6
    assert verdict.fit.bright_pixels > 500
    assert verdict.fit.pixels > 200**2
    assert max(plane.read for plane in planes + variance) < 700
    assert variance[2].read == 0


@pytest.mark.parametrize("shape", [(1, 900), (60, 40), (257, 3)])
def test_the_quick_check_takes_images_of_all_shapes(shape):
    science, template = np.random.default_rng(13).normal(size=(2, *shape))
    exposures = [
        Exposure(image=image, variance=np.ones(shape))
        for image in (science, template, science - template)
    ]
    kernel = StampKernel(stamps=np.ones((1, 1, 1)), origin=(0, 0), convolved="template")
    assert verify_quickly(Subtraction(*exposures, kernel)).belongs


# --- what was wrong, and passed


def sparse(sides="template", *, scale=1.0, shape=(150, 160), noise=(1.0, 2.0), file=None):
    """A sparse field: noise and one faint star; what the file says of the side is `file`."""
    rng = np.random.default_rng(41)
    science, template = (rng.normal(0, sigma, shape) for sigma in noise)
    stamp = oracle.gaussian(11, 1.3)
    stamp[5, 7] += 0.02  # not symmetric
    field = KernelField.constant(stamp, (5, 5))
    if sides == "template":
        difference = science - scale * convolved(template, field)
    else:
        difference = scale * convolved(science, field) - template
    exposures = [
        Exposure(image=image.astype(np.float32), variance=np.full(shape, sigma**2))
        for image, sigma in ((science, noise[0]), (template, noise[1]), (difference, 1.0))
    ]
    kernel = StampKernel(stamps=stamp[np.newaxis], origin=(5, 5), convolved=file)
    return Subtraction(*exposures, kernel), (science, template, difference), field


def with_difference(subtraction, image):
    changed = replace(subtraction.difference, image=np.asarray(image, dtype=np.float32))
    return replace(subtraction, difference=changed)


@pytest.mark.parametrize("check", [verify, verify_quickly])
@pytest.mark.parametrize("side", ["template", "science"])
def test_the_side_is_taken_from_an_exact_rebuild(check, side):
    subtraction, *_ = sparse(side)
    verdict = check(subtraction)
    assert (verdict.belongs, verdict.side) == (True, side)
    known, *_ = sparse(side, file=side)
    assert check(known).side is None


@pytest.mark.parametrize(
    ("solution", "shape"),
    [("sfft/D1_solution.fits", (220, 300)), ("lsst-persistence/poly_matching_kernel.fits", None)],
)
@pytest.mark.parametrize("side", ["template", "science"])
def test_with_the_side_its_scales_and_background_are_taken(solution, shape, side, tmp_path):
    """LSST divides by the kernel sum where the science image was convolved; SFFT's sign turns."""
    data = SAMPLE.parent
    if shape is None:
        difference, shape = data / "lsst-persistence/poly_difference.fits.gz", (200, 160)
    else:
        difference = tmp_path / "difference.fits"
        fits.writeto(difference, np.zeros(shape))
    option = read_kernel(data / solution, difference, convolved=side)
    rng = np.random.default_rng(3)
    science, template = rng.normal(100, 1, (2, *shape))
    made = rebuild(option, science, template)
    images = science, template, made.astype(np.float32)
    exposures = [Exposure(image=image, variance=np.ones(shape)) for image in images]
    subtraction = Subtraction(*exposures, read_kernel(data / solution, difference))
    verdict = verify(subtraction)
    assert (verdict.belongs, verdict.side) == (True, side)
    assert verdict.fit.worst < 1e-4


@pytest.mark.parametrize("side", ["template", "science"])
def test_the_wrong_side_is_refused_below_the_noise_too(side):
    subtraction, *_ = sparse(side, file={"template": "science", "science": "template"}[side])
    verdict = verify_quickly(subtraction)
    assert not verdict.belongs
    assert f"--convolved {side}" in verdict.cause


def test_whole_numbers_are_exact_up_to_rounding():
    subtraction, (_, _, difference), _ = sparse("science", noise=(30.0, 50.0))
    rounded = with_difference(subtraction, np.rint(difference))
    verdict = verify(rounded)
    assert (verdict.belongs, verdict.side) == (True, "science")


@pytest.mark.parametrize("side", ["template", "science"])
def test_a_scaled_kernel_is_named_with_its_scales(side):
    subtraction, *_ = sparse(side, scale=1.07, file=side)
    verdict = verify_quickly(subtraction)
    assert not verdict.belongs
    scales = {"template": "--science-scale 1 --template-scale 1.07"}
    scales["science"] = "--science-scale 1.07 --template-scale 1"
    assert scales[side] in verdict.cause


@pytest.mark.parametrize("shift", [(1, 0), (0, -1), (-2, 1)])
def test_shifts_are_named(shift):
    subtraction, (science, template, _), field = sparse(file="template")
    moved = np.roll(convolved(template, field), shift[::-1], axis=(0, 1))
    verdict = verify(with_difference(subtraction, science - moved))
    assert not verdict.belongs
    assert f"template is shifted by ({shift[0]:+d}, {shift[1]:+d})" in verdict.cause


@pytest.mark.parametrize("scale", [1.0, 0.93])
def test_a_matched_template_is_named_below_the_noise_too(scale):
    subtraction, (science, template, _), _ = sparse(file="template")
    verdict = verify(with_difference(subtraction, science - scale * template))
    assert not verdict.belongs
    assert "--template-kernel instead of --kernel" in verdict.cause


def test_a_score_image_is_named():
    subtraction, (science, template, _), field = sparse(file="template")
    psf = oracle.gaussian(15, 1.6)
    score = convolved(science, KernelField.constant(psf, (7, 7))) - convolved(template, field)
    named = replace(subtraction, preconvolution=StampPsf(psf))
    verdict = verify(with_difference(named, score))
    assert not verdict.belongs
    assert "--score" in verdict.cause
    assert not verify(with_difference(subtraction, score)).belongs


def test_another_background_does_no_harm(part):
    image = np.asarray(part.difference.image) + np.float32(3.0)
    verdict = verify(replace(part, difference=replace(part.difference, image=image)))
    assert verdict.belongs
    assert "background" in verdict.cause


@pytest.mark.parametrize("side", ["template", "science"])
@pytest.mark.parametrize("claim", [1.0, 4.0, 1 / 4])
@pytest.mark.parametrize("factor", [1.0, 3.0])
def test_a_whitened_difference_is_recognised(side, claim, factor):
    """Whatever levels the tool has measured, and however it has scaled its result."""
    subtraction, (_, _, difference), field = sparse(side, file=side)
    power = np.array([1.0, 4.0 * claim])
    gain = np.abs(np.fft.rfft2(field.stamps[0, 0], (256, 256))) ** 2
    both = np.array([np.ones_like(gain), gain][:: 1 if side == "template" else -1])
    total = np.tensordot(power, both, axes=1)
    psi = np.sqrt(total[0, 0] / total)
    whitened = np.fft.irfft2(np.fft.rfft2(difference, (256, 256)) * psi)[:150, :160]
    for check in (verify, verify_quickly):
        verdict = check(with_difference(subtraction, factor * whitened))
        assert verdict.decorrelated
        assert not verdict.belongs


def test_a_wrong_kernel_is_not_taken_for_whitening():
    subtraction, *_ = sparse(file="template")
    wider = oracle.gaussian(11, 1.9)[np.newaxis]
    wrong = replace(subtraction, kernel=replace(subtraction.kernel, stamps=wider))
    assert not verify(wrong).decorrelated


def test_differences_cut_off_to_whole_numbers_belong_to_their_files():
    """What cutting off alone leaves, up to a whole unit, is no sign of a wrong kernel."""
    rng = np.random.default_rng(31)
    science, template = rng.normal(size=(2, 160, 160))
    kernel = oracle.gaussian(9, 1.2)
    difference = np.trunc(science - oracle.convolved(template, kernel, (4, 4)))
    exposures = (
        Exposure(image=science, variance=np.ones(science.shape)),
        Exposure(image=template, variance=np.ones(science.shape)),
        Exposure(image=difference),
    )
    assert verify(Subtraction(*exposures, as_kernel(kernel))).belongs


# --- large images, part by part


@pytest.fixture
def in_parts(monkeypatch):
    monkeypatch.setattr(verification, "_AT_ONCE", 0)
    monkeypatch.setattr(verification, "_CORE", 100)


@pytest.mark.usefixtures("in_parts")
def test_in_parts_as_at_once(sample):
    verdict = verify(sample)
    assert verdict.belongs
    assert verdict.fit.worst < 1e-5
    at_once = verification._verify_at_once(sample)  # noqa: SLF001
    # Blocks of the local level lie otherwise; no pixel is left out, or counts twice.
    assert verdict.fit.pixels == at_once.fit.pixels
    assert verdict.fit.residual == pytest.approx(at_once.fit.residual, rel=0.3)


@pytest.mark.usefixtures("in_parts")
@pytest.mark.parametrize("number", range(3))
def test_a_misread_kernel_is_named_in_parts(sample, number):
    name, misread = list(misreadings(sample.kernel))[number]
    verdict = verify(replace(sample, kernel=misread))
    assert (verdict.belongs, verdict.cause) == (False, name)


@pytest.mark.usefixtures("in_parts")
@pytest.mark.parametrize("side", ["template", "science"])
def test_the_side_is_found_in_parts(side):
    subtraction, *_ = sparse(side)
    verdict = verify(subtraction)
    assert (verdict.belongs, verdict.side) == (True, side)


@pytest.mark.usefixtures("in_parts")
def test_one_wrong_corner_is_seen():
    """Where the rest is exact, a part that is not is what decides."""
    subtraction, (_, _, difference), _ = sparse()
    wrong = difference.copy()
    wrong[:60, :60] = np.roll(difference, 3, axis=0)[:60, :60]
    verdict = verify(with_difference(subtraction, wrong))
    assert not verdict.fit.worst < 1e-3
    assert verdict.fit.pixels > 0.6 * difference.size


@pytest.mark.usefixtures("in_parts")
def test_nothing_to_compare_is_said_in_parts_too():
    subtraction, (_, _, difference), _ = sparse()
    verdict = verify(with_difference(subtraction, np.full_like(difference, np.nan)))
    assert (verdict.belongs, verdict.cause) == (False, "there is no pixel to compare")
