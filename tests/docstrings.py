"""Checks the docstrings of the public names and the plug-in contract (part of `make lint`).

These are documented in full, as are the core modules that the method rests on. Elsewhere one to
three lines that give shapes and units are enough.
"""

import importlib
import inspect
import sys

from numpydoc.validate import validate

import diffdecor

NOT_ASKED = {"ES01", "EX01", "SA01", "RT04", "RT05", "PR08", "PR09"}
DOCUMENTED_IN_FULL = (
    *("kernels.model", "kernels.testing", "psfs.model"),
    *("core.planes", "core.convolve", "core.noise", "core.whitening", "core.variance", "core.psf"),
)


def public_objects():
    """Import paths of the public names, and of every public function of the modules above."""
    yield from (f"diffdecor.{name}" for name in diffdecor.__all__)
    for module in (importlib.import_module(f"diffdecor.{name}") for name in DOCUMENTED_IN_FULL):
        for name, member in inspect.getmembers(module, inspect.isfunction):
            if member.__module__ == module.__name__ and not name.startswith("_"):
                yield f"{module.__name__}.{name}"


def main():
    """Print what is missing, and fail if anything is."""
    complaints = [
        f"{path}: {code} {text}"
        for path in public_objects()
        for code, text in validate(path)["errors"]
        if code not in NOT_ASKED
    ]
    print("\n".join(complaints))  # noqa: T201
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
