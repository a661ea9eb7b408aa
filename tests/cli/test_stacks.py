"""Lists of the images of a stack: what they name is an input, and what is wrong in them is said."""

import numpy as np
import pytest
from astropy.io import fits
from helpers.workplace import SHAPE, gaussian

FILES = ("noise", "mask", "kernel")


@pytest.fixture
def stack(work):
    """The list of a stack of one image, in a folder of its own."""
    folder = work / "members"
    folder.mkdir()
    fits.PrimaryHDU(np.full(SHAPE, 9.0)).writeto(folder / "noise.fits")
    fits.PrimaryHDU(np.zeros(SHAPE, np.int16)).writeto(folder / "mask.fits")
    fits.PrimaryHDU(gaussian(2, 0.7)).writeto(folder / "kernel.fits")
    lines = [
        "[[member]]",
        "noise-kind = 'variance'",
        *(f"{name} = '{name}.fits'" for name in FILES),
    ]
    (folder / "stack.toml").write_text("\n".join(lines))
    return folder / "stack.toml"


@pytest.mark.parametrize("name", [*(f"{name}.fits" for name in FILES), "stack.toml"])
def test_what_a_stack_names_is_never_overwritten(work, stack, name):
    options = ("--science-stack", stack, "--overwrite")
    work.fails(2, name, "is an input", options=options, output=stack.with_name(name))


@pytest.mark.parametrize("role", ["science", "template"])
@pytest.mark.parametrize("name", FILES)
def test_another_file_of_a_stack_is_another_job(work, stack, rewrite, role, name):
    options = (f"--{role}-stack", stack)
    work.succeeds(*options)
    assert work.run(*options).exit_code == 0

    def change(hdus):
        hdus[0].data[1, 1] += 1

    rewrite(stack.with_name(f"{name}.fits"), change)
    work.fails(2, "--overwrite", options=options)
    work.succeeds("--overwrite", *options)


BAD = {
    "variance = -1.0": "variance is -1.0: expected zero or more",
    "variance = nan": "variance is nan",
    "variance = true": "variance is True: expected a number",
    "variance = '4'": "variance is '4': expected a finite number",
    f"variance = {10**400}": "expected a finite number",
    "variance = 4\nmask = 'mask.fits'": "give either noise",
    "variance = 4\nnoise = 'noise.fits'": "give either noise",
    "weight = 1": "give either noise",
    "variance = 4\nweight = inf": "weight is inf",
    "variance = 4\nkernel = 3": "kernel is 3: expected a file name",
    "noise = 5": "noise is 5: expected a file name",
    "noise = ''": "noise is '': expected a file name",
    'noise = "a\\u0000b"': "noise is 'a\\x00b': expected a file name",
    "noise = 'noise.fits'\nmask = 1": "mask is 1: expected a file name",
    "noise = 'noise.fits'\nnoise-kind = 3": "noise-kind is 3: expected one of variance",
    "noise = 'noise.fits'\nnoise-kind = 'rms'": "noise-kind is 'rms': expected one of variance",
}


@pytest.mark.parametrize(("entry", "says"), BAD.items(), ids=lambda text: str(text)[:40])
def test_a_bad_entry_is_named(work, stack, entry, says):
    stack.write_text(f"[[member]]\nvariance = 0\n[[member]]\n{entry}\n")
    work.fails(3, "stack.toml, member 2: ", says, options=("--template-stack", stack))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no [[member]] tables"),
        ("member = 3", "no [[member]] tables"),
        ("member = [", "not valid TOML"),
        (f"a = {'9' * 5000}", "not valid TOML"),
    ],
    ids=["empty", "no tables", "no TOML", "a number too long"],
)
def test_what_is_no_list_is_named(work, stack, text, says):
    stack.write_text(text)
    work.fails(3, "stack.toml", says, options=("--science-stack", stack))


def test_a_stack_of_one_image_without_a_kernel_is_that_image(work, stack):
    """So the difference can be rebuilt from it: the residual is measured as for a plain image."""
    stack.write_text("[[member]]\nvariance = 4.0\n")
    given, _ = work.succeeds("--template-variance", "4")
    listed, _ = work.succeeds("--overwrite", "--template-stack", stack)
    cards, expected = (hdus["PRIMARY"][0] for hdus in (listed, given))
    assert cards["DDRESID"] == pytest.approx(expected["DDRESID"], rel=0.2)
    assert cards["DDTNOISE"] == expected["DDTNOISE"] == 4.0
    np.testing.assert_allclose(listed["IMAGE"][1], given["IMAGE"][1], rtol=0, atol=1e-5)
