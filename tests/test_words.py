"""Messages name options for the command line, and arguments and fields for Python."""

import ast
import inspect
import logging
import re
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

import diffdecor
from diffdecor import DecorrelationConfig, Exposure, decorrelate, read_exposure, verify
from diffdecor.config import FilesConfig
from diffdecor.config.options import options
from diffdecor.errors import ConfigError, DiffdecorError
from diffdecor.kernels.registry import KernelOptions
from diffdecor.words import in_python, of_commands, spoken

PACKAGE = Path(diffdecor.__file__).parent
RNG = np.random.default_rng(12)
NOISE = RNG.normal(size=(80, 90))
SCIENCE = Exposure(image=NOISE, variance=1.0, name="science.fits")
DELTA = np.ones((1, 1))
#: Rooms that only commands reach.
OF_COMMANDS = {"cli", "batch", "report", "pipeline", "__main__.py"}
#: What Python programs can give.
ARGUMENTS = {
    *(item.name for item in options(DecorrelationConfig)),
    *(
        name
        for function in (
            *(diffdecor.decorrelate, diffdecor.read_exposure, diffdecor.read_kernel),
            *(diffdecor.check, diffdecor.verify, diffdecor.write_result),
        )
        for name in inspect.signature(function).parameters
    ),
    *(item.name for item in fields(KernelOptions)),
}


