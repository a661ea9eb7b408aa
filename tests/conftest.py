"""What all tests share: how hypothesis looks for examples, and a process that is as it was."""

import logging
import os
import signal
from pathlib import Path

import pytest
from hypothesis import settings

from diffdecor.words import of_commands

#: `make test-long` runs what says little more than its neighbours, and looks at more examples.
LONG = bool(os.environ.get("DIFFDECOR_LONG"))
# How long an example takes says more about the machine than about the code. The examples are the
# same in every run: a test that passes here passes elsewhere. `make fuzz` looks for new ones.
settings.register_profile(
    "diffdecor",
    deadline=None,
    derandomize=True,
    database=None,
    print_blob=True,
    max_examples=300 if LONG else 50,
)
settings.load_profile("diffdecor")


def pytest_make_parametrize_id(val):
    """Name a case of thousands of characters in fewer."""
    if isinstance(val, str | bytes) and len(val) > 100:
        return f"{val[:40]!r}...{len(val)}"
    return None


def pytest_collection_modifyitems(items):
    """Leave out the long tests, unless they are asked for."""
    for item in items:
        if not LONG and item.get_closest_marker("long"):
            item.add_marker(pytest.mark.skip(reason="make test-long runs it"))


@pytest.fixture(autouse=True)
def as_it_was():
    """Undo what commands do to their process, also those of a whole module's fixtures."""
    names = [name for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    handlers = {name: signal.getsignal(getattr(signal, name)) for name in names}
    reset_log()
    yield
    reset_log()
    for name, handler in handlers.items():
        signal.signal(getattr(signal, name), handler)


def reset_log():
    """Let the log of the package be that of an ordinary program again."""
    logger = logging.getLogger("diffdecor")
    logger.handlers[:], logger.propagate = [], True
    logger.setLevel(logging.NOTSET)


@pytest.fixture(scope="session")
def reference():
    """Folder with the full reference sets."""
    folder = os.environ.get("DIFFDECOR_REFERENCE")
    if not folder:
        pytest.skip("DIFFDECOR_REFERENCE is not set")
    return Path(folder)


@pytest.fixture
def as_a_command():
    """Messages name options as the command line writes them."""
    with of_commands():
        yield
