"""Checks the docstrings of everything public on the objects themselves (part of `make lint`)."""

import importlib
import inspect
import pkgutil
import sys

from numpydoc.validate import validate

import diffdecor
import diffdecor.core

NOT_ASKED = {"ES01", "EX01", "SA01", "RT04", "RT05", "PR08", "PR09"}


def public_objects():
    """Import paths of the public names and of every public function of the numerics."""
    yield from (f"diffdecor.{name}" for name in diffdecor.__all__)
    for info in pkgutil.iter_modules(diffdecor.core.__path__, "diffdecor.core."):
        module = importlib.import_module(info.name)
        for name, member in inspect.getmembers(module, inspect.isfunction):
            if member.__module__ == info.name and not name.startswith("_"):
                yield f"{info.name}.{name}"


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