def texts(path):
    """Every text in a module that may be a message; what is put into it as it usually is."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    documentation = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    parts = {
        id(part)
        for node in ast.walk(tree)
        if isinstance(node, ast.JoinedStr)
        for part in node.values
    }
    for node in ast.walk(tree):
        if id(node) in documentation | parts:
            continue
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value.replace("{}", "science")
        elif isinstance(node, ast.JoinedStr):
            yield "".join(
                part.value if isinstance(part, ast.Constant) else filler(part)
                for part in node.values
            )


def filler(part):
    said = ast.unparse(part.value)
    if said.endswith(("role", "side")):
        return "science"
    return "1.5" if part.format_spec else "X"


MESSAGES = [
    (path, text)
    for path in sorted(PACKAGE.rglob("*.py"))
    if path.relative_to(PACKAGE).parts[0] not in {*OF_COMMANDS, "config"}
    for text in texts(path)
    if re.search(r"(?<![\w-])--[a-z]", text) and path.name != "words.py"
]


def test_there_are_messages():
    assert len(MESSAGES) > 40


@pytest.mark.parametrize(
    ("path", "text"), MESSAGES, ids=lambda value: value.name if isinstance(value, Path) else ""
)
def test_every_message_names_arguments_that_there_are(path, text):
    if "ficonv" in text:  # whose own option it is
        return
    said = in_python(text)
    assert "--" not in said
    for found in re.findall(r"`([\w.]+)(?:=[^`]*)?`", said):
        role, dot, own = found.rpartition(".")
        known = own in {"psf", "variance"} if dot else found in ARGUMENTS
        assert known, f"{path.name}: {text!r} -> {said!r}"
        assert role in {"", "science", "template", "difference"}


def test_values_that_messages_name_are_recognised():
    """A value after its option is quoted, as a program writes it."""
    choices = {
        item.flag_name: item.kind.choices
        for config in (DecorrelationConfig, FilesConfig)
        for item in options(config)
        if item.kind.choices
    }
    for path, text in MESSAGES:
        for flag, word in re.findall(r"(--[a-z-]+) ([\w-]+)", text):
            if word in choices.get(flag, ()):
                assert f'="{word}"' in in_python(text), f"{path.name}: {text}"


def test_loggers_of_messages_with_options_put_them_into_words():
    for path in {path for path, _ in MESSAGES}:
        source = path.read_text(encoding="utf-8")
        assert "logging.getLogger" not in source, path.name


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("--score needs a PSF", "`score` needs a PSF"),
        ("give --science-psf or --template-psf", "give `science.psf` or `template.psf`"),
        ("give --science-noise FILE, or a level", "give `science.variance`, or a level"),
        ("give --template-noise or --template-gain", "give `noise` or `gain`"),
        ("sizes with --no-scale-by-fwhm", "sizes with `scale_by_fwhm=False`"),
        ("--difference-layout ps1|plain", '`layout="ps1"` or `layout="plain"`'),
        ("--science-scale 1/k --template-scale 1", '`science_scale="1/k"` `template_scale=1`'),
        ("--kernel-position 3,-4.5 lies", "`kernel_position=(3, -4.5)` lies"),
        ("(--fill-planes NAME,... says which)", "(`fill_planes` says which)"),
        ("out/a--score.fits, ./--score and x --", "out/a--score.fits, ./--score and x --"),
    ],
)
def test_words(text, said):
    assert spoken(text) == said
    assert spoken(said) == said
    with of_commands():
        assert spoken(text) == text


def exposure(**more):
    return Exposure(image=NOISE, name="one.fits", **more)


def written(tmp_path, *hdus):
    file = tmp_path / "image.fits"
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(file)
    return file


def image(tmp_path, **cards):
    header = fits.Header(list(cards.items()))
    return written(tmp_path, fits.ImageHDU(NOISE.astype("f4"), header, name="SCI"))


CASES = {
    "a value": (lambda _: DecorrelationConfig(mode="all"), "`mode` is 'all': expected one of"),
    "a number": (lambda _: DecorrelationConfig(flag_share=2), "`flag_share` is 2: expected"),
    "no variance": (
        lambda _: decorrelate(exposure(), SCIENCE, SCIENCE, DELTA),
        "`science.variance` (or `gain`), or its level with `science_variance`",
    ),
    "zero variance": (
        lambda _: decorrelate(None, None, exposure(variance=np.zeros_like(NOISE)), None),
        "give its noise with `difference.variance`",
    ),
    "no PSF for sizes": (
        lambda _: decorrelate(
            SCIENCE, SCIENCE, SCIENCE, DELTA, config=DecorrelationConfig(blend="average")
        ),
        "give `difference.psf` or `science.psf`, or sizes in pixels with `scale_by_fwhm=False`",
    ),
    "no PSF for the significance": (
        lambda _: decorrelate(
            SCIENCE, SCIENCE, SCIENCE, DELTA, config=DecorrelationConfig(significance=True)
        ),
        "`significance` needs a PSF: give `difference.psf`, `science.psf` or `template.psf`",
    ),
    "no PSF for the score": (
        lambda _: decorrelate(
            SCIENCE, SCIENCE, SCIENCE, DELTA, config=DecorrelationConfig(score=True)
        ),
        "was correlated with: give `preconvolution`, or `science.psf` if it was its PSF",
    ),
    "a position": (
        lambda _: decorrelate(
            SCIENCE,
            SCIENCE,
            SCIENCE,
            DELTA,
            config=DecorrelationConfig(mode="whole", kernel_position=(300, 1)),
        ),
        "`kernel_position=(300, 1)` lies outside",
    ),
    "centroids": (
        lambda _: decorrelate(
            SCIENCE, SCIENCE, SCIENCE, DELTA, config=DecorrelationConfig(cell_centroids=((3, 3),))
        ),
        "`cell_centroids` needs another `blend` than interpolate",
    ),
    "an argument of the reader": (
        lambda path: read_exposure(image(path), layout="sdss"),
        "`layout` is 'sdss': expected one of",
    ),
    "noise and gain": (
        lambda path: read_exposure(image(path), noise="noise.fits", gain=2.0, role="template"),
        "give `noise` or `gain`, not both",
    ),
    "read noise": (
        lambda path: read_exposure(image(path), read_noise=3.0),
        "`read_noise` needs `gain`",
    ),
    "no noise plane": (
        lambda path: read_exposure(image(path), noise_kind="sigma", layout="plain"),
        "there is no noise plane in it for `noise_kind`; give `noise`",
    ),
    "a difference without kernel": (
        lambda path: diffdecor.read_kernel(*2 * [image(path)]),
        "give the file of the kernel with `kernel`",
    ),
    "a file that is there": (
        lambda path: diffdecor.write_result(
            decorrelate(SCIENCE, SCIENCE, SCIENCE, DELTA), image(path)
        ),
        "exists already; use `overwrite` to replace it",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_errors_speak_of_arguments(case, tmp_path):
    call, says = CASES[case]
    with pytest.raises(DiffdecorError, match=re.escape(says)) as caught:
        call(tmp_path)
    assert "--" not in str(caught.value)
    with of_commands():
        assert "--" in str(caught.value)


def test_warnings_speak_of_arguments(caplog):
    caplog.set_level(logging.INFO, "diffdecor")
    decorrelate(None, None, exposure(variance=np.ones_like(NOISE)), None)
    assert "give it with `difference.psf`" in caplog.text
    assert "--" not in caplog.text
    caplog.clear()
    with of_commands():
        decorrelate(None, None, exposure(variance=np.ones_like(NOISE)), None)
    assert "give it with --difference-psf" in caplog.text


def test_verdicts_speak_of_arguments():
    template = RNG.normal(size=NOISE.shape)
    kernel = np.array([[0.0, 0.2, 0.8]])
    difference = NOISE - 0.8 * np.roll(template, 1, axis=1) - 0.2 * template
    verdict = verify(
        Exposure(image=NOISE, variance=1.0),
        Exposure(image=template, variance=1.0),
        Exposure(image=2 * difference),
        kernel,
    )
    assert not verdict.belongs
    assert "--" not in verdict.cause


def test_configs_are_documented_in_python():
    assert "--" not in DecorrelationConfig.__doc__.replace("----------", "").replace("------", "")
    assert "with blend interpolate" in DecorrelationConfig.__doc__


def test_the_command_line_says_its_own(tmp_path):
    from click.testing import CliRunner

    from diffdecor.cli import main

    file = str(image(tmp_path))
    output = str(tmp_path / "out.fits")
    found = CliRunner().invoke(main, ["run", file, file, file, "-o", output, "--significance"])
    assert "--" in found.output
    assert "`" not in found.output
    with pytest.raises(ConfigError, match="`mode`"):
        DecorrelationConfig(mode="all")  # afterwards it is Python that speaks
