"""The examples in the docstrings of the public names run."""

import doctest
import inspect

import pytest

import diffdecor

#: Names that need files, or say all in their parameters.
WITHOUT = {
    "DecorrelationConfig",
    "KernelFit",
    "MaskPlanes",
    "read_exposure",
    "read_kernel",
    "read_psf",
}


@pytest.mark.parametrize("name", diffdecor.__all__)
def test_the_examples_of_every_public_name(name):
    value = getattr(diffdecor, name)
    finder = doctest.DocTestFinder(recurse=True)
    tests = [test for test in finder.find(value, name, globs={}) if test.examples]
    assert (not tests) == (name in WITHOUT)
    for test in tests:
        done = doctest.DocTestRunner(optionflags=doctest.REPORT_NDIFF).run(test, clear_globs=False)
        assert not done.failed


def test_the_methods_have_examples():
    for method in (diffdecor.Exposure.from_ccddata, diffdecor.Exposure.to_ccddata):
        assert ">>>" in inspect.getdoc(method)


def test_the_names_are_those_that_are_declared():
    assert diffdecor.__all__ == sorted(diffdecor.__all__)
    assert set(diffdecor._HOMES) == set(diffdecor.__all__)  # noqa: SLF001
